"""The stochastic model (Bergen et al. 2020): first and second moments in one generalised least-squares fit.

For a gene in the steady state both u = gamma s and 2 <us> + <u> = gamma (2 <ss> - <s>) hold; each of the two
sets of equations is weighted by the inverse of its own residual standard deviation.
"""

import numpy as np

from veloshard.contract import Fit
from veloshard.methods.steady_state import (
    determination,
    extreme_cells,
    joint_expression,
    judge_genes,
    slope,
    steady_state_ratio,
    velocity_genes,
)
from veloshard.moments import first_moments, second_moments

__all__ = ["fit", "velocity_genes"]


def fit(block, *, percentile=95, min_r2=0.01, min_ratio=0.01):
    """Fit the steady-state ratio of each gene of a `GeneBlock` to its first and second moments.

    percentile : first-moment equations are kept of cells at or above this percentile of u/max(u) + s/max(s) or
        of s; second-moment equations of all cells.
    Returns a `Fit` with columns velocity_gamma, velocity_qreg_ratio (the steady-state model's), velocity_r2 and
    the layer velocity = u - gamma s.  Genes whose steady-state line is unsound keep that line.
    """
    spliced = first_moments(block.spliced, block.around)
    unspliced = first_moments(block.unspliced, block.around)
    ratio = steady_state_ratio(spliced, unspliced, percentile=percentile)
    residual = unspliced - ratio[:, None] * spliced
    r2 = determination(residual, unspliced)
    status, reason = judge_genes(spliced, unspliced, ratio, r2, min_r2=min_r2, min_ratio=min_ratio)

    second_ss, second_us = second_moments(block.spliced, block.unspliced, block.around)
    variance, covariance = 2 * second_ss - spliced, 2 * second_us + unspliced
    second_residual = covariance - slope(variance, covariance)[:, None] * variance
    weighted = extreme_cells(joint_expression(spliced, unspliced), percentile) | extreme_cells(spliced, percentile)
    gamma = np.where(
        status == "ok",
        _generalized_slope(
            (np.where(weighted, spliced, 0), np.where(weighted, unspliced, 0), residual.std(axis=1)),
            (variance, covariance, second_residual.std(axis=1)),
        ),
        ratio,
    )
    return Fit(
        genes={
            "velocity_gamma": gamma,
            "velocity_qreg_ratio": ratio,
            "velocity_r2": r2,
            "status": status,
            "reason": reason,
        },
        layers={"velocity": (unspliced - gamma[:, None] * spliced).astype(np.float32)},
    )


def _generalized_slope(*equations):
    """Slope through the origin of stacked (x, y, residual standard deviation), each row (gene) by itself.

    sum_k <x_k, y_k> / sd_k^2 over sum_k <x_k, x_k> / sd_k^2; a set of equations without residual is left out.
    """
    top = bottom = 0.0
    for x, y, deviation in equations:
        x, y = x.astype(np.float64), y.astype(np.float64)
        precision = np.divide(1.0, deviation**2, out=np.zeros(len(x)), where=deviation > 0)
        top = top + precision * np.einsum("gc,gc->g", x, y)
        bottom = bottom + precision * np.einsum("gc,gc->g", x, x)
    return np.divide(top, bottom, out=np.zeros_like(bottom), where=bottom > 0)
