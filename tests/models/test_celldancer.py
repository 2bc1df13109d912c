"""cellDancer: units of its results, and the error that it suppresses."""

import subprocess

import h5py
import numpy as np
import pytest
from support.models import command_of

pytestmark = pytest.mark.methods


def test_rates_are_in_the_units_of_the_moments(run_model, cells, tmp_path):
    output = run_model("celldancer", tmp_path)
    with h5py.File(cells) as file:
        names = file["genes"][()].tolist()
        columns = [names.index(name) for name in output["genes"].tolist()]
        spliced, unspliced = (file[layer][()][:, columns] for layer in ("Ms", "Mu"))
    velocity = output["layers/cell_beta"] * unspliced - output["layers/cell_gamma"] * spliced
    # both are small differences of numbers in single precision
    np.testing.assert_allclose(output["layers/velocity"], velocity, rtol=1e-3, atol=1e-4 * spliced.max(axis=0).max())


def test_error_if_no_gene_was_fitted(cells, tmp_path):
    # the subsample is too small to have neighbors, so that every gene fails in cellDancer, which only prints it
    command = command_of("celldancer", cells, tmp_path, {"permutation_ratio": 1e-6})
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 1
    assert "fitted none of" in process.stderr.splitlines()[-1]
