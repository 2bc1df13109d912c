"""Vector fields are computed for who asks for them: all that is asked of them, and nothing else."""

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

FIELD_RULES = {"learn_vector_field", "compute_vector_field_geometry", "compute_topography", "draw_vector_field"}
ASKED_RULES = {"rank_regulators", "integrate_trajectories", "find_least_action_paths", "predict_perturbation"}
FIELD = {
    "regulation": ["Gene1", "Gene2", "Gene3"],
    "trajectories": {"clusters": ["Progenitor"], "n_cells": 2},
    "paths": [["Progenitor", "Fate A"]],
    "perturbations": {"less": {"Gene1": {"fold": 0.5}}, "none": {"Gene2": "knock_out"}},
}
PERTURBED = {"less", "none"}


@pytest.fixture(scope="module")
def genes(small_run):
    return load_prepared(small_run / "demo/prepared.h5ad").genes


@pytest.fixture(scope="module")
def asked(genes):
    """Config of a dataset's vector fields, with genes that were kept."""
    names = {f"Gene{number}": str(gene) for number, gene in enumerate(genes[:3], 1)}
    text = json.dumps(FIELD)
    for name, gene in names.items():
        text = text.replace(f'"{name}"', f'"{gene}"')
    return json.loads(text)


@pytest.fixture(scope="module")
def run(small_run, small_config, run_workflow, asked, tmp_path_factory):
    """Folder of a run that had no vector fields and now asks one method for all of them."""
    folder = tmp_path_factory.mktemp("fields") / "run"
    shutil.copytree(small_run.parent, folder, copy_function=shutil.copy2)
    config = small_config(datasets=dataset(vector_field=asked), methods={"stochastic": {}})
    process = run_workflow(config, folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder, process


@pytest.fixture(scope="module")
def place(run):
    return run[0] / "results/demo/stochastic/vector_field"


def test_nobody_who_does_not_ask_has_them(small_run):
    assert not list(small_run.rglob("vector_field"))


def test_asking_for_them_leaves_all_else_as_it_was(run):
    ran = set()
    for line in run[1].stderr.splitlines() + run[1].stdout.splitlines():
        if line.startswith(("rule ", "localrule ", "checkpoint ")):
            ran.add(line.split()[1].rstrip(":"))
    assert ran - {"all"} == FIELD_RULES | ASKED_RULES | {"check_vector_field_options"}


def test_every_table_and_figure_is_there(place):
    tables = ["cells", "genes", "fixed_points", "regulation", "trajectories", "paths", "path_genes"]
    tables += [f"perturbations/{name}" for name in PERTURBED]
    for name in tables:
        assert len(pd.read_csv(place / f"{name}.csv")) > 0, name
    portraits = ["field", "topography", "geometry", "regulation", "trajectories", "paths"]
    for name in [*portraits, *(f"perturbation--{name}" for name in PERTURBED)]:
        assert (place / f"figures/{name}.png").stat().st_size > 1000
        assert (place / f"figures/{name}.pdf").exists()


def test_the_field_goes_with_the_arrows_and_along_true_time(place, small_run):
    field, probability = load_vector_field(place / "components.h5")
    components, *_ = load_pcs(small_run / "demo/prepared.h5ad")
    assert probability.shape == (len(components),)
    time = load_annotations(small_run / "demo/prepared.h5ad").obs["true_time"].to_numpy()
    # the direction in which time grows among all cells is one of the field's
    growing = np.linalg.lstsq(components - components.mean(axis=0), time - time.mean(), rcond=None)[0]
    assert np.mean(velocity_at(field, components) @ growing > 0) > 0.8


def test_followed_cells_go_forwards_in_true_time(place, small_run):
    found = pd.read_csv(place / "trajectories.csv")
    assert found.groupby("cell", sort=False)["time"].agg(lambda times: times.is_monotonic_increasing).all()
    assert (found.groupby("cell")["nearest_cluster"].first() == "Progenitor").all()
    assert (found.groupby("cell")["nearest_cluster"].last() != "Progenitor").all()


def test_the_path_of_least_action_leads_from_cluster_to_cluster(place):
    path = pd.read_csv(place / "least_action_paths.csv")
    assert path["converged"].all()
    assert (path["action"] > 0).all()
    assert [path["nearest_cluster"].iloc[0], path["nearest_cluster"].iloc[-1]] == ["Progenitor", "Fate A"]


def test_a_knocked_out_gene_falls_most_of_all(place, genes):
    effects = pd.read_csv(place / "perturbations/none.csv")
    everywhere = effects[effects["cluster"] == ALL_CELLS]
    assert everywhere["effect"].abs().is_monotonic_decreasing
    of_gene = everywhere.set_index("gene")["effect"]
    assert of_gene[genes[1]] < 0


def test_regulation_is_of_the_genes_that_were_named(place, asked):
    found = load_arrays(place / "regulation.h5")
    assert found["genes"].tolist() == asked["regulation"]
    assert found["jacobian"].shape == (len(found["groups"]), 3, 3)
    table = pd.read_csv(place / "regulation.csv").set_index(["cluster", "effector", "regulator"])["value"]
    first, second, _ = asked["regulation"]
    assert table[(ALL_CELLS, first, second)] == pytest.approx(found["jacobian"][0, 0, 1])


def test_fields_have_the_same_bits_on_other_shards_and_threads(place, small_config, run_workflow, asked, tmp_path):
    config = small_config(
        datasets=dataset(vector_field=asked), methods={"stochastic": {}}, shards=1, graph={"cells_per_shard": 1000}
    )
    names = [
        "components.h5",
        "embedding.h5",
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


def test_another_perturbation_reruns_itself_only(run, small_config, run_workflow, asked):
    changed = json.loads(json.dumps(asked))
    changed["perturbations"]["less"] = {asked["regulation"][0]: {"fold": 0.25}}
    config = small_config(datasets=dataset(vector_field=changed), methods={"stochastic": {}})
    process = run_workflow(config, run[0], "--dry-run")
    assert planned_rules(process) == {"check_vector_field_options", "predict_perturbation", "draw_vector_field"}
    assert "output: results/demo/stochastic/vector_field/perturbations/less" in process.stdout
    assert "output: results/demo/stochastic/vector_field/perturbations/none" not in process.stdout


def test_another_regularization_keeps_the_graph_and_the_result(run, small_config, run_workflow, asked):
    config = small_config(datasets=dataset(vector_field={**asked, "regularization": 10}), methods={"stochastic": {}})
    planned = planned_rules(run_workflow(config, run[0], "--dry-run"))
    assert planned >= FIELD_RULES
    assert planned.isdisjoint(FIT | GRAPH | ENDS)


def test_a_gene_that_is_not_there_stops_the_run_first(small_run, small_config, run_workflow, tmp_path):
    options = {"perturbations": {"down": {"Gen": {"change": -1}}}}
    process = run_workflow(small_config(datasets=dataset(vector_field=options)), tmp_path, "--quiet")
    message = process.stdout + process.stderr
    assert process.returncode != 0
    assert "no gene 'Gen' among the" in message
    assert "datasets.demo.vector_field.perturbations.down" in message
    assert "Traceback" not in message


def test_brought_components_have_no_genes_to_perturb(small_config, run_workflow, tmp_path):
    options = {"vector_field": {"regulation": ["A"]}, "pca": "X_pca"}
    process = run_workflow(small_config(datasets=dataset(**options)), tmp_path, "--dry-run")
    assert process.returncode != 0
    assert "components that were brought" in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": -1}, "less than the minimum"),
        ({"double": 2}, "absolute or change or fold"),
        ("knockout", "knock_out"),
    ],
)
def test_a_change_that_is_none_is_refused_in_words(small_config, run_workflow, tmp_path, change, message):
    options = {"perturbations": {"down": {"A": change}}}
    process = run_workflow(small_config(datasets=dataset(vector_field=options)), tmp_path, "--dry-run")
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
