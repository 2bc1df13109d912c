"""Files between jobs are read as they were written, and merges refuse shards that do not belong together."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse
from support.counts import two_clusters
from veloshard import contract
from veloshard.io.fits import (
    load_fit_genes,
    load_fit_layer,
    load_gene_times,
    load_velocity,
    merge_fit_shards,
    save_fit_shard,
    save_refit,
)
from veloshard.io.graphs import merge_graph_shards
from veloshard.io.hdf5 import load_arrays, save_anndata, save_arrays
from veloshard.io.prepared import (
    dataset_sizes,
    load_annotations,
    load_counts,
    load_gene_block,
    load_prepared,
    save_prepared,
    shard_bounds,
)
from veloshard.io.text_files import load_json, save_json
from veloshard.kinetics import methods
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.prepare import prepare_data

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts"


@pytest.fixture(scope="module")
def prepared_path(tmp_path_factory):
    """Return the path of a prepared dataset whose names are not plain ASCII."""
    counts = two_clusters()
    counts.var_names = [f"Gén{k}µ" for k in range(counts.n_vars)]
    counts.uns["ingest"] = {"source": "somewhere.h5ad"}
    prepared = prepare_data(counts, dataset="d", min_shared_counts=1, n_pcs=5, n_neighbors=6)
    path = tmp_path_factory.mktemp("prepared") / "prepared.h5ad"
    save_prepared(path, prepared)
    return path


@pytest.fixture
def prepared(prepared_path):
    return load_prepared(prepared_path)


@pytest.fixture
def shards(prepared_path, tmp_path):
    """Return a function that fits and writes some shards of a split, and returns their paths."""

    def write(*shards):
        paths = []
        for shard in shards:
            block, fingerprint = load_gene_block(prepared_path, shard)
            paths.append(tmp_path / f"{shard}.h5")
            fit = methods.run(block, method="steady_state")
            save_fit_shard(paths[-1], fit, block.names, shard=shard, fingerprint=fingerprint)
        return paths

    return write


def merge(path, shards, prepared):
    merge_fit_shards(path, shards, prepared=prepared, select=lambda genes: genes["status"] == "ok")
    return path


@pytest.mark.parametrize("n_shards", [1, 3, 7, 20])
@pytest.mark.parametrize("n_elements", [0, 1, 12, 101])
def test_shards_cover_each_element_once_in_order(n_shards, n_elements):
    bounds = [shard_bounds(f"{k}-of-{n_shards}", n_elements) for k in range(1, n_shards + 1)]
    assert [element for start, stop in bounds for element in range(start, stop)] == list(range(n_elements))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


def test_prepared_data_are_read_as_written(prepared_path, prepared):
    written = read_h5ad(prepared_path)
    assert prepared.genes.tolist() == written.var_names.tolist()
    assert prepared.cells.tolist() == written.obs_names.tolist()
    for name in ("distances", "connectivities"):
        assert (getattr(prepared, name) != written.obsp[name]).nnz == 0
    for shard in ("1-of-1", "2-of-3"):
        block, _ = load_gene_block(prepared_path, shard)
        genes = slice(*shard_bounds(shard, written.n_vars))
        assert block.names.tolist() == written.var_names[genes].tolist()
        for layer in ("spliced", "unspliced"):
            assert (getattr(block, layer) != written.layers[layer][:, genes]).nnz == 0


@pytest.mark.parametrize("cells_at_once", [1, 7, 10**6])
def test_block_does_not_depend_on_the_number_of_cells_read_at_once(prepared_path, prepared, cells_at_once):
    expected = as_neighborhood(averaging_weights(prepared.connectivities))
    block, _ = load_gene_block(prepared_path, "2-of-3", cells_at_once=cells_at_once)
    for part, expected_part in zip(block.neighborhood, expected, strict=True):
        assert part.dtype == expected_part.dtype
        np.testing.assert_array_equal(part, expected_part)


def test_fingerprint_changes_with_counts_neighbors_and_names_only(prepared_path, prepared, tmp_path):
    for change in (
        lambda adata: adata.layers["spliced"].data.__setitem__(0, 99),
        lambda adata: adata.obsp["distances"].data.__setitem__(0, 99),
        lambda adata: setattr(adata, "var_names", [f"other{k}" for k in range(adata.n_vars)]),
    ):
        adata = read_h5ad(prepared_path)
        change(adata)
        save_prepared(tmp_path / "other.h5ad", adata)
        assert load_prepared(tmp_path / "other.h5ad").fingerprint != prepared.fingerprint
    adata = read_h5ad(prepared_path)
    adata.obs["note"] = "no fit depends on this"
    save_prepared(tmp_path / "same.h5ad", adata)
    assert load_prepared(tmp_path / "same.h5ad").fingerprint == prepared.fingerprint


def test_merged_fits_are_bitwise_identical_for_any_split_and_order(shards, prepared, tmp_path):
    whole = merge(tmp_path / "whole", shards("1-of-1"), prepared).read_bytes()
    three = shards("1-of-3", "2-of-3", "3-of-3")
    assert merge(tmp_path / "three", three, prepared).read_bytes() == whole
    assert merge(tmp_path / "reversed", three[::-1], prepared).read_bytes() == whole
    # more shards than genes, so that some are empty
    many = shards(*(f"{k}-of-20" for k in range(1, 21)))
    assert merge(tmp_path / "many", many, prepared).read_bytes() == whole


def test_merged_fit_is_read_by_genes_and_cells(shards, prepared, prepared_path, tmp_path):
    path = merge(tmp_path / "fit.h5", shards("1-of-2", "2-of-2"), prepared)
    fit = methods.run(load_gene_block(prepared_path)[0], method="steady_state")
    genes = load_fit_genes(path)
    assert genes["name"].tolist() == prepared.genes.tolist()
    assert genes["reason"].tolist() == fit.genes["reason"].tolist()
    velocity, mask = load_velocity(path, slice(5, 9))
    np.testing.assert_array_equal(velocity, fit.layers["velocity"][mask, 5:9].T)
    assert load_fit_layer(path, "fit_t") is None
    assert load_gene_times(path) == {}


def test_missing_shard_is_named(shards, prepared, tmp_path):
    with pytest.raises(ValueError, match=r"not a complete set of 3 shards: missing \['2-of-3'\]"):
        merge(tmp_path / "fit.h5", shards("1-of-3", "3-of-3"), prepared)


def test_repeated_shard_is_named(shards, prepared, tmp_path):
    first, second = shards("1-of-2", "2-of-2")
    copy = shutil.copy(first, tmp_path / "copy.h5")
    with pytest.raises(ValueError, match=r"copy.h5 and .*1-of-2.h5 both hold shard 1-of-2"):
        merge(tmp_path / "fit.h5", [first, second, copy], prepared)


def test_shard_of_another_split_is_named(shards, prepared, tmp_path):
    with pytest.raises(ValueError, match=r"of another split \['1-of-3'\]"):
        merge(tmp_path / "fit.h5", shards("1-of-2", "2-of-2", "1-of-3"), prepared)


def test_shard_of_other_data_is_named(shards, prepared, tmp_path):
    other = prepared._replace(fingerprint="0" * 64)
    with pytest.raises(ValueError, match=r"1-of-1.h5 was fitted on other counts"):
        merge(tmp_path / "fit.h5", shards("1-of-1"), other)


def test_shard_with_an_incomplete_fit_is_refused(shards, prepared, tmp_path):
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
        save_arrays(path, {"graph": graph[start:stop]}, first_cell=start)
    return graph, paths


def test_graph_shards_are_merged_in_any_order(tmp_path):
    graph, paths = graph_shards(tmp_path, [(0, 4), (4, 5), (5, 10)])
    assert (merge_graph_shards(paths[::-1]) != graph).nnz == 0


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([(0, 4), (5, 10)], "the shard after cell 4 starts at 5"),
        ([(0, 4), (3, 10)], "the shard after cell 4 starts at 3"),
        ([(0, 4), (4, 9)], "have 9 rows, expected 10"),
    ],
)
def test_missing_or_repeated_rows_of_the_graph_are_refused(tmp_path, bounds, message):
    _, paths = graph_shards(tmp_path, bounds)
    with pytest.raises(ValueError, match=message):
        merge_graph_shards(paths)


def test_arrays_and_json_are_read_as_written(tmp_path):
    arrays = {"dense": np.arange(6.0).reshape(2, 3), "sparse": sparse.csr_matrix(np.eye(3, dtype=np.float32))}
    save_arrays(tmp_path / "arrays.h5", arrays)
    loaded = load_arrays(tmp_path / "arrays.h5")
    np.testing.assert_array_equal(loaded["dense"], arrays["dense"])
    assert (loaded["sparse"] != arrays["sparse"]).nnz == 0
    values = {"warnings": ["größer als üblich"], "none": None, "number": 0.1}
    save_json(tmp_path / "values.json", values)
    assert load_json(tmp_path / "values.json") == values


def test_annotations_are_loaded_without_matrices(prepared_path):
    annotations, whole = load_annotations(prepared_path), read_h5ad(prepared_path)
    assert isinstance(annotations, AnnData)
    assert annotations.obs.equals(whole.obs)
    assert annotations.var_names.equals(whole.var_names)
    assert not annotations.layers
    assert annotations.X is None


def test_dataset_sizes_are_those_of_the_data(prepared_path):
    whole = read_h5ad(prepared_path)
    sizes = dataset_sizes(whole)
    assert (sizes["n_cells"], sizes["n_genes"]) == whole.shape
    neighborhood = load_gene_block(prepared_path)[0].neighborhood
    assert sizes["n_edges"] == len(neighborhood.indices)


def test_fit_of_a_gene_shard_does_not_import_anndata():
    # AnnData would take several times the memory of the job
    code = (
        "import sys; from veloshard.io import fits, prepared; from veloshard.kinetics import methods; "
        "methods.load('dynamical'); print('anndata' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_block_can_be_fitted(prepared_path):
    block, _ = load_gene_block(prepared_path, "1-of-2")
    contract.check(methods.run(block, method="steady_state"), len(block.names), 40)


def test_counts_of_some_cells_are_in_the_requested_order_for_any_block_size(tmp_path, monkeypatch):
    counts = two_clusters()
    save_anndata(tmp_path / "counts.h5ad", counts)
    cells = counts.obs_names[[31, 2, 17, 3]]
    in_one_block = load_counts(tmp_path / "counts.h5ad", cells)
    monkeypatch.setattr("veloshard.io.prepared.CELLS_AT_ONCE", 7)
    for loaded in (in_one_block, load_counts(tmp_path / "counts.h5ad", cells)):
        assert loaded.obs_names.tolist() == cells.tolist()
        assert loaded.obs["clusters"].tolist() == counts.obs.loc[cells, "clusters"].tolist()
        for layer in ("spliced", "unspliced"):
            np.testing.assert_array_equal(loaded.layers[layer].toarray(), counts[cells].layers[layer].toarray())


def test_refit_replaces_only_the_rows_of_refitted_genes(shards, prepared, tmp_path):
    fit_path, refit_path = merge(tmp_path / "fit.h5", shards("1-of-1"), prepared), tmp_path / "refit.h5"
    genes, before = load_fit_genes(fit_path), load_fit_layer(fit_path, "velocity")
    is_refitted = np.isin(np.arange(len(before)), np.flatnonzero(genes["status"] == "ok")[:2])
    columns = {name: values[is_refitted] for name, values in genes.items() if name not in ("name", "velocity_genes")}
    columns["status"] = np.array(["ok", "not_fitted"])
    refit = contract.Fit(columns, {"velocity": np.full((2, before.shape[1]), 7, np.float32)})
    select = lambda columns: np.arange(len(before)) == 0  # noqa: E731
    save_refit(refit_path, fit_path, refit, genes=is_refitted, select=select)
    after, replaced = load_fit_layer(refit_path, "velocity"), np.flatnonzero(is_refitted)[0]
    assert (after[replaced] == 7).all()
    np.testing.assert_array_equal(np.delete(after, replaced, axis=0), np.delete(before, replaced, axis=0))
    assert np.flatnonzero(load_fit_genes(refit_path)["velocity_genes"]).tolist() == [0]
