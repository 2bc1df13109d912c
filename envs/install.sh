#!/usr/bin/env bash
# Make an environment as its lock says, with nothing left over from an older one: envs/install.sh NAME FOLDER
# It is whole when installed.lock is in it: the lock, and what is not in it.
set -euo pipefail
name=$1
folder=$(realpath -m "$2")
cd "$(dirname "$0")"

version=$(sed -n 's/^ *- python=\([0-9.]*\).*/\1/p' "$name.yaml")
# pyenv hides the versions that are not selected; where there is no pyenv the variable does nothing
python=
for candidate in "${PYTHON:-python3}" "python$version" "env PYENV_VERSION=$version python$version"; do
    found=$($candidate -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
    if [ "$found" = "$version" ]; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
    echo "the environment $name needs Python $version, and there is none; try: make PYTHON=/path/to/python$version" >&2
    exit 1
fi

rm -f "$folder/installed.lock"
$python -m venv --clear "$folder"
pip="$folder/bin/python -m pip install --quiet --disable-pip-version-check"
# what comes in several builds, for the one that this site's pip is set up to find
unlocked=$(sed -n 's/^ *- \([^ ]*==[^ ]*\)  *# unlocked.*/\1/p' "$name.yaml")
if [ -n "$unlocked" ]; then $pip $unlocked; fi
# a lock is complete: what a package says of its dependencies was heard when it was made
$pip --require-hashes --no-deps --requirement "$name.lock"
# Snakemake runs it too, under --sdm conda
if [ -e "$name.post-deploy.sh" ]; then PATH="$folder/bin:$PATH" bash "$name.post-deploy.sh"; fi
# all that decides what is in it: who has another one makes results anew
{ cat "$name.lock" && echo "# $unlocked" && cat "$name.post-deploy.sh" 2>/dev/null || true; } >"$folder/installed.lock"
