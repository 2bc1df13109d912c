"""Other people's models, each in the environment that `make test-methods` installed."""

import subprocess

import h5py
import pytest
from described import DESCRIPTIONS, command_of, python_of


@pytest.fixture(params=sorted(DESCRIPTIONS))
def model(request):
    """Name of a model that is installed."""
    python_of(request.param)
    return request.param


@pytest.fixture(scope="session")
def cells(small_config, run_workflow, tmp_path_factory):
    """File of what models are given: a small simulation, 300 cells x 60 genes."""
    folder = tmp_path_factory.mktemp("cells")
    process = run_workflow(small_config(), folder, "--notemp", "--", "results/demo/cells.h5")
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results/demo/cells.h5"


@pytest.fixture(scope="session")
def run_model(cells):
    """Function that runs a model on the small simulation in a folder; returns all arrays of its result, by place.

    options : by which it differs from the `smoke` options of its description.
    """

    def run(name, folder, **options):
        command = command_of(name, cells, folder, options)
        process = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert process.returncode == 0, process.stdout + process.stderr
        found = {}
        with h5py.File(folder / "model.h5") as file:
            file.visititems(lambda place, item: found.update({place: item[()]}) if hasattr(item, "dtype") else None)
        return found

    return run
