"""UniTVelo: units of its results, and cells without clusters."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest
from support.models import command_of

pytestmark = pytest.mark.methods


def test_velocity_is_the_derivative_of_the_curve_at_the_time_of_the_cell(run_model, tmp_path):
    output = run_model("unitvelo", tmp_path)
    height, sharpness, peak = (output[f"var/peak_{part}"] for part in ("height", "sharpness", "time"))
    since_peak = output["obs/time"][:, None] - peak
    velocity = -2 * sharpness * since_peak * height * np.exp(-sharpness * since_peak**2)
    np.testing.assert_allclose(output["layers/velocity"], velocity, rtol=1e-3, atol=1e-5 * np.abs(velocity).max())


def test_clusters_are_optional(cells, tmp_path):
    copy = shutil.copy(cells, tmp_path)
    with h5py.File(copy, "a") as file:
        del file["clusters"]
    process = subprocess.run(command_of("unitvelo", copy, tmp_path, {}), capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
