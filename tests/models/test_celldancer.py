"""cellDancer: its units, and what it swallows."""

import subprocess

import h5py
import numpy as np
import pytest
from described import command_of

pytestmark = pytest.mark.methods


def test_rates_are_in_the_units_of_the_moments(run_model, cells, tmp_path):
    found = run_model("celldancer", tmp_path)
    with h5py.File(cells) as file:
        names = file["genes"][()].tolist()
        columns = [names.index(name) for name in found["genes"].tolist()]
        spliced, unspliced = (file[layer][()][:, columns] for layer in ("Ms", "Mu"))
    velocity = found["layers/cell_beta"] * unspliced - found["layers/cell_gamma"] * spliced
    # both come through tables of single precision, and are small differences
    np.testing.assert_allclose(found["layers/velocity"], velocity, rtol=1e-3, atol=1e-4 * spliced.max(axis=0).max())


def test_that_no_gene_was_fitted_is_an_error(cells, tmp_path):
    # too few cells in a sample to have neighbours: every gene fails inside cellDancer, which only prints it
    command = command_of("celldancer", cells, tmp_path, {"permutation_ratio": 1e-6})
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 1
    assert "fitted none of" in process.stderr.splitlines()[-1]
