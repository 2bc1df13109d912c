"""From a gene's fit to what is reported: time aligned across genes, and velocities (Bergen et al. 2020)."""

import math

import numpy as np
from numba import njit

from veloshard.methods.dynamical.assign import (
    OFF,
    ON,
    STEADY_OFF,
    STEADY_ON,
    branch_distances,
    branch_sums,
    steady_sums,
    switching_state,
)
from veloshard.methods.dynamical.gene import (
    ALPHA,
    BETA,
    GAMMA,
    SCALING,
    SWITCHING_TIME,
    neighborhood_means,
)
from veloshard.methods.dynamical.loss import state_at
from veloshard.splicing import spliced_at

# All genes' processes are stretched to this total time.
TOTAL_TIME = 20.0
# A cell whose best state is less likely than this is in none, and does not move.
LEAST_LIKELY = 1e-6


@njit(cache=True, error_model="numpy")
def alignment_factor(time, switching_time):
    """Factor by which a gene's time is stretched so that the whole process lasts `TOTAL_TIME`.

    time : (n_cells,).  The time seen on both branches stands for the share of cells that are not at rest.
    """
    longest_on = longest_off = 0.0
    at_rest = 0
    for t in time:
        if t < switching_time:
            longest_on = max(longest_on, t)
        elif t > switching_time:
            longest_off = max(longest_off, t - switching_time)
        at_rest += t == switching_time or t == 0
    moving = 1.0 - at_rest / len(time)
    total = (longest_on + longest_off) / (moving if moving > 0 else 1.0)
    return TOTAL_TIME / (total if total > 0 else 1.0)


@njit(cache=True, error_model="numpy")
def align(parameters, factor):
    """Parameters with their unit of time changed: rates divided, the switching time multiplied by `factor`."""
    aligned = parameters.copy()
    for k in (ALPHA, BETA, GAMMA):
        aligned[k] /= factor
    aligned[SWITCHING_TIME] *= factor
    return aligned


@njit(cache=True, error_model="numpy")
def residual_variance(gene, parameters, tau_on, tau_off, distances):
    """Variance over all cells of the distances to the nearer branch, signed as their spliced part."""
    u0, s0 = switching_state(parameters)
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    total = signed = 0.0
    for cell in range(len(tau_on)):
        off, on = distances[cell, OFF], distances[cell, ON]
        if on < off:
            s, nearest = spliced_at(tau_on[cell], 0.0, 0.0, alpha, beta, gamma), on
        else:
            s, nearest = spliced_at(tau_off[cell], s0, u0, 0.0, beta, gamma), off
        total += nearest
        signed += np.sign(gene.spliced[cell] - s) * math.sqrt(nearest)
    n_cells = len(tau_on)
    return total / n_cells - (signed / n_cells) ** 2


@njit(cache=True, error_model="numpy")
def likeliest_states(gene, around, parameters, tau_on, tau_off):
    """State of each cell by its neighbourhood's distances: OFF, ON, either steady state, or -1 for none of them."""
    distances = np.empty((len(tau_on), 2))
    branch_distances(gene, parameters, tau_on, tau_off, distances)
    variance = residual_variance(gene, parameters, tau_on, tau_off, distances)
    states = np.empty(len(tau_on), np.int8)
    for cell in range(len(tau_on)):
        weight = around.weights[around.indptr[cell]]
        off, on = branch_sums(distances, around, cell)
        steady_off, steady_on = steady_sums(gene, parameters, around, cell)
        state, least = OFF, off
        if on < least:
            state, least = ON, on
        if steady_off < least:
            state, least = STEADY_OFF, steady_off
        if steady_on < least:
            state, least = STEADY_ON, steady_on
        likelihood = math.exp(-0.5 * least * weight / variance) / (2 * math.pi * math.sqrt(variance))
        states[cell] = state if likelihood >= LEAST_LIKELY else -1
    return states


@njit(cache=True, error_model="numpy")
def model_velocity(gene, around, parameters, tau_on, tau_off, velocity, velocity_u):
    """ds/dt and du/dt of the model at each cell's time; written into the last two, (n_cells,) float32.

    The time is the mean over the neighbourhood.  Cells in a steady state do not move; no cell loses more than
    it has in one unit of time.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling, switching_time = parameters[SCALING], parameters[SWITCHING_TIME]
    u0, s0 = switching_state(parameters)
    states = likeliest_states(gene, around, parameters, tau_on, tau_off)
    own = np.where(states == ON, tau_on, np.where(states == OFF, tau_off + switching_time, 0.0))
    time = neighborhood_means(own, around)
    for cell in range(len(time)):
        u = s = production = 0.0
        if states[cell] == ON or states[cell] == OFF:
            u, s = state_at(time[cell], parameters, u0, s0)
            production = alpha if time[cell] < switching_time else 0.0
        velocity[cell] = max(beta * u - gamma * s, -gene.spliced[cell])
        velocity_u[cell] = max((production - beta * u) * scaling, -gene.unspliced[cell])


@njit(cache=True, error_model="numpy")
def residual_velocity(gene, parameters, time, velocity, velocity_u):
    """beta u - gamma s and alpha - beta u at the observed counts; written into the last two, (n_cells,) float32.

    time : (n_cells,), decides whether transcription is on.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    for cell in range(len(time)):
        u, s = gene.unspliced[cell] / parameters[SCALING], gene.spliced[cell]
        production = alpha if time[cell] < parameters[SWITCHING_TIME] else 0.0
        velocity[cell] = beta * u - gamma * s
        velocity_u[cell] = (production - beta * u) * parameters[SCALING]
