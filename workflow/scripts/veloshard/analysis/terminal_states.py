"""Root cells and end points: stationary distributions of the backward and the forward transition matrix."""

from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import eigs

from veloshard.analysis.graph_components import FEW_CELLS, connected_components_of, start_vector, submatrix, unit_range
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.neighborhood import averaging_weights


class TerminalStates(NamedTuple):
    """Scores of the cells as roots and as end points.

    Attributes
    ----------
    root_cells, end_points : ndarray of float64, shape (n_cells,)
        Scores in [0, 1].
    """

    root_cells: np.ndarray
    end_points: np.ndarray


def compute_terminal_states(graph, distances):
    """Return the scores of the cells as roots and as end points (Bergen et al. 2020).

    End points are the stationary distribution mu = mu T of the transition matrix T without self-transitions. Roots are
    that of the backward transition matrix. Each connected component of the graph is analyzed separately. There is no
    stationary distribution if some cells are neighbors of no other cell. Then the eigenvectors of the
    largest eigenvalue, which is below 1, are used. scVelo finds no root there.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Positive entries are neighbors.

    Returns
    -------
    TerminalStates
        Scores that are averaged over neighbors, cut at their 98th percentile and scaled to the range from 0 to 1. All
        are 0 if the distribution is uniform, as on a cycle, or if the graph has no edges.
    """
    weights = averaging_weights(distances)
    return TerminalStates(
        root_cells=_stationary_scores(compute_transition_matrix(graph, backward=True), weights),
        end_points=_stationary_scores(compute_transition_matrix(graph), weights),
    )


def root_scores(root_cells, in_root_cluster):
    """Return the root scores after the root cluster was chosen.

    Parameters
    ----------
    root_cells : ndarray of float, shape (n_cells,)
        Scores of at least 0.
    in_root_cluster : ndarray of bool, shape (n_cells,)
        Cells of the root cluster.

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        Scores in the root cluster, scaled to a maximum of 1, or 1 for the whole cluster if none of them is positive.
        Scores outside the root cluster are set to 0.
    """
    scores = np.where(in_root_cluster, root_cells, 0.0)
    return scores / scores.max() if scores.max() > 0 else in_root_cluster.astype(np.float64)


def _stationary_scores(transition_matrix, averaging_weights):
    scores = np.zeros(transition_matrix.shape[0])
    for cells in connected_components_of(transition_matrix):
        scores[cells] = _sum_slowest_modes(submatrix(transition_matrix, cells))
    averaged = averaging_weights @ scores
    return unit_range(np.minimum(averaged, np.percentile(averaged, 98)))


def _sum_slowest_modes(transition_matrix):
    """Return the sum of the left eigenvectors whose eigenvalues are within 1e-3 of the largest, each at most 1."""
    transposed = transition_matrix.T.astype(np.float64)
    if transposed.shape[0] < FEW_CELLS:
        eigenvalues, eigenvectors = np.linalg.eig(transposed.toarray())
    else:
        # a loose tolerance: eigenvectors of the largest eigenvalues converge long before the others, which are not used
        eigenvalues, eigenvectors = eigs(
            transposed, k=10, which="LR", ncv=60, tol=1e-7, v0=start_vector(transposed.shape[0])
        )
    # distances in the complex plane exclude rotating modes, which are not stationary
    is_slowest = np.abs(eigenvalues - eigenvalues.real.max()) <= 1e-3
    modes = np.abs(eigenvectors.real[:, is_slowest])
    high = np.percentile(modes, 98, axis=0)
    # the percentile is 0 where fewer than 2 % of the cells have positive values
    high = np.where(high > 0, high, modes.max(axis=0))
    return (np.minimum(modes, high) / high).sum(axis=1)
