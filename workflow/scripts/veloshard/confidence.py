"""How far a cell's velocity agrees with those around it, and how long it is."""

from typing import NamedTuple

import numpy as np
from numba import njit, prange


class Coherence(NamedTuple):
    """Agreement with the neighbours, in [0, 1], and length of each velocity: float64 (n_cells,)."""

    confidence: np.ndarray
    length: np.ndarray


def confidence_and_length(velocity, distances):
    """Mean correlation of each velocity with those of the nearest neighbours, and its length.

    velocity : (n_cells, n_genes) float32, C-contiguous, velocity genes only, no NaN.
    distances : CSR (n_cells, n_cells); what is stored is a neighbour.

    Returns `Coherence`.  confidence = max(0, mean_j corr(v_i, v_j)) over the neighbours j (scVelo's
    `velocity_confidence`; high values say that velocities are smooth, not that they are right).
    length = |v_i - mean over genes of v_i|, in the unit of the velocity (scVelo's, which rounds it to two
    digits).  A velocity that is zero counts as a correlation of 0; without neighbours the confidence is NaN.
    """
    length = _lengths(velocity)
    confidence = _mean_correlations(distances.indptr, distances.indices, velocity, length)
    return Coherence(np.maximum(confidence, 0), length)


@njit(cache=True, parallel=True, error_model="numpy")
def _lengths(velocity):
    n_cells = len(velocity)
    lengths = np.empty(n_cells)
    for cell in prange(n_cells):
        lengths[cell] = np.sqrt(np.sum(_centered(velocity[cell]) ** 2))
    return lengths


@njit(cache=True, parallel=True, error_model="numpy")
def _mean_correlations(indptr, indices, velocity, lengths):
    n_cells = len(velocity)
    means = np.empty(n_cells)
    for cell in prange(n_cells):
        centered = _centered(velocity[cell])
        total = 0.0
        n_neighbors = 0
        for edge in range(indptr[cell], indptr[cell + 1]):
            neighbor = indices[edge]
            if neighbor == cell:
                continue
            n_neighbors += 1
            product_of_lengths = lengths[cell] * lengths[neighbor]
            if product_of_lengths > 0.0:
                # centring one of the two is enough for their covariance
                total += _dot(centered, velocity[neighbor]) / product_of_lengths
        means[cell] = total / n_neighbors
    return means


@njit(cache=True, error_model="numpy")
def _centered(values):
    in_double = values.astype(np.float64)
    return in_double - in_double.mean()


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _dot(a, b):
    total = 0.0
    for gene in range(len(a)):
        total += a[gene] * b[gene]
    return total
