"""HDF5 files between rules: arrays, tables and sparse matrices, readable in parts.

Strings are UTF-8. A table is a group with one dataset per column. A sparse matrix is a group with data, indices and
indptr, as in AnnData files, so that the same functions read parts of those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from veloshard.io import FilePath

if TYPE_CHECKING:
    from anndata import AnnData


def save_arrays(path: FilePath, arrays: Mapping[str, Any], **attributes: Any) -> None:
    """Write arrays and CSR matrices to an HDF5 file.

    Parameters
    ----------
    path : path-like
        File to write.
    arrays : dict of str to ndarray or csr_matrix
        Arrays by name.
    **attributes
        Attributes of the file.
    """
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, values in arrays.items():
            if sparse.issparse(values):
                write_sparse(file.create_group(name), values)
            else:
                write_array(file, name, values)


def save_anndata(path: FilePath, data: AnnData) -> None:
    """Write an AnnData object in the format that older versions of AnnData read too.

    With pandas 3, AnnData 0.13 writes text as nullable strings by default. AnnData reads these from version 0.11 on,
    but scVelo and dynamo are often installed with an older one.

    Parameters
    ----------
    path : path-like
        File to write.
    data : AnnData, shape (n_cells, n_genes)
        Data to write. Text has no missing values; a categorical column may have some.
    """
    from anndata import settings

    with settings.override(allow_write_nullable_strings=False):
        data.write_h5ad(path)


def load_arrays(path: FilePath) -> dict[str, Any]:
    """Return the arrays and CSR matrices that `save_arrays` wrote.

    Parameters
    ----------
    path : path-like
        File to read.

    Returns
    -------
    dict of str to ndarray or csr_matrix
        Arrays by name.
    """
    with h5py.File(path) as file:
        return {
            name: read_sparse(item) if isinstance(item, h5py.Group) else decode_text(item)
            for name, item in file.items()
        }


def read_columns(group: h5py.Group, start: int, stop: int) -> sparse.csc_matrix:
    """Return consecutive columns of a CSC matrix on disk.

    Parameters
    ----------
    group : h5py.Group
        Matrix.
    start, stop : int
        First column, and first column after the last.

    Returns
    -------
    csc_matrix, shape (n_rows, stop - start)

    Raises
    ------
    ValueError
        If the matrix is not stored as CSC.
    """
    return sparse.csc_matrix(_read_slices(group, "csc_matrix", start, stop), (group.attrs["shape"][0], stop - start))


def read_rows(group: h5py.Group, start: int, stop: int) -> sparse.csr_matrix:
    """Return consecutive rows of a CSR matrix on disk.

    Parameters
    ----------
    group : h5py.Group
        Matrix.
    start, stop : int
        First row, and first row after the last.

    Returns
    -------
    csr_matrix, shape (stop - start, n_columns)

    Raises
    ------
    ValueError
        If the matrix is not stored as CSR.
    """
    return sparse.csr_matrix(_read_slices(group, "csr_matrix", start, stop), (stop - start, group.attrs["shape"][1]))


def _read_slices(
    group: h5py.Group, encoding: str, start: int, stop: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return data, indices and indptr of consecutive columns of a CSC matrix, or rows of a CSR matrix."""
    if group.attrs["encoding-type"] != encoding:
        raise ValueError(
            f"{group.name} is a {group.attrs['encoding-type']}, not a {encoding}, and cannot be read in parts"
        )
    indptr = group["indptr"][start : stop + 1].astype(np.int64)
    first, last = (indptr[0], indptr[-1]) if len(indptr) else (0, 0)
    return group["data"][first:last], group["indices"][first:last], indptr - first


def read_sparse(group: h5py.Group) -> sparse.csr_matrix:
    """Return a CSR matrix on disk."""
    parts = (group["data"][()], group["indices"][()], group["indptr"][()])
    return sparse.csr_matrix(parts, shape=tuple(group.attrs["shape"]))


def write_sparse(group: h5py.Group, matrix: sparse.csr_matrix) -> None:
    """Write a CSR matrix to a group."""
    group.attrs["shape"] = matrix.shape
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(matrix, part))


def write_table(group: h5py.Group, columns: Mapping[str, ArrayLike]) -> None:
    """Write columns to a group, one dataset per column."""
    for name, values in columns.items():
        write_array(group, name, values)


def write_array(group: h5py.Group, name: str, values: ArrayLike) -> None:
    """Write an array to a dataset of a group, text as UTF-8."""
    values = np.asarray(values)
    if values.dtype.kind in "UO":
        group.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    else:
        group.create_dataset(name, data=values)


def load_table(path: FilePath, group: str) -> dict[str, NDArray[Any]]:
    """Return a table.

    Parameters
    ----------
    path : path-like
        File to read.
    group : str
        Name of the group that holds the columns.

    Returns
    -------
    dict of str to ndarray, shape (n_rows,)
        Columns by name.
    """
    with h5py.File(path) as file:
        return {name: decode_text(column) for name, column in file[group].items()}


def read_names(group: h5py.Group) -> NDArray[np.str_]:
    """Return the names of cells or genes from the group `obs` or `var` of an AnnData file."""
    names: NDArray[np.str_] = decode_text(group[group.attrs["_index"]])
    return names


def decode_text(dataset: h5py.Dataset) -> Any:
    """Return the values of a dataset, text as str."""
    values = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
    return values.astype(str) if isinstance(values, np.ndarray) and values.dtype == object else values
