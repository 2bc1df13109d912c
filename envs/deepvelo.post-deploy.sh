#!/usr/bin/env bash
# Install DeepVelo without what it says it needs: a Python before 3.10, torch before 1.13 and a DGL before 0.9.
set -euo pipefail
python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes --requirement /dev/stdin <<'END'
deepvelo==0.2.8 --hash=sha256:aca9b7bc5004cdddd66713368983998b84d0f14c523d86f36d4375cfffe677dc
END
