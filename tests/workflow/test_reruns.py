"""A second run does what a change touches, and nothing else."""

import re
import shutil

import pytest

FIT = {"fit_genes", "merge_fits"}
GRAPH = {"build_graph", "merge_graphs"}
ENDS = {"assemble_result", "draw_figure"}


def planned_rules(process):
    """Rules that a dry run would run, but for the last that only asks for files."""
    assert process.returncode == 0, process.stdout + process.stderr
    table = re.search(r"Job stats:\n.*\n[- ]+\n(.*?)\n\n", process.stdout, flags=re.DOTALL)
    rules = {line.split()[0] for line in table[1].splitlines()} if table else set()
    return rules - {"all", "total"}


@pytest.fixture(scope="module")
def plan(small_run, small_config, run_workflow):
    """Function that says what a run with a changed config would do to finished results."""

    def planned(**changes):
        # a dry run changes nothing, so the folder of the finished run may serve
        return planned_rules(run_workflow(small_config(**changes), small_run.parent, "--dry-run"))

    return planned


def dataset(**changes):
    return {
        "demo": {"simulate": {"n_cells": 300, "n_genes": 60}, "clusters": "clusters", "root": "Progenitor"} | changes
    }


def test_nothing_to_do_after_a_run(plan):
    assert plan() == set()


def test_a_look_of_figures_redraws_them_only(plan, small_config):
    assert plan(figures=small_config()["figures"] | {"font_size": 7}) == {"draw_figure"}


def test_another_root_orders_the_cells_again_and_fits_nothing(plan):
    planned = plan(datasets=dataset(root="Fate A"))
    assert {"check_options", "order_cells", "assemble_result"} <= planned
    assert planned.isdisjoint(FIT | GRAPH | {"ingest_counts", "prepare_data", "embed_cells", "project_velocity"})


def test_another_column_of_clusters_fits_nothing(plan):
    planned = plan(datasets=dataset(clusters="lineage", root="root"))
    assert {"check_options", "summarize_quality", "order_cells"} <= planned
    assert planned.isdisjoint(FIT | GRAPH | {"ingest_counts", "prepare_data", "embed_cells"})


def test_an_option_of_the_graph_keeps_the_fits(plan):
    planned = plan(graph={"cells_per_shard": 120, "variance_stabilization": True})
    assert "build_graph" in planned
    assert planned.isdisjoint(FIT | {"prepare_data", "score_confidence"})


def test_an_option_of_one_method_keeps_the_others(plan, small_config, run_workflow, small_run):
    methods = small_config()["methods"] | {"steady_state": {"percentile": 90}}
    process = run_workflow(small_config(methods=methods), small_run.parent, "--dry-run")
    assert "fit_genes" in planned_rules(process)
    assert "results/demo/steady_state/shards" in process.stdout
    assert "output: results/demo/dynamical" not in process.stdout


def test_another_dataset_leaves_the_first_alone(small_config, run_workflow, small_run):
    datasets = dataset() | {"other": {"simulate": {"n_cells": 200, "n_genes": 50}}}
    process = run_workflow(small_config(datasets=datasets), small_run.parent, "--dry-run")
    assert "fit_genes" in planned_rules(process)
    assert "output: results/demo/" not in process.stdout


def test_wrong_input_stops_before_the_fit_and_leaves_results_alone(small_run, small_config, run_workflow, tmp_path):
    shutil.copytree(small_run.parent, tmp_path / "run", copy_function=shutil.copy2)
    results = sorted((tmp_path / "run/results/demo").rglob("*/velocity.h5ad"))
    before = [path.read_bytes() for path in results]
    process = run_workflow(small_config(datasets=dataset(root="Progenitr")), tmp_path / "run")
    message = process.stdout + process.stderr
    assert process.returncode != 0
    assert "root 'Progenitr' is not among the clusters" in message
    assert "did you mean 'Progenitor'?" in message
    assert "Traceback" not in message
    assert before == [path.read_bytes() for path in results]
    # and the right config finds everything as it was
    process = run_workflow(small_config(), tmp_path / "run", "--dry-run")
    assert planned_rules(process).isdisjoint(FIT | GRAPH | {"ingest_counts", "prepare_data", "embed_cells"})
