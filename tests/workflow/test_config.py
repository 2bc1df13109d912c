"""A wrong config stops the run before the first job, with a message that names the key and the remedy."""

import pytest


def set_option(*path, value):
    """Return a function that sets one option of a config, and creates the options above it."""

    def change(config):
        *parents, last = path
        for key in parents:
            config = config.setdefault(key, {})
        config[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_option("methods", "dynamical", "solvr", value="x"), ["methods.dynamical", "did you mean 'solver'?"]),
        (set_option("fates", value={"enabled": True}), ["fates", "Write fate_probabilities: true"]),
        (set_option("datasets", "other", value={"source": "nowhere.h5ad"}), ["'other'", "no file 'nowhere.h5ad'"]),
    ],
)  # fmt: skip
def test_wrong_config_stops_the_run_before_the_first_job(small_config, run_workflow, tmp_path, change, words):
    config = small_config()
    change(config)
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode != 0
    message = process.stdout + process.stderr
    assert [word for word in words if word not in message] == []
    assert not (tmp_path / "results").exists()


def test_a_config_needs_only_a_source_and_a_method(run_workflow, tmp_path):
    (tmp_path / "counts.h5ad").touch()
    config = {"datasets": {"mine": {"source": "counts.h5ad"}}, "methods": {"dynamical": None}}
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    # the datasets of the demo are not added
    assert "results/mine/" in process.stdout
    assert "results/demo/" not in process.stdout


def test_one_method_runs_with_two_settings(small_config, run_workflow, tmp_path):
    methods = {"dynamical": {}, "residual": {"method": "dynamical", "velocity": "residual"}}
    process = run_workflow(small_config(methods=methods), tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "results/demo/residual/velocity.h5ad" in process.stdout


def test_options_of_one_dataset_do_not_change_the_others(small_config, run_workflow, tmp_path):
    simulated = {"simulate": {"n_cells": 300, "n_genes": 60}}
    other = {**simulated, "figures": {"draw": ["grid"]}, "preprocess": {"n_pcs": 5}}
    config = small_config(datasets={"demo": simulated, "other": other}, methods={"steady_state": {}})
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "results/other/steady_state/figures/grid.png" in process.stdout
    assert "results/other/steady_state/figures/stream.png" not in process.stdout
    assert "results/demo/steady_state/figures/stream.png" in process.stdout
    assert "results/demo/steady_state/figures/grid.png" not in process.stdout


def test_optional_outputs_are_requested_by_true(small_config, run_workflow, tmp_path):
    config = small_config(methods={"steady_state": {}}, transition_matrix=True, dynamo={})
    config["datasets"]["demo"]["vector_field"] = True
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    for name in ("transition_matrix.h5ad", "dynamo.h5ad", "vector_field/cells.csv"):
        assert f"results/demo/steady_state/{name}" in process.stdout
