"""Averaging over the neighbour graph: which cells make up a cell's moments, and how much each counts."""

import numpy as np
from scipy import sparse


def connectivity_weights(connectivities, first_cell=0):
    """Weights that average a quantity over each cell's neighbours and the cell itself.

    All neighbours count alike, however strong the edge: w_ij = 1 / n_i for the n_i cells joined to cell i
    by a positive edge, i included (the moments of scVelo, Bergen 2020).  For counts S, cells x genes,
    ``weights @ S`` is their first moment.

    Parameters
    ----------
    connectivities : sparse array or matrix, (n_rows, n_cells)
        Neighbour graph, or consecutive rows of it.  Entries that are zero, negative or NaN are no edges.
    first_cell : int
        The cell of the first row.

    Returns
    -------
    scipy.sparse.csr_matrix of float32, (n_rows, n_cells)
        Each row sums to 1, with sorted indices; a cell without neighbours is its own average.
    """
    edges = sparse.csr_matrix(connectivities > 0)
    edges = sparse.csr_matrix(edges + sparse.eye(*edges.shape, k=first_cell, dtype=bool, format="csr"))
    edges.sort_indices()
    n_averaged = np.diff(edges.indptr)
    weights = np.repeat((1.0 / n_averaged).astype(np.float32), n_averaged)
    return sparse.csr_matrix((weights, edges.indices, edges.indptr), shape=edges.shape)
