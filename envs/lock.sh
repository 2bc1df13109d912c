#!/usr/bin/env bash
# Write envs/<name>.lock, every package with its hashes, from the pins in envs/<name>.yaml.
# What is locked already stays unless told otherwise: envs/lock.sh --upgrade, --upgrade-package NAME.
set -euo pipefail
cd "$(dirname "$0")"

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet uv==0.13.8

for environment in *.yaml; do
    name=${environment%.yaml}
    python=$(sed -n 's/^ *- python=\([0-9.]*\).*/\1/p' "$environment")
    sed -n 's/^ *- \([^ ]*==[^ ]*\).*/\1/p' "$environment" |
        "$tools/bin/uv" pip compile --quiet --generate-hashes --no-annotate "$@" \
            --python-version "$python" --python-platform linux \
            --custom-compile-command "make lock" --output-file "$name.lock" -
done
