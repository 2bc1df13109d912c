"""All layouts give the same counts, and errors say what is wrong with a file."""

import csv
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse
from support import layouts
from veloshard.errors import InputError
from veloshard.io import readers
from veloshard.io.readers.common import gene_table
from veloshard.io.readers.sparse_blocks import narrow, sparse_counts

DATA = Path(__file__).parents[4] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data here")
WITHOUT_NAMES = ("kb_lamanno", "alevin_fry")


@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.__name__)
def test_all_layouts_give_the_same_counts(layout, tmp_path):
    path, counts = layouts.write(layout, tmp_path / "sample")
    read = readers.read(path, dataset="d")
    assert read.obs_names.tolist() == layouts.BARCODES
    assert read.var["gene_ids"].tolist() == layouts.IDS
    assert read.var_names.tolist() == (layouts.IDS if layout.__name__ in WITHOUT_NAMES else layouts.NAMES)
    assert {"spliced", "unspliced"} <= set(read.layers) <= set(counts)
    for layer, values in read.layers.items():
        assert isinstance(values, sparse.csr_matrix)
        assert values.dtype == np.uint16
        assert values.has_canonical_format
        assert values.nnz == np.count_nonzero(counts[layer])
        np.testing.assert_array_equal(values.toarray(), counts[layer])
    assert read.uns["reader"]["format"] == layout.__name__.removesuffix("_gz")


@needs_data
@pytest.mark.parametrize(
    "name", ["velocyto_SAMPLE.loom", "STARsolo_new", "STARsolo_old", "kb_nac", "kb_lamanno", "alevin_fry_usa"]
)
def test_quantifiers_outputs_of_the_same_cells_are_read_the_same(name):
    folder = DATA / "formats/same_20cells"
    expected, read = np.load(folder / "expected.npz"), readers.read(folder / name, dataset="d")
    assert read.obs_names.tolist() == expected["barcodes"].tolist()
    assert read.var["gene_ids"].tolist() == expected["gene_ids"].tolist()
    if name not in ("kb_lamanno", "alevin_fry_usa"):
        assert read.var_names.tolist() == expected["genes"].tolist()
    for layer, values in read.layers.items():
        np.testing.assert_array_equal(values.toarray(), expected[layer])


@needs_data
def test_example_outputs_of_the_quantifiers_are_read():
    starsolo = readers.read(DATA / "formats/starsolo_2.7.7a", dataset="d")
    assert starsolo.shape == (282, 60671)
    assert [int(starsolo.layers[layer].sum()) for layer in ("spliced", "unspliced", "ambiguous")] == [189, 8, 20]
    assert "share 76 names" in starsolo.uns["reader"]["notes"][0]
    kb = readers.read(DATA / "formats/kb_lamanno", dataset="d")
    assert kb.shape == (278, 17)
    fry = readers.read(DATA / "formats/alevin_fry_usa_fishpond", dataset="d")
    lines = (DATA / "formats/alevin_fry_usa_fishpond/example-dat.csv").read_text().splitlines()[1:]
    header, *rows = csv.reader(lines, skipinitialspace=True)
    written = np.array([[int(value) for value in row[1:]] for row in rows])
    for layer, mark in (("spliced", "S"), ("unspliced", "U"), ("ambiguous", "A")):
        columns = [k for k, name in enumerate(header) if name.endswith(f"_{mark}")]
        np.testing.assert_array_equal(fry.layers[layer].toarray(), written[:, columns])


def test_filtered_matrix_is_preferred_to_the_raw_one(tmp_path):
    path, _ = layouts.write(layouts.starsolo, tmp_path / "sample")
    raw = path / "Solo.out/Velocyto/raw"
    raw.rename(raw.with_name("filtered"))
    layouts.starsolo(path, layouts.random_layers(seed=1))
    assert readers.read(path, dataset="d").layers["spliced"].sum() == layouts.random_layers()["spliced"].sum()
    assert readers.read(raw, dataset="d").layers["spliced"].sum() == layouts.random_layers(seed=1)["spliced"].sum()


def test_layers_with_other_names_are_read(tmp_path):
    path, counts = layouts.write(layouts.h5ad, tmp_path / "sample")
    adata = read_h5ad(path)
    for new, old in (("mature", "spliced"), ("nascent", "unspliced")):
        adata.layers[new] = adata.layers.pop(old)
    adata.write_h5ad(path)
    np.testing.assert_array_equal(readers.read(path, dataset="d").layers["spliced"].toarray(), counts["spliced"])
    swapped = {"spliced": "nascent", "unspliced": "mature"}
    read = readers.read(path, dataset="d", layers=swapped)
    np.testing.assert_array_equal(read.layers["spliced"].toarray(), counts["unspliced"])


def test_expected_counts_remain_fractions(tmp_path):
    path, counts = layouts.write(layouts.alevin_fry, tmp_path / "sample")
    layouts.alevin_fry(path, {layer: values + 0.25 for layer, values in counts.items()})
    read = readers.read(path, dataset="d")
    assert read.layers["spliced"].dtype == np.float32
    np.testing.assert_array_equal(read.layers["spliced"].toarray(), counts["spliced"] + 0.25)


def test_cells_in_one_layer_only_are_left_out_and_counted(tmp_path):
    path, counts = layouts.write(layouts.kb_lamanno, tmp_path / "sample")
    names = path / "counts_unfiltered/unspliced.barcodes.txt"
    names.write_text(names.read_text().replace(layouts.BARCODES[2], "AAAAAAAAAAAAAA"))
    read = readers.read(path, dataset="d")
    assert read.obs_names.tolist() == [name for k, name in enumerate(layouts.BARCODES) if k != 2]
    np.testing.assert_array_equal(read.layers["unspliced"].toarray(), np.delete(counts["unspliced"], 2, axis=0))
    assert "1 cells do not have both" in read.uns["reader"]["notes"][0]


def test_windows_line_ends_are_read(tmp_path):
    path, counts = layouts.write(layouts.starsolo, tmp_path / "sample")
    for file in (path / "Solo.out/Velocyto/raw").iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    read = readers.read(path, dataset="d")
    assert read.obs_names.tolist() == layouts.BARCODES
    np.testing.assert_array_equal(read.layers["unspliced"].toarray(), counts["unspliced"])


@pytest.mark.parametrize("blank", ["", ".", " "])
def test_gene_without_a_name_is_named_by_its_id(tmp_path, blank):
    path, _ = layouts.write(layouts.kb_nac, tmp_path / "sample")
    replace_text(path, "cells_x_genes.genes.names.txt", "Rpl7\n", f"{blank}\n")
    assert readers.read(path, dataset="d").var_names.tolist() == [
        name if name != "Rpl7" else layouts.IDS[2] for name in layouts.NAMES
    ]


def test_shared_gene_names_get_their_ids_appended():
    var, notes = gene_table(["E1", "E2", "E3"], ["Ins1", "U6", "U6"])
    assert var.index.tolist() == ["Ins1", "U6_E2", "U6_E3"]
    assert notes == ["2 genes share 1 names: their ids are appended, as in U6_E2"]


def entries(order, n=400):
    rng = np.random.default_rng(1)
    cells, genes, values = rng.integers(0, 30, n), rng.integers(0, 20, n), rng.integers(0, 5, n)
    sorting = np.lexsort({"cells": (genes, cells), "genes": (cells, genes), "none": (np.arange(n),)}[order])
    return cells[sorting], genes[sorting], values[sorting]


@pytest.mark.parametrize("order", ["cells", "genes", "none"])
def test_entries_in_any_order_give_the_same_counts_and_repeated_ones_are_added(order):
    cells, genes, values = entries(order)
    expected = np.zeros((30, 20))
    np.add.at(expected, (cells, genes), values)
    blocks = [(cells[k : k + 70], genes[k : k + 70], values[k : k + 70]) for k in range(0, 400, 70)]
    counts = sparse_counts(iter(blocks), (30, 20), where="here")
    np.testing.assert_array_equal(counts.toarray(), expected)
    assert counts.has_canonical_format
    assert counts.dtype == np.uint16
    assert counts.nnz == np.count_nonzero(expected)


@pytest.mark.parametrize("cells", [[0, 0], [1, 0, 1, 0]])
def test_sums_of_repeated_entries_do_not_overflow(cells):
    values, genes = np.full(len(cells), 60_000), np.array([0, 0, 1, 0][: len(cells)])
    expected = np.zeros((2, 2))
    np.add.at(expected, (cells, genes), values)
    counts = sparse_counts([(np.array(cells), genes, values)], (2, 2), where="here")
    np.testing.assert_array_equal(counts.toarray(), expected)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "uint16"),
        ([1, 65536], "uint32"),
        ([1.0, 2**33], "uint64"),
        ([0.5], "f4"),
        ([-1], "f4"),
        ([np.nan], "f4"),
    ],
)
def test_values_are_stored_in_the_smallest_type_that_holds_them(values, dtype):
    assert narrow(np.array(values)).dtype == dtype


def error_message(path, **options):
    """Return the message of the error for a file."""
    with pytest.raises(InputError) as caught:
        readers.read(path, dataset="liver", key="datasets.liver", **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


def replace_text(path, name, old, new):
    """Replace text in a file below a folder, and return the folder."""
    file = next(path.rglob(name))
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("spliced.mtx", "8 6 48", "6 8 48", "is 6 x 8, but the names of cells and genes need 8 x 6"),
        ("spliced.mtx", "8 6 48", "8 6 50", "is incomplete: its header gives 50 entries, but it has 48"),
        ("spliced.mtx", "\n1 1 ", "\n9 1 ", "a count for gene 9, but there are 8 genes"),
        ("spliced.mtx", "\n1 1 ", "\n0 1 ", "a count for gene 0"),
        ("spliced.mtx", "\n1 1 ", "\n1 1 x", "damaged"),
        ("spliced.mtx", "%%MatrixMarket", "MatrixMarket", "does not begin like a Matrix Market file"),
        ("spliced.mtx", "coordinate", "array", "of another kind"),
        (
            "barcodes.tsv",
            layouts.BARCODES[1],
            layouts.BARCODES[0],
            "1 barcodes of the spliced counts occur more than once",
        ),
        ("barcodes.tsv", layouts.BARCODES[1], "", "line 2 of barcodes.tsv is empty"),
    ],
)
def test_damaged_matrix_is_refused_with_the_fault(tmp_path, name, old, new, message):
    path, _ = layouts.write(layouts.starsolo, tmp_path / "sample")
    assert message in error_message(replace_text(path, name, old, new))


def test_plain_count_matrix_is_not_read_as_old_starsolo(tmp_path):
    path, _ = layouts.write(layouts.triples, tmp_path / "sample")
    assert "(. holds barcodes.tsv.gz, features.tsv.gz, matrix.mtx.gz)" in error_message(path / "spliced")


def test_matrix_beside_the_folders_of_layers_is_ignored(tmp_path):
    path, counts = layouts.write(layouts.triples, tmp_path / "sample")
    for file in (path / "spliced").iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    np.testing.assert_array_equal(readers.read(path, dataset="d").layers["spliced"].toarray(), counts["spliced"])
    assert "no matrices of kb_nac" in error_message(path, format="kb_nac")
    assert "have fixed names" in error_message(path, layers={"spliced": "mature"})


def test_genes_that_alevin_fry_lists_three_times_are_read_once(tmp_path):
    path, counts = layouts.write(layouts.alevin_fry, tmp_path / "sample")
    names = path / "alevin/quants_mat_cols.txt"
    names.write_text("".join(f"{name}{end}\n" for end in ("", "-U", "-A") for name in layouts.IDS))
    read = readers.read(path, dataset="d")
    assert read.var_names.tolist() == layouts.IDS
    np.testing.assert_array_equal(read.layers["ambiguous"].toarray(), counts["ambiguous"])


def test_one_layer_cannot_be_spliced_and_unspliced(tmp_path):
    path, _ = layouts.write(layouts.h5ad, tmp_path / "sample")
    assert "cannot both be layer 'spliced'" in error_message(path, layers={"unspliced": "spliced"})


def test_empty_folders_files_and_broken_links_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "it holds nothing" in error_message(tmp_path / "empty")
    (tmp_path / "empty.h5ad").touch()
    assert "the file is empty" in error_message(tmp_path / "empty.h5ad")
    (tmp_path / "link").symlink_to("nowhere")
    assert "a link to nowhere" in error_message(tmp_path / "link")
    (tmp_path / "one.mtx").write_text("%%MatrixMarket")
    assert "to the folder that holds them" in error_message(tmp_path / "one.mtx")


def test_file_without_permission_is_refused(tmp_path, monkeypatch):
    path, _ = layouts.write(layouts.starsolo, tmp_path / "sample")

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    assert "no permission to read" in error_message(path)


def test_named_format_is_not_overridden(tmp_path):
    path, _ = layouts.write(layouts.h5ad, tmp_path / "sample")
    assert "not a loom file" in error_message(path, format="loom")


def test_loom_of_several_samples_keeps_the_sample_in_cell_names(tmp_path):
    import h5py

    path, _ = layouts.write(layouts.loom, tmp_path / "sample")
    with h5py.File(path, "r+") as file:
        del file["col_attrs/CellID"]
        names = [f"{sample}:{name}x" for sample in "ab" for name in layouts.BARCODES[:3]]
        file["col_attrs/CellID"] = np.array(names, dtype=object)
    assert readers.read(path, dataset="d").obs_names.tolist() == names


def test_group_that_contains_itself_is_refused(tmp_path):
    import h5py

    path, _ = layouts.write(layouts.h5ad, tmp_path / "sample")
    with h5py.File(path, "r+") as file:
        file["obs/loop"] = file["obs"]
        file["obs"].attrs["column-order"] = np.array(["loop"], dtype=object)
    assert "damaged" in error_message(path)


def test_file_without_cells_is_refused(tmp_path):
    empty = AnnData(layers={layer: sparse.csr_matrix((0, 8)) for layer in ("spliced", "unspliced")}, shape=(0, 8))
    empty.write_h5ad(tmp_path / "none.h5ad")
    assert "the file has no cells" in error_message(tmp_path / "none.h5ad")
