"""Results of the newest Python and its packages agree with those of this environment, and older AnnData reads them.

On one stack, results are bitwise identical. Across stacks, linear algebra and special functions may round differently.
"""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.stacks

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
ENVIRONMENTS = ROOT / ".envs"
NEWEST = ENVIRONMENTS / "newest/bin/python"
# Largest difference from rounding, relative to the largest value of an array, by the size of its numbers in bytes.
# Measured, Python 3.13 with numpy 2.5 and scipy 1.18 against 3.11 with 2.4 and 1.17: 3e-16 in the standard errors of
# the dynamical fit, all other arrays identical. A float32 that is rounded the other way differs by 6e-8.
TOLERANCES = {4: 1e-6, 8: 1e-9}


def version_of(python):
    """Return the Python version of an interpreter."""
    code = "import sys; print(sys.version)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def newest():
    """Return the interpreter of the environment of the newest Python."""
    if not NEWEST.exists():
        pytest.fail("no environment of the newest Python: `make test-newest` builds it and runs these tests")
    if version_of(NEWEST) == version_of(sys.executable):
        pytest.skip("there is no newer Python than that of this environment")
    return NEWEST


@pytest.fixture(scope="module")
def compute(tmp_path_factory):
    """Return a function that runs clients/compute.py with an interpreter and returns the folder of the results."""

    def run(python):
        folder = tmp_path_factory.mktemp("results")
        filters = ["-W", "error", "-W", "ignore:The 'future.infer_string' option", "-W", "ignore:The 'mode.chained"]
        process = subprocess.run(
            [python, *filters, CLIENTS / "compute.py", folder],
            env=os.environ | {"VELOSHARD_COMPILED": str(ROOT / ".compiled")}, capture_output=True, text=True,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return folder

    return run


@pytest.fixture(scope="module")
def results_of_newest(newest, compute):
    """Return the folder with the results of the newest Python."""
    return compute(newest)


def arrays_of(folder):
    """Return all arrays of the HDF5 files in a folder by the path of the file and the name of the array."""
    arrays = {}
    for path in sorted(folder.rglob("*.h5*")):
        with h5py.File(path) as file:

            def add(name, item, path=path):
                if isinstance(item, h5py.Dataset):
                    arrays[f"{path.relative_to(folder)}:{name}"] = (
                        item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
                    )

            file.visititems(add)
    return arrays


def difference(actual, expected):
    """Return the largest difference of two arrays, relative to the largest value; infinite for other differences."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return np.inf
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(actual, expected) else np.inf
    is_finite = np.isfinite(expected)
    if not np.array_equal(actual[~is_finite], expected[~is_finite], equal_nan=True):
        return np.inf
    if not is_finite.any():
        return 0.0
    largest = np.abs(expected[is_finite]).max()
    return float(np.abs(actual[is_finite] - expected[is_finite]).max() / (largest or 1))


def tolerance_of(array):
    """Return the largest difference that an array may have; nothing but numbers with a fraction may have one."""
    dtype = np.asarray(array).dtype
    return TOLERANCES[dtype.itemsize] if dtype.kind == "f" else 0


def test_results_of_the_newest_python_agree_with_those_of_this_environment(results_of_newest, compute):
    expected, actual = arrays_of(compute(sys.executable)), arrays_of(results_of_newest)
    assert {"dynamical/fit.h5:layers/velocity", "stochastic/analyses.h5:graph/data"} <= expected.keys()
    assert actual.keys() == expected.keys()
    differences = {name: difference(actual[name], expected[name]) for name in expected}
    assert {name: value for name, value in differences.items() if not value <= tolerance_of(expected[name])} == {}


def test_a_difference_above_the_tolerance_is_noticed():
    values = np.array([1.0, np.nan, -3.0])
    assert difference(values, values) == 0
    assert difference(values * (1 + 1e-8), values) > tolerance_of(values)
    assert difference(values.astype(np.float32), values) == np.inf
    assert difference(np.array([1.0, 2.0, -3.0]), values) == np.inf
    assert difference(np.array(["a", "b"]), np.array(["a", "c"])) == np.inf
    assert difference(np.array([1, 2]), np.array([1, 3])) == np.inf


@pytest.mark.parametrize("environment", [None, "scvelo", "dynamo"])
def test_older_anndata_reads_files_of_the_newest(results_of_newest, environment):
    python = ENVIRONMENTS / environment / "bin/python" if environment else sys.executable
    if not Path(python).exists():
        pytest.skip(f"no environment {environment}: `make test-peers` builds it")
    code = "import anndata, sys; print('|'.join(anndata.read_h5ad(sys.argv[1]).obs['clusters']))"
    for name in ("counts.h5ad", "prepared.h5ad"):
        process = subprocess.run([python, "-c", code, results_of_newest / name], capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        with h5py.File(results_of_newest / name) as file:
            clusters = file["obs/clusters/categories"].asstr()[()][file["obs/clusters/codes"][()]]
        assert process.stdout.strip() == "|".join(clusters)
