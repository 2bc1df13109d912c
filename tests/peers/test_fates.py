"""Fates by CellRank where they are known, and the walk that other programs take."""

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
from veloshard import store

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        not (ROOT / ".envs/cellrank").exists(),
        reason="CellRank needs Python 3.12: with a python3.12 `make test-peers` builds .envs/cellrank",
    ),
]

# of a chain of cells: those between the ends, and the cosine of a step to the right
N_BETWEEN, COSINE = 99, 0.004


@pytest.fixture(scope="module")
def client():
    """Function that runs a client in the Python of an environment, on a file, for a folder."""

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
    """A file written by export_transitions of a chain of cells, each with its two neighbours."""
    folder = tmp_path_factory.mktemp("chain")
    n_cells = N_BETWEEN + 2
    steps = np.full(n_cells - 1, COSINE, dtype=np.float32)
    # the file holds no explicit zeros: neighbours at the ends are the one beside
    graph = sparse.diags([-steps, steps], [-1, 1], format="csr", dtype=np.float32)
    staying = np.zeros(n_cells, dtype=np.float32)
    staying[5] = 0.1
    store.save_arrays(folder / "graph.h5", {"graph": graph, "self_transition": staying})
    names = [f"cell {number}" for number in range(n_cells)]
    cells = anndata.AnnData(
        obs=pd.DataFrame(index=names),
        var=pd.DataFrame(index=["gene"]),
        uns={"prepare": {"fingerprint": ""}},
        obsp={"distances": abs(graph), "connectivities": abs(graph)},
    )
    cells.write_h5ad(folder / "prepared.h5ad")
    job = SimpleNamespace(
        input=SimpleNamespace(prepared=folder / "prepared.h5ad", graph=folder / "graph.h5"),
        output=[folder / "transitions.h5ad"], rule="export_transitions", threads=1, log=[],
    )  # fmt: skip
    runpy.run_path(str(ROOT / "workflow/scripts/export_transitions.py"), init_globals={"snakemake": job})
    return folder / "transitions.h5ad"


@pytest.fixture(scope="module")
def answers(client, exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cellrank")
    client("fates_in_cellrank", "cellrank", exported, folder)
    return json.loads((folder / "answers.json").read_text())


def test_exported_walk_prefers_the_way_of_the_velocity(exported):
    walk = anndata.read_h5ad(exported).obsp["transitions"]
    right, left, stay = np.exp(10 * COSINE), np.exp(-10 * COSINE), np.exp(10 * 0.1)
    assert walk.dtype == np.float32
    np.testing.assert_allclose(walk[3].toarray()[0, [2, 3, 4]], np.array([left, 0, right]) / (left + right), rtol=1e-6)
    total = left + stay + right
    np.testing.assert_allclose(walk[5].toarray()[0, [4, 5, 6]], np.array([left, stay, right]) / total, rtol=1e-6)
    np.testing.assert_allclose(walk.sum(axis=1), 1, rtol=1e-6)


def test_fates_of_a_chain_are_those_of_the_gamblers_ruin(answers):
    # a chance p of a step right and q left: 1 - (q/p)^i over 1 - (q/p)^n to be ruined on the right; staying is idle
    ratio = np.exp(-20 * COSINE)
    steps = np.arange(N_BETWEEN + 2)
    right = (1 - ratio**steps) / (1 - ratio ** (N_BETWEEN + 1))
    # single precision of the walk
    np.testing.assert_allclose(answers["right"], right, atol=1e-5)
    np.testing.assert_allclose(answers["left"], 1 - right, atol=1e-5)
    assert answers["cells"] == [f"cell {number}" for number in steps]


def test_drivers_are_the_genes_that_go_with_a_fate(answers):
    table = pd.DataFrame(answers["drivers"]).set_index(["fate", "gene"])
    assert table.loc[("right", "with"), "correlation"] == pytest.approx(1, abs=1e-3)
    assert table.loc[("left", "with"), "correlation"] == pytest.approx(-1, abs=1e-3)
    assert table.loc[("left", "against"), "correlation"] == pytest.approx(1, abs=1e-3)
    assert table.loc["right"].index[0] == "with"
    assert np.isnan(table.loc[("right", "constant"), "correlation"].astype(float))


def test_p_and_q_of_drivers_are_those_of_fisher_and_of_benjamini_and_hochberg(answers):
    table = pd.DataFrame(answers["drivers"]).set_index(["fate", "gene"])
    expected = np.corrcoef(answers["right"], np.arange(N_BETWEEN + 2) % 2)[0, 1]
    other = table.loc[("right", "other")]
    assert other["correlation"] == pytest.approx(expected)
    p = 2 * norm.sf(abs(np.arctanh(expected)) * np.sqrt(N_BETWEEN + 2 - 3))
    assert other["p"] == pytest.approx(p, rel=1e-6)
    # the largest of all p stays as it is
    assert other["q"] == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("misspelt", ["no cluster 'rigth'", "found: between, left, right", "terminal_states"]),
        ("apart", ["5 cells (such as cell 0) are connected to no terminal state"]),
        ("single", ["fates need two", "Name terminal_states"]),
        ("none", ["CellRank found no states", "Name terminal_states", "fates.n_states"]),
    ],
)
def test_what_cannot_be_done_is_said_in_words(answers, case, words):
    for part in words:
        assert part in answers["said"][case]


@pytest.fixture(scope="module")
def run(small_config, run_workflow, tmp_path_factory):
    """A run with fates of a simulation, terminal states being sought: its folder, and a function to run it again."""
    folder = tmp_path_factory.mktemp("fates")
    config = small_config(
        datasets={
            "demo": {"simulate": {"n_cells": 1000, "n_genes": 120}, "clusters": "clusters", "root": "Progenitor"}
        },
        methods={"stochastic": {}},
        fates={"enabled": True},
        transitions=True,
        shards=1,
        graph={},
        figures={"draw": []},
    )
    process = run_workflow(config, folder)
    assert process.returncode == 0, process.stdout + process.stderr

    def again(*arguments, root="Progenitor", **changes):
        demo = config["datasets"]["demo"] | {"root": root}
        return run_workflow(config | {"datasets": {"demo": demo}} | changes, folder, *arguments)

    return SimpleNamespace(folder=folder, result=folder / "results/demo/stochastic", again=again)


@pytest.fixture(scope="module", params=["sought", "named"])
def result(request, run, tmp_path_factory):
    """Fate probabilities of the two fates, and the truth; with terminal states sought, and named."""
    folder = run.result
    if request.param == "named":
        folder = tmp_path_factory.mktemp("named")
        options = {"velocity_weight": 0.8, "clusters": "clusters", "terminal_states": ["Fate A", "Fate B"]}
        subprocess.run(
            [
                ROOT / ".envs/cellrank/bin/python", "-I", ROOT / "workflow/scripts/compute_fates.py",
                "--result", run.result / "velocity.h5ad", "--options", json.dumps(options), "--fates", "fates.csv",
                "--drivers", "drivers.csv", "--summary", "fates.json",
            ],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    fates = pd.read_csv(folder / "fates.csv", index_col="cell")
    assert len(fates.columns) == 2
    truth = anndata.read_h5ad(run.folder / "results/demo/simulated.h5ad")
    toward_a = fates[next(name for name in fates if name.startswith("Fate A"))]
    return SimpleNamespace(
        folder=folder, fates=fates, cells=truth.obs.loc[fates.index], genes=truth.var, toward_a=toward_a
    )


def test_fates_of_a_cell_sum_to_one(result):
    np.testing.assert_allclose(result.fates.sum(axis=1), 1, atol=1e-6)
    assert result.fates.min().min() >= 0


def test_cells_that_have_just_branched_favour_their_true_fate(result):
    # most of the branch, and not the clusters of the ends, which may be terminal themselves
    early = result.cells["clusters"].isin(["Fate A early", "Fate B early"])
    lineage = result.cells["lineage"][early]
    # 2000 cells and 400 genes give 0.987
    assert roc_auc_score(lineage == "Fate A", result.toward_a[early]) > 0.95


def test_cells_of_the_trunk_are_undecided(result):
    trunk = result.toward_a[result.cells["lineage"] == "Trunk"]
    assert trunk.between(0.25, 0.75).all()
    ends = result.toward_a[result.cells["clusters"].isin(["Fate A", "Fate B"])]
    assert ((ends > 0.9) | (ends < 0.1)).mean() > 0.95


def test_drivers_of_a_fate_are_genes_that_are_switched_in_one_fate(result):
    for fate, drivers in pd.read_csv(result.folder / "drivers.csv").groupby("fate"):
        assert drivers["correlation"].is_monotonic_decreasing
        # one that falls in the other fate goes with this one as well
        assert result.genes["fate"][drivers["gene"][:5]].isin(["Fate A", "Fate B"]).all()
        rising = result.genes["kind"][drivers["gene"][:5]].isin(["up", "late", "up_down"])
        assert (result.genes["fate"][drivers["gene"][:5]][rising.to_numpy()] == fate[: len("Fate A")]).all()


def test_summary_names_the_states(result):
    summary = json.loads((result.folder / "fates.json").read_text())
    assert list(summary["terminal_states"]) == list(result.fates.columns)
    for fate, cells in summary["terminal_states"].items():
        assert (result.fates.loc[cells, fate] == 1).all()


def test_fates_have_the_same_bits_again_and_are_not_computed_twice(run):
    files = [run.result / name for name in ("fates.csv", "drivers.csv", "fates.json")]
    before = [file.read_bytes() for file in files]
    assert "Nothing to be done" in run.again().stderr
    process = run.again("--forcerun", "compute_fates")
    assert process.returncode == 0, process.stderr
    assert [file.read_bytes() for file in files] == before


def test_log_holds_what_the_program_writes(run):
    assert "macrostates" in (run.folder / "logs/demo/stochastic/compute_fates.log").read_text()


def test_scvelo_makes_the_same_walk(run, client, tmp_path):
    client("transitions_in_scvelo", "scvelo", run.result / "velocity.h5ad", tmp_path)
    ours = anndata.read_h5ad(run.result / "transitions.h5ad")
    with h5py.File(run.result / "velocity.h5ad") as file:
        assert list(ours.obs_names) == list(file["obs/_index"].asstr())
    difference = abs(ours.obsp["transitions"] - sparse.load_npz(tmp_path / "transitions.npz"))
    assert difference.max() < 1e-5


# last: it takes the results away
def test_program_that_fails_says_why_on_the_console(run):
    # of the two states found one is said to be the beginning
    process = run.again(root="Fate A", fates={"enabled": True, "n_states": 2})
    assert process.returncode != 0
    assert "fates need two. Name terminal_states of the dataset" in process.stdout + process.stderr
