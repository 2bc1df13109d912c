"""CellRank reads velocity.h5ad without changes and computes a transition matrix from it."""

from pathlib import Path

import h5py
import pytest

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        not (Path(__file__).parents[2] / ".envs" / "cellrank").exists(),
        reason="CellRank needs Python 3.12: with a python3.12 `make test-peers` builds .envs/cellrank",
    ),
]


@pytest.fixture(scope="module", params=["dynamical", "stochastic"])
def result(request, small_run):
    return small_run / "demo" / request.param / "velocity.h5ad"


@pytest.fixture(scope="module")
def answers(ask_client, result, tmp_path_factory):
    return ask_client("cellrank", result, tmp_path_factory.mktemp("cellrank"))


def test_transition_matrix_has_probabilities(answers):
    assert answers["smallest"] >= 0
    # rows have about 30 entries in double precision
    assert answers["largest_error_of_row_sums"] < 1e-9


def test_transition_matrix_is_sparse_over_all_cells(answers, result):
    with h5py.File(result) as file:
        n_cells = file["layers/velocity"].shape[0]
    assert answers["format"] == "csr"
    assert answers["shape"] == [n_cells, n_cells]


def test_transition_matrix_is_unchanged_after_writing(answers):
    assert answers["largest_difference_after_writing"] == 0
