"""Transition probabilities between cells from the velocity graph (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit, prange
from scipy import sparse

from veloshard.elementary import exp


def transition_matrix(graph, self_probability=None, *, scale=10.0, use_negative_cosines=False, backward=False):
    """Random walk that prefers the ways which agree with the velocity: T_ij = w_ij / sum_j |w_ij|.

    graph : CSR (n_cells, n_cells), signed cosines pi (the sum of scVelo's two graphs), no diagonal.
    self_probability : (n_cells,) in [0, 1] from `graph.self_transitions`, put on the diagonal where positive;
        None for a walk that never stays.
    scale : inverse width of the kernel; the larger, the more the best way wins.
    use_negative_cosines : w = sign(pi) (exp(scale |pi|) - 1), so that opposing ways count against, which
        projections want.  Without it w = exp(scale pi), a probability.
    backward : walk the transposed weights: from where may a cell have come?

    Returns CSR float32 (n_cells, n_cells), sorted.  The row of a cell without any weight stays empty.
    """
    weights = graph
    if self_probability is not None:
        weights = weights + sparse.diags(np.asarray(self_probability, dtype=graph.dtype), format="csr")
    strength = _strengths(weights.data, scale, use_negative_cosines)
    weights = sparse.csr_matrix((strength, weights.indices, weights.indptr), shape=graph.shape)
    if backward:
        weights = weights.T.tocsr()
    _normalize(weights.indptr, weights.data)
    return weights


@njit(cache=True, parallel=True, error_model="numpy")
def _strengths(cosines, scale, use_negative_cosines):
    strengths = np.empty(len(cosines), dtype=np.float32)
    for k in prange(len(cosines)):
        if use_negative_cosines:
            # e^-x is at hand for vectors, and e^x - 1 = (1 - e^-x) / e^-x
            inverse = exp(-scale * abs(cosines[k]))
            strengths[k] = math.copysign((1.0 - inverse) / inverse, cosines[k])
        else:
            strengths[k] = exp(scale * (cosines[k] - 1.0))
    return strengths


@njit(cache=True, parallel=True, error_model="numpy")
def _normalize(indptr, weights):
    """Divide each row by the sum of its absolute values, in place."""
    for row in prange(len(indptr) - 1):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += abs(weights[k])
        for k in range(indptr[row], indptr[row + 1]):
            weights[k] /= total
