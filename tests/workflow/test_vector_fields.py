"""Vector fields are computed for datasets that request them, with the requested analyses and no others."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from test_reruns import ENDS, FIT, GRAPH, dataset, planned_rules
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_annotations, load_pcs, load_prepared
from veloshard.vectorfield.dataset import ALL_CELLS, load_vector_field
from veloshard.vectorfield.sparsevfc import velocity_at

VECTOR_FIELD_RULES = {"learn_vector_field", "compute_vector_field_geometry", "compute_topography", "draw_vector_field"}
ANALYSIS_RULES = {"rank_regulators", "integrate_trajectories", "find_least_action_paths", "predict_perturbation"}
OPTIONS = {
    "regulation": ["Gene1", "Gene2", "Gene3"],
    "trajectories": {"clusters": ["Progenitor"], "n_cells": 2},
    "paths": [["Progenitor", "Fate A"]],
    "perturbations": {"less": {"Gene1": {"fold": 0.5}}, "none": {"Gene2": "knock_out"}},
}
PERTURBATIONS = {"less", "none"}


@pytest.fixture(scope="module")
def genes(small_run):
    return load_prepared(small_run / "demo/prepared.h5ad").genes


@pytest.fixture(scope="module")
def options(genes):
    """Return options of vector fields, with genes that were kept."""
    names = {f"Gene{number}": str(gene) for number, gene in enumerate(genes[:3], 1)}
    text = json.dumps(OPTIONS)
    for name, gene in names.items():
        text = text.replace(f'"{name}"', f'"{gene}"')
    return json.loads(text)


@pytest.fixture(scope="module")
def run(small_run, small_config, run_workflow, options, tmp_path_factory):
    """Return folder and process of a run without vector fields that then requests them for one method."""
    folder = tmp_path_factory.mktemp("fields") / "run"
    shutil.copytree(small_run.parent, folder, copy_function=shutil.copy2)
    config = small_config(datasets=dataset(vector_field=options), methods={"stochastic": {}})
    process = run_workflow(config, folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder, process


@pytest.fixture(scope="module")
def place(run):
    return run[0] / "results/demo/stochastic/vector_field"


def test_vector_fields_are_not_computed_by_default(small_run):
    assert not list(small_run.rglob("vector_field"))


def test_vector_fields_do_not_rerun_other_rules(run):
    ran = set()
    for line in run[1].stderr.splitlines() + run[1].stdout.splitlines():
        if line.startswith(("rule ", "localrule ", "checkpoint ")):
            ran.add(line.split()[1].rstrip(":"))
    assert ran - {"all"} == VECTOR_FIELD_RULES | ANALYSIS_RULES | {"check_vector_field_options"}


def test_every_table_and_figure_is_there(place):
    tables = [
        "cells",
        "genes",
        "fixed_points",
        "regulation",
        "trajectories",
        "least_action_paths",
        "least_action_path_genes",
    ]
    tables += [f"perturbations/{name}" for name in PERTURBATIONS]
    for name in tables:
        assert len(pd.read_csv(place / f"{name}.csv")) > 0, name
    figures = ["streamlines", "topography", "geometry", "regulation", "trajectories", "least_action_paths"]
    for name in [*figures, *(f"perturbation--{name}" for name in PERTURBATIONS)]:
        assert (place / f"figures/{name}.png").stat().st_size > 1000
        assert (place / f"figures/{name}.pdf").exists()


def test_the_vector_field_points_along_true_time(place, small_run):
    field, probability = load_vector_field(place / "vector_field_pca.h5")
    pcs, *_ = load_pcs(small_run / "demo/prepared.h5ad")
    assert probability.shape == (len(pcs),)
    time = load_annotations(small_run / "demo/prepared.h5ad").obs["true_time"].to_numpy()
    # direction in which true time increases
    gradient = np.linalg.lstsq(pcs - pcs.mean(axis=0), time - time.mean(), rcond=None)[0]
    assert np.mean(velocity_at(field, pcs) @ gradient > 0) > 0.8


def test_trajectories_leave_the_first_cluster(place, small_run):
    points = pd.read_csv(place / "trajectories.csv")
    assert points.groupby("cell", sort=False)["time"].agg(lambda times: times.is_monotonic_increasing).all()
    assert (points.groupby("cell")["nearest_cluster"].first() == "Progenitor").all()
    assert (points.groupby("cell")["nearest_cluster"].last() != "Progenitor").all()


def test_the_path_of_least_action_leads_from_cluster_to_cluster(place):
    path = pd.read_csv(place / "least_action_paths.csv")
    assert path["converged"].all()
    assert (path["action"] > 0).all()
    assert [path["nearest_cluster"].iloc[0], path["nearest_cluster"].iloc[-1]] == ["Progenitor", "Fate A"]


def test_a_knocked_out_gene_decreases(place, genes):
    effects = pd.read_csv(place / "perturbations/none.csv")
    all_cells = effects[effects["cluster"] == ALL_CELLS]
    assert all_cells["effect"].abs().is_monotonic_decreasing
    effect_of = all_cells.set_index("gene")["effect"]
    assert effect_of[genes[1]] < 0


def test_regulation_is_computed_for_the_requested_genes(place, options):
    arrays = load_arrays(place / "regulation.h5")
    assert arrays["genes"].tolist() == options["regulation"]
    assert arrays["jacobian"].shape == (len(arrays["groups"]), 3, 3)
    table = pd.read_csv(place / "regulation.csv").set_index(["cluster", "effector", "regulator"])["value"]
    first, second, _ = options["regulation"]
    assert table[(ALL_CELLS, first, second)] == pytest.approx(arrays["jacobian"][0, 0, 1])


def test_vector_fields_are_bitwise_identical_for_other_shards_and_threads(
    place, small_config, run_workflow, options, tmp_path
):
    config = small_config(
        datasets=dataset(vector_field=options),
        methods={"stochastic": {}},
        genes_per_shard=1000,
        graph={"cells_per_shard": 1000},
    )
    names = [
        "vector_field_pca.h5",
        "vector_field_embedding.h5",
        "cells.csv",
        "fixed_points.csv",
        "trajectories.csv",
        "perturbations/less.csv",
    ]
    folder = "results/demo/stochastic/vector_field"
    process = run_workflow(
        config, tmp_path, "--set-threads", "learn_vector_field=2", "--", *(f"{folder}/{name}" for name in names)
    )
    assert process.returncode == 0, process.stdout + process.stderr
    for name in names:
        assert (tmp_path / folder / name).read_bytes() == (place / name).read_bytes(), name


def test_another_perturbation_reruns_only_itself(run, small_config, run_workflow, options):
    changed = json.loads(json.dumps(options))
    changed["perturbations"]["less"] = {options["regulation"][0]: {"fold": 0.25}}
    config = small_config(datasets=dataset(vector_field=changed), methods={"stochastic": {}})
    process = run_workflow(config, run[0], "--dry-run")
    assert planned_rules(process) == {"check_vector_field_options", "predict_perturbation", "draw_vector_field"}
    assert "output: results/demo/stochastic/vector_field/perturbations/less" in process.stdout
    assert "output: results/demo/stochastic/vector_field/perturbations/none" not in process.stdout


def test_another_regularization_keeps_the_graph_and_the_result(run, small_config, run_workflow, options):
    config = small_config(datasets=dataset(vector_field={**options, "regularization": 10}), methods={"stochastic": {}})
    planned = planned_rules(run_workflow(config, run[0], "--dry-run"))
    assert planned >= VECTOR_FIELD_RULES
    assert planned.isdisjoint(FIT | GRAPH | ENDS)


def test_an_unknown_gene_stops_the_run_before_the_fit(small_run, small_config, run_workflow, tmp_path):
    options = {"perturbations": {"down": {"Gen": {"change": -1}}}}
    process = run_workflow(small_config(datasets=dataset(vector_field=options)), tmp_path, "--quiet")
    message = process.stdout + process.stderr
    assert process.returncode != 0
    assert "no gene 'Gen' among the" in message
    assert "datasets.demo.vector_field.perturbations.down" in message
    assert "Traceback" not in message


def test_analyses_of_genes_require_loadings(small_config, run_workflow, tmp_path):
    options = {"vector_field": {"regulation": ["A"]}, "pca": "X_pca"}
    process = run_workflow(small_config(datasets=dataset(**options)), tmp_path, "--dry-run")
    assert process.returncode != 0
    assert "require the loadings of the principal components" in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": -1}, "less than the minimum"),
        ({"double": 2}, "absolute or change or fold"),
        ("knockout", "knock_out"),
    ],
)
def test_a_wrong_change_is_an_error_that_names_the_allowed_ones(small_config, run_workflow, tmp_path, change, message):
    options = {"perturbations": {"down": {"A": change}}}
    process = run_workflow(small_config(datasets=dataset(vector_field=options)), tmp_path, "--dry-run")
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
