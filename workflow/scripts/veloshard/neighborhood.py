"""Averaging weights of cells over the neighbor graph."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def averaging_weights(connectivities: Any, first_cell: int = 0) -> sparse.csr_matrix:
    """Return the weights that average a quantity over each cell and its neighbors.

    All neighbors have the same weight, whatever the strength of the edge: w_ij = 1 / n_i, where n_i is the number of
    cells with a positive edge to cell i, cell i included. For counts S (cells x genes), ``weights @ S`` is the first
    moment of scVelo (Bergen et al. 2020).

    Parameters
    ----------
    connectivities : sparse array or matrix, shape (n_rows, n_cells)
        Neighbor graph, or consecutive rows of it. Entries that are zero, negative or NaN are not edges.
    first_cell : int
        Index of the cell in the first row.

    Returns
    -------
    csr_matrix of float32, shape (n_rows, n_cells)
        Each row sums to 1 and has sorted indices. A cell without neighbors is its own average.
    """
    edges = sparse.csr_matrix(connectivities > 0)
    edges = sparse.csr_matrix(edges + sparse.eye(*edges.shape, k=first_cell, dtype=bool, format="csr"))
    edges.sort_indices()
    n_averaged = np.diff(edges.indptr)
    weights = np.repeat((1.0 / n_averaged).astype(np.float32), n_averaged)
    return sparse.csr_matrix((weights, edges.indices, edges.indptr), shape=edges.shape)


class Neighborhood(NamedTuple):
    """Averaging weights of all cells, as the parts of a CSR matrix (cells x cells) whose rows sum to 1.

    The indices are unsigned, because compiled code checks each signed index for wrap-around.

    Attributes
    ----------
    indptr : ndarray of uint32, shape (n_cells + 1,)
        Start of each cell's row in `indices`.
    indices : ndarray of uint32, shape (n_edges,)
        Cells of each neighborhood, the cell itself included.
    weights : ndarray of float32, shape (n_edges,)
        1 / size of the neighborhood.
    """

    indptr: NDArray[np.uint32]
    indices: NDArray[np.uint32]
    weights: NDArray[np.float32]


def as_neighborhood(*blocks: sparse.csr_matrix) -> Neighborhood:
    """Return the `Neighborhood` of averaging weights.

    Parameters
    ----------
    *blocks : csr_matrix, shape (n_rows, n_cells)
        Consecutive rows of the weights, as `averaging_weights` returns them. Together they hold all cells.

    Returns
    -------
    Neighborhood
    """
    sizes = np.concatenate([np.diff(block.indptr) for block in blocks])
    return Neighborhood(
        np.append(0, np.cumsum(sizes)).astype(np.uint32),
        np.concatenate([block.indices for block in blocks], dtype=np.uint32, casting="unsafe"),
        np.concatenate([block.data for block in blocks], dtype=np.float32),
    )
