"""Runs that fail for a bad verdict, and refits without clusters that have kinetics of their own."""

import shutil

import numpy as np
import pytest
from support.counts import unrelated_clusters
from veloshard.io.fits import load_differential_kinetics, load_fit_layer
from veloshard.io.hdf5 import load_arrays
from veloshard.io.results import open_result
from veloshard.io.text_files import load_json


@pytest.fixture(scope="module")
def unrelated(small_config, run_workflow, tmp_path_factory):
    """Return folder and process of a run on unrelated clusters that requires the verdict `doubtful`."""
    folder = tmp_path_factory.mktemp("unrelated")
    unrelated_clusters(n_cells=400, n_genes=80).write_h5ad(folder / "counts.h5ad")
    config = small_config(
        datasets={"types": {"source": "counts.h5ad", "clusters": "clusters"}},
        methods={"stochastic": {}},
        trust={"fail_below": "doubtful"},
        figures={"draw": ["quality"], "dpi": 50},
    )
    return folder, run_workflow(config, folder)


def test_unrelated_clusters_have_the_verdict_do_not_trust(unrelated):
    folder, _ = unrelated
    verdict = load_json(folder / "results/types/stochastic/trust.json")
    assert verdict["verdict"] == "do not trust"
    assert "coherence" in verdict["words"]


def test_a_run_with_a_worse_verdict_fails_after_all_results_are_written(unrelated):
    folder, process = unrelated
    assert process.returncode != 0
    assert "1 of 1 results are worse. results/types/stochastic/trust.json: do not trust" in process.stderr
    assert "Traceback" not in (folder / "logs/require_verdict.log").read_text()
    for name in ("velocity.h5ad", "trust.json", "figures/quality.png"):
        assert (folder / "results/types/stochastic" / name).exists()


def test_later_rules_read_the_refit(small_run, small_config, run_workflow, tmp_path):
    shutil.copytree(small_run.parent, tmp_path / "run", copy_function=shutil.copy2)
    config = small_config(methods={"dynamical": {}}, kinetics={"refit": True, "max_q": 0.9})
    process = run_workflow(config, tmp_path / "run", "--", "results/demo/dynamical/velocity.h5ad")
    assert process.returncode == 0, process.stdout + process.stderr
    folder = tmp_path / "run/results/demo/dynamical"
    _, _, differs = load_differential_kinetics(folder / "differential_kinetics.h5")
    assert differs.any()
    before, after = (load_fit_layer(folder / f"{name}.h5", "velocity") for name in ("fit", "refit"))
    changed = ~np.all((before == after) | np.isnan(before), axis=1)
    assert changed.any()
    assert not changed[~differs.any(axis=1)].any()
    with open_result(folder / "velocity.h5ad") as result:
        np.testing.assert_array_equal(result.layers["velocity"][:].T, after)
    assert (
        load_arrays(folder / "velocity_graph.h5")["graph"]
        != load_arrays(small_run / "demo/dynamical/velocity_graph.h5")["graph"]
    ).nnz
