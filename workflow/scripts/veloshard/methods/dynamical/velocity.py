"""From a gene's fit to what is reported: time aligned across genes, and velocities (Bergen et al. 2020)."""

import math

import numpy as np

from veloshard.methods.dynamical.assign import (
    OFF,
    ON,
    branch_distances,
    likeliest_states,
    switching_state,
)
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, neighborhood_means
from veloshard.methods.dynamical.loss import curve_at, signed_variance
from veloshard.splicing import spliced_at

# All genes' processes are stretched to this total time.
TOTAL_TIME = 20.0
# Where the data do not support the curve: gamma, a half-life of a twelfth of the total time; and how sharply that is
# judged.  Chosen by what came nearest to the truth (benchmarks/README.md).
TYPICAL_GAMMA = 0.4
SHARPNESS = 4
# A cell whose best state is less likely than this is in none, and does not move.
LEAST_LIKELY = 1e-6


def alignment_factor(time, switching_time):
    """Factor by which a gene's time is stretched so that the whole process lasts `TOTAL_TIME`.

    time : (n_cells,).  The time seen on both branches stands for the share of cells that are not at rest.
    """
    longest_on = time.max(where=time < switching_time, initial=0.0)
    longest_off = (time - switching_time).max(where=time > switching_time, initial=0.0)
    moving = 1.0 - np.mean((time == switching_time) | (time == 0))
    total = (longest_on + longest_off) / (moving or 1.0)
    return TOTAL_TIME / (total or 1.0)


def align(parameters, factor):
    """Parameters with their unit of time changed: rates divided, the switching time multiplied by `factor`."""
    aligned = parameters.copy()
    aligned[[ALPHA, BETA, GAMMA]] /= factor
    aligned[SWITCHING_TIME] *= factor
    return aligned


def residual_variance(gene, parameters, tau, distances):
    """Variance over all cells of the distances to the nearer branch, signed as their spliced part.

    distances : (2, n_cells), squared, to the way down and the way up.
    """
    u0, s0 = switching_state(parameters)
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    nearest_s = np.where(
        distances[ON] < distances[OFF],
        spliced_at(tau[ON], 0.0, 0.0, alpha, beta, gamma),
        spliced_at(tau[OFF], s0, u0, 0.0, beta, gamma),
    )
    return signed_variance(distances.min(axis=0), gene.spliced - nearest_s)


def fitted_velocity(gene, around, parameters, tau):
    """ds/dt and du/dt of the model at each cell's time, two arrays (n_cells,).

    The time is the mean over the neighborhood.  Cells in a steady state do not move, nor do those that are
    unlikely in any state; no cell loses more than it has in one unit of time.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    switching_time = parameters[SWITCHING_TIME]
    distances = branch_distances(gene, parameters, tau)
    variance = residual_variance(gene, parameters, tau, distances) or 1.0
    states, least = likeliest_states(gene, around, parameters, distances)
    # where all cells of a neighborhood are in a steady state, expanded squares may round to less than 0
    least = np.maximum(least, 0.0) / np.diff(around.indptr)
    likelihood = np.exp(-0.5 * least / variance) / (2 * math.pi * math.sqrt(variance))
    on, off = ((states == state) & (likelihood >= LEAST_LIKELY) for state in (ON, OFF))

    own_time = np.where(on, tau[ON], np.where(off, tau[OFF] + switching_time, 0.0))
    time = neighborhood_means(own_time, around)
    moves = on | off
    u, s = (np.where(moves, abundance, 0.0) for abundance in curve_at(time, parameters))
    production = np.where(moves & (time < switching_time), alpha, 0.0)
    return (
        np.maximum(beta * u - gamma * s, -gene.spliced),
        np.maximum((production - beta * u) * parameters[SCALING], -gene.unspliced),
    )


def residual_velocity(gene, parameters, time):
    """beta u - gamma s and alpha - beta u at the observed counts, two arrays (n_cells,).

    time : (n_cells,), decides whether transcription is on.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    u, s = gene.unspliced / parameters[SCALING], gene.spliced
    production = np.where(time < parameters[SWITCHING_TIME], alpha, 0.0)
    return beta * u - gamma * s, (production - beta * u) * parameters[SCALING]


def supported_velocity(fitted):
    """ds/dt and du/dt, two arrays (n_cells,), and the support: as much of the fit as the data bear out.

    The support is that of the fitted curve against a mere line u = k s, k the ratio of all unspliced to all spliced
    counts.  Both are judged by their mean squared distance to the cells, standardised: of the curve at each cell's
    place, and of the line at its nearest point.  The support is 1 / (1 + (curve / line)^4), the posterior probability
    of the curve for 8 independent observations: neighbors share their counts, so that cells are far fewer
    observations than they are many.

    With full support the velocity is the curve's, without any rate (u - k s) of the observed counts, where the rate is
    a typical gamma / k.  In between it is the weighted mean of the curve's and of such a velocity with k and rate
    between, as geometric means.
    """
    gene, parameters = fitted.gene, fitted.parameters
    u, s = gene.unspliced, gene.spliced
    slope = np.sum(u) / np.sum(s)
    from_curve = np.mean(((fitted.place[0] - u) / gene.std_u) ** 2 + ((fitted.place[1] - s) / gene.std_s) ** 2)
    from_line = np.mean((u - slope * s) ** 2) / (gene.std_u**2 + (slope * gene.std_s) ** 2)
    weight = 1.0 / (1.0 + (from_curve / from_line) ** SHARPNESS) if from_line > 0 else 0.0
    # of unspliced counts in their own unit
    fitted_rate = parameters[BETA] / parameters[SCALING]
    ratio = (parameters[GAMMA] / fitted_rate) ** weight * slope ** (1.0 - weight)
    rate = fitted_rate**weight * (TYPICAL_GAMMA / ratio) ** (1.0 - weight)
    ds = weight * (rate / fitted_rate) * fitted.velocity[0] + (1.0 - weight) * rate * (u - ratio * s)
    # a line knows nothing of transcription
    du = weight * fitted.velocity[1]
    return np.maximum(ds, -s), np.maximum(du, -u), weight
