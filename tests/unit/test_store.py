"""What is written between jobs comes back as it was, and a merge refuses what does not belong together."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from counted import made_up
from scipy import sparse
from veloshard import contract, methods, preprocess, store
from veloshard.moments import neighborhood
from veloshard.neighbors import connectivity_weights

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


@pytest.fixture(scope="module")
def prepared_path(tmp_path_factory):
    """A prepared dataset on disk, with names that are no plain ASCII."""
    counts = made_up()
    counts.var_names = [f"Gén{k}µ" for k in range(counts.n_vars)]
    counts.uns["ingest"] = {"source": "somewhere.h5ad"}
    prepared = preprocess.prepare(counts, dataset="d", min_shared_counts=1, n_pcs=5, n_neighbors=6)
    path = tmp_path_factory.mktemp("prepared") / "prepared.h5ad"
    store.save_prepared(path, prepared)
    return path


@pytest.fixture
def prepared(prepared_path):
    return store.load_prepared(prepared_path)


@pytest.fixture
def shards(prepared_path, tmp_path):
    """Function that fits and writes some shards of a split, and returns their paths."""

    def write(*items):
        paths = []
        for item in items:
            block, fingerprint = store.load_block(prepared_path, item)
            paths.append(tmp_path / f"{item}.h5")
            fit = methods.run(block, method="steady_state")
            store.save_shard(paths[-1], fit, block.names, item=item, fingerprint=fingerprint)
        return paths

    return write


def merge(path, shards, prepared):
    store.merge_shards(path, shards, prepared=prepared, select=lambda genes: genes["status"] == "ok")
    return path


@pytest.mark.parametrize("n_shards", [1, 3, 7, 20])
@pytest.mark.parametrize("n_elements", [0, 1, 12, 101])
def test_shards_tile_what_is_split(n_shards, n_elements):
    bounds = [store.shard_bounds(f"{k}-of-{n_shards}", n_elements) for k in range(1, n_shards + 1)]
    assert [element for start, stop in bounds for element in range(start, stop)] == list(range(n_elements))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


def test_prepared_data_come_back_as_they_were(prepared_path, prepared):
    written = read_h5ad(prepared_path)
    assert prepared.genes.tolist() == written.var_names.tolist()
    assert prepared.cells.tolist() == written.obs_names.tolist()
    for name in ("distances", "connectivities"):
        assert (getattr(prepared, name) != written.obsp[name]).nnz == 0
    for item in ("1-of-1", "2-of-3"):
        block, _ = store.load_block(prepared_path, item)
        genes = slice(*store.shard_bounds(item, written.n_vars))
        assert block.names.tolist() == written.var_names[genes].tolist()
        for layer in ("spliced", "unspliced"):
            assert (getattr(block, layer) != written.layers[layer][:, genes]).nnz == 0


@pytest.mark.parametrize("cells_at_once", [1, 7, 10**6])
def test_a_block_does_not_depend_on_how_many_cells_are_read_at_once(prepared_path, prepared, cells_at_once):
    expected = neighborhood(connectivity_weights(prepared.connectivities))
    block, _ = store.load_block(prepared_path, "2-of-3", cells_at_once=cells_at_once)
    for found, part in zip(block.around, expected, strict=True):
        assert found.dtype == part.dtype
        np.testing.assert_array_equal(found, part)


def test_the_fingerprint_tells_other_data(prepared_path, prepared, tmp_path):
    for change in (
        lambda adata: adata.layers["spliced"].data.__setitem__(0, 99),
        lambda adata: adata.obsp["distances"].data.__setitem__(0, 99),
        lambda adata: setattr(adata, "var_names", [f"other{k}" for k in range(adata.n_vars)]),
    ):
        adata = read_h5ad(prepared_path)
        change(adata)
        store.save_prepared(tmp_path / "other.h5ad", adata)
        assert store.load_prepared(tmp_path / "other.h5ad").fingerprint != prepared.fingerprint
    adata = read_h5ad(prepared_path)
    adata.obs["note"] = "not what a fit depends on"
    store.save_prepared(tmp_path / "same.h5ad", adata)
    assert store.load_prepared(tmp_path / "same.h5ad").fingerprint == prepared.fingerprint


def test_merged_fits_have_the_same_bytes_for_any_split_and_order(shards, prepared, tmp_path):
    whole = merge(tmp_path / "whole", shards("1-of-1"), prepared).read_bytes()
    three = shards("1-of-3", "2-of-3", "3-of-3")
    assert merge(tmp_path / "three", three, prepared).read_bytes() == whole
    assert merge(tmp_path / "reversed", three[::-1], prepared).read_bytes() == whole
    # more shards than genes: some are empty
    many = shards(*(f"{k}-of-20" for k in range(1, 21)))
    assert merge(tmp_path / "many", many, prepared).read_bytes() == whole


def test_a_merged_fit_comes_back_by_genes_and_cells(shards, prepared, prepared_path, tmp_path):
    path = merge(tmp_path / "fit.h5", shards("1-of-2", "2-of-2"), prepared)
    fit = methods.run(store.load_block(prepared_path)[0], method="steady_state")
    genes = store.load_fit_genes(path)
    assert genes["name"].tolist() == prepared.genes.tolist()
    assert genes["reason"].tolist() == fit.genes["reason"].tolist()
    velocity, mask = store.load_velocity(path, slice(5, 9))
    np.testing.assert_array_equal(velocity, fit.layers["velocity"][mask, 5:9].T)
    assert store.load_fit_layer(path, "fit_t") is None
    assert store.load_times(path) == {}


def test_a_lost_shard_is_named(shards, prepared, tmp_path):
    with pytest.raises(ValueError, match=r"not a complete set of 3 shards: lost \['2-of-3'\]"):
        merge(tmp_path / "fit.h5", shards("1-of-3", "3-of-3"), prepared)


def test_a_doubled_shard_is_named(shards, prepared, tmp_path):
    first, second = shards("1-of-2", "2-of-2")
    copy = shutil.copy(first, tmp_path / "copy.h5")
    with pytest.raises(ValueError, match=r"copy.h5 and .*1-of-2.h5 both hold shard 1-of-2"):
        merge(tmp_path / "fit.h5", [first, second, copy], prepared)


def test_shards_of_another_split_are_named(shards, prepared, tmp_path):
    with pytest.raises(ValueError, match=r"of another split \['1-of-3'\]"):
        merge(tmp_path / "fit.h5", shards("1-of-2", "2-of-2", "1-of-3"), prepared)


def test_shards_of_other_data_are_named(shards, prepared, tmp_path):
    other = prepared._replace(fingerprint="0" * 64)
    with pytest.raises(ValueError, match=r"1-of-1.h5 was fitted on other counts"):
        merge(tmp_path / "fit.h5", shards("1-of-1"), other)


def test_a_shard_that_breaks_the_contract_is_refused(shards, prepared, tmp_path):
    (path,) = shards("1-of-1")
    with h5py.File(path, "r+") as file:
        fitted = np.flatnonzero(file["genes/status"].asstr()[()] == "ok")
        file["layers/velocity"][fitted[0], 0] = np.nan
    with pytest.raises(ValueError, match="velocities that are not finite"):
        merge(tmp_path / "fit.h5", [path], prepared)


def graph_shards(tmp_path, bounds):
    graph = sparse.random_array((10, 10), density=0.3, format="csr", rng=np.random.default_rng(0))
    paths = [tmp_path / f"{start}.h5" for start, _ in bounds]
    for path, (start, stop) in zip(paths, bounds, strict=True):
        store.save_arrays(path, {"graph": graph[start:stop]}, first_cell=start)
    return graph, paths


def test_graph_shards_make_up_the_graph_in_any_order(tmp_path):
    graph, paths = graph_shards(tmp_path, [(0, 4), (4, 5), (5, 10)])
    assert (store.merge_graph_shards(paths[::-1]) != graph).nnz == 0


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([(0, 4), (5, 10)], "the one after cell 4 starts at 5"),
        ([(0, 4), (3, 10)], "the one after cell 4 starts at 3"),
        ([(0, 4), (4, 9)], "hold 9 rows of 10 cells"),
    ],
)
def test_lost_or_doubled_rows_of_the_graph_are_refused(tmp_path, bounds, words):
    _, paths = graph_shards(tmp_path, bounds)
    with pytest.raises(ValueError, match=words):
        store.merge_graph_shards(paths)


def test_arrays_and_json_come_back_as_they_were(tmp_path):
    arrays = {"dense": np.arange(6.0).reshape(2, 3), "sparse": sparse.csr_matrix(np.eye(3, dtype=np.float32))}
    store.save_arrays(tmp_path / "arrays.h5", arrays)
    found = store.load_arrays(tmp_path / "arrays.h5")
    np.testing.assert_array_equal(found["dense"], arrays["dense"])
    assert (found["sparse"] != arrays["sparse"]).nnz == 0
    nest = {"warnings": ["größer als üblich"], "none": None, "number": 0.1}
    store.save_json(tmp_path / "nest.json", nest)
    assert store.load_json(tmp_path / "nest.json") == nest


def test_annotations_come_without_matrices(prepared_path):
    annotations, whole = store.load_annotations(prepared_path), read_h5ad(prepared_path)
    assert isinstance(annotations, AnnData)
    assert annotations.obs.equals(whole.obs)
    assert annotations.var_names.equals(whole.var_names)
    assert not annotations.layers
    assert annotations.X is None


def test_sizes_are_those_of_the_data(prepared_path):
    whole = read_h5ad(prepared_path)
    sizes = store.sizes(whole)
    assert (sizes["n_cells"], sizes["n_genes"]) == whole.shape
    around = store.load_block(prepared_path)[0].around
    assert sizes["n_edges"] == len(around.indices)


def test_a_gene_shard_needs_no_anndata():
    # its memory would be that of the job many times over
    code = (
        "import sys; from veloshard import methods, store; methods.load('dynamical'); print('anndata' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_block_is_what_a_method_takes(prepared_path):
    block, _ = store.load_block(prepared_path, "1-of-2")
    contract.check(methods.run(block, method="steady_state"), len(block.names), 40)


def test_counts_of_some_cells_come_in_the_order_asked_for_from_any_blocks(tmp_path, monkeypatch):
    counts = made_up()
    counts.write_h5ad(tmp_path / "counts.h5ad")
    cells = counts.obs_names[[31, 2, 17, 3]]
    whole = store.load_counts(tmp_path / "counts.h5ad", cells)
    monkeypatch.setattr(store, "CELLS_AT_ONCE", 7)
    for found in (whole, store.load_counts(tmp_path / "counts.h5ad", cells)):
        assert found.obs_names.tolist() == cells.tolist()
        assert found.obs["clusters"].tolist() == counts.obs.loc[cells, "clusters"].tolist()
        for layer in ("spliced", "unspliced"):
            np.testing.assert_array_equal(found.layers[layer].toarray(), counts[cells].layers[layer].toarray())


def test_a_fit_keeps_all_rows_but_those_that_are_replaced_by_sound_ones(shards, prepared, tmp_path):
    fit_path, refit_path = merge(tmp_path / "fit.h5", shards("1-of-1"), prepared), tmp_path / "refit.h5"
    genes, before = store.load_fit_genes(fit_path), store.load_fit_layer(fit_path, "velocity")
    chosen = np.isin(np.arange(len(before)), np.flatnonzero(genes["status"] == "ok")[:2])
    columns = {name: values[chosen] for name, values in genes.items() if name not in ("name", "velocity_genes")}
    columns["status"] = np.array(["ok", "not_fitted"])
    new = contract.Fit(columns, {"velocity": np.full((2, before.shape[1]), 7, np.float32)})
    select = lambda columns: np.arange(len(before)) == 0  # noqa: E731
    store.save_replaced(refit_path, fit_path, new, genes=chosen, select=select)
    after, replaced = store.load_fit_layer(refit_path, "velocity"), np.flatnonzero(chosen)[0]
    assert (after[replaced] == 7).all()
    np.testing.assert_array_equal(np.delete(after, replaced, axis=0), np.delete(before, replaced, axis=0))
    assert np.flatnonzero(store.load_fit_genes(refit_path)["velocity_genes"]).tolist() == [0]
