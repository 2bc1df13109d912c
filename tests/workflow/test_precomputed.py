"""Files with precomputed velocities are tracked by content, and checked before the first job."""

import os

import pytest
from anndata import read_h5ad
from test_reruns import planned_rules
from veloshard.simulation import simulate_counts

FIT = "results/demo/mine/fit.h5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("precomputed")
    simulate_counts(seed=0, n_cells=100, n_genes=40).write_h5ad(folder / "demo.h5ad")
    (folder / "mine").mkdir()
    return folder


@pytest.fixture(scope="module")
def config(small_config):
    """Return a function that gives a config with some options of the method."""

    def with_options(**options):
        mine = {"method": "precomputed", "source": "mine/{dataset}.h5ad", "layer": "true_velocity"} | options
        return small_config(datasets={"demo": {"source": "demo.h5ad"}}, methods={"mine": mine})

    return with_options


@pytest.fixture(scope="module")
def finished(folder, config, run_workflow):
    """Return the folder of a finished import."""
    velocity = read_h5ad(folder / "demo.h5ad")
    velocity[::-1].copy().write_h5ad(folder / "mine/demo.h5ad")
    process = run_workflow(config(), folder, "--", FIT)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


def test_a_missing_file_is_an_error_before_the_first_job(folder, config, run_workflow):
    process = run_workflow(config(source="lost/{dataset}.h5ad"), folder, "--", FIT)
    assert process.returncode != 0
    assert "there is no file 'lost/demo.h5ad'" in process.stderr
    assert "Set methods.mine.source" in process.stderr


def test_a_source_must_be_given(folder, config, run_workflow):
    bare = config()
    del bare["methods"]["mine"]["source"]
    process = run_workflow(bare, folder, "--", FIT)
    assert process.returncode != 0
    assert "Config, methods.mine: 'source' is missing" in process.stderr


def test_a_changed_file_is_imported_again_but_not_a_touched_one(finished, config, run_workflow):
    path = finished / "mine/demo.h5ad"
    os.utime(path)
    assert planned_rules(run_workflow(config(), finished, "--dry-run", "--", FIT)) == set()
    assert planned_rules(run_workflow(config(units="minmax"), finished, "--dry-run", "--", FIT)) == {
        "import_precomputed"
    }
    velocity = read_h5ad(path)
    velocity.layers["true_velocity"] *= 2
    velocity.write_h5ad(path)
    assert planned_rules(run_workflow(config(), finished, "--dry-run", "--", FIT)) == {"import_precomputed"}


def test_a_file_of_other_cells_is_an_error(finished, config, run_workflow):
    read_h5ad(finished / "mine/demo.h5ad")[3:].copy().write_h5ad(finished / "mine/demo.h5ad")
    process = run_workflow(config(), finished, "--", FIT)
    assert process.returncode != 0
    assert "3 of 100 cells are not in it" in process.stdout + process.stderr
