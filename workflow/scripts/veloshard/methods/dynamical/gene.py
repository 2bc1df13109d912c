"""What the steps of the fit share: one gene's data, its parameters, and where its cells are on its curve."""

from typing import NamedTuple

import numpy as np
from numba import njit

# Positions in the array of parameters that all functions pass around.
ALPHA, BETA, GAMMA, SWITCHING_TIME, SCALING = range(5)


class Gene(NamedTuple):
    """One gene as the fit sees it.

    unspliced, spliced : (n_cells,) float64, moments.
    fitted : (n_fitted,) int64, cells that enter the loss: both counts present, none above its 99th percentile.
    upper : (n_upper,) int64, those of them above a third of the maximum, on which the likelihood is taken.
    std_u, std_s : standard deviations over `fitted`; both 1 where one of them is 0.
    sums : (n_cells, 4) of u, u^2, s, s^2 over each cell's neighborhood.
    """

    unspliced: np.ndarray
    spliced: np.ndarray
    fitted: np.ndarray
    upper: np.ndarray
    std_u: float
    std_s: float
    sums: np.ndarray


class Assignment(NamedTuple):
    """Where each cell is on the curve of a gene, all (n_cells,).

    time : since the gene was switched on.   induced : bool, on the way up.
    tau_on, tau_off : time since the switch on and since the switch off, were the cell on that branch.
    """

    time: np.ndarray
    induced: np.ndarray
    tau_on: np.ndarray
    tau_off: np.ndarray


def describe_gene(unspliced, spliced, around):
    """`Gene` from its moments, (n_cells,) each; None where fewer than three cells have both counts."""
    unspliced, spliced = unspliced.astype(np.float64), spliced.astype(np.float64)
    both = np.flatnonzero((unspliced > 0) & (spliced > 0))
    if len(both) < 3:
        return None
    # the 99th percentile, not the maximum: one doublet would set the gene's scale
    within = [counts[both] <= np.percentile(counts[both], 99) for counts in (unspliced, spliced)]
    fitted = both[within[0] & within[1]]
    if len(fitted) < 3:
        return None
    u, s = unspliced[fitted], spliced[fitted]
    std_u, std_s = np.std(u), np.std(s)
    if std_u == 0 or std_s == 0:
        std_u = std_s = 1.0
    return Gene(
        unspliced,
        spliced,
        fitted,
        fitted[(u > u.max() / 3) & (s > s.max() / 3)],
        float(std_u),
        float(std_s),
        neighborhood_sums(unspliced, spliced, around),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def neighborhood_sums(unspliced, spliced, around):
    """Sums of u, u^2, s, s^2 over each cell's neighborhood, (n_cells, 4)."""
    sums = np.zeros((len(spliced), 4))
    for cell in range(len(spliced)):
        for k in range(around.indptr[cell], around.indptr[cell + 1]):
            u, s = unspliced[around.indices[k]], spliced[around.indices[k]]
            sums[cell, 0] += u
            sums[cell, 1] += u * u
            sums[cell, 2] += s
            sums[cell, 3] += s * s
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
def neighborhood_means(values, around):
    """Weighted mean of `values` over each cell's neighborhood, (n_cells,)."""
    means = np.empty(len(values))
    for cell in range(len(values)):
        total = 0.0
        for k in range(around.indptr[cell], around.indptr[cell + 1]):
            total += around.weights[k] * values[around.indices[k]]
        means[cell] = total
    return means
