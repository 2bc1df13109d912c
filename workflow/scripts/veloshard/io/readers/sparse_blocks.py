"""Build sparse counts from blocks of entries, with little more memory than the result takes."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

from veloshard.errors import InputError

ENTRIES_AT_ONCE = 1 << 22

# cells, genes and values of a block, arrays of the same length
Entries: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def sparse_counts(blocks: Iterable[Entries], shape: tuple[int, int], *, where: str) -> sparse.csr_matrix:
    """Return counts as a canonical CSR matrix: sorted, without repeated entries and without stored zeros.

    If the entries are ordered by cell or by gene, as all programs write them, the peak memory is 12 bytes per entry, of
    which the result takes 6.

    Parameters
    ----------
    blocks : iterable of (cells, genes, values)
        Blocks of entries. Indices of cells and genes start at 0. Values of the same cell and gene are added.
    shape : (int, int)
        Numbers of cells and genes.
    where : str
        Dataset and file, for messages.

    Returns
    -------
    csr_matrix, shape (n_cells, n_genes)
        Unsigned integers of 16 bits, or more if needed, if all values are whole and none is negative. Else float32.

    Raises
    ------
    InputError
        If an entry is outside the matrix.
    """
    cells: list[Runs] = []
    genes: list[Runs] = []
    values: list[NDArray[Any]] = []
    for block_cells, block_genes, block_values in blocks:
        for kind, index, size in (("cell", block_cells, shape[0]), ("gene", block_genes, shape[1])):
            is_outside = (index < 0) | (index >= size)
            if is_outside.any():
                raise InputError(
                    f"{where}: the file has a count for {kind} {index[is_outside.argmax()] + 1}, but there are {size} "
                    f"{kind}s. Names and counts must be of the same run, and the matrix must not be transposed."
                )
        is_stored = block_values != 0
        cells.append(Runs.of(block_cells[is_stored].astype(np.int32)))
        genes.append(Runs.of(block_genes[is_stored].astype(np.int32)))
        values.append(narrow(block_values)[is_stored])
    dtypes = {block_values.dtype for block_values in values}
    dtype = np.float32 if any(dtype.kind == "f" for dtype in dtypes) else np.result_type(np.uint16, *dtypes)
    wide_dtype = np.float64 if dtype == np.float32 else np.uint64  # sums of repeated entries may not fit into 16 bits
    if _is_sorted(cells):
        indptr = _indptr(cells, shape[0])
        counts = sparse.csr_matrix((_join(values, dtype), _join_runs(genes), indptr), shape)
    elif _is_sorted(genes):
        indptr = _indptr(genes, shape[1])
        genes.clear()
        counts = sparse.csc_matrix((_join(values, dtype), _join_runs(cells), indptr), shape).tocsr()
    else:
        indices = (_join_runs(cells), _join_runs(genes))
        # the conversion to CSR adds repeated entries
        counts = sparse.coo_matrix((_join(values, wide_dtype), indices), shape).tocsr()
        counts.data = narrow(counts.data)
    if not counts.has_canonical_format:
        counts = counts.astype(wide_dtype)
        counts.sum_duplicates()
        counts.data = narrow(counts.data)
    return counts


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in the smallest type that holds them: unsigned integers of at least 16 bits, else float32.

    Fewer than 16 bits would save little memory, because indices take 32.
    """
    if not len(values):
        return values.astype(np.uint16)
    least, most = values.min(), values.max()
    # the comparisons are also False for NaN
    if least >= 0 and most < 2**53 and (values.dtype.kind in "biu" or np.array_equal(values, np.floor(values))):
        return values.astype(np.promote_types(np.uint16, np.min_scalar_type(int(most))))
    return values.astype(np.float32)


def shape_of(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer of an AnnData file, dense or sparse."""
    if hasattr(layer, "keys"):
        return tuple(int(size) for size in layer.attrs.get("shape", layer.attrs.get("h5sparse_shape", ())))
    return tuple(layer.shape)


def stored_entries(layer: Any, shape: tuple[int, int]) -> Iterator[Entries]:
    """Yield blocks of entries of a layer of an AnnData file, as `sparse_counts` takes them.

    Parameters
    ----------
    layer : array or group of h5py or zarr
        Dense or sparse layer.
    shape : (int, int)
        Shape of the layer, cells x genes.

    Yields
    ------
    cells, genes, values : ndarray
        Entries of a block.

    Raises
    ------
    ValueError
        If the layer is damaged.
    """
    if not hasattr(layer, "keys"):
        for first, block in dense_blocks(layer):
            rows, columns = block.nonzero()
            yield rows + first, columns, block[rows, columns]
        return
    encoding = layer.attrs.get("encoding-type", layer.attrs.get("h5sparse_format", ""))
    encoding = encoding.decode() if isinstance(encoding, bytes) else str(encoding)
    if encoding[:3] not in ("csr", "csc"):
        raise ValueError(f"a layer is stored as {encoding or 'something unknown'!r}, neither dense nor sparse")
    is_csr = encoding[:3] == "csr"
    indptr = layer["indptr"][...].astype(np.int64)
    n_entries = layer["data"].shape[0]
    is_consistent = len(indptr) == shape[0 if is_csr else 1] + 1 and indptr[0] == 0 and indptr[-1] == n_entries
    if not is_consistent or np.any(np.diff(indptr) < 0) or layer["indices"].shape[0] != n_entries:
        raise ValueError("data, indices and indptr of a sparse layer do not match")
    for first in range(0, n_entries, ENTRIES_AT_ONCE):
        last = min(first + ENTRIES_AT_ONCE, n_entries)
        major = np.searchsorted(indptr, np.arange(first, last), side="right") - 1
        minor, values = layer["indices"][first:last].astype(np.int64), layer["data"][first:last]
        yield (major, minor, values) if is_csr else (minor, major, values)


def dense_blocks(array: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield blocks of rows of a matrix on disk, each with the index of its first row."""
    rows = max(1, ENTRIES_AT_ONCE // max(1, array.shape[1]))
    for first in range(0, array.shape[0], rows):
        yield first, array[first : first + rows]


class Runs(NamedTuple):
    """Indices of a block of entries, run-length encoded if that takes less memory.

    Attributes
    ----------
    values : ndarray of int32
        Index of each run, or of each entry.
    lengths : ndarray of int, or None
        Length of each run. None if the indices are not encoded.
    """

    values: NDArray[np.int32]
    lengths: NDArray[np.intp] | None

    @classmethod
    def of(cls, index: NDArray[np.int32]) -> "Runs":
        """Return the indices in the form that takes less memory."""
        starts = np.flatnonzero(np.append(True, index[1:] != index[:-1])) if len(index) else np.empty(0, np.intp)
        if 4 * len(starts) > len(index):
            return cls(index, None)
        return cls(index[starts], np.diff(np.append(starts, len(index))))

    def decoded(self) -> NDArray[np.int32]:
        """Return the index of each entry."""
        return self.values if self.lengths is None else np.repeat(self.values, self.lengths)


def _is_sorted(blocks: list[Runs]) -> bool:
    last = -1
    for values, _ in blocks:
        if len(values):
            if values[0] < last or np.any(values[1:] < values[:-1]):
                return False
            last = values[-1]
    return True


def _indptr(blocks: list[Runs], n_rows: int) -> NDArray[np.int64]:
    """Return the start of the entries of each row, for blocks of sorted row indices."""
    counts = np.zeros(n_rows)
    for values, lengths in blocks:
        counts += np.bincount(values, weights=lengths, minlength=n_rows)
    return np.append(0, np.cumsum(counts)).astype(np.int64)


def _join(blocks: list[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """Return the blocks as one array. The list is cleared to free its memory."""
    joined: NDArray[Any] = np.concatenate([np.empty(0, dtype), *blocks], dtype=dtype, casting="unsafe")
    blocks.clear()
    return joined


def _join_runs(blocks: list[Runs]) -> NDArray[np.int32]:
    """Return the decoded blocks as one array. The list is cleared to free its memory."""
    joined = np.concatenate([np.empty(0, np.int32), *(block.decoded() for block in blocks)], dtype=np.int32)
    blocks.clear()
    return joined
