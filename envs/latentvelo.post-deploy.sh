#!/usr/bin/env bash
# Install LatentVelo, which is in no registry: the copy of it (MIT) that dynamo carries in its package, and nothing else of
# dynamo.  It imports only itself.
set -euo pipefail
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
python -m pip download --quiet --no-deps --require-hashes --dest "$download" --requirement /dev/stdin <<'END'
dynamo-release==1.5.3 --hash=sha256:2c96421e0981f3a4303c51118749210bffabb183872633de9a84a8f2d300d848
END
python -m zipfile -e "$download"/dynamo_release-*.whl "$download/dynamo"
packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -rf "$packages/latentvelo"
mv "$download/dynamo/dynamo/external/latentvelo" "$packages/latentvelo"
