"""Fixtures for other groups' models, each in the environment that `make test-methods` installed."""

import subprocess

import h5py
import pytest
from support.models import DESCRIPTIONS, command_of, python_of


@pytest.fixture(params=sorted(DESCRIPTIONS))
def model(request):
    """Return the name of an installed model; skip the test if the model is not installed."""
    python_of(request.param)
    return request.param


@pytest.fixture(scope="session")
def cells(small_config, run_workflow, tmp_path_factory):
    """Return the file model_input.h5 of a small simulation, 300 cells x 60 genes."""
    folder = tmp_path_factory.mktemp("cells")
    process = run_workflow(small_config(), folder, "--notemp", "--", "results/demo/model_input.h5")
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results/demo/model_input.h5"


@pytest.fixture(scope="session")
def run_model(cells):
    """Return a function that runs a model on the small simulation, and returns the arrays of its output by name."""

    def run(name, folder, **options):
        # options replace those under `smoke` in the model's description
        command = command_of(name, cells, folder, options)
        process = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert process.returncode == 0, process.stdout + process.stderr
        arrays = {}
        with h5py.File(folder / "model_output.h5") as file:
            file.visititems(lambda name, item: arrays.update({name: item[()]}) if hasattr(item, "dtype") else None)
        return arrays

    return run
