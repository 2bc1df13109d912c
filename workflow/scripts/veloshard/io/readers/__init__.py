"""Readers of counts, one module per family of formats.

Each reader returns an AnnData of cells x genes, as `common.assemble` builds it, and raises InputError for a file that
it cannot read. `ingest_counts` checks the content, in the same way for all formats.
"""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
from anndata import AnnData

from veloshard.errors import InputError, full_name
from veloshard.io import FilePath
from veloshard.io.readers import h5ad, loom, matrix_market
from veloshard.io.readers.common import reading

# reader of each format
READERS: dict[str, Callable[..., AnnData]] = {
    "h5ad": h5ad.read,
    "zarr": h5ad.read_zarr,
    "loom": loom.read,
    **{name: functools.partial(matrix_market.read, format=name) for name in matrix_market.LAYOUTS},
}


def read(
    path: FilePath,
    *,
    dataset: str,
    layers: Mapping[str, str] | None = None,
    format: str | None = None,
    key: str = "",
) -> AnnData:
    """Return the counts and annotations of one file or folder.

    Parameters
    ----------
    path : path-like
        File, or folder with text matrices.
    dataset : str
        Name of the dataset, for messages.
    layers : dict of str to str, optional
        Names of the layers in the file, by `spliced`, `unspliced` and `ambiguous`.
    format : str, optional
        One of `READERS`. By default the format is detected.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas"``.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As `common.assemble` builds it. Layers are canonical CSR matrices, with integers if all counts are whole.

    Raises
    ------
    InputError
        If the file does not exist, is damaged, has an unknown format, or lacks cells, genes or layers.
    """
    where = f"dataset {dataset!r}: {os.fspath(path)}"
    with reading(where):
        format = format or detect_format(path, where=where, key=key)
        return READERS[format](path, where=where, key=key, layers=layers or {})


def detect_format(path: FilePath, *, where: str, key: str = "") -> str:
    """Return the name of the format of a file or folder.

    Parameters
    ----------
    path : path-like
        File or folder.
    where : str
        Dataset and file, for messages.
    key : str
        Prefix of the arguments' names in messages.

    Returns
    -------
    str
        One of `READERS`.

    Raises
    ------
    InputError
        If the file does not exist or its format is unknown.
    """
    path, source = Path(path), full_name("source", key)
    if path.is_symlink() and not path.exists():
        raise InputError(f"{where}: a link to {path.readlink()}, which does not exist. Correct {source}.")
    if not path.exists():
        raise InputError(f"{where}: no such file. Correct {source}.")
    if path.is_dir():
        if any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs")):
            return "zarr"
        folder = matrix_market.find(path)
        if folder is None:
            raise InputError(
                f"{where}: no spliced and unspliced counts of STARsolo, kb-python or alevin-fry in this folder "
                f"({matrix_market.describe_content(path)}). Set {source} to the folder that holds matrices, barcodes "
                "and genes, or to a file."
            )
        return folder.format
    if path.stat().st_size == 0:
        raise InputError(f"{where}: the file is empty. Write or download it again.")
    if not h5py.is_hdf5(path):
        if path.name.endswith((".mtx", ".mtx.gz", ".tsv", ".tsv.gz", ".txt")):
            raise InputError(f"{where}: one of several files. Set {source} to the folder that holds them.")
        raise InputError(f"{where}: not an HDF5 file, so neither .h5ad nor .loom. Correct {source}.")
    with h5py.File(path) as file:
        return "loom" if {"row_attrs", "col_attrs"} & set(file.keys()) else "h5ad"
