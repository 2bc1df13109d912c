"""Each model, end to end on a small simulation: by Snakemake in both kinds of environments, and without Snakemake."""

import json
import os
import shutil
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from support.models import DESCRIPTIONS, ROOT, is_installed

pytestmark = pytest.mark.methods

STANDINS = ROOT / "tests/deployment/standins"


@pytest.fixture(scope="session")
def installed():
    return sorted(filter(is_installed, DESCRIPTIONS))


@pytest.fixture(scope="session")
def results(installed, small_config, run_workflow, tmp_path_factory):
    """Return the folder with results of all installed models, in the environments that `make` installed."""
    folder = tmp_path_factory.mktemp("models")
    run_workflow(config_of(installed, small_config), folder, "--keep-going")
    return folder / "results/demo"


def config_of(names, small_config):
    """Return a config with the dynamical method and some models."""
    return small_config(
        methods={"dynamical": {}} | {name: DESCRIPTIONS[name].get("smoke", {}) for name in names},
        figures={"draw": ["stream", "phase_portraits"], "panel_size": 2, "dpi": 50},
    )


def test_result_of_a_model_is_complete(results, model):
    log = results.parents[1] / f"logs/demo/{model}/run_model.log"
    assert (results / model / "trust.json").exists(), log.read_text()
    result = anndata.read_h5ad(results / model / "velocity.h5ad")
    fitted = result.var["status"] == "ok"
    assert fitted.mean() > 0.3
    assert result.var["velocity_genes"].sum() >= 10
    velocity = result.layers["velocity"][:, fitted]
    assert np.isfinite(velocity).all()
    assert np.ptp(velocity) > 0
    assert json.loads(result.uns["provenance"]["options"])["method"]["method"] == model
    assert (results / model / "figures/stream.png").exists()


def test_posterior_draws_are_scored(results, model):
    cells = pd.read_csv(results / model / "cells.csv", index_col="cell")
    options = DESCRIPTIONS[model]["properties"]
    n_samples = DESCRIPTIONS[model].get("smoke", {}).get("n_samples", options.get("n_samples", {}).get("default", 0))
    assert ("velocity_resultant" in cells) == (n_samples > 1)


@pytest.fixture(scope="module")
def runs(run_model, tmp_path_factory):
    """Return a function that gives folder and arrays of three runs of a model, with the seeds 0, 0 and 1."""
    runs_of_model = {}

    def run(name):
        if name not in runs_of_model:
            folders = [tmp_path_factory.mktemp(name) for _ in range(3)]
            runs_of_model[name] = [
                (folder, run_model(name, folder, random_state=seed))
                for folder, seed in zip(folders, (0, 0, 1), strict=True)
            ]
        return runs_of_model[name]

    return run


def test_results_are_bitwise_identical_for_the_same_seed_and_differ_for_another(runs, model):
    (_, first), (_, second), (_, other) = runs(model)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    is_seeded = DESCRIPTIONS[model].get("seeded", True)
    differs = not np.array_equal(first["layers/velocity"], other["layers/velocity"])
    assert differs == is_seeded, "a deterministic model needs `seeded: false` in its description"


def test_only_the_output_files_are_written(runs, model):
    for folder, _ in runs(model):
        assert {path.name for path in folder.iterdir()} == {
            "model",
            "model_output.h5",
            "posterior_samples.h5",
        }


def test_model_runs_in_an_environment_that_snakemake_creates(model, small_config, run_workflow, tmp_path, monkeypatch):
    if shutil.which("conda") is None:
        # the stand-in for conda creates a venv with the packages of the yaml
        folder = tmp_path / "prefix/bin"
        folder.mkdir(parents=True)
        for file in ("conda", "activate"):
            shutil.copy(STANDINS / file, folder)
        monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    fit = f"results/demo/{model}/fit.h5"
    process = run_workflow(config_of([model], small_config), tmp_path, "--sdm", "conda", "--", fit)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / fit).exists()
