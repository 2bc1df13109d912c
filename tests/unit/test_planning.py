"""The checked config, the traits of methods and the hashes that the rules plan jobs with."""

import ast
import re
from pathlib import Path

import pytest
from snakemake.exceptions import WorkflowError
from veloshard_planning.code import hash_code
from veloshard_planning.configuration import RENAMED, complete_config
from veloshard_planning.disk import estimate_disk
from veloshard_planning.methods import load_descriptions, resolve_traits
from veloshard_planning.sources import files_below, hash_content, source_paths

WORKFLOW = Path(__file__).parents[2] / "workflow"
SCHEMAS = WORKFLOW / "schemas"
DESCRIPTIONS = load_descriptions(SCHEMAS)


def config(**changes):
    small = {"datasets": {"demo": {"source": "x.h5ad"}}, "methods": {"dynamical": {}}}
    return small | changes


def complete(**changes):
    return complete_config(config(**changes), SCHEMAS, DESCRIPTIONS)


def methods(**options):
    return {"methods": {"dynamical": options}}


def dataset(**options):
    return {"datasets": {"demo": {"source": "x.h5ad", **options}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dataset(cluster="x"), ["datasets.demo", "'cluster'", "did you mean 'clusters'?"]),
        (methods(solvr="x"), ["methods.dynamical", "did you mean 'solver'?"]),
        (methods(solver="mixtur"), ["methods.dynamical.solver", "did you mean 'mixture'?"]),
        ({"methods": {"dynamicl": {}}}, ["'dynamicl' is unknown", "did you mean 'dynamical'?"]),
        ({"methods": {"steady_state": {"percentile": 195}}}, ["steady_state.percentile", "maximum of 100"]),
        ({"methods": {"steady_state": {"solver": "mixture"}}}, ["methods.steady_state", "'solver' is unknown"]),
        ({"methods": {"velovi": {"max_epoch": 3}}}, ["methods.velovi", "did you mean 'max_epochs'?"]),
        ({"methods": {"precomputed": {}}}, ["methods.precomputed", "'source' is missing"]),
        ({"methods": {"dynamical": 3}}, ["methods.dynamical", "give options"]),
        ({"methods": {}}, ["methods:", "give at least one entry"]),
        ({"samples": ["a.tsv"]}, ["samples:", "give text"]),
        ({"preproces": {}}, ["top level", "did you mean 'preprocess'?"]),
        ({"genes_per_shard": 0}, ["genes_per_shard", "less than the minimum of 1"]),
        ({"genes_per_shard": "four"}, ["genes_per_shard", "'four'", "give a whole number"]),
        ({"figures": {"draw": ["streem"]}}, ["figures.draw.0", "did you mean 'stream'?"]),
        (dataset(figures={"drw": []}), ["datasets.demo.figures", "did you mean 'draw'?"]),
        (dataset(preprocess={"n_pcs": 0}), ["datasets.demo.preprocess.n_pcs", "less than the minimum of 1"]),
        ({"defaults": {"preprocess": {"n_pc": 5}}}, ["datasets.demo.preprocess", "did you mean 'n_pcs'?"]),
        ({"defaults": {"preprocess": 5}}, ["defaults.preprocess", "give options"]),
        ({"fate_probabilities": "yes"}, ["fate_probabilities", "give true or false or options"]),
        ({"transition_matrix": {"n": 1}}, ["transition_matrix", "'n' is unknown"]),
        (dataset(vector_field={"path": []}), ["datasets.demo.vector_field", "did you mean 'paths'?"]),
        ({"datasets": {"demo": {"clusters": "x"}}}, ["datasets.demo", "source or samples or simulate"]),
        ({"datasets": {"a b": {"source": "x"}}}, ["'a b'"]),
        ({"datasets": {3: {"source": "x"}}}, ["write the name 3 in quotes"]),
        ({"datasets": {"a": {"samples": {1: "x", 2: "y"}}}}, ["write the name 1 in quotes"]),
        ({"defaults": {"annotations": "cells.csv"}}, ["defaults.annotations", "give options"]),
        ({"datasets": {}}, ["datasets"]),
    ],
)  # fmt: skip
def test_a_wrong_option_is_an_error_that_names_key_and_remedy(changes, words):
    with pytest.raises(WorkflowError) as error:
        complete(**changes)
    assert [word for word in words if word not in str(error.value)] == []


OLD = {
    "shards": {"shards": 4},
    "fates": {"fates": {"enabled": True}},
    "transitions": {"transitions": True},
    "trust.model_controls": {"trust": {"model_controls": ["permuted"]}},
    "datasets.*.vector_field.n_controls": dataset(vector_field={"n_controls": 100}),
    "defaults.vector_field.n_controls": {"defaults": {"vector_field": {"n_controls": 100}}},
    "figures.palette": {"figures": {"palette": ["red"]}},
    "datasets.*.figures.palette": dataset(figures={"palette": ["red"]}),
    "methods.*.method external": {"methods": {"external": {"source": "x"}}},
    "methods.*.solver converged": methods(solver="converged"),
    "methods.*.solver compatible": methods(solver="compatible"),
    "methods.*.velocity supported": methods(velocity="supported"),
    "methods.*.n_courses": {"methods": {"differentiable": {"n_courses": 4}}},
}


@pytest.mark.parametrize(("key", "old", "advice"), RENAMED)
def test_an_option_of_an_earlier_version_is_an_error_that_names_the_new_one(key, old, advice):
    changes = OLD[f"{key} {old}" if isinstance(old, str) else key]
    with pytest.raises(WorkflowError) as error:
        complete(**changes)
    assert f"Write {advice}." in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"genes_per_shard": 100},
        {"fate_probabilities": True},
        {"fate_probabilities": {"n_states": 3}},
        {"transition_matrix": True},
        {"trust": {"refit_models": True}},
        {"trust": {"refit_models": {"controls": ["permuted"]}}},
        dataset(vector_field={"n_control_points": 100}),
        {"figures": {"palette": {"Alpha": "#1f77b4"}}},
        {"methods": {"mine": {"method": "precomputed", "source": "x"}}},
        methods(solver="mixture", velocity="shrunken"),
        methods(solver="scvelo"),
        {"methods": {"differentiable": {"n_curves": 4}}},
    ],
)
def test_the_advice_of_a_renamed_option_is_accepted(changes):
    complete(**changes)


def test_optional_outputs_are_false_or_options():
    off = complete()
    for key in ("fate_probabilities", "transition_matrix", "dynamo"):
        assert off[key] is False
    assert off["trust"]["refit_models"] is False
    assert off["datasets"]["demo"]["vector_field"] is False
    on = complete(
        fate_probabilities=True, transition_matrix=True, dynamo={}, trust={"refit_models": True},
        **dataset(vector_field=True),
    )  # fmt: skip
    assert on["fate_probabilities"] == {"velocity_weight": 0.8}
    assert on["transition_matrix"] == on["dynamo"] == {}
    assert on["trust"]["refit_models"] == {"controls": ["permuted", "thinned"]}
    assert on["datasets"]["demo"]["vector_field"] == {"regularization": 3, "random_state": 0}


def test_options_of_a_dataset_take_precedence_over_defaults_and_these_over_those_of_all():
    completed = complete(
        preprocess={"n_pcs": 20, "n_neighbors": 20, "n_top_genes": 500},
        defaults={"preprocess": {"n_neighbors": 10, "n_top_genes": 400}},
        datasets={"one": {"source": "x", "preprocess": {"n_top_genes": 300}}, "two": {"source": "y"}},
    )
    one, two = (completed["datasets"][name]["preprocess"] for name in ("one", "two"))
    assert (one["n_pcs"], one["n_neighbors"], one["n_top_genes"]) == (20, 10, 300)
    assert (two["n_pcs"], two["n_neighbors"], two["n_top_genes"]) == (20, 10, 400)
    assert one["random_state"] == 0


def test_a_config_is_not_changed_and_its_order_does_not_matter():
    first = config(preprocess={"n_pcs": 20, "n_neighbors": 20})
    second = {key: first[key] for key in reversed(first)}
    second["preprocess"] = {"n_neighbors": 20, "n_pcs": 20}
    completed = [complete_config(given, SCHEMAS, DESCRIPTIONS) for given in (first, second)]
    assert repr(completed[0]) == repr(completed[1])
    assert "figures" not in first


def test_traits_replace_auto_by_what_the_description_says():
    names = ("steady_state", "stochastic", "dynamical", "velovi")
    entries = {name: {} for name in names}
    traits = resolve_traits(complete(methods=entries, kinetics={"refit": True}), DESCRIPTIONS)
    assert [traits[name]["sqrt_transform"] for name in names] == [False, True, False, False]
    assert [traits[name]["scale_genes"] for name in names] == [False, False, False, True]
    assert [traits[name]["is_refitted"] for name in names] == [False, False, True, False]
    assert [traits[name]["has_posterior"] for name in names] == [False, False, False, True]
    chosen = complete(methods=entries, graph={"variance_stabilization": True, "scale_genes": False})
    traits = resolve_traits(chosen, DESCRIPTIONS)
    assert all(traits[name]["sqrt_transform"] and not traits[name]["scale_genes"] for name in names)


def test_only_models_are_fitted_to_requested_controls():
    completed = complete(
        methods={"dynamical": {}, "velovi": {}}, trust={"refit_models": {"controls": ["thinned"]}}
    )  # fmt: skip
    traits = resolve_traits(completed, DESCRIPTIONS)
    assert traits["velovi"]["controls"] == ["thinned"]
    assert traits["dynamical"]["controls"] == []
    assert traits["velovi"]["controls_option"] == "trust.refit_models.controls"
    # the option is named in the reason why a control was not run, so that it must be accepted
    assert complete(trust={"refit_models": {"controls": ["permuted"]}})["trust"]["refit_models"]["controls"]


def test_a_misspelt_trait_is_an_error_that_names_the_near_one(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "method.schema.yaml").write_text((SCHEMAS / "method.schema.yaml").read_text())
    text = (SCHEMAS / "methods/dynamical.yaml").read_text()
    (tmp_path / "methods/mine.yaml").write_text(text.replace("has_curves", "has_curve"))
    with pytest.raises(WorkflowError, match=r"mine.yaml, traits: 'has_curve' is unknown; did you mean 'has_curves'"):
        load_descriptions(tmp_path)


def compared_names(path):
    """Return the strings with which a Python or Snakemake file compares something."""
    if path.suffix == ".smk":
        return set(re.findall(r"""[=!]=\s*["'](\w+)["']""", path.read_text()))
    comparisons = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Compare)]
    return {
        constant.value
        for comparison in comparisons
        for part in (comparison.left, *comparison.comparators)
        for constant in ast.walk(part)
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }


FILES = [
    *(WORKFLOW / "rules").glob("*.smk"),
    *(WORKFLOW / "veloshard_planning").glob("*.py"),
    *(WORKFLOW / "scripts/veloshard").rglob("*.py"),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(WORKFLOW)))
def test_nothing_is_compared_with_the_name_of_a_method(path):
    # traits take the place of names; `precomputed` is a kind, too
    assert compared_names(path).isdisjoint(DESCRIPTIONS.keys() - {"precomputed"})


def test_comparisons_are_found(tmp_path):
    for name, text in (("rule.smk", 'x = method == "dynamical"'), ("module.py", 'x = method in ("a", "dynamical")')):
        (tmp_path / name).write_text(text)
        assert "dynamical" in compared_names(tmp_path / name)


def test_samples_of_a_table_become_datasets(tmp_path):
    table = tmp_path / "samples.tsv"
    table.write_text(
        "dataset\tsample\tsource\tannotations\na\tone\tx.h5ad\tcells.csv\na\ttwo\ty.h5ad\t\nb\t\tz.h5ad\t\n"
    )
    completed = complete(datasets={}, samples=str(table), defaults={"clusters": "type"})
    a, b = completed["datasets"]["a"], completed["datasets"]["b"]
    assert a["samples"] == {"one": "x.h5ad", "two": "y.h5ad"}
    assert a["annotations"] == {"source": "cells.csv", "unmatched": "drop"}
    assert b["source"] == "z.h5ad"
    assert a["clusters"] == b["clusters"] == "type"
    assert source_paths(a, "datasets.a") == {
        "datasets.a.samples.one": "x.h5ad",
        "datasets.a.samples.two": "y.h5ad",
        "datasets.a.annotations.source": "cells.csv",
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "has no rows"),
        ("a\tone\tx\n\tone\tx\n", "line 3: 'dataset' is missing"),
        ("a\tone\tx\na\tone\ty\n", "line 3: dataset 'a' has two rows for sample 'one'"),
        ("a\t\tx\na\t\ty\n", "line 3: dataset 'a' has several rows"),
        ("a\tone\tx\textra\n", "line 2: the row has more fields"),
        ("../d\tone\tx\n", "line 2, dataset: '../d' does not match"),
        ("a\tone\t\n", "'source' is missing"),
    ],
)
def test_a_wrong_table_of_samples_is_an_error_that_names_the_line(tmp_path, rows, words):
    table = tmp_path / "samples.tsv"
    table.write_text(f"dataset\tsample\tsource\n{rows}")
    with pytest.raises(WorkflowError, match=words):
        complete(datasets={}, samples=str(table))


def test_samples_of_a_dataset_have_one_file_of_annotations(tmp_path):
    table = tmp_path / "samples.tsv"
    table.write_text("dataset\tsample\tsource\tannotations\nd\ta\tx\ta.csv\nd\tb\ty\tb.csv\n")
    with pytest.raises(WorkflowError, match="line 3: dataset 'd' has annotations in a.csv and in b.csv"):
        complete(datasets={}, samples=str(table))


def test_a_table_that_cannot_be_read_or_has_other_columns_is_an_error(tmp_path):
    table = tmp_path / "samples.tsv"
    with pytest.raises(WorkflowError, match="cannot be read"):
        complete(datasets={}, samples=str(table))
    table.write_text("dataset\tsuorce\nd\tx.h5ad\n")
    with pytest.raises(WorkflowError, match="'suorce' is unknown; did you mean 'source'?"):
        complete(datasets={}, samples=str(table))


def test_files_of_a_folder_are_those_of_a_matrix(tmp_path):
    for name in ("matrix.mtx.gz", "barcodes.tsv", "alignments.bam", "log.out"):
        (tmp_path / name).write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path)
    assert files_below(tmp_path) == [str(tmp_path / "barcodes.tsv"), str(tmp_path / "matrix.mtx.gz")]


def test_the_hash_of_a_source_follows_its_content_not_its_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "counts.h5ad"
    path.write_text("counts")
    first = hash_content([str(path)], "demo")
    path.write_text("counts")
    assert hash_content([str(path)], "demo") == first
    path.write_text("others")
    assert hash_content([str(path)], "demo") != first


def test_the_hash_of_code_follows_imports_but_not_comments(tmp_path):
    (tmp_path / "veloshard").mkdir()
    (tmp_path / "veloshard/__init__.py").touch()
    kernel = tmp_path / "veloshard/kernel.py"

    def hash_with(text):
        kernel.write_text(text)
        hash_code.cache_clear()
        return hash_code(tmp_path, "script")

    (tmp_path / "script.py").write_text("from veloshard import kernel\n")
    first = hash_with("x = 1\n")
    assert hash_with("# a comment\nx = 1\n") == first
    assert hash_with("x = 2\n") != first


def test_the_estimate_of_disk_space_grows_with_methods_and_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    datasets = {"demo": {"simulate": {"n_cells": 1000, "n_genes": 100}}}

    def estimate(**changes):
        completed = complete(datasets=datasets, **changes)
        return estimate_disk(completed, resolve_traits(completed, DESCRIPTIONS))

    one = estimate(methods={"steady_state": {}})
    assert one < estimate(methods={"dynamical": {}}) < estimate(methods={"dynamical": {}, "steady_state": {}})
    assert one < estimate(methods={"steady_state": {}}, dynamo=True)
    # a source that does not exist is reported when its dataset is read
    completed = complete()
    assert estimate_disk(completed, resolve_traits(completed, DESCRIPTIONS)) == 0
