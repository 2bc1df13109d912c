"""Transition probabilities between cells from the velocity graph (Bergen et al. 2020)."""

import numpy as np
from scipy import sparse


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
    if use_negative_cosines:
        strength = np.sign(weights.data) * np.expm1(scale * np.abs(weights.data))
    else:
        strength = np.exp(scale * weights.data)
    weights = sparse.csr_matrix((strength, weights.indices, weights.indptr), shape=graph.shape)
    if backward:
        weights = weights.T.tocsr()
    totals = np.asarray(abs(weights).sum(axis=1, dtype=np.float64)).ravel()
    weights.data = (weights.data / np.repeat(totals, np.diff(weights.indptr))).astype(np.float32)
    return weights
