"""Another run reruns the jobs that a change affects, and no others."""

import re
import shutil
from pathlib import Path

import h5py
import pytest
from anndata import read_h5ad
from test_inputs import write_triples

ROOT = Path(__file__).parents[2]

FIT = {"fit_genes", "merge_fits"}
GRAPH = {"compute_velocity_graph", "merge_velocity_graph"}
ENDS = {"assemble_result", "draw_figure"}
# with at least two methods
COMPARED = {"compare_methods", "summarize_methods", "draw_comparison"}
AFTER_GRAPH = {"compute_velocity_embedding", "compute_pseudotime", "compute_paga", "compute_verdict"} | ENDS
AFTER_FIT = GRAPH | {"compute_confidence", "rank_genes"} | AFTER_GRAPH
# of methods that fit curves
KINETICS = {"test_differential_kinetics"}
PREPARATION = {
    "ingest_counts", "check_options", "prepare_data", "summarize_quality", "compute_embedding", "score_cell_cycle",
}  # fmt: skip
ALL = PREPARATION | FIT | AFTER_FIT | {"run_negative_controls"}


def planned_rules(process):
    """Return the rules that a dry run would run, without `all`."""
    assert process.returncode == 0, process.stdout + process.stderr
    table = re.search(r"Job stats:\n.*\n[- ]+\n(.*?)\n\n", process.stdout, flags=re.DOTALL)
    rules = {line.split()[0] for line in table[1].splitlines()} if table else set()
    return rules - {"all", "total"}


@pytest.fixture(scope="module")
def plan(small_run, small_config, run_workflow):
    """Return a function that gives the rules that a run with a changed config would run."""

    def planned(**changes):
        # a dry run does not change the folder of the finished run
        return planned_rules(run_workflow(small_config(**changes), small_run.parent, "--dry-run"))

    return planned


def dataset(**changes):
    return {
        "demo": {"simulate": {"n_cells": 300, "n_genes": 60}, "clusters": "clusters", "root": "Progenitor"} | changes
    }


def test_nothing_is_planned_after_a_run(plan):
    assert plan() == set()


def test_a_style_option_redraws_only_figures(plan, small_config):
    assert plan(figures=small_config()["figures"] | {"font_size": 7}) == {
        "draw_figure",
        "draw_comparison",
    }


def test_another_solver_reruns_the_fit_and_later_rules(small_config, plan):
    assert plan(methods=small_config()["methods"] | {"dynamical": {"solver": "scvelo"}}) == {
        "compile_fit",
        *FIT,
        *KINETICS,
        *AFTER_FIT,
        *COMPARED,
        "run_negative_controls",
    }


@pytest.mark.parametrize("split", [{"genes_per_shard": 30}, {"genes_per_shard": 7}])
def test_another_number_of_shards_reruns_the_fit(plan, split):
    # test_bitwise_identical.py shows that results are the same
    assert plan(**split) == FIT | KINETICS | AFTER_FIT | COMPARED


def test_shards_are_deleted_after_a_run(small_run):
    assert not [path for path in small_run.rglob("*.h5") if "shards" in path.parent.name]


@pytest.fixture
def copied(tmp_path, small_run, small_config, run_workflow):
    """Return a function that changes a file in a copy of the workflow, and gives the rules that would then run."""
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name)

    def changed(name, change):
        change(tmp_path / "workflow/scripts/veloshard" / name)
        process = run_workflow(small_config(), small_run.parent, "--dry-run", snakefile=tmp_path / "workflow/Snakefile")
        return planned_rules(process), process.stdout

    return changed


def edit(path):
    path.write_text(path.read_text() + "\n\nNEW = 1\n", encoding="utf-8")


def comment(path):
    path.write_text(path.read_text() + "\n\n# a comment\n", encoding="utf-8")


@pytest.mark.parametrize("change", [Path.touch, comment])
def test_a_touched_or_commented_kernel_reruns_nothing(copied, change):
    assert copied("kinetics/methods/dynamical/mixture.py", change)[0] == set()


def test_an_edited_kernel_reruns_the_fits_that_use_it(copied):
    planned, output = copied("kinetics/methods/dynamical/mixture.py", edit)
    assert planned == {"compile_fit", *FIT, *KINETICS, *AFTER_FIT, *COMPARED, "run_negative_controls"}
    # of other methods, only the comparison with this one is rerun
    other = set(re.findall(r"output: results/demo/steady_state/(\S+)", output))
    assert other == {"negative_controls.json", "trust.json"}


def test_an_edited_figure_is_redrawn(copied):
    planned, output = copied("plotting/result/heatmap.py", edit)
    assert planned == {"draw_figure"}
    assert "output: results/demo/steady_state/figures/stream" not in output


@pytest.fixture(scope="module")
def two_sources(small_run, small_config, run_workflow, tmp_path_factory):
    """Folder and config of a finished run on a folder of matrices, `a`, and a file, `b`."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copy(small_run / "demo/counts.h5ad", folder / "b.h5ad")
    # a folder of links, as other workflows leave behind
    write_triples(folder / "made", read_h5ad(folder / "b.h5ad"))
    (folder / "a").mkdir()
    for layer in ("spliced", "unspliced"):
        (folder / "a" / layer).symlink_to(folder / "made" / layer)
    config = small_config(
        datasets={"a": {"source": "a"}, "b": {"source": "b.h5ad", "clusters": "clusters"}},
        methods={"steady_state": {}},
        figures={"draw": ["grid"], "dpi": 50},
        genes_per_shard=1000,
    )
    process = run_workflow(config, folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder, config


def test_a_touched_source_reruns_nothing(two_sources, run_workflow):
    folder, config = two_sources
    for path in ("b.h5ad", "a", "made/spliced/matrix.mtx"):
        (folder / path).touch()
    assert planned_rules(run_workflow(config, folder, "--dry-run")) == set()


def test_a_changed_count_reruns_its_dataset_and_no_other(two_sources, run_workflow):
    folder, config = two_sources
    with h5py.File(folder / "b.h5ad", "r+") as file:
        file["layers/spliced/data"][0] += 1
    process = run_workflow(config, folder, "--dry-run")
    # shards are planned once the numbers of genes and cells are known
    assert planned_rules(process) == ALL - {"fit_genes", "compute_velocity_graph"}
    assert "output: results/a/" not in process.stdout


def test_a_changed_count_is_detected_through_links(two_sources, run_workflow):
    folder, config = two_sources
    matrix = folder / "made/spliced/matrix.mtx"
    lines = matrix.read_text().splitlines()
    row, column, count = lines[-1].split()
    matrix.write_text("\n".join([*lines[:-1], f"{row} {column} {int(count) + 1}"]) + "\n")
    process = run_workflow(config, folder, "--dry-run")
    assert "output: results/a/counts.h5ad" in process.stdout


def test_another_config_leaves_finished_results_alone(small_config, run_workflow, small_run, tmp_path):
    shutil.copytree(small_run.parent, tmp_path / "run", copy_function=shutil.copy2)
    # the other config compiles its own kernels
    other = small_config(datasets={"other": dataset()["demo"]}, methods={"steady_state": {"percentile": 90}})
    process = run_workflow(other, tmp_path / "run", "--until", "compile_fit")
    assert process.returncode == 0, process.stdout + process.stderr
    assert planned_rules(run_workflow(small_config(), tmp_path / "run", "--dry-run")) == set()


def test_an_expected_transition_reruns_checks_and_verdicts(plan):
    checked = {"check_options", "summarize_quality"}
    planned = plan(datasets=dataset(expected=[["Progenitor", "Intermediate"]]))
    assert planned == checked | {"compute_verdict", "summarize_methods"} | ENDS


def test_another_bound_of_differential_kinetics_keeps_the_fits_and_figures_without_it(plan):
    assert plan(kinetics={"max_q": 0.2}) == KINETICS | {"assemble_result"}


def test_a_refit_reruns_all_rules_after_the_fit(plan):
    planned = plan(kinetics={"refit": True})
    assert {"refit_genes", *AFTER_FIT, *COMPARED} == planned


def test_another_order_of_keys_reruns_nothing(small_run, small_config, run_workflow):
    def reversed_nest(nest):
        return {k: reversed_nest(v) for k, v in reversed(nest.items())} if isinstance(nest, dict) else nest

    process = run_workflow(reversed_nest(small_config()), small_run.parent, "--dry-run")
    assert planned_rules(process) == set()


def test_another_root_reruns_pseudotime_and_keeps_the_fits(plan):
    planned = plan(datasets=dataset(root="Fate A"))
    assert {"check_options", "compute_pseudotime", "assemble_result"} <= planned
    assert planned.isdisjoint(
        FIT | GRAPH | {"ingest_counts", "prepare_data", "compute_embedding", "compute_velocity_embedding"}
    )


def test_another_column_of_clusters_keeps_the_fits(plan):
    planned = plan(datasets=dataset(clusters="lineage", root="root"))
    assert {"check_options", "summarize_quality", "compute_pseudotime"} <= planned
    assert planned.isdisjoint(FIT | GRAPH | {"ingest_counts", "prepare_data", "compute_embedding"})


def test_an_option_of_the_graph_keeps_the_fits(plan):
    planned = plan(graph={"cells_per_shard": 120, "variance_stabilization": True})
    assert "compute_velocity_graph" in planned
    assert planned.isdisjoint(FIT | {"prepare_data", "compute_confidence"})


def test_scaled_genes_keep_the_fits(plan):
    planned = plan(graph={"cells_per_shard": 120, "scale_genes": True})
    assert {"compute_velocity_graph", "compute_confidence", "run_negative_controls"} <= planned
    assert planned.isdisjoint(FIT | {"prepare_data"})


def test_an_option_of_one_method_keeps_the_others(plan, small_config, run_workflow, small_run):
    methods = small_config()["methods"] | {"steady_state": {"percentile": 90}}
    process = run_workflow(small_config(methods=methods), small_run.parent, "--dry-run")
    assert "fit_genes" in planned_rules(process)
    assert "results/demo/steady_state/fit_shards" in process.stdout
    assert "output: results/demo/dynamical" not in process.stdout


def test_another_dataset_leaves_the_first_alone(small_config, run_workflow, small_run):
    datasets = dataset() | {"other": {"simulate": {"n_cells": 200, "n_genes": 50}}}
    process = run_workflow(small_config(datasets=datasets), small_run.parent, "--dry-run")
    # its shards are planned once its number of genes is known
    assert "merge_fits" in planned_rules(process)
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
    # with the right config, finished results are kept
    process = run_workflow(small_config(), tmp_path / "run", "--dry-run")
    assert planned_rules(process).isdisjoint(FIT | GRAPH | {"ingest_counts", "prepare_data", "compute_embedding"})
