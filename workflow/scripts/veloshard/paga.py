"""A graph of the clusters: which are connected (PAGA, Wolf et al. 2019), and which way the velocities lead.

The formulas for the way are scVelo's (Bergen et al. 2020).
"""

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
    # as scanpy's `n_neighbors`, which counts the cell itself
    n_neighbors = 1 + distances.nnz / max(len(codes), 1)
    labelled = np.flatnonzero(codes >= 0)
    codes = codes[labelled]
    graph, distances = (sparse.csr_matrix(matrix)[labelled][:, labelled] for matrix in (graph, distances))
    scores = [None if score is None else score[labelled] for score in (pseudotime, root_cells, end_points)]
    sizes = np.bincount(codes, minlength=n_clusters)
    connections = connectivities(_between(*_ends(distances), codes, n_clusters), sizes)
    steps = _between(*_steps(graph, codes, sizes, *scores), codes, n_clusters)
    arrows, threshold = transitions(steps, sizes, n_neighbors)
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
    it is not below the weakest of the clusters' strongest incoming ones, no way over a third cluster has two stronger
    arrows, and it is on the spanning tree.  (scVelo looks for such ways among what is left of the arrows of the
    clusters before, so that the result depends on their order.)
    """
    excess = np.maximum(steps - steps.T, 0)
    # clusters without cells have no steps
    confidence = excess / (n_neighbors * np.sqrt(np.outer(np.maximum(sizes, 1), np.maximum(sizes, 1))))
    confidence[confidence <= _threshold(confidence)] = 0
    confidence = np.where(confidence < _best_detours(confidence), 0, confidence)
    confidence = _only_strongest_tree(confidence)
    return confidence, _threshold(confidence)


def _ends(graph):
    """Where all stored ways start and end: two arrays (n_ways,)."""
    return np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr)), graph.indices


def _between(start, end, codes, n_clusters):
    """Number of ways from cluster to cluster: float64 (n_clusters, n_clusters)."""
    pairs = codes[start] * n_clusters + codes[end]
    return np.bincount(pairs, minlength=n_clusters**2).reshape(n_clusters, n_clusters).astype(np.float64)


def _steps(graph, codes, sizes, pseudotime, root_cells, end_points):
    """Where the ways that velocities take start and end: two arrays (n_steps,)."""
    start, end = _ends(graph)
    taken = graph.data > LEAST_COSINE
    if pseudotime is not None:
        timed = np.isfinite(pseudotime)
        number = np.bincount(codes[timed], minlength=len(sizes))
        total = np.bincount(codes[timed], weights=pseudotime[timed], minlength=len(sizes))
        # of a cluster without any time no cell takes steps
        mean = (total / np.maximum(number, 1))[codes]
        taken &= (pseudotime[start] < pseudotime[end]) & (mean[end] > mean[start] - TIME_OVERLAP)
    if root_cells is not None:
        taken &= ~(root_cells[end] > TERMINAL)
    if end_points is not None:
        taken &= ~(end_points[start] > TERMINAL)
    return start[taken], end[taken]


def _threshold(confidence):
    """Just below the weakest of the clusters' strongest incoming arrows, and at least `LEAST_CONFIDENCE`."""
    strongest = confidence.max(axis=0, initial=0)
    weakest = strongest.min(where=strongest > 0, initial=np.inf)
    return max(weakest - 1e-6, LEAST_CONFIDENCE) if np.isfinite(weakest) else LEAST_CONFIDENCE


def _best_detours(confidence):
    """The weaker of the two arrows on the best way over one other cluster."""
    return np.minimum(confidence[:, :, None], confidence[None, :, :]).max(axis=1, initial=0)


def _strongest_tree(connections):
    """Entries on the spanning tree of the strongest connections."""
    inverse = sparse.csr_matrix(np.divide(1.0, connections, out=np.zeros_like(connections), where=connections > 0))
    return np.where(_spanning_tree(inverse), connections, 0)


def _only_strongest_tree(confidence):
    """Arrows on the spanning tree of the most confident ones, before which come those that alone lead to a cluster."""
    alone = (confidence > 0) & (np.sum(confidence > 0, axis=0) == 1)
    # in their own order: scVelo's are all alike, and the clusters' order decides
    weight = confidence + np.where(alone, confidence.max(initial=0), 0)
    return np.where(_spanning_tree(sparse.csr_matrix(-weight)), confidence, 0)


def _spanning_tree(weights):
    """Which entries are on the minimum spanning tree: bool (n_clusters, n_clusters)."""
    if weights.shape[0] == 0:
        return np.zeros(weights.shape, dtype=bool)
    return minimum_spanning_tree(weights).toarray() != 0
