"""Merge the shards of a velocity graph."""

from collections.abc import Sequence

import h5py
from scipy import sparse

from veloshard.errors import InputError
from veloshard.io import FilePath
from veloshard.io.hdf5 import read_sparse


def merge_graph_shards(paths: Sequence[FilePath]) -> sparse.csr_matrix:
    """Return the velocity graph from its shards.

    Parameters
    ----------
    paths : sequence of path-like
        Files with consecutive rows of the graph, in any order.

    Returns
    -------
    csr_matrix, shape (n_cells, n_cells)
        Velocity graph.

    Raises
    ------
    InputError
        If rows are missing or occur twice.
    """
    blocks = {}
    for path in paths:
        with h5py.File(path) as file:
            blocks[int(file.attrs["first_cell"])] = read_sparse(file["graph"])
    row = 0
    for first_cell, block in sorted(blocks.items()):
        if first_cell != row:
            raise InputError(f"graph shards are not consecutive: the shard after cell {row} starts at {first_cell}")
        row += block.shape[0]
    if row != block.shape[1] or len(blocks) != len(paths):
        raise InputError(f"{len(paths)} graph shards have {row} rows, expected {block.shape[1]}, one per cell")
    return sparse.vstack([blocks[first_cell] for first_cell in sorted(blocks)], format="csr")
