"""Sparse counts put together from blocks of entries, so that little more than the result is ever in memory."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from veloshard.errors import InputError

ENTRIES_AT_ONCE = 1 << 22


def sparse_counts(blocks, shape, *, where):
    """Counts in canonical CSR: sorted, no entry twice, no stored zeros.

    Where entries come cell by cell or gene by gene, which is how every program writes them, at most 12 bytes an entry
    are held in all, of which the result takes 6.

    Parameters
    ----------
    blocks : iterable of (cells, genes, values)
        Entries, as arrays of one length; cells and genes count from 0.  Values of one place are added up.
    shape : (int, int)
        Numbers of cells and genes.
    where : str
        Dataset and file, for messages.

    Returns
    -------
    scipy.sparse.csr_matrix, (n_cells, n_genes)
        uint16 or as wide as needed where all values are whole and none is negative, else float32.

    Raises
    ------
    InputError
        If an entry lies outside the matrix.
    """
    parts = [[], [], []]
    for cells, genes, values in blocks:
        for kind, index, size in (("cell", cells, shape[0]), ("gene", genes, shape[1])):
            outside = (index < 0) | (index >= size)
            if outside.any():
                raise InputError(
                    f"{where}: holds a count for {kind} {index[outside.argmax()] + 1}, but there are {size} {kind}s. "
                    "Names and counts must be of one run, and not turned."
                )
        held = values != 0
        parts[0].append(Runs.of(cells[held].astype(np.int32)))
        parts[1].append(Runs.of(genes[held].astype(np.int32)))
        parts[2].append(narrowed(values)[held])
    cells, genes, values = parts
    kinds = {part.dtype for part in values}
    kind = np.float32 if any(kind.kind == "f" for kind in kinds) else np.result_type(np.uint16, *kinds)
    if _is_sorted(cells):
        counts = sparse.csr_matrix((_joined(values, kind), _joined(genes, np.int32), _starts(cells, shape[0])), shape)
    elif _is_sorted(genes):
        starts = _starts(genes, shape[1])
        genes.clear()
        counts = sparse.csc_matrix((_joined(values, kind), _joined(cells, np.int32), starts), shape).tocsr()
    else:
        places = (_joined(cells, np.int32), _joined(genes, np.int32))
        # values of one place are added up on the way
        wide = np.float64 if kind == np.float32 else np.uint64
        counts = sparse.coo_matrix((_joined(values, wide), places), shape).tocsr()
        counts.data = narrowed(counts.data)
    # in 16 bits a sum may not fit
    if not counts.has_canonical_format:
        counts = counts.astype(np.float64 if kind == np.float32 else np.uint64)
        counts.sum_duplicates()
        counts.data = narrowed(counts.data)
    return counts


def narrowed(values):
    """Values in the smallest type that holds them: unsigned integers of 16 bits or more, else single precision.

    16 bits at least: nothing is gained by less, as indices take 32.
    """
    if not len(values):
        return values.astype(np.uint16)
    least, most = values.min(), values.max()
    # false for NaN, too
    if least >= 0 and most < 2**53 and (values.dtype.kind in "biu" or np.array_equal(values, np.floor(values))):
        return values.astype(np.promote_types(np.uint16, np.min_scalar_type(int(most))))
    return values.astype(np.float32)


def shape_of(layer):
    """Cells and genes of a layer of an AnnData file, dense or sparse."""
    if hasattr(layer, "keys"):
        return tuple(int(size) for size in layer.attrs.get("shape", layer.attrs.get("h5sparse_shape", ())))
    return tuple(layer.shape)


def stored_entries(layer, shape):
    """Blocks of entries of a layer of an AnnData file, dense or sparse, as `sparse_counts` takes them.

    layer : h5py or zarr, array or group.   shape : (n_cells, n_genes), its own.   Raises ValueError if it is damaged.
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
    is_by_cell = encoding[:3] == "csr"
    starts = layer["indptr"][...].astype(np.int64)
    n_entries = layer["data"].shape[0]
    fits = len(starts) == shape[0 if is_by_cell else 1] + 1 and starts[0] == 0 and starts[-1] == n_entries
    if not fits or np.any(np.diff(starts) < 0) or layer["indices"].shape[0] != n_entries:
        raise ValueError("the parts of a sparse layer do not fit together")
    for first in range(0, n_entries, ENTRIES_AT_ONCE):
        last = min(first + ENTRIES_AT_ONCE, n_entries)
        major = np.searchsorted(starts, np.arange(first, last), side="right") - 1
        minor, values = layer["indices"][first:last].astype(np.int64), layer["data"][first:last]
        yield (major, minor, values) if is_by_cell else (minor, major, values)


def dense_blocks(array):
    """First rows and values of blocks of rows of a matrix on disk."""
    rows = max(1, ENTRIES_AT_ONCE // max(1, array.shape[1]))
    for first in range(0, array.shape[0], rows):
        yield first, array[first : first + rows]


class Runs(NamedTuple):
    """Indices of a block of entries: values, and how often each comes in a row; or the indices themselves."""

    values: np.ndarray
    times: np.ndarray | None

    @classmethod
    def of(cls, index):
        """Whichever takes less."""
        begins = np.flatnonzero(np.append(True, index[1:] != index[:-1])) if len(index) else np.empty(0, np.intp)
        if 4 * len(begins) > len(index):
            return cls(index, None)
        return cls(index[begins], np.diff(np.append(begins, len(index))))

    def spelt_out(self):
        """The indices."""
        return self.values if self.times is None else np.repeat(self.values, self.times)


def _is_sorted(parts):
    last = -1
    for values, _ in parts:
        if len(values):
            if values[0] < last or np.any(values[1:] < values[:-1]):
                return False
            last = values[-1]
    return True


def _starts(parts, n):
    """Where the entries of each cell, or gene, begin: (n + 1,)."""
    counts = np.zeros(n)
    for values, times in parts:
        counts += np.bincount(values, weights=times, minlength=n)
    return np.append(0, np.cumsum(counts)).astype(np.int64)


def _joined(parts, kind):
    """One array of the parts, which are let go."""
    array = np.concatenate(
        [np.empty(0, kind), *(part.spelt_out() if isinstance(part, Runs) else part for part in parts)],
        dtype=kind,
        casting="unsafe",
    )
    parts.clear()
    return array
