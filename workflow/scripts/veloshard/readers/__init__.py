"""Readers of counts, one file a family of formats.

Each returns the same: an AnnData of cells x genes as `common.assemble` makes it.  It refuses with an InputError what
it cannot read; whether the content can be used is for `ingest` to judge, alike for every format.
"""

import functools
from pathlib import Path

import h5py

from veloshard.errors import InputError
from veloshard.readers import h5ad, loom, matrices
from veloshard.readers.common import reading

# what is found by looking, and which reader reads it
READERS = {
    "h5ad": h5ad.read,
    "zarr": h5ad.read_zarr,
    "loom": loom.read,
    **{name: functools.partial(matrices.read, format=name) for name in matrices.LAYOUTS},
}


def read(path, *, dataset, layers=None, format=None):
    """Counts of one file or folder, whatever wrote it, and the annotations in it.

    Parameters
    ----------
    path : str or pathlib.Path
        The file, or the folder that holds matrices.
    dataset : str
        Name of the dataset, for messages.
    layers : dict of str to str, optional
        The file's own names of the layers, by `spliced`, `unspliced` and `ambiguous`.
    format : str, optional
        One of `READERS`; by default it is found by looking.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        As `common.assemble` makes it: layers in canonical CSR, exact where counts are whole.

    Raises
    ------
    InputError
        If there is no such file, if it is damaged, of no known format, or lacks what is needed.
    """
    where, key = f"dataset {dataset!r}: {path}", f"datasets.{dataset}"
    with reading(where):
        format = format or find_format(path, where=where, key=key)
        return READERS[format](path, where=where, key=key, layers=layers or {})


def find_format(path, *, where, key):
    """Name of the format of a file or folder; InputError if it is none that is known."""
    path, remedy = Path(path), f"Correct {key}.source."
    if path.is_symlink() and not path.exists():
        raise InputError(f"{where}: a link to {path.readlink()}, which is not there. {remedy}")
    if not path.exists():
        raise InputError(f"{where}: no such file. {remedy}")
    if path.is_dir():
        if any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs")):
            return "zarr"
        folder = matrices.find(path)
        if folder is None:
            raise InputError(
                f"{where}: no spliced and unspliced counts of STARsolo, kb-python or alevin-fry in this folder "
                f"({matrices.near(path)}). Give the folder that holds matrices, barcodes and genes, or a file. {remedy}"
            )
        return folder.format
    if path.stat().st_size == 0:
        raise InputError(f"{where}: the file is empty. Write or download it again.")
    if not h5py.is_hdf5(path):
        if path.name.endswith((".mtx", ".mtx.gz", ".tsv", ".tsv.gz", ".txt")):
            raise InputError(f"{where}: one of several files. Give the folder that holds them in {key}.source.")
        raise InputError(f"{where}: not an HDF5 file, so neither .h5ad nor .loom. {remedy}")
    with h5py.File(path) as file:
        return "loom" if {"row_attrs", "col_attrs"} & set(file.keys()) else "h5ad"
