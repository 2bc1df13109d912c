"""Each model, end to end on a small simulation: through Snakemake in both kinds of environments, and by itself."""

import json
import os
import shutil
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from described import DESCRIPTIONS, ROOT, is_installed

pytestmark = pytest.mark.methods

STANDINS = ROOT / "tests/deployment/standins"


@pytest.fixture(scope="session")
def installed():
    return sorted(filter(is_installed, DESCRIPTIONS))


@pytest.fixture(scope="session")
def results(installed, small_config, run_workflow, tmp_path_factory):
    """Results of all installed models, in the environments that make installed."""
    folder = tmp_path_factory.mktemp("models")
    run_workflow(config_of(installed, small_config), folder, "--keep-going")
    return folder / "results/demo"


def config_of(names, small_config):
    return small_config(
        methods={"dynamical": {}} | {name: DESCRIPTIONS[name].get("smoke", {}) for name in names},
        figures={"draw": ["stream", "phase_portraits"], "panel_size": 2, "dpi": 50},
    )


def test_a_model_gives_a_whole_result(results, model):
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


def test_samples_are_scored(results, model):
    cells = pd.read_csv(results / model / "cells.csv", index_col="cell")
    options = DESCRIPTIONS[model]["properties"]
    n_samples = DESCRIPTIONS[model].get("smoke", {}).get("n_samples", options.get("n_samples", {}).get("default", 0))
    assert ("velocity_resultant" in cells) == (n_samples > 1)


@pytest.fixture(scope="module")
def runs(run_model, tmp_path_factory):
    """Function that returns three runs of a model, with seeds 0, 0 and 1: the folder of each, and its arrays."""
    known = {}

    def run(name):
        if name not in known:
            folders = [tmp_path_factory.mktemp(name) for _ in range(3)]
            known[name] = [
                (folder, run_model(name, folder, random_state=seed))
                for folder, seed in zip(folders, (0, 0, 1), strict=True)
            ]
        return known[name]

    return run


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(runs, model):
    (_, first), (_, second), (_, other) = runs(model)
    for place in first:
        np.testing.assert_array_equal(first[place], second[place], err_msg=place)
    is_seeded = DESCRIPTIONS[model].get("seeded", True)
    differs = not np.array_equal(first["layers/velocity"], other["layers/velocity"])
    assert differs == is_seeded, "if the model draws nothing, say `seeded: false` in its description"


def test_nothing_is_written_but_where_it_belongs(runs, model):
    for folder, _ in runs(model):
        assert {path.name for path in folder.iterdir()} == {"model", "model.h5", "samples.h5"}


def test_it_runs_in_an_environment_that_snakemake_makes(model, small_config, run_workflow, tmp_path, monkeypatch):
    if shutil.which("conda") is None:
        # which stands in for it where there is none: an environment is a venv of what the yaml says
        folder = tmp_path / "prefix/bin"
        folder.mkdir(parents=True)
        for file in ("conda", "activate"):
            shutil.copy(STANDINS / file, folder)
        monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    fit = f"results/demo/{model}/fit.h5"
    process = run_workflow(config_of([model], small_config), tmp_path, "--sdm", "conda", "--", fit)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / fit).exists()
