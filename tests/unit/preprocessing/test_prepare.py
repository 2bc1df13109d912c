from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from scipy import sparse
from support.counts import two_clusters
from veloshard.errors import InputError
from veloshard.io.readers.common import LAYERS
from veloshard.preprocessing.embedding import compute_embedding
from veloshard.preprocessing.gene_selection import shared_counts
from veloshard.preprocessing.normalization import normalize_counts
from veloshard.preprocessing.prepare import prepare_data

SHARED = Path(__file__).parents[4] / "shared"
REFERENCE = SHARED / "reference" / "scvelo_0.3.4_pancreas_dynamical.csv"


def prepare(adata, **options):
    """Return a prepared dataset of few cells and genes."""
    return prepare_data(adata, **{"dataset": "liver", "min_shared_counts": 1, "n_pcs": 5, "n_neighbors": 6, **options})


def identical(one, other):
    """Return whether two arrays or sparse matrices are bitwise identical."""
    if sparse.issparse(one):
        return all(identical(getattr(one, part), getattr(other, part)) for part in ("data", "indices", "indptr"))
    return one.dtype == other.dtype and np.array_equal(one, other)


def test_shared_counts_are_those_of_cells_with_both_layers():
    spliced = sparse.csr_matrix(np.array([[1, 5, 0], [2, 0, 0], [0, 65535, 9]], dtype=np.uint16))
    unspliced = sparse.csr_matrix(np.array([[1, 0, 0], [3, 7, 0], [4, 65535, 0]], dtype=np.uint16))
    assert shared_counts(spliced, unspliced).tolist() == [7, 131070, 0]


def test_gene_with_exactly_the_minimum_of_shared_counts_is_kept():
    adata = two_clusters(n_genes=5)
    shared = np.sort(shared_counts(*(adata.layers[layer] for layer in LAYERS)))
    assert prepare(adata, min_shared_counts=shared[1]).n_vars == 4
    assert prepare(adata, min_shared_counts=shared[1] + 1).n_vars == 3


def test_cells_are_scaled_to_the_median_size_over_all_genes():
    adata = two_clusters()
    sizes = {layer: adata.layers[layer].toarray().sum(axis=1) for layer in LAYERS}
    shared = shared_counts(*(adata.layers[layer] for layer in LAYERS))
    has_enough = shared >= np.median(shared)
    prepared = prepare(adata, min_shared_counts=np.median(shared))
    assert prepared.var_names.tolist() == adata.var_names[has_enough].tolist()
    for layer in LAYERS:
        expected = adata.layers[layer].toarray() * (np.median(sizes[layer]) / sizes[layer])[:, None]
        assert prepared.layers[layer].dtype == np.float32
        # tolerance: half a unit in the last place of single precision in each of three steps
        np.testing.assert_allclose(prepared.layers[layer].toarray(), expected[:, has_enough], rtol=3e-7)
        np.testing.assert_array_equal(prepared.obs[f"initial_size_{layer}"], sizes[layer])
    np.testing.assert_array_equal(prepared.obs["initial_size"], sizes["spliced"])


def test_x_is_the_logarithm_of_the_normalized_spliced_counts():
    prepared = prepare(two_clusters())
    np.testing.assert_array_equal(prepared.X.toarray(), np.log1p(prepared.layers["spliced"].toarray()))


def test_cell_sizes_of_the_file_are_used():
    adata = two_clusters()
    sizes = np.linspace(1000, 2000, adata.n_obs)
    adata.obs["initial_size_spliced"] = sizes
    prepared = prepare(adata)
    expected = adata.layers["spliced"].toarray() * (np.median(sizes) / sizes)[:, None]
    np.testing.assert_allclose(prepared.layers["spliced"].toarray(), expected, rtol=3e-7)


def test_cell_without_counts_in_a_layer_is_not_scaled():
    counts = sparse.csr_matrix(np.array([[0.0, 0.0], [2, 0], [1, 3]], dtype=np.float32))
    scaled = normalize_counts(counts, np.float32([0, 2, 4]))
    np.testing.assert_array_equal(scaled.toarray(), [[0, 0], [2, 0], [0.5, 1.5]])


def test_excluded_gene_does_not_contribute_to_cell_sizes():
    adata = two_clusters()
    without = prepare(adata[:, 1:].copy())
    excluded = prepare(adata, genes={"exclude": ["gene0"]})
    assert excluded.var_names.tolist() == adata.var_names[1:].tolist()
    assert identical(excluded.layers["spliced"], without.layers["spliced"])
    assert excluded.uns["prepare"]["left_out"]["excluded_genes"] == 1


def test_empty_cells_and_genes_are_left_out_and_counted():
    adata = two_clusters()
    mask = np.ones(adata.shape)
    mask[[3, 9]] = 0
    mask[:, [1, 4, 7]] = 0
    for layer in LAYERS:
        adata.layers[layer] = sparse.csr_matrix(adata.layers[layer].multiply(mask))
    mask[5] = 0  # a cell with unspliced counts only is kept
    adata.layers["spliced"] = sparse.csr_matrix(adata.layers["spliced"].multiply(mask))
    prepared = prepare(adata)
    left_out = prepared.uns["prepare"]["left_out"]
    assert (left_out["empty_cells"], left_out["empty_genes"]) == (2, 3)
    assert prepared.shape == (38, 9)
    assert prepared.uns["prepare"]["warnings"].tolist() == ["1 cells have no spliced counts in the 9 genes kept"]


def test_highly_variable_genes_are_selected_only_if_there_are_too_many():
    adata = two_clusters(n_cells=60, n_genes=40)
    assert prepare(adata, n_top_genes=40).n_vars == 40
    selected = prepare(adata, n_top_genes=10)
    # a gene that is alone in its bin of mean expression has dispersion 1, so that there can be ties
    assert 10 <= selected.n_vars < 20
    assert selected.uns["prepare"]["left_out"]["less_variable_genes"] == 40 - selected.n_vars
    # cell sizes are still over all genes
    np.testing.assert_array_equal(selected.obs["initial_size"], adata.layers["spliced"].toarray().sum(axis=1))


def test_variable_gene_is_selected_over_a_constant_one():
    adata = two_clusters(n_cells=60, n_genes=40)
    spliced = adata.layers["spliced"].toarray()
    # gene 0 has the same mean as gene 1, but is expressed in every third cell only
    spliced[:, 0], spliced[:, 1] = 0, 6
    spliced[::3, 0] = 18
    adata.layers["spliced"] = sparse.csr_matrix(spliced)
    selected = prepare(adata, n_top_genes=5).var_names
    assert "gene0" in selected
    assert "gene1" not in selected


def test_neighbors_are_the_nearest_cells():
    prepared = prepare(two_clusters())
    pcs = prepared.obsm["X_pca"].astype(float)
    distances = np.linalg.norm(pcs[:, None] - pcs[None], axis=2)
    nearest = np.sort(np.argsort(distances, axis=1)[:, 1:6], axis=1)
    graph = prepared.obsp["distances"]
    np.testing.assert_array_equal(np.sort(graph.indices.reshape(40, 5), axis=1), nearest)
    assert prepared.uns["prepare"]["n_neighbors"] == 6


def test_components_and_neighbors_are_lowered_for_few_cells_and_genes():
    prepared = prepare(two_clusters(n_cells=8, n_genes=4), n_pcs=30, n_neighbors=30)
    assert prepared.obsm["X_pca"].shape == (8, 3)
    assert (prepared.uns["prepare"]["n_pcs"], prepared.uns["prepare"]["n_neighbors"]) == (3, 5)
    assert prepared.uns["prepare"]["warnings"].tolist() == ["5 neighbors, not 30, as there are only 8 cells"]


def test_components_of_the_file_are_used():
    adata = two_clusters()
    adata.obsm["X_mine"] = np.random.default_rng(1).normal(size=(40, 7))
    prepared = prepare(adata, pca="X_mine")
    np.testing.assert_array_equal(prepared.obsm["X_pca"], adata.obsm["X_mine"][:, :5].astype(np.float32))
    assert not identical(prepared.obsp["connectivities"], prepare(adata).obsp["connectivities"])


def test_neighbor_graph_of_the_file_is_used_for_the_cells_kept():
    adata = prepare(two_clusters())
    counts = two_clusters()
    for role in ("distances", "connectivities"):
        counts.obsp[role] = adata.obsp[role]
    counts.uns["neighbors"] = adata.uns["neighbors"]
    prepared = prepare(counts, neighbors=True, n_neighbors=20, cells={"keep": {"clusters": ["a"]}})
    assert identical(prepared.obsp["connectivities"], adata.obsp["connectivities"][:20, :20])
    assert prepared.uns["prepare"]["n_neighbors"] == 6


@pytest.mark.parametrize("embedding", [None, "X_umap", "X_tsne"])
def test_existing_embedding_is_used(embedding):
    adata = two_clusters()
    adata.obsm["X_tsne"] = adata.obsm["X_umap"] + 1
    name, coordinates = compute_embedding(prepare(adata), embedding=embedding)
    assert name == (embedding or "X_umap")
    assert identical(coordinates, adata.obsm[name])


@pytest.mark.parametrize("n_cells", [2, 3, 4, 40])
def test_missing_embedding_is_computed_for_two_or_more_cells(n_cells):
    adata = two_clusters(n_cells=n_cells)
    del adata.obsm["X_umap"]
    prepared = prepare(adata)
    (name, first), (_, second) = compute_embedding(prepared), compute_embedding(prepared)
    assert name == "X_umap"
    assert first.shape == (n_cells, 2)
    assert np.isfinite(first).all()
    assert identical(first, second)
    assert not prepared.obsm.keys() & {"X_umap"}


def test_missing_embedding_other_than_umap_is_refused():
    with pytest.raises(InputError, match="no embedding 'X_tsne' in obsm .found: X_umap"):
        compute_embedding(prepare(two_clusters()), embedding="X_tsne")


def test_result_can_be_written_and_its_layers_are_csc(tmp_path):
    adata = two_clusters()
    del adata.obsm["X_umap"]
    prepared = prepare(adata)
    prepared.write_h5ad(tmp_path / "prepared.h5ad")
    read = read_h5ad(tmp_path / "prepared.h5ad")
    for layer in LAYERS:
        assert read.layers[layer].format == "csc"
        assert identical(read.layers[layer], prepared.layers[layer])
    assert read.uns["prepare"]["warnings"].tolist() == []
    # older versions of AnnData cannot read None
    with h5py.File(tmp_path / "prepared.h5ad") as file:
        encodings = []
        file.visititems(lambda _, item: encodings.append(item.attrs.get("encoding-type")))
    assert "null" not in encodings


def test_counts_are_not_changed():
    adata = two_clusters()
    before = adata.copy()
    prepare(adata, n_top_genes=5, cells={"drop": {"clusters": ["b"]}})
    assert adata.shape == before.shape
    assert adata.obs.equals(before.obs)
    assert all(identical(adata.layers[layer], before.layers[layer]) for layer in LAYERS)
    assert not adata.obsp
    assert not adata.uns


def test_too_few_shared_counts_are_refused_with_the_maximum():
    adata = two_clusters()
    shared = shared_counts(*(adata.layers[layer] for layer in LAYERS))
    with pytest.raises(InputError) as caught:
        prepare(adata, min_shared_counts=10**6)
    for part in [
        "dataset 'liver'",
        "0 of 12 genes",
        "min_shared_counts = 1000000",
        f"Gene 'gene{shared.argmax()}' has the most, {shared.max():g}",
        "Lower min_shared_counts",
    ]:
        assert part in str(caught.value)


def test_fewer_than_two_cells_with_counts_are_refused():
    adata = two_clusters(n_cells=3)
    for layer in LAYERS:
        adata.layers[layer][1:] = 0
    with pytest.raises(InputError, match="dataset 'liver': 1 of 3 cells have counts, at least 2 are needed"):
        prepare(adata)


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the pancreas and its reference in ../shared")
def test_genes_of_the_pancreas_include_those_that_scvelo_fits():
    counts = read_h5ad(SHARED / "data" / "pancreas.h5ad")
    prepared = prepare_data(counts, dataset="pancreas")
    assert prepared.shape == (3696, 1126)  # what scVelo 0.3.4 keeps with min_shared_counts=20
    assert set(pd.read_csv(REFERENCE, index_col=0).index) <= set(prepared.var_names)
