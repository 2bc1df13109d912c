import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from counted import made_up
from scipy import sparse
from veloshard import readers
from veloshard.errors import InputError
from veloshard.readers.common import LAYERS

NAMES = {layer: layer for layer in LAYERS}


def written(path, adata):
    """The path, with the data in it."""
    adata.write_h5ad(path)
    return path


@pytest.mark.parametrize("store", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.asarray])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "int64", "float32", "float64"])
def test_counts_are_read_as_they_are_however_they_are_stored(tmp_path, store, dtype):
    adata = made_up()
    expected = {layer: adata.layers[layer].toarray() for layer in LAYERS}
    for layer in LAYERS:
        adata.layers[layer] = store(expected[layer].astype(dtype))
    read = readers.read(written(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    for layer in LAYERS:
        assert isinstance(read.layers[layer], sparse.csr_matrix)
        assert read.layers[layer].dtype == np.uint16
        np.testing.assert_array_equal(read.layers[layer].toarray(), expected[layer])


def test_stored_zeros_are_no_counts(tmp_path):
    adata = made_up()
    adata.layers["spliced"].data[:5] = 0
    n_counts = adata.layers["spliced"].nnz - 5
    read = readers.read(written(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    assert read.layers["spliced"].nnz == n_counts


def test_layers_are_found_under_the_users_own_names(tmp_path):
    adata = made_up()
    adata.layers["mature"] = adata.layers.pop("spliced")
    read = readers.read(
        written(tmp_path / "counts.h5ad", adata),
        dataset="d",
        layers={"spliced": "mature", "unspliced": "unspliced"},
    )
    np.testing.assert_array_equal(read.layers["spliced"].toarray(), adata.layers["mature"].toarray())


def test_nothing_is_loaded_that_is_not_needed(tmp_path):
    adata = made_up()
    adata.X = adata.layers["spliced"].copy()
    adata.layers["ambiguous"] = adata.layers["spliced"].copy()
    adata.varm["PCs"] = np.ones((adata.n_vars, 2))
    adata.uns |= {
        "clusters_colors": np.array(["red", "blue"]),
        "other_colors": np.array(["red"]),
        "pca": {"x": 1},
    }
    read = readers.read(written(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    assert read.X is None
    assert set(read.layers) == {*LAYERS, "ambiguous"}
    assert (set(read.varm), set(read.uns)) == (set(), {"clusters_colors", "reader"})


def test_tables_of_coordinates_are_read_as_arrays_and_text_is_left(tmp_path):
    adata = made_up()
    adata.obsm["X_table"] = pd.DataFrame(np.ones((40, 3)), index=adata.obs_names, columns=list("xyz"))
    adata.obsm["notes"] = pd.DataFrame({"note": ["text"] * 40}, index=adata.obs_names)
    read = readers.read(written(tmp_path / "counts.h5ad", adata), dataset="d", layers=NAMES)
    assert set(read.obsm) == {"X_umap", "X_table"}
    np.testing.assert_array_equal(read.obsm["X_table"], np.ones((40, 3)))


def refusal(path, layers=NAMES):
    """The message with which a file is refused."""
    with pytest.raises(InputError) as caught:
        readers.read(path, dataset="liver", layers=layers)
    message = str(caught.value)
    assert message.startswith(f"dataset 'liver': {path}: ")
    return message


def test_a_missing_file_is_named(tmp_path):
    message = refusal(tmp_path / "nowhere.h5ad")
    assert "no such file" in message
    assert "datasets.liver.source" in message


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "table.h5ad").write_text("gene,count\n")
    message = refusal(tmp_path / "table.h5ad")
    assert "not an HDF5 file" in message
    assert "datasets.liver.source" in message


def test_hdf5_that_is_no_anndata_is_refused_with_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "sample.h5", "w") as file:
        file.create_group("matrix")
        file.create_group("layers")
    message = refusal(tmp_path / "sample.h5")
    assert "no obs, var" in message
    assert "found: layers, matrix" in message


def test_a_damaged_file_is_refused(tmp_path):
    path = written(tmp_path / "counts.h5ad", made_up())
    with h5py.File(path, "a") as file:
        del file["layers/spliced/indptr"]
    message = refusal(path)
    assert "damaged" in message
    assert "Write or download it again" in message


def test_a_truncated_file_is_refused(tmp_path):
    path = written(tmp_path / "counts.h5ad", made_up())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in refusal(path)


def test_a_file_of_an_old_anndata_is_refused_with_the_way_to_renew_it(tmp_path):
    path = written(tmp_path / "counts.h5ad", made_up())
    with h5py.File(path, "a") as file:
        del file["obs"]
        file["obs"] = np.array([(b"cell0",)], dtype=[("index", "S5")])
    assert "Read it with anndata.read_h5ad and write it again" in refusal(path)


def test_a_missing_layer_is_refused_with_those_there_are(tmp_path):
    adata = made_up()
    adata.layers["unspliced_counts"] = adata.layers.pop("unspliced")
    message = refusal(written(tmp_path / "counts.h5ad", adata))
    assert "no layer 'unspliced'" in message
    assert "(found: spliced, unspliced_counts)" in message
    assert "Set datasets.liver.layers.unspliced" in message


def test_a_layer_of_another_shape_is_refused(tmp_path):
    path = written(tmp_path / "counts.h5ad", made_up(n_cells=40, n_genes=12))
    with h5py.File(path, "a") as file:
        del file["layers/unspliced"]
        file["layers"].create_dataset("unspliced", data=np.ones((12, 40)))
        file["layers/unspliced"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    message = refusal(path)
    assert "unspliced counts is 12 x 40" in message
    assert "40 cells and 12 genes" in message


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize(("axis", "kind"), [("obs", "cell"), ("var", "gene")])
def test_names_that_occur_twice_are_refused_and_three_are_shown(tmp_path, axis, kind):
    adata = made_up()
    names = getattr(adata, f"{axis}_names").to_numpy().copy()
    names[:8] = np.repeat(["P", "Q", "R", "S"], 2)
    setattr(adata, f"{axis}_names", names)
    message = refusal(written(tmp_path / "counts.h5ad", adata))
    assert f"4 {kind} names occur more than once (P, Q, R)" in message
    assert f"{axis}_names_make_unique()" in message


def test_a_file_without_layers_is_refused(tmp_path):
    path = written(tmp_path / "counts.h5ad", AnnData(np.ones((3, 2), dtype=np.float32)))
    message = refusal(path)
    assert "no layer 'spliced'" in message
    assert "found: none" in message
