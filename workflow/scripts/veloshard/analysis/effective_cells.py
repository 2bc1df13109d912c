"""Effective number of independent cells behind means of neighbor-averaged values."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

# first axis of the arrays in `EffectiveCells`: cells of the cluster, all other labeled cells
IN, OUT = range(2)


# rows of the product of the weights that are computed at once: with about 700 entries each, 100 MB
_ROWS = 2**13


class EffectiveCells(NamedTuple):
    """Effective numbers of cells behind the means of clusters, and of all other labeled cells.

    Attributes
    ----------
    effective : ndarray of float64, shape (2, n_clusters)
        Number of independent cells whose mean would be as exact, given the variance between the cells. The first row is
        for the cells of the cluster, the second for all other labeled cells.
    freedom : ndarray of float64, shape (2, n_clusters)
        Degrees of freedom of that variance.
    correlation : ndarray of float64, shape (n_clusters,)
        Correlation of the two means, which comes from the counts that cells on both sides share.
    reason : ndarray of str, shape (n_clusters,)
        Reason why a cluster cannot be tested, empty if it can.
    """

    effective: np.ndarray
    freedom: np.ndarray
    correlation: np.ndarray
    reason: np.ndarray


def effective_cells(weights, codes, n_clusters):
    """Return the effective numbers of cells behind means of values that are averaged over neighbors.

    Moments of neighboring cells share counts, so that n cells are far fewer than n independent observations. Let
    velocities be v = W e, where W are the averaging weights and e are independent contributions of the cells with equal
    variance sigma^2. For n cells with indicator 1, their rows R of W, and r = R' 1, which is the weight of each cell's
    counts in the sum,

        var(mean)               = sigma^2 r'r / n^2
        E[sum of (v - mean)^2]  = sigma^2 q,   q = |R|^2 - r'r / n
        degrees of freedom      = q^2 / |C R R' C|^2,   C = 1 - 1 1' / n  (Satterthwaite 1946)
        correlation of means    = r_in'r_out / sqrt(r_in'r_in r_out'r_out)

    where |.| is the Frobenius norm. The effective number is (mean squared deviation) / var(mean), which is
    q n^2 / ((n - 1) r'r). Without averaging it is n, with n - 1 degrees of freedom. If neighborhoods of k cells lie
    within the cluster, it is about n / k.

    Steady-state and stochastic velocities are such averages. P-values of genes whose cells were shuffled are uniform
    for them, and nearly uniform for `shrunken` velocities. Velocities of the fitted curve alone (`velocity: fitted`)
    are smoothed once more, which is not modeled here, so that their p-values are too small. All p-values are too small
    if the clusters were derived from the counts that are tested.

    Parameters
    ----------
    weights : csr_matrix, shape (n_cells, n_cells)
        Averaging weights of the moments (`neighborhood.averaging_weights`). Rows sum to 1.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label, which are ignored.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    EffectiveCells
        Effective numbers, degrees of freedom and correlations.
    """
    members = cluster_members(codes, n_clusters)
    weights = weights.astype(np.float64)
    indicator = members.toarray()
    indicator = np.stack([indicator, indicator.sum(axis=0) - indicator])
    size = indicator.sum(axis=-1)
    # r = R' 1 of each side, and W r
    r, weights_r = np.empty_like(indicator), np.empty_like(indicator)
    for side in (IN, OUT):
        r[side] = (weights.T @ indicator[side].T).T
        weights_r[side] = (weights @ r[side].T).T
    r_products = np.einsum("skc,tkc->stk", r, r)
    squared_weights = indicator @ np.ravel(weights.multiply(weights).sum(axis=1))
    between = _squared_products(weights, members)
    within = np.diagonal(between)
    squared_products = np.stack([within, between.sum() - 2 * between.sum(axis=1) + within])
    r_squared = np.stack([r_products[IN, IN], r_products[OUT, OUT]])
    with np.errstate(divide="ignore", invalid="ignore"):
        q = squared_weights - r_squared / size
        # |C R R' C|^2 = |R R'|^2 - 2 |R r|^2 / n + (r'r / n)^2
        centered = squared_products - 2 * np.sum(indicator * weights_r**2, axis=-1) / size + (r_squared / size) ** 2
        effective = q * size**2 / ((size - 1) * r_squared)
        freedom = q**2 / centered
        correlation = r_products[IN, OUT] / np.sqrt(r_squared[IN] * r_squared[OUT])
        # in exact arithmetic, q is 0 if all cells have the same neighborhood
        is_identical = q <= 1e-9 * squared_weights
    reason = np.select(
        [size[IN] == 0, size[IN] == 1, size[OUT] == 0, size[OUT] == 1, is_identical.any(axis=0)],
        [
            "it has no cells",
            "it has only one cell",
            "there are no other labeled cells",
            "there is only one other labeled cell",
            "its cells or all others have identical neighborhoods",
        ],
        default="",
    )
    return EffectiveCells(effective, freedom, correlation, reason)


def cluster_members(codes, n_clusters):
    """Return the indicator matrix of the cells of each cluster.

    Parameters
    ----------
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    csr_matrix of float64, shape (n_clusters, n_cells)
        1 for the cells of a cluster.
    """
    labeled = np.flatnonzero(codes >= 0)
    ones = np.ones(len(labeled))
    return sparse.csr_matrix((ones, (codes[labeled], labeled)), shape=(n_clusters, len(codes)))


def _squared_products(weights, members):
    """Return the sums of (W W')^2 over pairs of cells by their clusters, (n_clusters, n_clusters)."""
    n_clusters, n_cells = members.shape
    sums = np.zeros((n_clusters, n_clusters))
    transposed = weights.T.tocsr()
    for first in range(0, n_cells, _ROWS):
        products = weights[first : first + _ROWS] @ transposed
        products.data **= 2
        sums += (members[:, first : first + _ROWS] @ (products @ members.T)).toarray()
    return sums
