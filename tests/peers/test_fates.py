"""Tests of fate probabilities by CellRank where they are known, and of the exported transition matrix."""

import json
import os
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from veloshard.io.hdf5 import save_arrays

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        not (ROOT / ".envs/cellrank").exists(),
        reason="CellRank needs Python 3.12: with a python3.12 `make test-peers` builds .envs/cellrank",
    ),
]

# a chain of cells: number of cells between the ends, and cosine of the velocity with the step to the right
N_BETWEEN, COSINE = 99, 0.004


@pytest.fixture(scope="module")
def client():
    """Return a function that runs a client on a file, in an environment, with answers in a folder."""

    def run(program, environment, path, folder):
        python = ROOT / ".envs" / environment / "bin/python"
        process = subprocess.run(
            [python, "-I", CLIENTS / f"{program}.py", path, folder], capture_output=True, text=True, cwd=folder,
            env=os.environ | {"MPLBACKEND": "Agg"},
        )  # fmt: skip
        assert process.returncode == 0, process.stdout + process.stderr

    return run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a file written by export_transition_matrix for a chain of cells, each with its two neighbors."""
    folder = tmp_path_factory.mktemp("chain")
    n_cells = N_BETWEEN + 2
    steps = np.full(n_cells - 1, COSINE, dtype=np.float32)
    # without explicit zeros: a cell at an end has one neighbor
    graph = sparse.diags([-steps, steps], [-1, 1], format="csr", dtype=np.float32)
    self_transition = np.zeros(n_cells, dtype=np.float32)
    self_transition[5] = 0.1
    save_arrays(folder / "velocity_graph.h5", {"graph": graph, "self_transition": self_transition})
    names = [f"cell {number}" for number in range(n_cells)]
    cells = anndata.AnnData(
        obs=pd.DataFrame(index=names),
        var=pd.DataFrame(index=["gene"]),
        uns={"prepare": {"fingerprint": ""}},
        obsp={"distances": abs(graph), "connectivities": abs(graph)},
    )
    cells.write_h5ad(folder / "prepared.h5ad")
    job = SimpleNamespace(
        input=SimpleNamespace(prepared=folder / "prepared.h5ad", graph=folder / "velocity_graph.h5"),
        output=SimpleNamespace(transition_matrix=folder / "transition_matrix.h5ad"),
        rule="export_transition_matrix",
        threads=1,
        log=[],
    )
    runpy.run_path(str(ROOT / "workflow/scripts/export_transition_matrix.py"), init_globals={"snakemake": job})
    return folder / "transition_matrix.h5ad"


@pytest.fixture(scope="module")
def answers(client, exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cellrank")
    client("fates_in_cellrank", "cellrank", exported, folder)
    return json.loads((folder / "answers.json").read_text())


def test_exported_transition_matrix_prefers_the_direction_of_the_velocity(exported):
    transitions = anndata.read_h5ad(exported).obsp["transitions"]
    right, left, stay = np.exp(10 * COSINE), np.exp(-10 * COSINE), np.exp(10 * 0.1)
    assert transitions.dtype == np.float32
    np.testing.assert_allclose(
        transitions[3].toarray()[0, [2, 3, 4]], np.array([left, 0, right]) / (left + right), rtol=1e-6
    )
    total = left + stay + right
    np.testing.assert_allclose(transitions[5].toarray()[0, [4, 5, 6]], np.array([left, stay, right]) / total, rtol=1e-6)
    np.testing.assert_allclose(transitions.sum(axis=1), 1, rtol=1e-6)


def test_fate_probabilities_of_a_chain_solve_the_gamblers_ruin(answers):
    # With probability p of a step to the right and q to the left, cell i of n ends at the right with probability
    # (1 - (q/p)^i) / (1 - (q/p)^n). Self-transitions do not change it.
    ratio = np.exp(-20 * COSINE)
    steps = np.arange(N_BETWEEN + 2)
    right = (1 - ratio**steps) / (1 - ratio ** (N_BETWEEN + 1))
    # the transition matrix is in single precision
    np.testing.assert_allclose(answers["right"], right, atol=1e-5)
    np.testing.assert_allclose(answers["left"], 1 - right, atol=1e-5)
    assert answers["cells"] == [f"cell {number}" for number in steps]


def test_lineage_drivers_correlate_with_a_fate(answers):
    table = pd.DataFrame(answers["drivers"]).set_index(["fate", "gene"])
    assert table.loc[("right", "increasing"), "correlation"] == pytest.approx(1, abs=1e-3)
    assert table.loc[("left", "increasing"), "correlation"] == pytest.approx(-1, abs=1e-3)
    assert table.loc[("left", "decreasing"), "correlation"] == pytest.approx(1, abs=1e-3)
    assert table.loc["right"].index[0] == "increasing"
    assert np.isnan(table.loc[("right", "constant"), "correlation"].astype(float))


def test_p_of_lineage_drivers_is_by_fisher_and_q_by_benjamini_hochberg(answers):
    table = pd.DataFrame(answers["drivers"]).set_index(["fate", "gene"])
    expected = np.corrcoef(answers["right"], np.arange(N_BETWEEN + 2) % 2)[0, 1]
    alternating = table.loc[("right", "alternating")]
    assert alternating["correlation"] == pytest.approx(expected)
    p = 2 * norm.sf(abs(np.arctanh(expected)) * np.sqrt(N_BETWEEN + 2 - 3))
    assert alternating["p"] == pytest.approx(p, rel=1e-6)
    # the correction does not change the largest p
    assert alternating["q"] == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("misspelled", ["no cluster 'rigth'", "found: between, left, right", "terminal_states"]),
        ("disconnected", ["5 cells (such as cell 0) are connected to no terminal state"]),
        ("single", ["fate probabilities need two", "Name terminal_states"]),
        ("none", ["CellRank found no states", "Name terminal_states", "fate_probabilities.n_states"]),
    ],
)
def test_failure_is_explained(answers, case, expected):
    for part in expected:
        assert part in answers["messages"][case]


@pytest.fixture(scope="module")
def run(small_config, run_workflow, tmp_path_factory):
    """Run the workflow on simulated data without named terminal states; return folder and a function to rerun it."""
    folder = tmp_path_factory.mktemp("fates")
    config = small_config(
        datasets={
            "demo": {"simulate": {"n_cells": 1000, "n_genes": 120}, "clusters": "clusters", "root": "Progenitor"}
        },
        methods={"stochastic": {}},
        fate_probabilities=True,
        transition_matrix=True,
        genes_per_shard=1000,
        graph={},
        figures={"draw": []},
    )
    process = run_workflow(config, folder)
    assert process.returncode == 0, process.stdout + process.stderr

    def rerun(*arguments, root="Progenitor", **changes):
        demo = config["datasets"]["demo"] | {"root": root}
        return run_workflow(config | {"datasets": {"demo": demo}} | changes, folder, *arguments)

    return SimpleNamespace(folder=folder, result=folder / "results/demo/stochastic", rerun=rerun)


@pytest.fixture(scope="module", params=["inferred", "named"])
def result(request, run, tmp_path_factory):
    """Return fate probabilities of the two fates, and the truth, with inferred and with named terminal states."""
    folder = run.result
    if request.param == "named":
        folder = tmp_path_factory.mktemp("named")
        options = {"velocity_weight": 0.8, "clusters": "clusters", "terminal_states": ["Fate A", "Fate B"]}
        subprocess.run(
            [
                ROOT / ".envs/cellrank/bin/python", "-I", ROOT / "workflow/scripts/compute_fate_probabilities.py",
                "--result", run.result / "velocity.h5ad", "--options", json.dumps(options),
                "--fate-probabilities", "fate_probabilities.csv", "--lineage-drivers", "lineage_drivers.csv",
                "--summary", "fate_summary.json",
            ],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    fates = pd.read_csv(folder / "fate_probabilities.csv", index_col="cell")
    assert len(fates.columns) == 2
    truth = anndata.read_h5ad(run.folder / "results/demo/simulated.h5ad")
    toward_a = fates[next(name for name in fates if name.startswith("Fate A"))]
    return SimpleNamespace(
        folder=folder, fates=fates, cells=truth.obs.loc[fates.index], genes=truth.var, toward_a=toward_a
    )


def test_fate_probabilities_of_a_cell_sum_to_one(result):
    np.testing.assert_allclose(result.fates.sum(axis=1), 1, atol=1e-6)
    assert result.fates.min().min() >= 0


def test_early_cells_of_a_branch_favor_their_true_fate(result):
    # without the clusters at the ends, which may be terminal themselves
    early = result.cells["clusters"].isin(["Fate A early", "Fate B early"])
    lineage = result.cells["lineage"][early]
    # 2000 cells and 400 genes give 0.987
    assert roc_auc_score(lineage == "Fate A", result.toward_a[early]) > 0.95


def test_cells_of_the_trunk_are_undecided(result):
    trunk = result.toward_a[result.cells["lineage"] == "Trunk"]
    assert trunk.between(0.25, 0.75).all()
    ends = result.toward_a[result.cells["clusters"].isin(["Fate A", "Fate B"])]
    assert ((ends > 0.9) | (ends < 0.1)).mean() > 0.95


def test_lineage_drivers_are_genes_that_switch_in_one_fate(result):
    for fate, drivers in pd.read_csv(result.folder / "lineage_drivers.csv").groupby("fate"):
        assert drivers["correlation"].is_monotonic_decreasing
        # a gene that decreases in the other fate also correlates with this one
        assert result.genes["fate"][drivers["gene"][:5]].isin(["Fate A", "Fate B"]).all()
        increasing = result.genes["kind"][drivers["gene"][:5]].isin(["up", "late", "up_down"])
        assert (result.genes["fate"][drivers["gene"][:5]][increasing.to_numpy()] == fate[: len("Fate A")]).all()


def test_summary_names_the_states(result):
    summary = json.loads((result.folder / "fate_summary.json").read_text())
    assert list(summary["terminal_states"]) == list(result.fates.columns)
    for fate, cells in summary["terminal_states"].items():
        assert (result.fates.loc[cells, fate] == 1).all()


def test_fate_probabilities_are_reproducible_and_not_computed_twice(run):
    files = [run.result / name for name in ("fate_probabilities.csv", "lineage_drivers.csv", "fate_summary.json")]
    before = [file.read_bytes() for file in files]
    assert "Nothing to be done" in run.rerun().stderr
    process = run.rerun("--forcerun", "compute_fate_probabilities")
    assert process.returncode == 0, process.stderr
    assert [file.read_bytes() for file in files] == before


def test_log_has_the_output_of_the_program(run):
    assert "macrostates" in (run.folder / "logs/demo/stochastic/compute_fate_probabilities.log").read_text()


def test_transition_matrix_equals_that_of_scvelo(run, client, tmp_path):
    client("transitions_in_scvelo", "scvelo", run.result / "velocity.h5ad", tmp_path)
    ours = anndata.read_h5ad(run.result / "transition_matrix.h5ad")
    with h5py.File(run.result / "velocity.h5ad") as file:
        assert list(ours.obs_names) == list(file["obs/_index"].asstr())
    difference = abs(ours.obsp["transitions"] - sparse.load_npz(tmp_path / "transitions.npz"))
    assert difference.max() < 1e-5


# last, because it deletes the results
def test_reason_of_a_failure_is_printed(run):
    # one of the two macrostates is declared initial
    process = run.rerun(root="Fate A", fate_probabilities={"n_states": 2})
    assert process.returncode != 0
    assert "fate probabilities need two. Name terminal_states of the dataset" in process.stdout + process.stderr
