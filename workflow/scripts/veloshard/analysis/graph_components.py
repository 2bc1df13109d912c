"""Connected components of a graph, and functions that the spectral analyses of components share."""

import numpy as np
from scipy.sparse.csgraph import connected_components

# Below this number of cells, all eigenvectors are computed. Iterative solvers require far more cells than eigenvectors.
FEW_CELLS = 100


def connected_components_of(graph):
    """Return the indices of the cells of each connected component that has more than one cell.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Graph whose edges have no direction here.

    Returns
    -------
    list of ndarray of int
        Cells of each component, in ascending order.
    """
    n_components, component = connected_components(graph, directed=False)
    last_cells = np.cumsum(np.bincount(component, minlength=n_components))
    components = np.split(np.argsort(component, kind="stable"), last_cells[:-1])
    return [cells for cells in components if len(cells) > 1]


def submatrix(matrix, cells):
    """Return the rows and columns of some cells.

    Parameters
    ----------
    matrix : csr_matrix, shape (n_cells, n_cells)
        Matrix.
    cells : ndarray of int, shape (n_selected,)
        Cells to select, in ascending order.

    Returns
    -------
    csr_matrix, shape (n_selected, n_selected)
        The matrix itself, without a copy, if all cells are selected.
    """
    return matrix if len(cells) == matrix.shape[0] else matrix[cells][:, cells]


def unit_range(values):
    """Return values scaled to the range from 0 to 1.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Values.

    Returns
    -------
    ndarray of float, shape (n,)
        0 for all if the range of the values is at most 1/1000 of the largest. In single precision, the stationary
        distribution of a transition matrix varies by up to that much where it is uniform in exact arithmetic.
    """
    low, span = values.min(), np.ptp(values)
    return (values - low) / span if span > 1e-3 * np.abs(values).max() else np.zeros_like(values)


def start_vector(n_cells):
    """Return the vector that an iterative eigenvalue solver starts from.

    It is fixed, so that results are bitwise identical in every run, and has no symmetry that could hide an eigenvector.

    Parameters
    ----------
    n_cells : int
        Number of cells.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        Values in [0, 1).
    """
    return np.random.default_rng(0).uniform(size=n_cells)
