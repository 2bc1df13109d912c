"""The M-step's objective, the likelihood and the variance of a gene's fit (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit

from veloshard.methods.dynamical.assign import switching_state
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME
from veloshard.splicing import spliced_at, unspliced_at


@njit(cache=True, error_model="numpy")
def state_at(time, parameters, u0, s0):
    """Model's (u, s) at a time since the switch on; (u0, s0) is the state at the switch off."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    if time < parameters[SWITCHING_TIME]:
        return unspliced_at(time, 0.0, alpha, beta), spliced_at(time, 0.0, 0.0, alpha, beta, gamma)
    tau = time - parameters[SWITCHING_TIME]
    return unspliced_at(tau, u0, 0.0, beta), spliced_at(tau, s0, u0, 0.0, beta, gamma)


@njit(cache=True, error_model="numpy")
def residuals(gene, parameters, time, cell, u0, s0):
    """Standardised residuals (u, s) of a cell."""
    u, s = state_at(time[cell], parameters, u0, s0)
    scaling = parameters[SCALING]
    return (u - gene.unspliced[cell] / scaling) / gene.std_u * scaling, (s - gene.spliced[cell]) / gene.std_s


@njit(cache=True, error_model="numpy")
def ratio_penalty(gene, parameters, ratio, cell):
    """How far gamma/beta has left the initial steady-state ratio, in standardised spliced counts; NaN: free."""
    if math.isnan(ratio):
        return 0.0
    return (parameters[GAMMA] / parameters[BETA] - ratio) * gene.spliced[cell] / gene.std_s


@njit(cache=True, error_model="numpy")
def squared_error(gene, parameters, time, ratio):
    """Sum over the fitted cells of the squared residuals and the squared penalty."""
    u0, s0 = switching_state(parameters)
    total = 0.0
    for cell in gene.fitted:
        du, ds = residuals(gene, parameters, time, cell, u0, s0)
        penalty = ratio_penalty(gene, parameters, ratio, cell)
        total += du * du + ds * ds + penalty * penalty
    return total


@njit(cache=True, error_model="numpy")
def likelihood_and_variance(gene, parameters, time, ratio):
    """Likelihood per cell of the gene, and the variance of its signed residuals without the penalty.

    Both are taken on cells above a third of the maximum: where expression is low any curve fits.
    NaN where no cell is left.
    """
    u0, s0 = switching_state(parameters)
    n_upper = len(gene.upper)
    penalised, plain = np.empty(n_upper), np.empty(n_upper)
    sign = np.empty(n_upper)
    for k in range(n_upper):
        cell = gene.upper[k]
        du, ds = residuals(gene, parameters, time, cell, u0, s0)
        plain[k] = du * du + ds * ds
        penalised[k] = plain[k] + ratio_penalty(gene, parameters, ratio, cell) ** 2
        sign[k] = np.sign(ds)
    if n_upper == 0:
        return math.nan, math.nan
    variance = np.mean(penalised) - np.mean(sign * np.sqrt(penalised)) ** 2
    if variance == 0:  # the same counts in all cells
        variance = 1.0
    # one in a hundred cells counts as given away to the parameters
    effective = max(n_upper - 0.01 * len(gene.unspliced), 2.0)
    log_likelihood = -0.5 / effective * np.sum(penalised) / variance - 0.5 * math.log(2 * math.pi * variance)
    return math.exp(log_likelihood), np.mean(plain) - np.mean(sign * np.sqrt(plain)) ** 2
