#!/usr/bin/env bash
# Make an environment as its lock says, with nothing left over from an older one: envs/install.sh NAME FOLDER [--newest]
# With --newest the Python is the newest one found, otherwise the one that envs/python.sh prefers.
# It is whole when installed.lock is in it: the lock, and what is not in it.
set -euo pipefail
name=$1
folder=$(realpath -m "$2")
cd "$(dirname "$0")"

python=$(./python.sh "$name" ${3:-})
echo "environment $name: $("$python" -V), $python"

rm -f "$folder/installed.lock"
"$python" -m venv --clear "$folder"
pip="$folder/bin/python -m pip install --quiet --disable-pip-version-check"
# what comes in several builds, for the one that this site's pip is set up to find
unlocked=$(sed -n 's/^ *- \([^ ]*==[^ ]*\)  *# unlocked.*/\1/p' "$name.yaml")
if [ -n "$unlocked" ]; then $pip $unlocked; fi
# a lock is complete: what a package says of its dependencies was heard when it was made
$pip --require-hashes --no-deps --requirement "$name.lock"
# Snakemake runs it too, under --sdm conda
if [ -e "$name.post-deploy.sh" ]; then PATH="$folder/bin:$PATH" bash "$name.post-deploy.sh"; fi
# `import veloshard` gives the library of this clone
if [ "$name" = core ]; then
    packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    realpath ../workflow/scripts >"$packages/veloshard.pth"
fi
# all that decides what is in it: who has another one makes results anew
{ cat "$name.lock" && echo "# $unlocked" && cat "$name.post-deploy.sh" 2>/dev/null || true; } >"$folder/installed.lock"
