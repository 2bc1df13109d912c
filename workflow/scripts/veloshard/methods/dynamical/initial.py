"""Where the fit of a gene starts: rates and switching time from its most expressed cells (Bergen et al. 2020)."""

import math
from typing import NamedTuple

import numpy as np

from veloshard.methods.dynamical.assign import time_from_state

# Extreme cells of a gene: at or above this percentile.
EXTREME_PERCENTILE = 98
# Below this p-value the expression counts as bimodal, and its upper mode as the steady state.
BIMODAL = 1e-3
N_GRID = 30


class Start(NamedTuple):
    """Where a fit starts.

    parameters : (5,).   p_steady : p-value against expression with one mode.
    steady_u, steady_s : upper modes of u, in the unit of the unspliced counts, and of s.
    """

    parameters: np.ndarray
    p_steady: float
    steady_u: float
    steady_s: float


def initial_parameters(gene):
    """`Start` of the fit of a gene."""
    scaling = gene.std_u / gene.std_s
    u, s = gene.unspliced[gene.fitted] / scaling, gene.spliced[gene.fitted]
    extreme_s = s >= np.percentile(s, EXTREME_PERCENTILE)
    extreme_u = u >= np.percentile(u, EXTREME_PERCENTILE)
    beta = 1.0
    # the offset keeps gamma from meeting beta
    gamma = np.sum(u[extreme_s] * s[extreme_s]) / np.sum(s[extreme_s] ** 2) + 1e-6
    if gamma < 0.05 / scaling:
        gamma *= 1.2
    elif gamma > 1.5 / scaling:
        gamma /= 1.2
    u_inf, s_inf = np.mean(u[extreme_u | extreme_s]), np.mean(s[extreme_s])
    alpha = u_inf * beta

    p_u, steady_u = bimodality(u)
    p_s, steady_s = bimodality(s)
    p_steady = max(p_u, p_s)
    if p_steady < BIMODAL:
        u_inf = (u_inf + steady_u) / 2
        alpha = gamma * s_inf
        beta = alpha / u_inf
    switching_time = time_from_state(u_inf, s_inf, 0.0, 0.0, alpha, beta, gamma)
    parameters = np.array([alpha, beta, gamma, switching_time, scaling])
    return Start(parameters, p_steady, steady_u * scaling, steady_s)


def bimodality(x):
    """P-value against one mode, and the place of the upper mode; (1, 0) where x has no spread.

    The density is cut at its minimum about the middle of the range; tested is the height of the peak above
    the cut against the mean there.
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


def kernel_density(x, grid):
    """Gaussian kernel density of x on a grid, bandwidth by Scott's rule: sd(x) n^(-1/5)."""
    deviation = np.std(x, ddof=1) * len(x) ** -0.2
    distance = (grid[:, None] - x) / deviation
    return np.mean(np.exp(-0.5 * distance**2), axis=1) / (deviation * math.sqrt(2 * math.pi))
