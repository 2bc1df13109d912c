"""The M-step's objective, the likelihood and the variance of a gene's fit (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit

from veloshard.methods.dynamical.assign import switching_state
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME
from veloshard.splicing import spliced_at, unspliced_at


@njit(cache=True, nogil=True, error_model="numpy")
def curve_at(time, parameters):
    """Model's (u, s) at times since the switch on: two arrays (n_times,)."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    switching_time = parameters[SWITCHING_TIME]
    u0, s0 = switching_state(parameters)
    u, s = np.empty(len(time)), np.empty(len(time))
    for k in range(len(time)):
        if time[k] < switching_time:
            u[k] = unspliced_at(time[k], 0.0, alpha, beta)
            s[k] = spliced_at(time[k], 0.0, 0.0, alpha, beta, gamma)
        else:
            u[k] = unspliced_at(time[k] - switching_time, u0, 0.0, beta)
            s[k] = spliced_at(time[k] - switching_time, s0, u0, 0.0, beta, gamma)
    return u, s


@njit(cache=True, nogil=True, error_model="numpy")
def residuals(gene, parameters, time, cells, ratio):
    """Standardised residuals of u and of s, and the penalty: three arrays (len(cells),).

    The penalty says how far gamma/beta has left the initial steady-state ratio, in standardised spliced
    counts; 0 where `ratio` is NaN.
    """
    u, s = curve_at(time[cells], parameters)
    scaling = parameters[SCALING]
    drift = 0.0 if math.isnan(ratio) else (parameters[GAMMA] / parameters[BETA] - ratio) / gene.std_s
    penalty = np.empty(len(cells))
    for k in range(len(cells)):
        u[k] = (u[k] * scaling - gene.unspliced[cells[k]]) / gene.std_u
        s[k] = (s[k] - gene.spliced[cells[k]]) / gene.std_s
        penalty[k] = drift * gene.spliced[cells[k]]
    return u, s, penalty


@njit(cache=True, nogil=True, error_model="numpy")
def squared_error(gene, parameters, time, ratio):
    """Sum over the fitted cells of the squared residuals and the squared penalty."""
    du, ds, penalty = residuals(gene, parameters, time, gene.fitted, ratio)
    total = 0.0
    for k in range(len(du)):
        total += du[k] * du[k] + ds[k] * ds[k] + penalty[k] * penalty[k]
    return total


def likelihood_and_variance(gene, parameters, time, ratio):
    """Likelihood per cell of the gene, and the variance of its signed residuals without the penalty.

    Both are taken on cells above a third of the maximum: where expression is low any curve fits.
    NaN where no cell is left.
    """
    n_upper = len(gene.upper)
    if n_upper == 0:
        return math.nan, math.nan
    du, ds, penalty = residuals(gene, parameters, time, gene.upper, ratio)
    plain = du**2 + ds**2
    penalised = plain + penalty**2
    variance = signed_variance(penalised, ds) or 1.0
    # one in a hundred cells counts as given away to the parameters
    effective = max(n_upper - 0.01 * len(gene.unspliced), 2.0)
    log_likelihood = -0.5 / effective * np.sum(penalised) / variance - 0.5 * math.log(2 * math.pi * variance)
    return math.exp(log_likelihood), signed_variance(plain, ds)


def signed_variance(squares, sign):
    """Variance of the square roots of `squares` with the signs of `sign`, both (n,); 0 for a perfect fit."""
    return max(np.mean(squares) - np.mean(np.sign(sign) * np.sqrt(squares)) ** 2, 0.0)
