from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from counted import made_up
from scipy import sparse
from veloshard import preprocess
from veloshard.errors import InputError
from veloshard.readers.common import LAYERS

SHARED = Path(__file__).parents[3] / "shared"
REFERENCE = SHARED / "reference" / "scvelo_0.3.4_pancreas_dynamical.csv"


def prepare(adata, **options):
    """The data prepared, for few cells and genes."""
    return preprocess.prepare(
        adata, **{"dataset": "liver", "min_shared_counts": 1, "n_pcs": 5, "n_neighbors": 6, **options}
    )


def same(one, other):
    """Whether two arrays or sparse matrices are alike to the bit."""
    if sparse.issparse(one):
        return all(same(getattr(one, part), getattr(other, part)) for part in ("data", "indices", "indptr"))
    return one.dtype == other.dtype and np.array_equal(one, other)


def test_shared_counts_count_only_cells_that_have_both():
    spliced = sparse.csr_matrix(np.array([[1, 5, 0], [2, 0, 0], [0, 65535, 9]], dtype=np.uint16))
    unspliced = sparse.csr_matrix(np.array([[1, 0, 0], [3, 7, 0], [4, 65535, 0]], dtype=np.uint16))
    assert preprocess.shared_counts(spliced, unspliced).tolist() == [7, 131070, 0]


def test_a_gene_with_just_enough_shared_counts_stays():
    adata = made_up(n_genes=5)
    shared = np.sort(preprocess.shared_counts(*(adata.layers[layer] for layer in LAYERS)))
    assert prepare(adata, min_shared_counts=shared[1]).n_vars == 4
    assert prepare(adata, min_shared_counts=shared[1] + 1).n_vars == 3


def test_every_cell_is_scaled_to_the_median_of_the_full_depth():
    adata = made_up()
    sizes = {layer: adata.layers[layer].toarray().sum(axis=1) for layer in LAYERS}
    shared = preprocess.shared_counts(*(adata.layers[layer] for layer in LAYERS))
    enough = shared >= np.median(shared)
    prepared = prepare(adata, min_shared_counts=np.median(shared))
    assert prepared.var_names.tolist() == adata.var_names[enough].tolist()
    for layer in LAYERS:
        expected = adata.layers[layer].toarray() * (np.median(sizes[layer]) / sizes[layer])[:, None]
        assert prepared.layers[layer].dtype == np.float32
        # single precision: half a unit in the last place in each of three steps
        np.testing.assert_allclose(prepared.layers[layer].toarray(), expected[:, enough], rtol=3e-7)
        np.testing.assert_array_equal(prepared.obs[f"initial_size_{layer}"], sizes[layer])
    np.testing.assert_array_equal(prepared.obs["initial_size"], sizes["spliced"])


def test_x_is_the_logarithm_of_the_normalised_spliced_counts():
    prepared = prepare(made_up())
    np.testing.assert_array_equal(prepared.X.toarray(), np.log1p(prepared.layers["spliced"].toarray()))


def test_sizes_that_the_file_brings_are_used():
    adata = made_up()
    brought = np.linspace(1000, 2000, adata.n_obs)
    adata.obs["initial_size_spliced"] = brought
    prepared = prepare(adata)
    expected = adata.layers["spliced"].toarray() * (np.median(brought) / brought)[:, None]
    np.testing.assert_allclose(prepared.layers["spliced"].toarray(), expected, rtol=3e-7)


def test_a_cell_without_counts_of_a_layer_is_left_as_it_is():
    counts = sparse.csr_matrix(np.array([[0.0, 0.0], [2, 0], [1, 3]], dtype=np.float32))
    scaled = preprocess.normalise(counts, np.float32([0, 2, 4]))
    np.testing.assert_array_equal(scaled.toarray(), [[0, 0], [2, 0], [0.5, 1.5]])


def test_an_excluded_gene_counts_nowhere():
    adata = made_up()
    without = prepare(adata[:, 1:].copy())
    excluded = prepare(adata, genes={"exclude": ["gene0"]})
    assert excluded.var_names.tolist() == adata.var_names[1:].tolist()
    assert same(excluded.layers["spliced"], without.layers["spliced"])
    assert excluded.uns["prepare"]["left_out"]["excluded_genes"] == 1


def test_empty_cells_and_genes_are_left_out_and_counted():
    adata = made_up()
    full = np.ones(adata.shape)
    full[[3, 9]] = 0
    full[:, [1, 4, 7]] = 0
    for layer in LAYERS:
        adata.layers[layer] = sparse.csr_matrix(adata.layers[layer].multiply(full))
    full[5] = 0  # unspliced counts alone make a cell
    adata.layers["spliced"] = sparse.csr_matrix(adata.layers["spliced"].multiply(full))
    prepared = prepare(adata)
    left_out = prepared.uns["prepare"]["left_out"]
    assert (left_out["empty_cells"], left_out["empty_genes"]) == (2, 3)
    assert prepared.shape == (38, 9)
    assert prepared.uns["prepare"]["warnings"].tolist() == ["1 cells have no spliced counts in the 9 genes that stay"]


def test_variable_genes_are_chosen_only_where_there_are_too_many():
    adata = made_up(n_cells=60, n_genes=40)
    assert prepare(adata, n_top_genes=40).n_vars == 40
    some = prepare(adata, n_top_genes=10)
    # a gene that is alone among those of its mean has dispersion 1, so that there can be ties
    assert 10 <= some.n_vars < 20
    assert some.uns["prepare"]["left_out"]["less_variable_genes"] == 40 - some.n_vars
    # sizes are those of the full depth all the same
    np.testing.assert_array_equal(some.obs["initial_size"], adata.layers["spliced"].toarray().sum(axis=1))


def test_a_gene_that_varies_is_chosen_over_one_that_does_not():
    adata = made_up(n_cells=60, n_genes=40)
    spliced = adata.layers["spliced"].toarray()
    # as much expressed as its neighbour in the list, but by every third cell
    spliced[:, 0], spliced[:, 1] = 0, 6
    spliced[::3, 0] = 18
    adata.layers["spliced"] = sparse.csr_matrix(spliced)
    chosen = prepare(adata, n_top_genes=5).var_names
    assert "gene0" in chosen
    assert "gene1" not in chosen


def test_the_neighbours_are_the_nearest_cells():
    prepared = prepare(made_up())
    places = prepared.obsm["X_pca"].astype(float)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    nearest = np.sort(np.argsort(distances, axis=1)[:, 1:6], axis=1)
    found = prepared.obsp["distances"]
    np.testing.assert_array_equal(np.sort(found.indices.reshape(40, 5), axis=1), nearest)
    assert prepared.uns["prepare"]["n_neighbors"] == 6


def test_there_are_no_more_components_and_neighbours_than_there_can_be():
    prepared = prepare(made_up(n_cells=8, n_genes=4), n_pcs=30, n_neighbors=30)
    assert prepared.obsm["X_pca"].shape == (8, 3)
    assert (prepared.uns["prepare"]["n_pcs"], prepared.uns["prepare"]["n_neighbors"]) == (3, 5)
    assert prepared.uns["prepare"]["warnings"].tolist() == ["5 neighbours, not 30, as there are only 8 cells"]


def test_components_that_the_user_brings_are_used():
    adata = made_up()
    adata.obsm["X_mine"] = np.random.default_rng(1).normal(size=(40, 7))
    prepared = prepare(adata, pca="X_mine")
    np.testing.assert_array_equal(prepared.obsm["X_pca"], adata.obsm["X_mine"][:, :5].astype(np.float32))
    assert not same(prepared.obsp["connectivities"], prepare(adata).obsp["connectivities"])


def test_a_graph_that_the_user_brings_is_used_for_the_cells_that_stay():
    adata = prepare(made_up())
    counts = made_up()
    for role in ("distances", "connectivities"):
        counts.obsp[role] = adata.obsp[role]
    counts.uns["neighbors"] = adata.uns["neighbors"]
    prepared = prepare(counts, neighbors=True, n_neighbors=20, cells={"keep": {"clusters": ["a"]}})
    assert same(prepared.obsp["connectivities"], adata.obsp["connectivities"][:20, :20])
    assert prepared.uns["prepare"]["n_neighbors"] == 6


@pytest.mark.parametrize("embedding", [None, "X_umap", "X_tsne"])
def test_an_embedding_that_is_there_stays_as_it_is(embedding):
    adata = made_up()
    adata.obsm["X_tsne"] = adata.obsm["X_umap"] + 1
    name, places = preprocess.embed(prepare(adata), embedding=embedding)
    assert name == (embedding or "X_umap")
    assert same(places, adata.obsm[name])


@pytest.mark.parametrize("n_cells", [2, 3, 4, 40])
def test_an_embedding_is_computed_where_there_is_none_from_two_cells_on(n_cells):
    adata = made_up(n_cells=n_cells)
    del adata.obsm["X_umap"]
    prepared = prepare(adata)
    (name, first), (_, second) = preprocess.embed(prepared), preprocess.embed(prepared)
    assert name == "X_umap"
    assert first.shape == (n_cells, 2)
    assert np.isfinite(first).all()
    assert same(first, second)
    assert not prepared.obsm.keys() & {"X_umap"}


def test_an_embedding_that_cannot_be_computed_is_refused():
    with pytest.raises(InputError, match="no embedding 'X_tsne' in obsm .found: X_umap"):
        preprocess.embed(prepare(made_up()), embedding="X_tsne")


def test_the_result_can_be_written_and_its_layers_read_by_gene(tmp_path):
    adata = made_up()
    del adata.obsm["X_umap"]
    prepared = prepare(adata)
    prepared.write_h5ad(tmp_path / "prepared.h5ad")
    read = read_h5ad(tmp_path / "prepared.h5ad")
    for layer in LAYERS:
        assert read.layers[layer].format == "csc"
        assert same(read.layers[layer], prepared.layers[layer])
    assert read.uns["prepare"]["warnings"].tolist() == []
    # None is what older programs cannot read
    with h5py.File(tmp_path / "prepared.h5ad") as file:
        encodings = []
        file.visititems(lambda _, item: encodings.append(item.attrs.get("encoding-type")))
    assert "null" not in encodings


def test_the_counts_are_left_as_they_are():
    adata = made_up()
    before = adata.copy()
    prepare(adata, n_top_genes=5, cells={"drop": {"clusters": ["b"]}})
    assert adata.shape == before.shape
    assert adata.obs.equals(before.obs)
    assert all(same(adata.layers[layer], before.layers[layer]) for layer in LAYERS)
    assert not adata.obsp
    assert not adata.uns


def test_nothing_left_after_the_gene_filter_is_refused_with_how_far_off_it_was():
    adata = made_up()
    shared = preprocess.shared_counts(*(adata.layers[layer] for layer in LAYERS))
    with pytest.raises(InputError) as caught:
        prepare(adata, min_shared_counts=10**6)
    for part in [
        "dataset 'liver'",
        "0 of 12 genes",
        "min_shared_counts = 1000000",
        f"gene 'gene{shared.argmax()}' with {shared.max():g}",
        "Lower preprocess.min_shared_counts",
    ]:
        assert part in str(caught.value)


def test_fewer_than_two_cells_with_counts_are_refused():
    adata = made_up(n_cells=3)
    for layer in LAYERS:
        adata.layers[layer][1:] = 0
    with pytest.raises(InputError, match="dataset 'liver': 1 of 3 cells have counts, at least 2 are needed"):
        prepare(adata)


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the pancreas and its reference in ../shared")
def test_the_pancreas_keeps_the_genes_that_scvelo_fits():
    counts = read_h5ad(SHARED / "data" / "pancreas.h5ad")
    prepared = preprocess.prepare(counts, dataset="pancreas")
    assert prepared.shape == (3696, 1126)  # what scVelo 0.3.4 keeps with min_shared_counts=20
    assert set(pd.read_csv(REFERENCE, index_col=0).index) <= set(prepared.var_names)
