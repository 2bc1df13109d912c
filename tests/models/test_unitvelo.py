"""UniTVelo: its units, and cells without clusters."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest
from described import command_of

pytestmark = pytest.mark.methods


def test_velocity_is_the_derivative_of_the_curve_at_the_time_of_the_cell(run_model, tmp_path):
    found = run_model("unitvelo", tmp_path)
    height, sharpness, peak = (found[f"var/peak_{part}"] for part in ("height", "sharpness", "time"))
    since = found["obs/time"][:, None] - peak
    velocity = -2 * sharpness * since * height * np.exp(-sharpness * since**2)
    np.testing.assert_allclose(found["layers/velocity"], velocity, rtol=1e-3, atol=1e-5 * np.abs(velocity).max())


def test_cells_need_no_clusters(cells, tmp_path):
    copy = shutil.copy(cells, tmp_path)
    with h5py.File(copy, "a") as file:
        del file["clusters"]
    process = subprocess.run(command_of("unitvelo", copy, tmp_path, {}), capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
