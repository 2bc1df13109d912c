import numpy as np
import pytest
from support.counts import two_clusters
from veloshard.errors import InputError
from veloshard.preprocessing.validation import check_options


def with_source(adata):
    adata.uns["ingest"] = {"source": "liver.h5ad"}
    return adata


def with_missing_coordinates(adata):
    adata.obsm["X_umap"][4:6] = np.nan


def one_dimensional(adata):
    adata.obsm["X_umap"] = adata.obsm["X_umap"][:, :1]


def unlabeled(adata):
    adata.obs["clusters"] = "nan"


def continuous(adata):
    adata.obs["score"] = np.linspace(0, 1, adata.n_obs)


@pytest.mark.parametrize(
    ("change", "options", "messages"),
    [
        (
            None,
            {"clusters": "cluster"},
            ["no column 'cluster'", "did you mean 'clusters'?", "liver.clusters"],
        ),
        (continuous, {"clusters": "score"}, ["continuous", "found: clusters, score", "liver.clusters"]),
        (
            unlabeled,
            {"clusters": "clusters"},
            ["no cell has a label in column 'clusters'", "liver.clusters"],
        ),
        (None, {"clusters": "clusters", "root": "A"}, ["root 'A'", "found: a, b", "liver.root"]),
        (
            None,
            {"clusters": "clusters", "root": "a", "cells": {"drop": {"clusters": ["a"]}}},
            ["root 'a' is not among the clusters of the cells kept", "found: b"],
        ),
        (None, {"root": "a"}, ["root 'a'", "found: none", "liver.clusters"]),
        (None, {"embedding": "umap"}, ["no embedding 'umap'", "did you mean 'X_umap'?", "liver.embedding"]),
        (
            with_missing_coordinates,
            {"embedding": "X_umap"},
            ["not finite in 2 cells (first: 'cell4')", "liver.embedding"],
        ),
        (one_dimensional, {"embedding": "X_umap"}, ["one column", "liver.embedding"]),
        (None, {"cells": {"keep": {"clusters": ["c"]}}}, ["clusters 'c'", "found: a, b", "liver.cells.keep"]),
        (None, {"genes": {"exclude": ["gene99"]}}, ["gene99", "liver.genes.exclude"]),
    ],
)
def test_option_that_the_data_do_not_meet_is_refused(change, options, messages):
    adata = two_clusters()
    if change:
        change(adata)
    with pytest.raises(InputError) as caught:
        check_options(with_source(adata), dataset="liver", key="datasets.liver", **options)
    for part in ["dataset 'liver'", *messages]:
        assert part in str(caught.value)


def test_single_cell_is_refused():
    with pytest.raises(InputError, match="dataset 'liver': 1 of 1 cells are selected, at least 2 are needed"):
        check_options(with_source(two_clusters(n_cells=1)), dataset="liver")


def test_unlabeled_cells_single_cells_and_idle_patterns_give_warnings(caplog):
    adata = two_clusters()
    adata.obs["clusters"] = ["single", None, None, *["a"] * 37]
    del adata.obsm["X_umap"]
    options = {"clusters": "clusters", "embedding": "X_umap", "genes": {"exclude_pattern": "^mt-"}}
    with caplog.at_level("WARNING"):
        warnings = check_options(with_source(adata), dataset="d", **options)
    assert warnings == [
        "2 cells have no label in 'clusters': kept, in no cluster",
        "1 clusters of a single cell (single): no values of their own",
        "no 'X_umap' in obsm: it will be computed",
        "no gene matches exclude_pattern '^mt-'",
    ]
    assert all(any(warning in message for message in caplog.messages) for warning in warnings)


def test_options_that_the_data_meet_give_no_warnings():
    options = {"clusters": "clusters", "root": "a", "embedding": "X_umap", "genes": {"exclude": ["gene3"]}}
    assert check_options(with_source(two_clusters()), dataset="d", **options) == []


@pytest.mark.parametrize("root", [10, 10.0, "10"])
def test_root_may_be_a_number(root):
    adata = two_clusters()
    adata.obs["clusters"] = np.where(adata.obs["clusters"] == "a", 10, 9)
    assert check_options(with_source(adata), dataset="d", clusters="clusters", root=root) == []
