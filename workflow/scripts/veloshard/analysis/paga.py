"""PAGA (Wolf et al. 2019): connectivities of clusters, and transitions between them along the velocities.

The formulas of the transitions are scVelo's (Bergen et al. 2020).
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree

# An edge of the velocity graph is a step between cells if its cosine is above this. This and the next three: scVelo's.
MIN_COSINE = 0.1


# Steps may lead to a cluster whose mean pseudotime is smaller by up to this, because clusters overlap in time.
TIME_OVERLAP = 0.1


# Cells with a score above this are roots or end points.
TERMINAL_SCORE = 0.9


# Transitions with a confidence up to this are never kept.
MIN_CONFIDENCE = 0.01


class PAGA(NamedTuple):
    """Graph of the clusters, as scVelo and scanpy store it.

    Attributes
    ----------
    connectivities : csr_matrix of float64, shape (n_clusters, n_clusters)
        Symmetric, in [0, 1]. A value of 1 means at least as many edges as expected by chance.
    connectivities_tree : csr_matrix of float64, shape (n_clusters, n_clusters)
        Connectivities on the spanning tree of the strongest connections, each stored once.
    transitions_confidence : csr_matrix of float64, shape (n_clusters, n_clusters)
        Entry (i, j) is the confidence of the transition from cluster j to cluster i.
    threshold : float
        Lower bound of the confidences.
    sizes : ndarray of int64, shape (n_clusters,)
        Numbers of cells.
    """

    connectivities: sparse.csr_matrix
    connectivities_tree: sparse.csr_matrix
    transitions_confidence: sparse.csr_matrix
    threshold: float
    sizes: np.ndarray


def compute_paga(graph, distances, codes, n_clusters, *, pseudotime=None, root_cells=None, end_points=None):
    """Return the connectivities of clusters and the transitions between them.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label. These cells and their edges are ignored.
    n_clusters : int
        Number of clusters.
    pseudotime : ndarray of float, shape (n_cells,), optional
        If given, a step counts only if it leads to a later cell, and to a cluster whose mean pseudotime is not smaller
        by more than `TIME_OVERLAP`. Steps from and to cells with NaN do not count.
    root_cells, end_points : ndarray of float, shape (n_cells,), optional
        Scores in [0, 1]. If given, steps to root cells and steps from end points do not count.

    Returns
    -------
    PAGA
        Graph of the clusters.
    """
    # the definition of scanpy's `n_neighbors`, which counts the cell itself
    n_neighbors = 1 + distances.nnz / max(len(codes), 1)
    labeled = np.flatnonzero(codes >= 0)
    codes = codes[labeled]
    graph, distances = (sparse.csr_matrix(matrix)[labeled][:, labeled] for matrix in (graph, distances))
    scores = [None if score is None else score[labeled] for score in (pseudotime, root_cells, end_points)]
    sizes = np.bincount(codes, minlength=n_clusters)
    connectivities = cluster_connectivities(_count_pairs(*_edges(distances), codes, n_clusters), sizes)
    n_steps = _count_pairs(*_steps(graph, codes, sizes, *scores), codes, n_clusters)
    confidence, threshold = cluster_transitions(n_steps, sizes, n_neighbors)
    return PAGA(
        sparse.csr_matrix(connectivities),
        sparse.csr_matrix(_keep_strongest_tree(connectivities)),
        sparse.csr_matrix(confidence.T),
        threshold,
        sizes,
    )


def cluster_connectivities(n_edges, sizes):
    """Return the number of edges between clusters divided by the number expected by chance, at most 1.

    By chance, e_i n_j / (n - 1) of the e_i edges that start in cluster i end in cluster j (Wolf et al. 2019).

    Parameters
    ----------
    n_edges : ndarray of float, shape (n_clusters, n_clusters)
        Numbers of edges of the directed neighbor graph from cluster (row) to cluster (column).
    sizes : ndarray of int, shape (n_clusters,)
        Numbers of cells.

    Returns
    -------
    ndarray of float64, shape (n_clusters, n_clusters)
        Symmetric, with a diagonal of 0.
    """
    n_outgoing = n_edges.sum(axis=1)
    expected = np.outer(n_outgoing, sizes) + np.outer(sizes, n_outgoing)
    between = (n_edges + n_edges.T) * max(sizes.sum() - 1, 1)
    np.fill_diagonal(between, 0)
    return np.minimum(np.divide(between, expected, out=np.zeros_like(between), where=expected > 0), 1)


def cluster_transitions(n_steps, sizes, n_neighbors):
    """Return the confidence of the transitions between clusters, and their threshold.

    The confidence is the number of steps in one direction less those in the other, divided by n_neighbors
    sqrt(n_i n_j). A transition is kept if it is at least the weakest of the clusters' strongest incoming transitions,
    if no path over one other cluster has two stronger transitions, and if it is on the spanning tree. scVelo removes
    transitions cluster by cluster, so that its result depends on the order of the clusters.

    Parameters
    ----------
    n_steps : ndarray of float, shape (n_clusters, n_clusters)
        Numbers of steps from cluster (row) to cluster (column).
    sizes : ndarray of int, shape (n_clusters,)
        Numbers of cells.
    n_neighbors : float
        Mean number of neighbors of a cell, the cell itself included.

    Returns
    -------
    confidence : ndarray of float64, shape (n_clusters, n_clusters)
        Confidence of the transition from cluster (row) to cluster (column), 0 if there is none.
    threshold : float
        Lower bound of the confidences.
    """
    excess = np.maximum(n_steps - n_steps.T, 0)
    # clusters without cells have no steps
    confidence = excess / (n_neighbors * np.sqrt(np.outer(np.maximum(sizes, 1), np.maximum(sizes, 1))))
    confidence[confidence <= _threshold(confidence)] = 0
    confidence = np.where(confidence < _strongest_two_step_paths(confidence), 0, confidence)
    confidence = _keep_most_confident_tree(confidence)
    return confidence, _threshold(confidence)


def _edges(graph):
    """Return the cells where the stored edges start and end, two arrays (n_edges,)."""
    return np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr)), graph.indices


def _count_pairs(start, end, codes, n_clusters):
    """Return the number of edges from cluster to cluster, float64 (n_clusters, n_clusters)."""
    pairs = codes[start] * n_clusters + codes[end]
    return np.bincount(pairs, minlength=n_clusters**2).reshape(n_clusters, n_clusters).astype(np.float64)


def _steps(graph, codes, sizes, pseudotime, root_cells, end_points):
    """Return the cells where the steps along the velocities start and end, two arrays (n_steps,)."""
    start, end = _edges(graph)
    is_step = graph.data > MIN_COSINE
    if pseudotime is not None:
        has_time = np.isfinite(pseudotime)
        n_timed = np.bincount(codes[has_time], minlength=len(sizes))
        total = np.bincount(codes[has_time], weights=pseudotime[has_time], minlength=len(sizes))
        # the mean of a cluster without any pseudotime is not used, because its cells have no steps
        mean = (total / np.maximum(n_timed, 1))[codes]
        is_step &= (pseudotime[start] < pseudotime[end]) & (mean[end] > mean[start] - TIME_OVERLAP)
    if root_cells is not None:
        is_step &= ~(root_cells[end] > TERMINAL_SCORE)
    if end_points is not None:
        is_step &= ~(end_points[start] > TERMINAL_SCORE)
    return start[is_step], end[is_step]


def _threshold(confidence):
    """Return a bound just below the weakest of the clusters' strongest incoming transitions."""
    strongest = confidence.max(axis=0, initial=0)
    weakest = strongest.min(where=strongest > 0, initial=np.inf)
    return max(weakest - 1e-6, MIN_CONFIDENCE) if np.isfinite(weakest) else MIN_CONFIDENCE


def _strongest_two_step_paths(confidence):
    """Return the weaker transition of the best path over one other cluster, for each pair of clusters."""
    return np.minimum(confidence[:, :, None], confidence[None, :, :]).max(axis=1, initial=0)


def _keep_strongest_tree(connectivities):
    """Return the connectivities on the spanning tree of the strongest connections."""
    inverse = sparse.csr_matrix(
        np.divide(1.0, connectivities, out=np.zeros_like(connectivities), where=connectivities > 0)
    )
    return np.where(_spanning_tree(inverse), connectivities, 0)


def _keep_most_confident_tree(confidence):
    """Return the transitions on the spanning tree of the most confident ones.

    The only transition that leads to a cluster takes precedence over all others.
    """
    is_only = (confidence > 0) & (np.sum(confidence > 0, axis=0) == 1)
    # a constant is added, which keeps their order; in scVelo all have the same weight, and the clusters' order decides
    weight = confidence + np.where(is_only, confidence.max(initial=0), 0)
    return np.where(_spanning_tree(sparse.csr_matrix(-weight)), confidence, 0)


def _spanning_tree(weights):
    """Return the entries on the minimum spanning tree, bool (n_clusters, n_clusters)."""
    if weights.shape[0] == 0:
        return np.zeros(weights.shape, dtype=bool)
    return minimum_spanning_tree(weights).toarray() != 0
