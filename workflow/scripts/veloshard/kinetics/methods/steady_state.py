"""The steady-state model (La Manno et al. 2018): velocity is the residual of unspliced counts from u = gamma s.

The splicing rate is the unit of time (beta = 1). Cells of extreme expression are assumed to be in the steady state,
where u = gamma s. In all other cells ds/dt = u - gamma s.
"""

import numpy as np

from veloshard.contract import Fit, status_of
from veloshard.preprocessing.moments import first_moments


def fit(block, *, percentile=95, min_r2=0.01, min_ratio=0.01):
    """Fit the steady-state ratio of each gene by regression on its most expressed cells.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes.
    percentile : float
        Cells at or above this percentile of u/max(u) + s/max(s) are assumed to be in the steady state.
    min_r2 : float
        Genes with an r2 at or below this bound are not fitted.
    min_ratio : float
        Genes with a steady-state ratio at or below this bound are not fitted.

    Returns
    -------
    veloshard.contract.Fit
        Columns `velocity_gamma` and `velocity_r2`; layer `velocity`, in the unit of s at beta = 1.
    """
    spliced = first_moments(block.spliced, block.neighborhood)
    unspliced = first_moments(block.unspliced, block.neighborhood)
    gamma = steady_state_ratio(spliced, unspliced, percentile=percentile)
    residual = unspliced - gamma[:, None] * spliced
    r2 = r_squared(residual, unspliced)
    status, reason = steady_state_status(spliced, unspliced, gamma, r2, min_r2=min_r2, min_ratio=min_ratio)
    return Fit(
        genes={"velocity_gamma": gamma, "velocity_r2": r2, "status": status, "reason": reason},
        layers={"velocity": residual.astype(np.float32)},
    )


def velocity_genes(genes):
    """Return the genes that enter the velocity graph: all fitted genes.

    Parameters
    ----------
    genes : dict of ndarray, shape (n_genes,)
        Columns of a `Fit` of all genes of the dataset.

    Returns
    -------
    ndarray of bool, shape (n_genes,)
        True for velocity genes.
    """
    return genes["status"] == "ok"


def extreme_cells(x, percentile):
    """Return the cells at or above a percentile of each gene, bool (n_genes, n_cells)."""
    return x >= np.percentile(x, percentile, axis=1, keepdims=True)


def joint_expression(spliced, unspliced):
    """Return u/max(u) + s/max(s) of each gene and cell, with maxima of at least 1e-3."""
    # without the bound, dividing by a tiny maximum would stretch a hardly expressed gene to the full range
    max_s = np.clip(spliced.max(axis=1, keepdims=True), 1e-3, None)
    max_u = np.clip(unspliced.max(axis=1, keepdims=True), 1e-3, None)
    return spliced / max_s + unspliced / max_u


def slope_through_origin(x, y):
    """Return the least-squares slope through the origin of y on x, per row; 0 where x is all zero."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, xy = np.einsum("gc,gc->g", x, x), np.einsum("gc,gc->g", x, y)
    return np.divide(xy, xx, out=np.zeros_like(xy), where=xx > 0)


def steady_state_ratio(spliced, unspliced, *, percentile):
    """Return gamma of u = gamma s through the most expressed cells of each gene.

    Parameters
    ----------
    spliced, unspliced : ndarray of float32, shape (n_genes, n_cells)
        First moments.
    percentile : float
        Percentile of the joint expression at or above which cells enter the regression.

    Returns
    -------
    ndarray of float, shape (n_genes,)
        Ratio u/s in the steady state; 0 for genes without spliced counts in those cells.
    """
    steady = extreme_cells(joint_expression(spliced, unspliced), percentile)
    return slope_through_origin(np.where(steady, spliced, 0), np.where(steady, unspliced, 0))


def r_squared(residual, observed):
    """Return r2, 1 - sum(residual^2) / sum((y - mean y)^2), per row; 0 if the observed y is constant."""
    deviation = observed - observed.mean(axis=1, keepdims=True, dtype=np.float64)
    total = np.einsum("gc,gc->g", deviation, deviation)
    unexplained = np.einsum("gc,gc->g", residual, residual, dtype=np.float64)
    return 1.0 - np.divide(unexplained, total, out=np.ones_like(total), where=total > 0)


def steady_state_status(spliced, unspliced, gamma, r2, *, min_r2, min_ratio):
    """Return status and reason of each gene, by its counts and its steady-state line.

    Parameters
    ----------
    spliced, unspliced : ndarray of float32, shape (n_genes, n_cells)
        First moments.
    gamma, r2 : ndarray of float, shape (n_genes,)
        Slope of the steady-state line and its coefficient of determination.
    min_r2, min_ratio : float
        Genes with `r2` or `gamma` at or below these bounds are not fitted.

    Returns
    -------
    status, reason : ndarray of str, shape (n_genes,)
        `ok` and an empty reason, or `not_fitted` and the reason.
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
    """Return the genes whose moments differ by no more than rounding errors, bool (n_genes,)."""
    return np.ptp(moments, axis=1) <= 1e-5 * np.abs(moments).max(axis=1)
