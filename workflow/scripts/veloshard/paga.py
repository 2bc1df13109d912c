"""Clusters as one graph: which are connected (Wolf et al. 2019), and which way the velocities lead (Bergen et al. 2020)."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree

# A way whose cosine with the velocity is no more than this is no step; scVelo's number, like those below.
LEAST_COSINE = 0.1
# Mean times of clusters may be the wrong way around by so much: they overlap.
TIME_OVERLAP = 0.1
# Cells of a higher score than this are roots, or ends.
TERMINAL = 0.9
# Arrows of less confidence than this are never drawn.
LEAST_CONFIDENCE = 0.01


class AbstractedGraph(NamedTuple):
    """A graph of the clusters, CSR float64 (n_clusters, n_clusters) each, as scVelo and scanpy store them.

    connectivities : symmetric, in [0, 1]; 1 where there are as many edges as by chance, or more.
    connectivities_tree : its entries on the spanning tree of the strongest connections, each once.
    transitions_confidence : entry (i, j) is the arrow from cluster j to cluster i: columns are where it starts.
    threshold : float, every arrow is above it.   sizes : (n_clusters,) int64, numbers of cells.
    """

    connectivities: sparse.csr_matrix
    connectivities_tree: sparse.csr_matrix
    transitions_confidence: sparse.csr_matrix
    threshold: float
    sizes: np.ndarray


def abstract_graph(graph, distances, codes, n_clusters, *, pseudotime=None, root_cells=None, end_points=None):
    """`AbstractedGraph` of the clusters of labelled cells; other cells and their edges do not count.

    graph : CSR (n_cells, n_cells) of signed cosines.   distances : CSR (n_cells, n_cells); what is stored is a
        neighbour.   codes : (n_cells,) int, the cluster of a cell, -1 for none.
    pseudotime : (n_cells,); a step counts if it leads to a later cell, and to a cluster that is not earlier by more
        than `TIME_OVERLAP` of the mean.  Cells without a time (NaN) take no steps.
    root_cells, end_points : (n_cells,) scores in [0, 1]; no step leads to a root and none starts at an end.
    """
    labelled = np.flatnonzero(codes >= 0)
    members = sparse.csr_matrix(
        (np.ones(len(labelled)), (codes[labelled], labelled)), shape=(n_clusters, len(codes)), dtype=np.float64
    )
    sizes = np.bincount(codes[labelled], minlength=n_clusters)
    neighbors = sparse.csr_matrix((np.ones(distances.nnz), distances.indices, distances.indptr), distances.shape)
    connections = connectivities((members @ neighbors @ members.T).toarray(), sizes)
    steps = _steps(graph, codes, sizes, pseudotime, root_cells, end_points)
    # as many neighbours as scanpy's `n_neighbors`, which counts the cell itself
    n_neighbors = 1 + neighbors.nnz / max(len(codes), 1)
    arrows, threshold = transitions((members @ steps @ members.T).toarray(), sizes, n_neighbors)
    return AbstractedGraph(
        sparse.csr_matrix(connections),
        sparse.csr_matrix(_strongest_tree(connections)),
        sparse.csr_matrix(arrows.T),
        threshold,
        sizes,
    )


def connectivities(edges, sizes):
    """Number of edges between clusters over that expected by chance, at most 1: (n_clusters, n_clusters).

    edges : (n_clusters, n_clusters), of the directed neighbour graph, within clusters on the diagonal.
    sizes : (n_clusters,).  By chance e_i n_j / (n - 1) of the e_i edges that start in cluster i end in cluster j.
    """
    leaving = edges.sum(axis=1)
    expected = np.outer(leaving, sizes) + np.outer(sizes, leaving)
    between = (edges + edges.T) * max(sizes.sum() - 1, 1)
    np.fill_diagonal(between, 0)
    return np.minimum(np.divide(between, expected, out=np.zeros_like(between), where=expected > 0), 1)


def transitions(steps, sizes, n_neighbors):
    """Confidence of the arrow from each cluster (row) to each other (column), and their threshold.

    steps : (n_clusters, n_clusters), numbers of steps from cluster to cluster.   sizes : (n_clusters,).
    The confidence is the excess of the steps one way over those back, per n_neighbors sqrt(n_i n_j).  An arrow stays if
    it is above the weakest of the clusters' strongest incoming ones, no way over a third cluster has two stronger
    arrows, and it is on the spanning tree.  (scVelo looks for such ways among arrows that are left after the
    clusters before; the result then depends on their order.)
    """
    excess = np.maximum(steps - steps.T, 0)
    # clusters without cells have no steps
    confidence = excess / (n_neighbors * np.sqrt(np.outer(np.maximum(sizes, 1), np.maximum(sizes, 1))))
    confidence[confidence <= _threshold(confidence)] = 0
    confidence = np.where(confidence < _best_detours(confidence), 0, confidence)
    confidence = _only_strongest_tree(confidence)
    return confidence, _threshold(confidence)


def _steps(graph, codes, sizes, pseudotime, root_cells, end_points):
    """Ones where a cell's velocity leads to another: CSR (n_cells, n_cells)."""
    ways = sparse.coo_matrix(graph)
    start, end = ways.row, ways.col
    taken = (ways.data > LEAST_COSINE) & (codes[start] >= 0) & (codes[end] >= 0)
    if pseudotime is not None:
        timed = np.flatnonzero((codes >= 0) & np.isfinite(pseudotime))
        total = np.bincount(codes[timed], weights=pseudotime[timed], minlength=len(sizes))
        number = np.bincount(codes[timed], minlength=len(sizes))
        mean = np.divide(total, number, out=np.full(len(sizes), np.nan), where=number > 0)[codes]
        taken &= (pseudotime[start] < pseudotime[end]) & (mean[end] > mean[start] - TIME_OVERLAP)
    if end_points is not None:
        taken &= ~(end_points[start] > TERMINAL)
    if root_cells is not None:
        taken &= ~(root_cells[end] > TERMINAL)
    return sparse.csr_matrix((np.ones(taken.sum()), (start[taken], end[taken])), shape=graph.shape)


def _threshold(confidence):
    """Just below the weakest of the clusters' strongest incoming arrows."""
    strongest = confidence.max(axis=0, initial=0)
    return max(strongest[strongest > 0].min(initial=np.inf, where=True) - 1e-6, LEAST_CONFIDENCE) if strongest.any() else LEAST_CONFIDENCE


def _best_detours(confidence):
    """The weaker of the two arrows on the best way over one other cluster."""
    return np.minimum(confidence[:, :, None], confidence[None, :, :]).max(axis=1, initial=0)


def _strongest_tree(connections):
    """Entries on the spanning tree of the strongest connections."""
    inverse = sparse.csr_matrix(np.divide(1.0, connections, out=np.zeros_like(connections), where=connections > 0))
    return np.where(_spanning_tree(inverse), connections, 0)


def _only_strongest_tree(confidence):
    """Arrows on the spanning tree of the most confident ones; a cluster's only incoming one counts as most confident."""
    weight = confidence.copy()
    only = np.sum(confidence > 0, axis=0) == 1
    weight[:, only] = np.where(confidence[:, only] > 0, confidence.max(initial=0), 0)
    return np.where(_spanning_tree(sparse.csr_matrix(-weight)), confidence, 0)


def _spanning_tree(weights):
    """Which entries are on the minimum spanning tree: bool (n_clusters, n_clusters)."""
    if weights.shape[0] == 0:
        return np.zeros(weights.shape, dtype=bool)
    return minimum_spanning_tree(weights).toarray() != 0
