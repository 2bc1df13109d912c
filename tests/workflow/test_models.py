"""A model of another group is three files: here a small one, in the Python environment of the tests."""

import json
import shutil
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]

PROGRAM = '''
"""Velocity by a slope through the origin, with posterior samples."""

import numpy as np


def fit(cells, *, folder, random_state=0, n_samples=3, noise=0.1, trouble=""):
    if trouble:
        raise ValueError(trouble)
    rng = np.random.default_rng(random_state)
    fitted = cells.var_names[1:]
    spliced, unspliced = (cells[:, fitted].layers[layer] for layer in ("Ms", "Mu"))
    velocity = unspliced - (spliced * unspliced).sum(0) / (spliced**2).sum(0) * spliced
    spread = noise * velocity.std(0)
    (folder / "model.txt").write_text("a model")
    return {
        "genes": fitted,
        "layers": {"velocity": velocity},
        "var": {"velocity_genes": spread > 0},
        "obs": {"time": spliced[:, 0], "counts": np.asarray(cells.layers["raw_spliced"].sum(1)).ravel()},
        "obsm": {"X_toy": spliced[:, :3]},
        "samples": (velocity + spread * rng.normal(size=velocity.shape) for _ in range(n_samples)),
        "history": {"loss": [2.0, 1.0]},
    }
'''
DESCRIPTION = {
    "title": "A toy",
    "kind": "model",
    "description": "A slope through the origin.",
    "traits": {"n_layers": 1},
    "resources": {"megabytes": 100, "bytes_per_entry": 20, "seconds": 1, "seconds_per_entry": 1e-6},
    "properties": {
        "random_state": {"description": "Seed.", "type": "integer", "default": 0},
        "n_samples": {"description": "Samples.", "type": "integer", "default": 3},
        "noise": {"description": "Noise.", "type": "number", "minimum": 0, "default": 0.1},
        "trouble": {"description": "Error to raise.", "type": "string", "default": ""},
    },
}


@pytest.fixture(scope="module")
def snakefile(tmp_path_factory):
    """Return the Snakefile of a copy of the workflow with the model."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("workflow", "envs"):
        shutil.copytree(ROOT / folder, copy / folder)
    (copy / "workflow/scripts/models/toy.py").write_text(PROGRAM)
    (copy / "workflow/schemas/methods/toy.yaml").write_text(yaml.safe_dump(DESCRIPTION))
    (copy / "envs/toy.yaml").write_text(yaml.safe_dump({"dependencies": ["python=3.11", "pip"]}))
    (copy / ".envs").mkdir()
    (copy / ".envs/toy").symlink_to(sys.prefix)
    return copy / "workflow/Snakefile"


@pytest.fixture(scope="module")
def config(small_config):
    return small_config(
        methods={"steady_state": {}, "toy": {}, "other": {"method": "toy", "random_state": 1, "n_samples": 0}},
        trust={"refit_models": {"controls": ["permuted"]}},
        figures={"draw": ["stream", "confidence", "phase_portraits"], "panel_size": 2, "dpi": 50},
    )


@pytest.fixture(scope="module")
def results(snakefile, config, run_workflow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    process = run_workflow(config, folder, snakefile=snakefile)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results/demo"


def test_a_result_of_a_model_is_complete(results):
    result = anndata.read_h5ad(results / "toy/velocity.h5ad")
    assert {"velocity", "Ms", "Mu"} <= set(result.layers)
    assert {"X_toy", "velocity_umap"} <= set(result.obsm)
    assert {"model_time", "model_counts", "velocity_confidence", "velocity_pseudotime"} <= set(result.obs)
    assert result.var["velocity_genes"].sum() > 40
    assert f"numpy {np.__version__}" in result.uns["provenance"]["model_versions"]
    assert (results / "toy/model/model.txt").read_text() == "a model"
    assert pd.read_csv(results / "toy/model/history.csv")["loss"].tolist() == [2, 1]


def test_a_gene_that_the_model_left_out_has_a_reason(results):
    genes = pd.read_csv(results / "toy/genes.csv", index_col="gene")
    assert genes["reason"].dropna().tolist() == ["left out by the model"]
    assert not genes["velocity_genes"].iloc[0]


def test_the_model_reads_raw_counts(results):
    result = anndata.read_h5ad(results / "toy/velocity.h5ad")
    counts = anndata.read_h5ad(results / "counts.h5ad")[result.obs_names, result.var_names]
    np.testing.assert_array_equal(result.obs["model_counts"], np.ravel(counts.layers["spliced"].sum(axis=1)))


def test_posterior_samples_are_scored(results):
    cells = pd.read_csv(results / "toy/cells.csv", index_col="cell")
    assert cells["velocity_resultant"].between(0, 1).all()
    assert (cells["velocity_rayleigh_q"] >= cells["velocity_rayleigh_p"]).all()
    assert cells["velocity_cosine"].median() > 0.9
    assert "velocity_resultant" not in pd.read_csv(results / "other/cells.csv").columns


def test_the_model_is_fitted_to_the_requested_controls(results):
    controls = json.loads((results / "toy/negative_controls.json").read_text())
    assert controls["permuted"]["variation"] > 0
    assert "trust.refit_models.controls" in controls["thinned"]["reason"]
    assert "Not tried: cosine with half" in json.loads((results / "toy/trust.json").read_text())["words"]
    assert set(controls["methods"]) == {"steady_state", "stochastic", "dynamical"}
    checks = {check["name"]: check for check in json.loads((results / "toy/trust.json").read_text())["checks"]}
    assert checks["split-half coherence"]["value"] is not None
    assert checks["cosine with half of the counts"]["holds"] is None


def test_an_error_of_the_model_is_reported_by_the_run(results, snakefile, config, run_workflow):
    failing = {**config, "methods": {"toy": {"trouble": "no gene has both of its forms"}}}
    folder = results.parents[1]
    process = run_workflow(failing, folder, "results/demo/toy/fit.h5", snakefile=snakefile)
    assert process.returncode != 0
    output = process.stdout + process.stderr
    assert "no gene has both of its forms" in output
    assert "Traceback" in (folder / "logs/demo/toy/run_model.log").read_text()


def test_options_of_a_model_are_checked(snakefile, config, run_workflow, tmp_path):
    for options, message in (({"noise": -1}, "-1 is less than the minimum"), ({"nois": 1}, "did you mean 'noise'")):
        process = run_workflow({**config, "methods": {"toy": options}}, tmp_path, "--dry-run", snakefile=snakefile)
        assert process.returncode != 0
        assert message in process.stdout + process.stderr


def test_a_missing_environment_stops_the_run_before_its_first_job(snakefile, config, run_workflow, tmp_path):
    (snakefile.parents[1] / ".envs/toy").rename(snakefile.parents[1] / ".envs/away")
    try:
        process = run_workflow(config, tmp_path, "--dry-run", snakefile=snakefile)
    finally:
        (snakefile.parents[1] / ".envs/away").rename(snakefile.parents[1] / ".envs/toy")
    assert process.returncode != 0
    output = process.stdout + process.stderr
    assert "(A toy) needs an environment of its own: run `make .envs/toy/installed.lock`" in output
