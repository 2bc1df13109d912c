"""Data structures that the steps of a fit share: a gene's moments, its parameters and the times of its cells."""

from typing import NamedTuple

import numpy as np
from numba import njit

# Indices into the parameter arrays, shape (5,).
ALPHA, BETA, GAMMA, SWITCHING_TIME, SCALING = range(5)


class Gene(NamedTuple):
    """Moments of one gene, and the cells that are fitted.

    Attributes
    ----------
    unspliced, spliced : ndarray of float64, shape (n_cells,)
        First moments.
    fitted : ndarray of int64, shape (n_fitted,)
        Cells that enter the loss: both moments positive and at most their 99th percentiles.
    upper : ndarray of int64, shape (n_upper,)
        Fitted cells with both moments above a third of their maxima, for the likelihood.
    std_u, std_s : float
        Standard deviations over the fitted cells; both are 1 if one of them is 0.
    squares_s : float
        Sum of s^2 over the fitted cells.
    sums : ndarray of float64, shape (n_cells, 3), or None
        Sums over each cell's neighborhood of x = u / std_u, y = s / std_s and x^2 + y^2. None without neighborhoods.
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
    """Times and branches of the cells on the curve of a gene.

    Attributes
    ----------
    time : ndarray of float64, shape (n_cells,)
        Time since transcription was switched on.
    induced : ndarray of bool, shape (n_cells,)
        True for cells in induction or in the steady state at its beginning, False for all others.
    tau : ndarray of float64, shape (2, n_cells)
        Time since the beginning of the branch if the cell is in repression (`OFF`) or in induction (`ON`).
    error : float
        Sum over the fitted cells of the squared standardized residuals.
    """

    time: np.ndarray
    induced: np.ndarray
    tau: np.ndarray
    error: float


class GeneFit(NamedTuple):
    """Fit of one gene, with its time scaled so that the whole process lasts `TOTAL_TIME`.

    Attributes
    ----------
    gene : Gene
        The data.
    parameters : ndarray of float64, shape (5,)
        `ALPHA`, `BETA`, `GAMMA`, `SWITCHING_TIME` and `SCALING`.
    factor : float
        Factor by which time was scaled.
    likelihood, variance : float
        See `loss.likelihood_and_variance`.
    time : ndarray of float64, shape (n_cells,)
        Gene time: time since transcription was switched on.
    tau : ndarray of float64, shape (2, n_cells)
        As in `Assignment`.
    fitted_abundances : tuple of two ndarray of float64, shape (n_cells,)
        u and s of each cell on the curve, in the units of the moments.
    velocity : tuple of two ndarray of float64, shape (n_cells,)
        ds/dt and du/dt on the curve.
    columns : dict of float
        Columns of the gene table that only this solver has.
    """

    gene: Gene
    parameters: np.ndarray
    factor: float
    likelihood: float
    variance: float
    time: np.ndarray
    tau: np.ndarray
    fitted_abundances: tuple
    velocity: tuple
    columns: dict


def describe_gene(unspliced, spliced, neighborhood=None):
    """Return the `Gene` of some moments, or None for fewer than three cells with both moments positive.

    Standard deviations and squares of s are in single precision, as in scVelo. A cell with u = 0 is equally close to
    the beginning of the curve and to (0, 0) up to the eighth digit, and that digit decides the time of the cell.

    Parameters
    ----------
    unspliced, spliced : ndarray of float32, shape (n_cells,)
        First moments of the gene.
    neighborhood : veloshard.neighborhood.Neighborhood, optional
        Neighborhoods over which `Gene.sums` are taken.

    Returns
    -------
    Gene or None
        None if the gene cannot be fitted.
    """
    both = np.flatnonzero((unspliced > 0) & (spliced > 0))
    if len(both) < 3:
        return None
    # the 99th percentile, not the maximum: one doublet would set the gene's scale
    below = [moments[both] <= np.percentile(moments[both], 99) for moments in (unspliced, spliced)]
    fitted = both[below[0] & below[1]]
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
        None if neighborhood is None else neighborhood_sums(x, y.astype(np.float64), x**2 + y**2, neighborhood),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def neighborhood_sums(x, y, squares, neighborhood):
    """Return the sums of x, y and `squares` over each cell's neighborhood, (n_cells, 3)."""
    sums = np.zeros((len(x), 3))
    for cell in range(len(x)):
        for k in range(neighborhood.indptr[cell], neighborhood.indptr[cell + 1]):
            sums[cell, 0] += x[neighborhood.indices[k]]
            sums[cell, 1] += y[neighborhood.indices[k]]
            sums[cell, 2] += squares[neighborhood.indices[k]]
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
def neighborhood_means(values, neighborhood):
    """Return the weighted mean of `values` over each cell's neighborhood, (n_cells,)."""
    means = np.empty(len(values))
    for cell in range(len(values)):
        total = 0.0
        for k in range(neighborhood.indptr[cell], neighborhood.indptr[cell + 1]):
            total += neighborhood.weights[k] * values[neighborhood.indices[k]]
        means[cell] = total
    return means
