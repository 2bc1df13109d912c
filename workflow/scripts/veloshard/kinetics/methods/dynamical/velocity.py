"""Alignment of gene times to a common duration, and velocities of a fitted gene (Bergen et al. 2020)."""

import math

import numpy as np

from veloshard.kinetics.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, neighborhood_means
from veloshard.kinetics.methods.dynamical.loss import curve_at, signed_variance
from veloshard.kinetics.methods.dynamical.time_assignment import (
    OFF,
    ON,
    branch_distances,
    likeliest_states,
    switching_state,
)
from veloshard.kinetics.splicing import spliced_at

# Time of each gene is scaled so that its process lasts this long, as in scVelo.
TOTAL_TIME = 20.0


# Shrunken velocity: gamma of genes whose curve has weight 0, which is a half-life of a twelfth of the total time, and
# exponent of the curve weight. The values are those closest to the truth in benchmarks/README.md.
TYPICAL_GAMMA = 0.4


SHARPNESS = 4


# Cells whose most likely state has a likelihood below this get velocity 0.
MIN_LIKELIHOOD = 1e-6


def alignment_factor(time, switching_time):
    """Return the factor that scales a gene's time so that the whole process lasts `TOTAL_TIME`.

    The longest times in induction and in repression add up to the duration for the cells outside the steady states. It
    is extrapolated to all cells in proportion to their number.

    Parameters
    ----------
    time : ndarray of float64, shape (n_cells,)
        Time since transcription was switched on.
    switching_time : float
        Time at which transcription is switched off.

    Returns
    -------
    float
        Factor for times; rates are divided by it.
    """
    longest_on = time.max(where=time < switching_time, initial=0.0)
    longest_off = (time - switching_time).max(where=time > switching_time, initial=0.0)
    moving = 1.0 - np.mean((time == switching_time) | (time == 0))
    total = (longest_on + longest_off) / (moving or 1.0)
    return TOTAL_TIME / (total or 1.0)


def align(parameters, factor):
    """Return parameters in another unit of time: rates divided, switching time multiplied by `factor`."""
    aligned = parameters.copy()
    aligned[[ALPHA, BETA, GAMMA]] /= factor
    aligned[SWITCHING_TIME] *= factor
    return aligned


def residual_variance(gene, parameters, tau, distances):
    """Return the variance over all cells of the distances to the nearer branch, with the sign of the residual of s.

    Parameters
    ----------
    gene : Gene
        The data.
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    tau : ndarray of float64, shape (2, n_cells)
        Times on both branches.
    distances : ndarray of float64, shape (2, n_cells)
        Squared distances to both branches.

    Returns
    -------
    float
        Variance of the standardized distances.
    """
    u0, s0 = switching_state(parameters)
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    nearest_s = np.where(
        distances[ON] < distances[OFF],
        spliced_at(tau[ON], 0.0, 0.0, alpha, beta, gamma),
        spliced_at(tau[OFF], s0, u0, 0.0, beta, gamma),
    )
    return signed_variance(distances.min(axis=0), gene.spliced - nearest_s)


def fitted_velocity(gene, neighborhood, parameters, tau):
    """Return ds/dt and du/dt on the fitted curve at each cell's time.

    The time is the mean over the neighborhood. Velocities are 0 for cells in a steady state and for cells whose
    likelihood is below `MIN_LIKELIHOOD` in all states. Negative velocities are bounded by the abundance per unit of
    time.

    Parameters
    ----------
    gene : Gene
        The data.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    tau : ndarray of float64, shape (2, n_cells)
        Times on both branches.

    Returns
    -------
    ds, du : ndarray of float64, shape (n_cells,)
        Velocity of the spliced and of the unspliced moments, each in their own unit per time.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    switching_time = parameters[SWITCHING_TIME]
    distances = branch_distances(gene, parameters, tau)
    variance = residual_variance(gene, parameters, tau, distances) or 1.0
    states, least = likeliest_states(gene, neighborhood, parameters, distances)
    # the expanded squares of steady states may round to less than 0 if a whole neighborhood is in one
    least = np.maximum(least, 0.0) / np.diff(neighborhood.indptr)
    likelihood = np.exp(-0.5 * least / variance) / (2 * math.pi * math.sqrt(variance))
    on, off = ((states == state) & (likelihood >= MIN_LIKELIHOOD) for state in (ON, OFF))

    own_time = np.where(on, tau[ON], np.where(off, tau[OFF] + switching_time, 0.0))
    time = neighborhood_means(own_time, neighborhood)
    transient = on | off
    u, s = (np.where(transient, abundance, 0.0) for abundance in curve_at(time, parameters))
    production = np.where(transient & (time < switching_time), alpha, 0.0)
    return (
        np.maximum(beta * u - gamma * s, -gene.spliced),
        np.maximum((production - beta * u) * parameters[SCALING], -gene.unspliced),
    )


def residual_velocity(gene, parameters, time):
    """Return ds/dt = beta u - gamma s and du/dt = alpha - beta u at the observed moments.

    Parameters
    ----------
    gene : Gene
        The data.
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    time : ndarray of float64, shape (n_cells,)
        Gene time, which determines whether transcription is on.

    Returns
    -------
    ds, du : ndarray of float64, shape (n_cells,)
        Velocity of the spliced and of the unspliced moments, each in their own unit per time.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    u, s = gene.unspliced / parameters[SCALING], gene.spliced
    production = np.where(time < parameters[SWITCHING_TIME], alpha, 0.0)
    return beta * u - gamma * s, (production - beta * u) * parameters[SCALING]


def shrunken_velocity(fitted):
    """Return the velocity of a gene, shrunken from the curve toward a line by the curve weight.

    The curve weight is 1 / (1 + (curve / line)^4). `curve` is the mean squared standardized distance of the cells to
    their fitted abundances. `line` is the mean squared standardized distance to the line u = k s, where k is the ratio
    of all unspliced to all spliced counts. This weight is the posterior probability of the curve for 8 independent
    observations. Neighbors share their counts, so the number of independent observations is far below the number of
    cells.

    With the weight w, and beta in the unit of the unspliced moments,

        ds/dt = w (rate / beta) v_curve + (1 - w) rate (u - ratio s),
        ratio = (gamma / beta)^w k^(1 - w),  rate = beta^w (TYPICAL_GAMMA / ratio)^(1 - w).

    At weight 1 this is the velocity on the curve, at weight 0 it is `TYPICAL_GAMMA` / k (u - k s).

    Parameters
    ----------
    fitted : GeneFit
        Fit of the gene.

    Returns
    -------
    ds, du : ndarray of float64, shape (n_cells,)
        Velocity of the spliced and of the unspliced moments, each in their own unit per time.
    curve_weight : float
        Weight of the curve, 0 to 1.
    """
    gene, parameters = fitted.gene, fitted.parameters
    u, s = gene.unspliced, gene.spliced
    fitted_u, fitted_s = fitted.fitted_abundances
    slope = np.sum(u) / np.sum(s)
    curve_distance = np.mean(((fitted_u - u) / gene.std_u) ** 2 + ((fitted_s - s) / gene.std_s) ** 2)
    line_distance = np.mean((u - slope * s) ** 2) / (gene.std_u**2 + (slope * gene.std_s) ** 2)
    curve_weight = 1.0 / (1.0 + (curve_distance / line_distance) ** SHARPNESS) if line_distance > 0 else 0.0
    # beta of unspliced counts in their own unit
    fitted_rate = parameters[BETA] / parameters[SCALING]
    ratio = (parameters[GAMMA] / fitted_rate) ** curve_weight * slope ** (1.0 - curve_weight)
    rate = fitted_rate**curve_weight * (TYPICAL_GAMMA / ratio) ** (1.0 - curve_weight)
    ds = curve_weight * (rate / fitted_rate) * fitted.velocity[0] + (1.0 - curve_weight) * rate * (u - ratio * s)
    # the line has no transcription rate
    du = curve_weight * fitted.velocity[1]
    return np.maximum(ds, -s), np.maximum(du, -u), curve_weight
