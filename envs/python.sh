#!/usr/bin/env bash
# Print the path of the Python for an environment: envs/python.sh NAME [--newest]
# That is PYTHON or python3 where the environment supports its version, otherwise (or with --newest) the newest
# supported version found.  For the environment `core`, a PYTHON that it does not support is an error.
set -euo pipefail
name=$1
newest=${2:-}
chosen=${PYTHON:-}
cd "$(dirname "$0")"

# the newest first: `python=3.11  # or 3.12, 3.13` lists three
versions=$(sed -n 's/^ *- python=\([0-9.]*\)\(  # or \([0-9., ]*\)\)\?.*/\1 \3/p' "$name.yaml" | tr -s ', ' '\n' | sort -rV)

candidates=()
# pyenv hides the versions that are not selected; where there is no pyenv the variable does nothing
[ -n "$newest" ] || candidates+=("${PYTHON:=python3}" "env PYENV_VERSION=${PYTHON#python} $PYTHON")
if [ -n "$newest" ] || [ -z "$chosen" ] || [ "$name" != core ]; then
    for version in $versions; do
        candidates+=("python$version" "env PYENV_VERSION=$version python$version")
    done
fi
for candidate in "${candidates[@]}"; do
    # ensurepip: Debian has it in a package of its own, python3-venv
    found=$($candidate -c 'import ensurepip, sys; print("%d.%d" % sys.version_info[:2], sys.executable)' 2>/dev/null) || continue
    if grep -qxF "${found%% *}" <<<"$versions"; then echo "${found#* }" && exit; fi
done
listed=$(sort -V <<<"$versions" | paste -sd, | sed 's/,/, /g; s/\(.*\), /\1 or /')
if [ "$name" = core ] && [ -n "$chosen" ]; then
    echo "the environment core needs Python $listed with venv, and PYTHON=$chosen is not one" >&2
else
    echo "the environment $name needs Python $listed with venv, and there is none; try: make PYTHON=/path/to/python" >&2
fi
exit 1
