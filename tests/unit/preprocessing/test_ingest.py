import hashlib
from pathlib import Path

import numpy as np
import pytest
from anndata import read_h5ad
from scipy import sparse
from support.counts import two_clusters
from veloshard.errors import InputError
from veloshard.io.readers.common import LAYERS
from veloshard.preprocessing.ingest import ingest_counts


@pytest.fixture
def source(tmp_path):
    """Return a function that writes an AnnData and returns its path."""

    def write(adata):
        path = tmp_path / "source.h5ad"
        adata.write_h5ad(path)
        return str(path)

    return write


def with_graph(adata, key="neighbors"):
    """Return the data with a ring as neighbor graph."""
    ring = sparse.csr_matrix(np.roll(np.eye(adata.n_obs), 1, axis=1))
    names = {role: role if key == "neighbors" else f"{key}_{role}" for role in ("distances", "connectivities")}
    for name in names.values():
        adata.obsp[name] = ring + ring.T
    adata.uns[key] = {f"{role}_key": name for role, name in names.items()} | {"params": {"n_neighbors": 3}}
    return adata


def test_record_has_the_source_of_the_counts(source):
    path = source(two_clusters())
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    record = ingest_counts(path, dataset="d").uns["ingest"]
    assert record.pop("warnings").tolist() == []
    assert record == {
        "source": path,
        "format": "h5ad",
        "sha256": digest,
        "counts": "integer",
        "n_cells": 40,
        "n_genes": 12,
        "duplicate_cells": 0,
    }


@pytest.mark.parametrize(("largest", "dtype"), [(7, np.uint16), (65535, np.uint16), (65536, np.uint32)])
def test_counts_are_stored_exactly(source, largest, dtype):
    adata = two_clusters()
    adata.layers["spliced"][0, 0] = largest
    counts = ingest_counts(source(adata), dataset="d")
    assert counts.layers["spliced"].dtype == dtype
    np.testing.assert_array_equal(counts.layers["spliced"].toarray(), adata.layers["spliced"].toarray())


def test_counts_that_are_not_whole_are_kept_with_a_warning(source):
    adata = two_clusters()
    adata.layers["unspliced"] = adata.layers["unspliced"].astype(np.float64) * 0.5
    counts = ingest_counts(source(adata), dataset="d")
    assert counts.uns["ingest"]["counts"] == "non-integer"
    assert any("not whole numbers" in warning for warning in counts.uns["ingest"]["warnings"])
    for layer in LAYERS:
        assert counts.layers[layer].dtype == np.float32
        np.testing.assert_array_equal(counts.layers[layer].toarray(), adata.layers[layer].toarray())


def test_empty_cells_and_genes_are_recorded_as_warnings(source, tmp_path, caplog):
    adata = two_clusters()
    keep = np.ones((40, 12))
    keep[:2] = 0
    keep[:, :3] = 0
    for layer in LAYERS:
        adata.layers[layer] = sparse.csr_matrix(adata.layers[layer].multiply(keep))
    with caplog.at_level("WARNING"):
        counts = ingest_counts(source(adata), dataset="d")
    counts.write_h5ad(tmp_path / "counts.h5ad")
    warnings = read_h5ad(tmp_path / "counts.h5ad").uns["ingest"]["warnings"].tolist()
    assert warnings == [
        "2 cells have no counts: left out",
        "3 genes have no counts: left out",
    ]
    assert all(any(warning in message for message in caplog.messages) for warning in warnings)
    assert counts.shape == (40, 12)


@pytest.mark.parametrize(
    ("transform", "warning"),
    [(lambda values: values, "normalized already"), (np.log1p, "look like logarithms")],
    ids=["normalized", "logged"],
)
def test_normalized_or_logged_counts_are_warned_about(source, transform, warning):
    adata = two_clusters()
    counts = adata.layers["spliced"].toarray()
    scaled = transform(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    adata.layers["spliced"] = sparse.csr_matrix(scaled.astype(np.float32))
    warnings = ingest_counts(source(adata), dataset="d").uns["ingest"]["warnings"].tolist()
    assert [warning in text for text in warnings].count(True) == 1


def test_text_columns_are_kept_also_if_named_like_the_index(source):
    adata = two_clusters()
    adata.obs["note"] = [f"note {k}" for k in range(40)]
    adata.obs.index.name = "CellID"
    adata.obs["CellID"] = adata.obs_names.to_numpy()
    obs = ingest_counts(source(adata), dataset="d").obs
    assert obs["note"].tolist() == adata.obs["note"].tolist()
    assert obs["CellID"].tolist() == adata.obs_names.tolist()


def test_empty_list_of_warnings_can_be_written(source, tmp_path):
    ingest_counts(source(two_clusters()), dataset="d").write_h5ad(tmp_path / "counts.h5ad")
    assert read_h5ad(tmp_path / "counts.h5ad").uns["ingest"]["warnings"].tolist() == []


@pytest.mark.parametrize(("key", "neighbors"), [("neighbors", True), ("my", "my")])
def test_requested_graph_is_kept_under_the_usual_names(source, key, neighbors):
    adata = with_graph(two_clusters(), key)
    counts = ingest_counts(source(adata), dataset="d", neighbors=neighbors)
    assert set(counts.obsp) == {"distances", "connectivities"}
    assert counts.uns["neighbors"]["params"] == {"n_neighbors": 3, "method": "umap"}
    assert counts.obsp["connectivities"].nnz == 80


def test_graph_that_is_not_requested_is_dropped(source):
    counts = ingest_counts(source(with_graph(two_clusters())), dataset="d")
    assert not counts.obsp
    assert set(counts.uns) == {"ingest"}


def test_cell_sizes_are_kept_unless_they_are_smaller_than_the_counts(source):
    adata = two_clusters()
    for layer, factor in (("spliced", 5.0), ("unspliced", 0.5)):
        adata.obs[f"initial_size_{layer}"] = np.ravel(adata.layers[layer].sum(axis=1)) * factor
    counts = ingest_counts(source(adata), dataset="d")
    assert "initial_size_spliced" in counts.obs
    assert "initial_size_unspliced" not in counts.obs
    assert "initial_size_unspliced" in counts.uns["ingest"]["warnings"][0]


def negative(adata):
    adata.layers["unspliced"][3, 5] = -2
    adata.layers["unspliced"][7, 1] = -1


def infinite(adata):
    adata.layers["spliced"][3, 5] = np.inf


def missing(adata):
    adata.layers["spliced"][3, 5] = np.nan


def all_zero(adata):
    adata.layers["unspliced"] = sparse.csr_matrix(adata.shape, dtype=np.float32)


def empty_graph(adata):
    with_graph(adata).obsp["connectivities"] = sparse.csr_matrix((adata.n_obs, adata.n_obs))


def half_graph(adata):
    del with_graph(adata).obsp["distances"]


@pytest.mark.parametrize(
    ("change", "options", "messages"),
    [
        (
            negative,
            {},
            ["layer 'unspliced'", "2 unspliced counts are negative", "-2 in cell 'cell3', gene 'gene5'"],
        ),
        (
            infinite,
            {},
            ["1 spliced counts are not finite", "inf in cell 'cell3', gene 'gene5'", "raw counts"],
        ),
        (missing, {}, ["1 spliced counts are not finite", "nan in cell 'cell3', gene 'gene5'"]),
        (all_zero, {}, ["layer 'unspliced'", "all unspliced counts are zero"]),
        (None, {"layers": {"unspliced": "spliced"}}, ["cannot both be layer 'spliced'", "liver.layers"]),
        (None, {"pca": "X_pca"}, ["no pca 'X_pca'", "found: X_umap", "liver.pca"]),
        (
            None,
            {"neighbors": True},
            ["no neighbor graph 'neighbors'", "scanpy.pp.neighbors", "liver.neighbors"],
        ),
        (empty_graph, {"neighbors": True}, ["obsp 'connectivities' is empty", "liver.neighbors"]),
        (half_graph, {"neighbors": True}, ["no sparse obsp 'distances'", "found: connectivities"]),
    ],
)
def test_input_that_cannot_be_used_is_refused(source, change, options, messages):
    adata = two_clusters()
    if change:
        change(adata)
    with pytest.raises(InputError) as caught:
        ingest_counts(source(adata), dataset="liver", key="datasets.liver", **options)
    for part in ["dataset 'liver'", *messages]:
        assert part in str(caught.value)
