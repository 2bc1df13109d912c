"""Which of other people's models there are, and the Python of each."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DESCRIPTIONS = {
    path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "workflow/schemas/models").glob("*.yaml")
}


def is_installed(name):
    """Whether a model's environment was made."""
    return (ROOT / f".envs/{name}/installed.lock").exists()


def python_of(name):
    """The Python of a model's environment; skips where nobody asked for it to be installed."""
    if not is_installed(name):
        pytest.skip(f"not installed: make test-methods MODELS={name}")
    return ROOT / f".envs/{name}/bin/python"


def command_of(name, cells, folder, options):
    """Command that runs a model on a file of cells; all that it writes is in a folder."""
    return [
        python_of(name), "-I", ROOT / "workflow/scripts/run_model.py", "--model", name, "--cells", cells,
        "--options", json.dumps(DESCRIPTIONS[name].get("smoke", {}) | options), "--folder", folder / "model",
        "--result", folder / "model.h5", "--samples", folder / "samples.h5",
    ]  # fmt: skip
