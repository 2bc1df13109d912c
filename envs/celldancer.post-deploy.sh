#!/usr/bin/env bash
# Install cellDancer without what it says it needs: torch 1.10 and others of 2021, which Python 3.11 cannot have.
set -euo pipefail
python -m pip install --quiet --no-deps --require-hashes --requirement /dev/stdin <<'END'
celldancer==1.1.7 --hash=sha256:a99da264c867e76902b78ba03a19ac2716733969bf27047af4cad8d683deba58
END
