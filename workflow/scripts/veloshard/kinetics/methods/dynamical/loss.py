"""Loss, likelihood and residual variance of the fit of a gene (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit

from veloshard.kinetics.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME
from veloshard.kinetics.methods.dynamical.time_assignment import switching_state
from veloshard.kinetics.splicing import state_at


@njit(cache=True, nogil=True, error_model="numpy")
def curve_at(time, parameters):
    """Return u and s of the model at times since transcription was switched on, two arrays (n_times,)."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    switching_time = parameters[SWITCHING_TIME]
    u0, s0 = switching_state(parameters)
    u, s = np.empty(len(time)), np.empty(len(time))
    for k in range(len(time)):
        if time[k] < switching_time:
            u[k], s[k] = state_at(time[k], 0.0, 0.0, alpha, beta, gamma)
        else:
            u[k], s[k] = state_at(time[k] - switching_time, u0, s0, 0.0, beta, gamma)
    return u, s


def standardized_residuals(gene, parameters, time, cells):
    """Return the residuals of u and of s of some cells over their standard deviations, two arrays (len(cells),)."""
    u, s = curve_at(time[cells], parameters)
    du = (u * parameters[SCALING] - gene.unspliced[cells]) / gene.std_u
    return du, (s - gene.spliced[cells]) / gene.std_s


def ratio_deviation(gene, parameters, ratio):
    """Return the deviation of gamma/beta from a steady-state ratio, over the standard deviation of s; 0 for NaN."""
    return 0.0 if math.isnan(ratio) else (parameters[GAMMA] / parameters[BETA] - ratio) / gene.std_s


def penalty(gene, parameters, ratio):
    """Return the sum over the fitted cells of the squared product of s and its `ratio_deviation`."""
    return ratio_deviation(gene, parameters, ratio) ** 2 * gene.squares_s


def squared_error(gene, parameters, time):
    """Return the sum over the fitted cells of the squared standardized residuals, with cells at the times `time`."""
    du, ds = standardized_residuals(gene, parameters, time, gene.fitted)
    return np.sum(du**2 + ds**2)


def likelihood_and_variance(gene, parameters, time, ratio):
    """Return the likelihood per cell of a gene and the variance of its signed residuals.

    Both are computed on cells above a third of the maximum expression, because any curve fits cells of low expression.

    Parameters
    ----------
    gene : Gene
        The data.
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    time : ndarray of float64, shape (n_cells,)
        Time of each cell since transcription was switched on.
    ratio : float
        Steady-state ratio; deviations of gamma/beta from it are penalized in the likelihood. NaN for no penalty.

    Returns
    -------
    likelihood, variance : float
        The variance is without the penalty. Both are NaN if no cell is above a third of the maximum.
    """
    n_upper = len(gene.upper)
    if n_upper == 0:
        return math.nan, math.nan
    du, ds = standardized_residuals(gene, parameters, time, gene.upper)
    squares = du**2 + ds**2
    penalized = squares + (ratio_deviation(gene, parameters, ratio) * gene.spliced[gene.upper]) ** 2
    variance = signed_variance(penalized, ds) or 1.0
    # degrees of freedom as in scVelo: 1 % of the cells are subtracted
    effective = max(n_upper - 0.01 * len(gene.unspliced), 2.0)
    log_likelihood = -0.5 / effective * np.sum(penalized) / variance - 0.5 * math.log(2 * math.pi * variance)
    return math.exp(log_likelihood), signed_variance(squares, ds)


def signed_variance(squares, sign):
    """Return the variance of the square roots of `squares` with the signs of `sign`; 0 for a perfect fit."""
    return max(np.mean(squares) - np.mean(np.sign(sign) * np.sqrt(squares)) ** 2, 0.0)
