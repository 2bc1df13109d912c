"""Fixture that runs other groups' software, each in its own environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"
ENVIRONMENTS = Path(__file__).parents[2] / ".envs"


@pytest.fixture(scope="session")
def ask_client():
    """Return a function that runs clients/<task>_in_<client>.py on a result, and returns its answers.

    The client writes its answers and figures to the given folder.
    """

    def ask(client, result, folder, *, task="open"):
        python = ENVIRONMENTS / client / "bin" / "python"
        if not python.exists():
            pytest.fail(f"no environment of {client}: `make test-peers` builds it and runs these tests")
        # -I: neither the user's site-packages nor PYTHON* variables reach the client
        command = [python, "-I", CLIENTS / f"{task}_in_{client}.py", result, folder]
        process = subprocess.run(
            command, env=os.environ | {"MPLBACKEND": "Agg"}, cwd=folder, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return json.loads((folder / "answers.json").read_text())

    return ask
