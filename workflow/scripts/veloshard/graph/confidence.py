"""Confidence and length of the velocity of each cell."""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse


class Confidence(NamedTuple):
    """Confidence and length of the velocities.

    Attributes
    ----------
    confidence : ndarray of float64, shape (n_cells,)
        Mean correlation with the velocities of the neighbors, in [0, 1]. NaN for a cell without neighbors.
    length : ndarray of float64, shape (n_cells,)
        Norm of the velocity after its mean over the genes is subtracted, in the unit of the velocity.
    """

    confidence: NDArray[np.float64]
    length: NDArray[np.float64]


def compute_confidence(velocity: NDArray[np.float32], distances: sparse.csr_matrix) -> Confidence:
    """Return the confidence and the length of the velocity of each cell.

    The confidence is max(0, mean_j corr(v_i, v_j)) over the neighbors j of cell i, as `velocity_confidence` of scVelo
    (Bergen et al. 2020). A high confidence says that velocities are smooth. It does not say that they are correct.
    The length is ``|v_i - mean over genes of v_i|``, as `velocity_length` of scVelo, which rounds it to two digits. The
    correlation with a velocity of zero counts as 0.

    Parameters
    ----------
    velocity : ndarray of float32, shape (n_cells, n_genes)
        Velocities in the velocity genes, C-contiguous, without NaN.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.

    Returns
    -------
    Confidence
        Confidence and length.
    """
    length = _lengths(velocity)
    confidence = _mean_correlations(distances.indptr, distances.indices, velocity, length)
    return Confidence(np.maximum(confidence, 0), length)


@njit(cache=True, parallel=True, error_model="numpy")
def _lengths(velocity):  # type: ignore[no-untyped-def]
    n_cells = len(velocity)
    lengths = np.empty(n_cells)
    for cell in prange(n_cells):
        lengths[cell] = np.sqrt(np.sum(_centered(velocity[cell]) ** 2))
    return lengths


@njit(cache=True, parallel=True, error_model="numpy")
def _mean_correlations(indptr, indices, velocity, lengths):  # type: ignore[no-untyped-def]
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
                # the covariance needs only one of the two vectors centered
                total += _dot(centered, velocity[neighbor]) / product_of_lengths
        means[cell] = total / n_neighbors
    return means


@njit(cache=True, error_model="numpy")
def _centered(values):  # type: ignore[no-untyped-def]
    in_double = values.astype(np.float64)
    return in_double - in_double.mean()


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for gene in range(len(a)):
        total += a[gene] * b[gene]
    return total
