"""A config that cannot be right stops the run before any job, in words that help to mend it."""

import pytest


def wrong(*path, value):
    """Function that changes one entry of a config, creating what leads to it."""

    def change(config):
        *parents, last = path
        for key in parents:
            config = config.setdefault(key, {})
        config[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wrong("datasets", "demo", "cluster", value="x"), ["datasets.demo", "'cluster'", "did you mean 'clusters'?"]),
        (wrong("methods", "dynamical", "solvr", value="x"), ["methods.dynamical", "did you mean 'solver'?"]),
        (wrong("methods", "dynamical", "solver", value="compatable"), ["solver", "did you mean 'compatible'?"]),
        (wrong("methods", "dynamicl", value={}), ["'dynamicl' is unknown", "did you mean 'dynamical'?"]),
        (wrong("methods", "steady_state", "percentile", value=195), ["steady_state.percentile", "maximum of 100"]),
        (wrong("preproces", value={}), ["top level", "did you mean 'preprocess'?"]),
        (wrong("shards", value=0), ["shards", "less than the minimum of 1"]),
        (wrong("shards", value="four"), ["shards", "'four'", "integer"]),
        (wrong("figures", "draw", value=["streem"]), ["figures.draw.0", "did you mean 'stream'?"]),
        (wrong("datasets", "other", value={"clusters": "x"}), ["datasets.other", "source or samples or simulate"]),
        (wrong("datasets", "a b", value={"simulate": {}}), ["'a b'"]),
        (wrong("datasets", value={}), ["datasets"]),
        (wrong("datasets", "other", value={"source": "nowhere.h5ad"}), ["'other'", "no file 'nowhere.h5ad'"]),
    ],
)  # fmt: skip
def test_wrong_config_stops_the_run_in_words_that_help(small_config, run_workflow, tmp_path, change, words):
    config = small_config()
    change(config)
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode != 0
    message = process.stdout + process.stderr
    assert [word for word in words if word not in message] == []
    assert not (tmp_path / "results").exists()


def test_config_may_be_as_short_as_source_and_method(run_workflow, tmp_path):
    (tmp_path / "counts.h5ad").touch()
    config = {"datasets": {"mine": {"source": "counts.h5ad"}}, "methods": {"dynamical": None}}
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    # nothing of the demo comes along
    assert "results/mine/" in process.stdout
    assert "results/demo/" not in process.stdout


def test_one_method_runs_with_two_settings(small_config, run_workflow, tmp_path):
    methods = {"dynamical": {}, "residual": {"method": "dynamical", "velocity": "residual"}}
    process = run_workflow(small_config(methods=methods), tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "results/demo/residual/velocity.h5ad" in process.stdout
