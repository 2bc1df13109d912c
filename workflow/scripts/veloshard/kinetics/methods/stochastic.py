"""The stochastic model (Bergen et al. 2020): generalized least squares on first and second moments.

In the steady state of a gene both u = gamma s and 2 <us> + <u> = gamma (2 <ss> - <s>) hold. Each of the two sets of
equations is weighted by the inverse of its residual variance.
"""

import numpy as np

from veloshard.contract import Fit
from veloshard.kinetics.methods.steady_state import (
    extreme_cells,
    joint_expression,
    r_squared,
    slope_through_origin,
    steady_state_ratio,
    steady_state_status,
    velocity_genes,
)
from veloshard.preprocessing.moments import first_moments, second_moments

__all__ = ["fit", "velocity_genes"]


def fit(block, *, percentile=95, min_r2=0.01, min_ratio=0.01):
    """Fit the steady-state ratio of each gene to its first and second moments.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes.
    percentile : float
        First-moment equations are used for cells at or above this percentile of u/max(u) + s/max(s) or of s,
        second-moment equations for all cells.
    min_r2 : float
        Genes whose steady-state line has an r2 at or below this bound are not fitted.
    min_ratio : float
        Genes whose steady-state line has a slope at or below this bound are not fitted.

    Returns
    -------
    veloshard.contract.Fit
        Columns `velocity_gamma`, `velocity_qreg_ratio` (the ratio of the steady-state model) and `velocity_r2`; layer
        `velocity`, u - gamma s. In genes that are not fitted, `velocity_gamma` is the ratio of the steady-state model.
    """
    spliced = first_moments(block.spliced, block.neighborhood)
    unspliced = first_moments(block.unspliced, block.neighborhood)
    ratio = steady_state_ratio(spliced, unspliced, percentile=percentile)
    residual = unspliced - ratio[:, None] * spliced
    r2 = r_squared(residual, unspliced)
    status, reason = steady_state_status(spliced, unspliced, ratio, r2, min_r2=min_r2, min_ratio=min_ratio)

    second_ss, second_us = second_moments(block.spliced, block.unspliced, block.neighborhood)
    variance, covariance = 2 * second_ss - spliced, 2 * second_us + unspliced
    second_residual = covariance - slope_through_origin(variance, covariance)[:, None] * variance
    extreme = extreme_cells(joint_expression(spliced, unspliced), percentile) | extreme_cells(spliced, percentile)
    gamma = np.where(
        status == "ok",
        _generalized_slope(
            (np.where(extreme, spliced, 0), np.where(extreme, unspliced, 0), residual.std(axis=1)),
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
    """Return the slope through the origin of stacked sets (x, y, residual standard deviation), per gene.

    sum_k <x_k, y_k> / sd_k^2 over sum_k <x_k, x_k> / sd_k^2. A set of equations without residual is left out.
    """
    numerator = denominator = 0.0
    for x, y, deviation in equations:
        x, y = x.astype(np.float64), y.astype(np.float64)
        precision = np.divide(1.0, deviation**2, out=np.zeros(len(x)), where=deviation > 0)
        numerator = numerator + precision * np.einsum("gc,gc->g", x, y)
        denominator = denominator + precision * np.einsum("gc,gc->g", x, x)
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
