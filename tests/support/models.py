"""Other groups' models, their descriptions and environments."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DESCRIPTIONS = {
    path.stem: yaml.safe_load((ROOT / f"workflow/schemas/methods/{path.stem}.yaml").read_text())
    for path in (ROOT / "workflow/scripts/models").glob("*.py")
}


def is_installed(name):
    """Return whether the environment of a model is installed."""
    return (ROOT / f".envs/{name}/installed.lock").exists()


def python_of(name):
    """Return the Python of a model's environment; skip the test if it is not installed."""
    if not is_installed(name):
        pytest.skip(f"not installed: make test-methods MODELS={name}")
    return ROOT / f".envs/{name}/bin/python"


def command_of(name, cells, folder, options):
    """Return the command that runs a model on a file of cells, with all output in a folder."""
    return [
        python_of(name), "-I", ROOT / "workflow/scripts/run_model.py", "--model", name, "--cells", cells,
        "--options", json.dumps(DESCRIPTIONS[name].get("smoke", {}) | options), "--folder", folder / "model",
        "--result", folder / "model_output.h5", "--samples", folder / "posterior_samples.h5",
    ]  # fmt: skip
