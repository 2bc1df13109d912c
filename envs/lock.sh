#!/usr/bin/env bash
# Write envs/<name>.lock, every package with its hashes, from the pins in envs/<name>.yaml.
# envs/lock.sh [NAME...] [OPTION...]: what is locked already stays unless told otherwise, --upgrade, --upgrade-package NAME.
# A pin with the remark `# unlocked` is left out, with what it needs: PyTorch, of which a site chooses the build.
set -euo pipefail
cd "$(dirname "$0")"

names=()
while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do names+=("$1") && shift; done
[ ${#names[@]} -gt 0 ] || names=($(basename -s .yaml *.yaml))

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet uv==0.13.8

for name in "${names[@]}"; do
    python=$(sed -n 's/^ *- python=\([0-9.]*\).*/\1/p' "$name.yaml")
    # one lock, with markers, for an environment that several versions of Python can have
    platform="--python-platform linux"
    if grep -q '^ *- python=[0-9.]*  # or ' "$name.yaml"; then platform=--universal; fi
    sed -n '/# unlocked/ s/^ *- \([^ ]*\)==.*/\1; sys_platform == "none"/p' "$name.yaml" >"$tools/unlocked.txt"
    sed -n '/# unlocked/! s/^ *- \([^ ]*==[^#]*\).*/\1/p' "$name.yaml" |
        "$tools/bin/uv" pip compile --quiet --generate-hashes --no-annotate "$@" \
            --python-version "$python" $platform --override "$tools/unlocked.txt" \
            --custom-compile-command "make lock" --output-file "$name.lock" -
done
