"""The M-step's objective, the likelihood and the variance of a gene's fit (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit

from veloshard.methods.dynamical.assign import switching_state
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME
from veloshard.splicing import state_at


@njit(cache=True, nogil=True, error_model="numpy")
def curve_at(time, parameters):
    """Model's (u, s) at times since the switch on: two arrays (n_times,)."""
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


def standardised_residuals(gene, parameters, time, cells):
    """Residuals of u and of s of some cells at given times, by their standard deviations: two arrays (len(cells),)."""
    u, s = curve_at(time[cells], parameters)
    du = (u * parameters[SCALING] - gene.unspliced[cells]) / gene.std_u
    return du, (s - gene.spliced[cells]) / gene.std_s


def drift(gene, parameters, ratio):
    """How far gamma/beta has left the initial steady-state ratio, per standard deviation of s; 0 for a NaN ratio."""
    return 0.0 if math.isnan(ratio) else (parameters[GAMMA] / parameters[BETA] - ratio) / gene.std_s


def penalty(gene, parameters, ratio):
    """Sum over the fitted cells of the squared drift in standardised spliced counts."""
    return drift(gene, parameters, ratio) ** 2 * gene.squares_s


def squared_error(gene, parameters, time):
    """Sum over the fitted cells of the squared residuals at given times."""
    du, ds = standardised_residuals(gene, parameters, time, gene.fitted)
    return np.sum(du**2 + ds**2)


def likelihood_and_variance(gene, parameters, time, ratio):
    """Likelihood per cell of the gene, and the variance of its signed residuals without the penalty.

    Both are taken on cells above a third of the maximum: where expression is low any curve fits.
    NaN where no cell is left.
    """
    n_upper = len(gene.upper)
    if n_upper == 0:
        return math.nan, math.nan
    du, ds = standardised_residuals(gene, parameters, time, gene.upper)
    plain = du**2 + ds**2
    penalised = plain + (drift(gene, parameters, ratio) * gene.spliced[gene.upper]) ** 2
    variance = signed_variance(penalised, ds) or 1.0
    # one in a hundred cells counts as given away to the parameters
    effective = max(n_upper - 0.01 * len(gene.unspliced), 2.0)
    log_likelihood = -0.5 / effective * np.sum(penalised) / variance - 0.5 * math.log(2 * math.pi * variance)
    return math.exp(log_likelihood), signed_variance(plain, ds)


def signed_variance(squares, sign):
    """Variance of the square roots of `squares` with the signs of `sign`, both (n,); 0 for a perfect fit."""
    return max(np.mean(squares) - np.mean(np.sign(sign) * np.sqrt(squares)) ** 2, 0.0)
