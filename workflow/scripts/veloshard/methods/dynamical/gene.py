"""What the kernels share: one gene's data, its parameters and its working memory."""

from typing import NamedTuple

import numpy as np
from numba import njit

# Positions in the array of parameters that all kernels pass around.
ALPHA, BETA, GAMMA, SWITCHING_TIME, SCALING = range(5)


class Gene(NamedTuple):
    """One gene as the fit sees it.

    unspliced, spliced : (n_cells,) float64, moments.
    fitted : (n_fitted,) int64, cells that enter the loss: both counts present, none above its 99th percentile.
    upper : (n_upper,) int64, those of them above a third of the maximum, on which the likelihood is taken.
    std_u, std_s : standard deviations over `fitted`.
    sum_u, sum_uu, sum_s, sum_ss : (n_cells,) sums of u, u^2, s, s^2 over each cell's neighbourhood.
    """

    unspliced: np.ndarray
    spliced: np.ndarray
    fitted: np.ndarray
    upper: np.ndarray
    std_u: float
    std_s: float
    sum_u: np.ndarray
    sum_uu: np.ndarray
    sum_s: np.ndarray
    sum_ss: np.ndarray


class Assignment(NamedTuple):
    """Where each cell is on the curve of a gene, all (n_cells,).

    time : since the gene was switched on.   induced : bool, on the way up.
    tau_on, tau_off : time since the switch on and since the switch off, were the cell on that branch.
    """

    time: np.ndarray
    induced: np.ndarray
    tau_on: np.ndarray
    tau_off: np.ndarray


@njit(cache=True, error_model="numpy")
def empty_assignment(n_cells):
    """An `Assignment` to be written into."""
    return Assignment(np.empty(n_cells), np.empty(n_cells, np.bool_), np.empty(n_cells), np.empty(n_cells))


@njit(cache=True, error_model="numpy")
def copy_assignment(source, target):
    """Write one `Assignment` over another."""
    target.time[:] = source.time
    target.induced[:] = source.induced
    target.tau_on[:] = source.tau_on
    target.tau_off[:] = source.tau_off


@njit(cache=True, error_model="numpy")
def select_cells(unspliced, spliced):
    """Cells that enter the loss, and those that enter the likelihood: two arrays of positions.

    Fewer than three cells with both counts make a gene unrecoverable: both arrays are then empty.
    """
    both = np.flatnonzero((unspliced > 0) & (spliced > 0))
    if len(both) < 3:
        return both[:0], both[:0]
    # the 99th percentile, not the maximum: one doublet would set the gene's scale
    high_u, high_s = np.percentile(unspliced[both], 99), np.percentile(spliced[both], 99)
    fitted = both[(unspliced[both] <= high_u) & (spliced[both] <= high_s)]
    u, s = unspliced[fitted], spliced[fitted]
    upper = fitted[(u > np.max(u) / 3) & (s > np.max(s) / 3)]
    return fitted, upper


@njit(cache=True, error_model="numpy")
def neighborhood_sums(values, indptr, indices):
    """Sum of `values` over each cell's neighbourhood, (n_cells,)."""
    sums = np.empty(len(values))
    for cell in range(len(values)):
        total = 0.0
        for k in range(indptr[cell], indptr[cell + 1]):
            total += values[indices[k]]
        sums[cell] = total
    return sums


@njit(cache=True, error_model="numpy")
def neighborhood_means(values, around):
    """Weighted mean of `values` over each cell's neighbourhood, (n_cells,)."""
    means = np.empty(len(values))
    for cell in range(len(values)):
        total = 0.0
        for k in range(around.indptr[cell], around.indptr[cell + 1]):
            total += around.weights[k] * values[around.indices[k]]
        means[cell] = total
    return means


@njit(cache=True, error_model="numpy")
def describe_gene(unspliced, spliced, around):
    """`Gene` from its moments, (n_cells,) float64 each."""
    fitted, upper = select_cells(unspliced, spliced)
    std_u = np.std(unspliced[fitted]) if len(fitted) > 0 else 0.0
    std_s = np.std(spliced[fitted]) if len(fitted) > 0 else 0.0
    if std_u == 0 or std_s == 0:
        std_u = std_s = 1.0
    return Gene(
        unspliced,
        spliced,
        fitted,
        upper,
        std_u,
        std_s,
        neighborhood_sums(unspliced, around.indptr, around.indices),
        neighborhood_sums(unspliced * unspliced, around.indptr, around.indices),
        neighborhood_sums(spliced, around.indptr, around.indices),
        neighborhood_sums(spliced * spliced, around.indptr, around.indices),
    )
