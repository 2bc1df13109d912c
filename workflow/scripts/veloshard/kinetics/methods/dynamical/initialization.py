"""Initial parameters of a gene: rates and switching time from its most expressed cells (Bergen et al. 2020)."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from veloshard.kinetics.methods.dynamical.time_assignment import MARGIN
from veloshard.numba_support.vector_math import exp

# Cells of a gene at or above this percentile are extreme.
EXTREME_PERCENTILE = 98


# Below this p-value, expression is bimodal and its upper mode is taken for the steady state.
BIMODAL = 1e-3


# Grid points of the kernel density, as in scVelo.
N_GRID = 30


class Start(NamedTuple):
    """Initial parameters of a gene, and the test for a steady state.

    Attributes
    ----------
    parameters : ndarray of float64, shape (5,)
        `ALPHA`, `BETA`, `GAMMA`, `SWITCHING_TIME` and `SCALING`.
    p_steady : float
        P-value of the null hypothesis that expression has one mode.
    steady_u, steady_s : float
        Upper modes of the unspliced and of the spliced moments.
    """

    parameters: np.ndarray
    p_steady: float
    steady_u: float
    steady_s: float


def initial_parameters(gene):
    """Return the `Start` of the fit of a gene.

    All steps are in single precision, as in scVelo. The fit is a chain of decisions, and one gene in thirty takes
    another path if its initial parameters change in the eighth digit.
    """
    single = np.float32
    scaling = single(gene.std_u) / single(gene.std_s)
    u, s = gene.unspliced[gene.fitted].astype(single) / scaling, gene.spliced[gene.fitted].astype(single)
    extreme_s = s >= np.percentile(s, EXTREME_PERCENTILE)
    extreme_u = u >= np.percentile(u, EXTREME_PERCENTILE)
    beta = single(1)
    # as in scVelo, the offset avoids gamma = beta
    gamma = np.sum(u * extreme_s * s) / np.sum((s * extreme_s) ** 2) + single(1e-6)
    if gamma < single(0.05) / scaling:
        gamma *= single(1.2)
    elif gamma > single(1.5) / scaling:
        gamma /= single(1.2)
    u_inf, s_inf = np.mean(u[extreme_u | extreme_s]), np.mean(s[extreme_s])
    alpha = u_inf

    p_u, steady_u = bimodality(u.astype(float))
    p_s, steady_s = bimodality(s.astype(float))
    p_steady = max(p_u, p_s)
    if p_steady < BIMODAL:
        u_inf = (u_inf + single(steady_u)) / 2
        alpha = gamma * s_inf
        beta = alpha / u_inf
    # switching time: when the curve from (0, 0) reaches (u_inf, s_inf)
    if gamma >= beta:
        remaining, rate = single(0), beta  # u_inf is the steady state of u
    else:
        weight = beta * (1 / (gamma - beta))
        x_inf = alpha / gamma - weight * (alpha / beta)
        remaining, rate = (s_inf - weight * u_inf - x_inf) / -x_inf, gamma
    switching_time = -1 / rate * np.log(np.clip(remaining, single(MARGIN), single(1 - MARGIN)))
    return Start(np.array([alpha, beta, gamma, switching_time, scaling], float), p_steady, steady_u * scaling, steady_s)


def bimodality(x):
    """Return the p-value of the null hypothesis of one mode and the upper mode; (1, 0) if x is constant.

    The kernel density is cut at its minimum near the middle of the range. The test statistic is the peak of the density
    above the cut, minus its mean there.
    """
    if np.std(x) == 0:
        return 1.0, 0.0
    grid = np.linspace(np.min(x), np.max(x), N_GRID)
    density = kernel_density(x, grid)
    cut = N_GRID // 2 - 2
    cut += np.argmin(density[cut : cut + 4])
    peak = cut + np.argmax(density[cut:])
    height = density[peak] - np.mean(density[cut:])
    statistic = height / max(np.std(density) / math.sqrt(N_GRID), 1.0)
    mode = (grid[peak] + grid[min(peak + 1, N_GRID - 1)]) / 2
    return 0.5 * math.erfc(statistic / math.sqrt(2)), mode


@njit(cache=True, nogil=True, error_model="numpy")
def kernel_density(x, grid):
    """Return the Gaussian kernel density of x on a grid, with the bandwidth of Scott's rule, sd(x) n^(-1/5)."""
    mean = np.sum(x) / len(x)
    deviation = math.sqrt(np.sum((x - mean) ** 2) / (len(x) - 1)) * len(x) ** -0.2
    density = np.zeros(len(grid))
    for value in x:
        for k in range(len(grid)):
            distance = (grid[k] - value) / deviation
            density[k] += exp(-0.5 * distance * distance)
    return density / (len(x) * deviation * math.sqrt(2 * math.pi))
