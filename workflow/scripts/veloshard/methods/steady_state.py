"""The steady-state model (La Manno et al. 2018): velocity is the distance from the line u = gamma s.

With the splicing rate as unit of time (beta = 1), cells at the extremes of a gene's expression are taken to be
in the steady state, where u = gamma s; everywhere else ds/dt = u - gamma s.
"""

import numpy as np

from veloshard.contract import Fit, status_of
from veloshard.moments import first_moments


def fit(block, *, percentile=95, min_r2=0.01, min_ratio=0.01):
    """Fit the steady-state ratio of each gene of a `GeneBlock` by regression on its most expressed cells.

    percentile : cells at or above this percentile of u/max(u) + s/max(s) count as steady.
    Returns a `Fit` with columns velocity_gamma, velocity_r2 and the layer velocity (unit of s, beta = 1).
    """
    spliced = first_moments(block.spliced, block.around)
    unspliced = first_moments(block.unspliced, block.around)
    gamma = steady_state_ratio(spliced, unspliced, percentile=percentile)
    residual = unspliced - gamma[:, None] * spliced
    r2 = determination(residual, unspliced)
    status, reason = judge_genes(spliced, unspliced, gamma, r2, min_r2=min_r2, min_ratio=min_ratio)
    return Fit(
        genes={"velocity_gamma": gamma, "velocity_r2": r2, "status": status, "reason": reason},
        layers={"velocity": residual.astype(np.float32)},
    )


def velocity_genes(genes):
    """Genes that enter the velocity graph: all whose fit is sound.

    genes : mapping of column names to arrays (n_genes,) over the whole dataset.   Returns bool (n_genes,).
    """
    return genes["status"] == "ok"


def extreme_cells(x, percentile):
    """Cells at or above a percentile, gene by gene: bool (n_genes, n_cells)."""
    return x >= np.percentile(x, percentile, axis=1, keepdims=True)


def joint_expression(spliced, unspliced):
    """u/max(u) + s/max(s) of each gene and cell; a gene's maximum counts as at least 1e-3."""
    # a gene that is hardly there must not be blown up to full range by dividing by its tiny maximum
    top_s = np.clip(spliced.max(axis=1, keepdims=True), 1e-3, None)
    top_u = np.clip(unspliced.max(axis=1, keepdims=True), 1e-3, None)
    return spliced / top_s + unspliced / top_u


def slope(x, y):
    """Least-squares slope through the origin of y on x, row by row; 0 where x is all zero."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, xy = np.einsum("gc,gc->g", x, x), np.einsum("gc,gc->g", x, y)
    return np.divide(xy, xx, out=np.zeros_like(xy), where=xx > 0)


def steady_state_ratio(spliced, unspliced, *, percentile):
    """gamma of u = gamma s through the cells at the upper extreme, (n_genes,)."""
    steady = extreme_cells(joint_expression(spliced, unspliced), percentile)
    return slope(np.where(steady, spliced, 0), np.where(steady, unspliced, 0))


def determination(residual, observed):
    """Coefficient of determination 1 - sum(residual^2) / sum((y - mean y)^2), row by row; 0 if y is constant."""
    deviation = observed - observed.mean(axis=1, keepdims=True, dtype=np.float64)
    total = np.einsum("gc,gc->g", deviation, deviation)
    left = np.einsum("gc,gc->g", residual, residual, dtype=np.float64)
    return 1.0 - np.divide(left, total, out=np.ones_like(total), where=total > 0)


def judge_genes(spliced, unspliced, gamma, r2, *, min_r2, min_ratio):
    """Status and reason of each gene for which a steady-state line is not to be believed.

    Returns two arrays of str (n_genes,): `ok` with an empty reason, or `not_fitted` and why.
    """
    return status_of(
        (spliced.max(axis=1) <= 0, "no spliced counts"),
        (unspliced.max(axis=1) <= 0, "no unspliced counts"),
        (_constant(spliced), "the same spliced counts in all cells"),
        (_constant(unspliced), "the same unspliced counts in all cells"),
        (gamma <= min_ratio, f"steady-state ratio at most {min_ratio:g}"),
        (r2 <= min_r2, f"r2 of the steady-state line at most {min_r2:g}"),
    )


def _constant(moments):
    """Genes whose moments differ by no more than rounding, bool (n_genes,)."""
    return np.ptp(moments, axis=1) <= 1e-5 * np.abs(moments).max(axis=1)
