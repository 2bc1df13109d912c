"""Do independent sets of genes send a cell the same way?  What data without dynamics cannot imitate."""

import numpy as np
from scipy import sparse

from veloshard.graph import neighbors_of_neighbors, velocity_graph
from veloshard.neighbors import connectivity_weights

# splits of the genes into halves that are averaged: one moves by some hundredths with the draw
N_SPLITS = 5


def gene_coherence(spliced_moments, velocity, distances, *, rng, sqrt_transform=False):
    """Agreement of the directions that two random halves of the velocity genes give, mean over the cells.

    The ways to the neighbours' neighbours j of a cell i are scored by the cosines pi_ij of the velocity graph, with one
    half of the genes and with the other; the coherence of the cell is the correlation of the two over j.  Where
    cells move, all genes know which neighbours lie ahead.  Where they do not, a cell's velocities are errors of its
    own (noise, rates that differ between clusters), the differences to its neighbours are noise, and both are
    independent between the halves: the expected coherence is 0, however smooth and reproducible the velocities are.

    One thing halves share without any motion: a cell far from its neighbours has moments too high or too low, hence
    velocities back to them.  Of the velocity therefore counts only what is orthogonal to m_i - x_i, the way to the
    mean of the cells around.

    spliced_moments, velocity : (n_cells, n_genes) float32, C-contiguous, velocity genes only, no NaN.
    distances : CSR (n_cells, n_cells); what is stored is a neighbour.
    rng : numpy.random.Generator, draws the halves.   sqrt_transform : as in `graph.velocity_graph`.
    Returns a float in [-1, 1]; NaN with fewer than four genes, or where no cell has a velocity.
    """
    n_genes = velocity.shape[1]
    if n_genes < 4:
        return np.nan
    reached = neighbors_of_neighbors(distances, 0, len(velocity))
    way_back = connectivity_weights(reached) @ spliced_moments - spliced_moments
    found = []
    for _ in range(N_SPLITS):
        order = rng.permutation(n_genes)
        graphs = []
        for half in np.array_split(order, 2):
            aside = _orthogonal(velocity[:, half], way_back[:, half])
            moments = np.ascontiguousarray(spliced_moments[:, half])
            graphs.append(velocity_graph(moments, aside, distances, sqrt_transform=sqrt_transform))
        correlations = _correlations(*graphs, np.diff(reached.indptr))
        found.append(np.mean(correlations[np.isfinite(correlations)]) if np.isfinite(correlations).any() else np.nan)
    return float(np.mean(found))


def _orthogonal(velocity, way):
    """Velocities less their mean over the genes and their part along a way: float32 (n_cells, n_genes)."""
    velocity, way = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (velocity, way))
    squares = np.einsum("cg,cg->c", way, way)
    along = np.divide(np.einsum("cg,cg->c", velocity, way), squares, out=np.zeros(len(way)), where=squares > 0)
    return (velocity - along[:, None] * way).astype(np.float32)


def _correlations(first, second, n_ways):
    """Correlation of two graphs over the `n_ways` (n_cells,) ways of each cell; what is not stored is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [_row_sums(graph) / n_ways for graph in (first, second)]
        variances = [
            _row_sums(graph.power(2)) / n_ways - mean**2 for graph, mean in zip((first, second), means, strict=True)
        ]
        covariance = _row_sums(first.multiply(second)) / n_ways - means[0] * means[1]
        return covariance / np.sqrt(np.maximum(variances[0] * variances[1], 0))


def _row_sums(graph):
    return np.asarray(sparse.csr_matrix(graph).sum(axis=1, dtype=np.float64)).ravel()
