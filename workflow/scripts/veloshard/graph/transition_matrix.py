"""Transition probabilities between cells from the velocity graph (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse

from veloshard.numba_support.vector_math import exp


def compute_transition_matrix(
    graph: sparse.csr_matrix,
    self_probability: NDArray[np.floating] | None = None,
    *,
    scale: float = 10.0,
    use_negative_cosines: bool = False,
    backward: bool = False,
) -> sparse.csr_matrix:
    """Return the transition matrix of a velocity graph.

    The entries are T_ij = w_ij / sum_j ``|w_ij|``. The weight of a cosine pi is w = exp(scale pi), so that T is a
    matrix of probabilities. With `use_negative_cosines` it is w = sign(pi) (exp(scale ``|pi|``) - 1), so that neighbors
    in the direction opposite to the velocity have negative entries, as the velocity embedding requires (Bergen et al.
    2020).

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines, the sum of scVelo's two graphs. Its diagonal is empty.
    self_probability : ndarray of float, shape (n_cells,), optional
        Values in [0, 1] from `velocity_graph.self_transitions`, which are put on the diagonal where they are positive.
        By default there are no self-transitions.
    scale : float
        Inverse width of the kernel. A larger scale gives more weight to the largest cosine.
    use_negative_cosines : bool
        Use the signed weights.
    backward : bool
        Transpose the weights before they are normalized, so that transitions lead against the velocities.

    Returns
    -------
    csr_matrix of float32, shape (n_cells, n_cells)
        Transition matrix with sorted indices. The absolute values of a row sum to 1. The row of a cell without any
        weight is empty.
    """
    weights = graph
    if self_probability is not None:
        weights = weights + sparse.diags(np.asarray(self_probability, dtype=graph.dtype), format="csr")
    exponential_weights = _exponential_weights(weights.data, scale, use_negative_cosines)
    weights = sparse.csr_matrix((exponential_weights, weights.indices, weights.indptr), shape=graph.shape)
    if backward:
        weights = weights.T.tocsr()
    _normalize(weights.indptr, weights.data)
    return weights


@njit(cache=True, parallel=True, error_model="numpy")
def _exponential_weights(cosines, scale, use_negative_cosines):  # type: ignore[no-untyped-def]
    weights = np.empty(len(cosines), dtype=np.float32)
    for edge in prange(len(cosines)):
        if use_negative_cosines:
            # `exp` takes arguments of at most 0, and e^x - 1 = (1 - e^-x) / e^-x
            inverse = exp(-scale * abs(cosines[edge]))
            weights[edge] = math.copysign((1.0 - inverse) / inverse, cosines[edge])
        else:
            # the factor e^-scale drops out when rows are normalized
            weights[edge] = exp(scale * (cosines[edge] - 1.0))
    return weights


@njit(cache=True, parallel=True, error_model="numpy")
def _normalize(indptr, weights):  # type: ignore[no-untyped-def]
    """Divide each row by the sum of its absolute values, in place."""
    for row in prange(len(indptr) - 1):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += abs(weights[k])
        for k in range(indptr[row], indptr[row + 1]):
            weights[k] /= total
