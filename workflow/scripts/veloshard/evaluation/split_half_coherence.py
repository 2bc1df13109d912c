"""Split-half coherence: agreement of the directions that random halves of the velocity genes give."""

import numpy as np
from scipy import sparse

from veloshard.graph.velocity_graph import compute_velocity_graph, neighbors_of_neighbors
from veloshard.neighborhood import averaging_weights

# number of random splits that are averaged: the coherence of one split varies by some hundredths
N_SPLITS = 5


def split_half_coherence(spliced_moments, velocity, distances, *, rng, sqrt_transform=False):
    """Return the split-half coherence of the velocities.

    Each random half of the velocity genes gives a velocity graph. The coherence of a cell is the correlation of the two
    graphs over its neighbors and their neighbors. The result is the mean over the cells and over `N_SPLITS` splits.

    If cells move along a trajectory, all genes have positive cosines with the same neighbors. If they do not, a cell's
    velocities are errors (noise, or rates that differ between clusters), and the displacements to its neighbors are
    noise. Both are independent between the halves, so that the expected coherence is 0, however smooth and reproducible
    the velocities are.

    One effect is common to both halves without any motion: a cell far from its neighbors has moments that are too high
    or too low, and velocities back to the neighbors. Therefore only the part of the velocity is used that is orthogonal
    to m_i - x_i, the displacement of cell i to the mean m_i of its neighbors and their neighbors.

    Parameters
    ----------
    spliced_moments, velocity : ndarray of float32, shape (n_cells, n_genes)
        Moments and velocities in the velocity genes, C-contiguous, without NaN.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    rng : numpy.random.Generator
        Generator of the random halves.
    sqrt_transform : bool
        As for `compute_velocity_graph`.

    Returns
    -------
    float
        In [-1, 1]. NaN with fewer than four genes, or if no cell has a velocity.
    """
    n_genes = velocity.shape[1]
    if n_genes < 4:
        return np.nan
    neighbors = neighbors_of_neighbors(distances, 0, len(velocity))
    to_mean = averaging_weights(neighbors) @ spliced_moments - spliced_moments
    coherences = []
    for _ in range(N_SPLITS):
        order = rng.permutation(n_genes)
        graphs = []
        for half in np.array_split(order, 2):
            orthogonal_velocity = _remove_component(velocity[:, half], to_mean[:, half])
            moments = np.ascontiguousarray(spliced_moments[:, half])
            graphs.append(
                compute_velocity_graph(moments, orthogonal_velocity, distances, sqrt_transform=sqrt_transform)
            )
        correlations = _correlations(*graphs, np.diff(neighbors.indptr))
        is_finite = np.isfinite(correlations)
        coherences.append(np.mean(correlations[is_finite]) if is_finite.any() else np.nan)
    return float(np.mean(coherences))


def _remove_component(velocity, direction):
    """Return velocities less their mean over the genes and their component along `direction`, float32."""
    velocity, direction = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (velocity, direction))
    squares = np.einsum("cg,cg->c", direction, direction)
    products = np.einsum("cg,cg->c", velocity, direction)
    coefficients = np.divide(products, squares, out=np.zeros(len(direction)), where=squares > 0)
    return (velocity - coefficients[:, None] * direction).astype(np.float32)


def _correlations(first, second, n_entries):
    """Return the correlation of the rows of two graphs, where row i has `n_entries[i]` entries and 0 is not stored."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [_row_sums(graph) / n_entries for graph in (first, second)]
        variances = [
            _row_sums(graph.power(2)) / n_entries - mean**2 for graph, mean in zip((first, second), means, strict=True)
        ]
        covariance = _row_sums(first.multiply(second)) / n_entries - means[0] * means[1]
        return covariance / np.sqrt(np.maximum(variances[0] * variances[1], 0))


def _row_sums(graph):
    return np.asarray(sparse.csr_matrix(graph).sum(axis=1, dtype=np.float64)).ravel()
