import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from support.counts import two_clusters
from veloshard.errors import InputError
from veloshard.io import readers
from veloshard.io.readers.common import LAYERS

NAMES = {layer: layer for layer in LAYERS}


def write(path, adata):
    """Write an AnnData and return its path."""
    adata.write_h5ad(path)
    return path


@pytest.mark.parametrize("store", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.asarray])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "int64", "float32", "float64"])
def test_counts_do_not_depend_on_how_they_are_stored(tmp_path, store, dtype):
    adata = two_clusters()
    expected = {layer: adata.layers[layer].toarray() for layer in LAYERS}
    for layer in LAYERS:
        adata.layers[layer] = store(expected[layer].astype(dtype))
    read = readers.read(write(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    for layer in LAYERS:
        assert isinstance(read.layers[layer], sparse.csr_matrix)
        assert read.layers[layer].dtype == np.uint16
        np.testing.assert_array_equal(read.layers[layer].toarray(), expected[layer])


def test_stored_zeros_are_dropped(tmp_path):
    adata = two_clusters()
    adata.layers["spliced"].data[:5] = 0
    n_counts = adata.layers["spliced"].nnz - 5
    read = readers.read(write(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    assert read.layers["spliced"].nnz == n_counts


def test_layers_are_read_under_the_users_names(tmp_path):
    adata = two_clusters()
    adata.layers["mature"] = adata.layers.pop("spliced")
    read = readers.read(
        write(tmp_path / "counts.h5ad", adata),
        dataset="d",
        layers={"spliced": "mature", "unspliced": "unspliced"},
    )
    np.testing.assert_array_equal(read.layers["spliced"].toarray(), adata.layers["mature"].toarray())


def test_only_needed_parts_are_loaded(tmp_path):
    adata = two_clusters()
    adata.X = adata.layers["spliced"].copy()
    adata.layers["ambiguous"] = adata.layers["spliced"].copy()
    adata.varm["PCs"] = np.ones((adata.n_vars, 2))
    adata.uns |= {
        "clusters_colors": np.array(["red", "blue"]),
        "other_colors": np.array(["red"]),
        "pca": {"x": 1},
    }
    read = readers.read(write(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    assert read.X is None
    assert set(read.layers) == {*LAYERS, "ambiguous"}
    assert (set(read.varm), set(read.uns)) == (set(), {"clusters_colors", "reader"})


def test_numeric_tables_in_obsm_are_read_as_arrays_and_text_is_ignored(tmp_path):
    adata = two_clusters()
    adata.obsm["X_table"] = pd.DataFrame(np.ones((40, 3)), index=adata.obs_names, columns=list("xyz"))
    adata.obsm["notes"] = pd.DataFrame({"note": ["text"] * 40}, index=adata.obs_names)
    read = readers.read(write(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    assert set(read.obsm) == {"X_umap", "X_table"}
    np.testing.assert_array_equal(read.obsm["X_table"], np.ones((40, 3)))


def error_message(path, layers=NAMES):
    """Return the message of the error for a file."""
    with pytest.raises(InputError) as caught:
        readers.read(path, dataset="liver", layers=layers, key="datasets.liver")
    message = str(caught.value)
    assert message.startswith(f"dataset 'liver': {path}: ")
    return message


def test_missing_file_is_named(tmp_path):
    message = error_message(tmp_path / "nowhere.h5ad")
    assert "no such file" in message
    assert "datasets.liver.source" in message


def test_text_file_is_refused(tmp_path):
    (tmp_path / "table.h5ad").write_text("gene,count\n")
    message = error_message(tmp_path / "table.h5ad")
    assert "not an HDF5 file" in message
    assert "datasets.liver.source" in message


def test_hdf5_that_is_not_anndata_is_refused_with_its_content(tmp_path):
    with h5py.File(tmp_path / "sample.h5", "w") as file:
        file.create_group("matrix")
        file.create_group("layers")
    message = error_message(tmp_path / "sample.h5")
    assert "no obs, var" in message
    assert "found: layers, matrix" in message


def test_damaged_file_is_refused(tmp_path):
    path = write(tmp_path / "counts.h5ad", two_clusters())
    with h5py.File(path, "a") as file:
        del file["layers/spliced/indptr"]
    message = error_message(path)
    assert "damaged" in message
    assert "Write or download it again" in message


def test_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "counts.h5ad", two_clusters())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in error_message(path)


def test_file_of_an_old_anndata_is_refused_with_how_to_convert_it(tmp_path):
    path = write(tmp_path / "counts.h5ad", two_clusters())
    with h5py.File(path, "a") as file:
        del file["obs"]
        file["obs"] = np.array([(b"cell0",)], dtype=[("index", "S5")])
    assert "Read it with anndata.read_h5ad and write it again" in error_message(path)


def test_missing_layer_is_refused_with_the_available_ones(tmp_path):
    adata = two_clusters()
    adata.layers["unspliced_counts"] = adata.layers.pop("unspliced")
    message = error_message(write(tmp_path / "counts.h5ad", adata))
    assert "no layer 'unspliced'" in message
    assert "(found: spliced, unspliced_counts)" in message
    assert "Set datasets.liver.layers.unspliced" in message


def test_layer_of_another_shape_is_refused(tmp_path):
    path = write(tmp_path / "counts.h5ad", two_clusters(n_cells=40, n_genes=12))
    with h5py.File(path, "a") as file:
        del file["layers/unspliced"]
        file["layers"].create_dataset("unspliced", data=np.ones((12, 40)))
        file["layers/unspliced"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    message = error_message(path)
    assert "unspliced counts is 12 x 40" in message
    assert "40 cells and 12 genes" in message


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize(("axis", "kind"), [("obs", "cell"), ("var", "gene")])
def test_repeated_names_are_refused_and_three_are_shown(tmp_path, axis, kind):
    adata = two_clusters()
    names = getattr(adata, f"{axis}_names").to_numpy().copy()
    names[:8] = np.repeat(["P", "Q", "R", "S"], 2)
    setattr(adata, f"{axis}_names", names)
    message = error_message(write(tmp_path / "counts.h5ad", adata))
    assert f"4 {kind} names occur more than once (P, Q, R)" in message
    assert f"{axis}_names_make_unique()" in message


def test_file_without_layers_is_refused(tmp_path):
    path = write(tmp_path / "counts.h5ad", AnnData(np.ones((3, 2), dtype=np.float32)))
    message = error_message(path)
    assert "no layer 'spliced'" in message
    assert "found: none" in message
