"""Runs other people's programs, each with the Python of its own environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"
ENVIRONMENTS = Path(__file__).parents[2] / ".envs"


@pytest.fixture(scope="session")
def ask_client():
    """Function that runs clients/<task>_in_<client>.py on a result: its answers; figures go to a folder."""

    def ask(client, result, folder, *, task="open"):
        python = ENVIRONMENTS / client / "bin" / "python"
        if not python.exists():
            pytest.fail(f"no environment of {client}: `make test-peers` builds it and runs these tests")
        # -I: neither the user's site-packages nor PYTHON* variables reach the client
        command = [python, "-I", CLIENTS / f"{task}_in_{client}.py", result, folder]
        run = subprocess.run(
            command, env=os.environ | {"MPLBACKEND": "Agg"}, cwd=folder, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads((folder / "answers.json").read_text())

    return ask
