"""DeepVelo: units of its results."""

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.methods


def test_rates_are_in_the_units_of_the_moments(run_model, cells, tmp_path):
    output = run_model("deepvelo", tmp_path)
    with h5py.File(cells) as file:
        spliced, unspliced = file["Ms"][()], file["Mu"][()]
    velocity = output["layers/cell_beta"] * unspliced - output["layers/cell_gamma"] * spliced
    np.testing.assert_allclose(output["layers/velocity"], velocity, rtol=1e-3, atol=1e-5 * np.abs(velocity).max())
