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
    squares_s : sum of s^2 over `fitted`.
    sums : (n_cells, 3), over each cell's neighborhood, of x = u / std_u, y = s / std_s and x^2 + y^2; None if not asked
        for.
    """

    unspliced: np.ndarray
    spliced: np.ndarray
    fitted: np.ndarray
    upper: np.ndarray
    std_u: float
    std_s: float
    squares_s: float
    sums: np.ndarray | None


class Assignment(NamedTuple):
    """Where each cell is on the curve of a gene.

    time : (n_cells,), since the gene was switched on.   induced : (n_cells,) bool, on the way up.
    tau : (2, n_cells), time since the switch off and since the switch on, were the cell on that branch.
    error : sum over the fitted cells of the squared standardised residuals.
    """

    time: np.ndarray
    induced: np.ndarray
    tau: np.ndarray
    error: float


class Fitted(NamedTuple):
    """What a solver found for a gene, its time stretched so that the whole process lasts `TOTAL_TIME`.

    parameters : (5,).   factor : by which time was stretched.   likelihood, variance : see `likelihood_and_variance`.
    time : (n_cells,).   tau : as of an `Assignment`.   place : u and s of each cell on the curve, (n_cells,) each, in
    the units of the counts.   velocity : ds/dt and du/dt of the curve there, (n_cells,) each.
    columns : numbers of the solver's own, by name.
    """

    gene: Gene
    parameters: np.ndarray
    factor: float
    likelihood: float
    variance: float
    time: np.ndarray
    tau: np.ndarray
    place: tuple
    velocity: tuple
    columns: dict


def describe_gene(unspliced, spliced, around=None):
    """`Gene` from its moments, (n_cells,) float32 each; None where fewer than three cells have both counts.

    Deviations and the squares of s are taken in single precision, as published fits have them: a cell with u = 0
    is as near to the beginning of the curve as to (0, 0) but for the eighth digit, which decides its time.
    """
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
        std_u = std_s = np.float32(1)
    x, y = unspliced / np.float64(std_u), spliced / std_s
    return Gene(
        unspliced.astype(np.float64),
        spliced.astype(np.float64),
        fitted,
        fitted[(u > u.max() / 3) & (s > s.max() / 3)],
        float(std_u),
        float(std_s),
        float(np.sum(s**2, dtype=np.float64)),
        None if around is None else neighborhood_sums(x, y.astype(np.float64), x**2 + y**2, around),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def neighborhood_sums(x, y, squares, around):
    """Sums of x, y and their squares over each cell's neighborhood, (n_cells, 3)."""
    sums = np.zeros((len(x), 3))
    for cell in range(len(x)):
        for k in range(around.indptr[cell], around.indptr[cell + 1]):
            sums[cell, 0] += x[around.indices[k]]
            sums[cell, 1] += y[around.indices[k]]
            sums[cell, 2] += squares[around.indices[k]]
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
