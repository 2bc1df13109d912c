"""The E-step: where on its curve each cell of a gene is, given the parameters (Bergen et al. 2020).

Abundances of the model are those of the spliced counts' scale: unspliced counts are divided by `scaling`.
"""

import math

import numpy as np
from numba import njit

from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME
from veloshard.splicing import spliced_at, unspliced_at

# Arguments of the logarithm stay this far from 0 and 1, so that a cell beyond the curve gets a finite time.
MARGIN = 1e-6
# A gap between successive times is an artefact where it exceeds three times this percentile of all gaps.
GAP_PERCENTILE, GAP_FACTOR = 99.5, 3.0
OFF, ON, STEADY_OFF, STEADY_ON = range(4)


@njit(cache=True, error_model="numpy")
def _log_within(x):
    if x < MARGIN:
        x = MARGIN
    elif x > 1.0 - MARGIN:
        x = 1.0 - MARGIN
    return math.log(x)


@njit(cache=True, error_model="numpy")
def time_from_unspliced(u, u0, alpha, beta):
    """Time since u0, from u alone: the solution for u inverted."""
    u_inf = alpha / beta
    return -1.0 / beta * _log_within((u - u_inf) / (u0 - u_inf))


@njit(cache=True, error_model="numpy")
def time_from_state(u, s, u0, s0, alpha, beta, gamma):
    """Time since (u0, s0), from u where splicing is the slower step, else from s - beta/(gamma - beta) u.

    That combination decays with gamma alone, so its logarithm is linear in time.
    """
    if gamma >= beta:
        return time_from_unspliced(u, u0, alpha, beta)
    weight = beta * (1.0 / (gamma - beta))
    x_inf = alpha / gamma - weight * (alpha / beta)
    return -1.0 / gamma * _log_within((s - weight * u - x_inf) / (s0 - weight * u0 - x_inf))


@njit(cache=True, error_model="numpy")
def switching_state(parameters):
    """(u, s) when transcription is switched off."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    tau = parameters[SWITCHING_TIME]
    return unspliced_at(tau, 0.0, alpha, beta), spliced_at(tau, 0.0, 0.0, alpha, beta, gamma)


@njit(cache=True, error_model="numpy")
def invert_times(gene, parameters, tau_on, tau_off):
    """Times on both branches by inverting the solution, clipped to the branch; written into the last two."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling, switching_time = parameters[SCALING], parameters[SWITCHING_TIME]
    u0, s0 = switching_state(parameters)
    longest = -math.inf
    for cell in range(len(tau_on)):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        on = time_from_state(u, s, 0.0, 0.0, alpha, beta, gamma)
        tau_on[cell] = min(max(on, 0.0), switching_time)
        tau_off[cell] = time_from_state(u, s, u0, s0, 0.0, beta, gamma)
        if s > 0 and tau_off[cell] > longest:
            longest = tau_off[cell]
    for cell in range(len(tau_off)):
        tau_off[cell] = min(max(tau_off[cell], 0.0), longest)


@njit(cache=True, error_model="numpy")
def nearest_node(u, s, nodes_u, nodes_s, rising):
    """Index of the curve's node nearest to (u, s), the first of several.

    Along either branch u runs one way, so the search goes outwards from the node with the same u and ends on
    each side where u alone is farther off than the best node: the result of a full scan, from few nodes.
    """
    low, high = 0, len(nodes_u)
    while low < high:
        middle = (low + high) // 2
        if (nodes_u[middle] < u) == rising:
            low = middle + 1
        else:
            high = middle
    best, nearest = math.inf, low
    for k in range(low, len(nodes_u)):
        gap = (nodes_u[k] - u) ** 2
        if gap > best:
            break
        distance = gap + (nodes_s[k] - s) ** 2
        if distance < best:
            best, nearest = distance, k
    for k in range(low - 1, -1, -1):
        gap = (nodes_u[k] - u) ** 2
        if gap > best:
            break
        distance = gap + (nodes_s[k] - s) ** 2
        if distance <= best:
            best, nearest = distance, k
    return nearest


@njit(cache=True, error_model="numpy")
def project_times(gene, parameters, tau_on, tau_off):
    """Times on both branches of the nearest of 200 to 500 points of the curve; written into the last two."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling = parameters[SCALING]
    u0, s0 = switching_state(parameters)
    lowest = math.inf
    for cell in range(len(tau_on)):
        if gene.spliced[cell] > 0 and gene.unspliced[cell] / scaling < lowest:
            lowest = gene.unspliced[cell] / scaling
    n_nodes = min(max(int(len(tau_on) / 5), 200), 500)
    times_on = np.linspace(0.0, parameters[SWITCHING_TIME], n_nodes)
    # the first node of the way down is the last of the way up
    times_off = np.linspace(0.0, time_from_unspliced(lowest, u0, 0.0, beta), n_nodes)[1:]
    on_u, on_s, off_u, off_s = (
        np.empty(n_nodes),
        np.empty(n_nodes),
        np.empty(n_nodes - 1),
        np.empty(n_nodes - 1),
    )
    for k in range(n_nodes):
        on_u[k] = unspliced_at(times_on[k], 0.0, alpha, beta)
        on_s[k] = spliced_at(times_on[k], 0.0, 0.0, alpha, beta, gamma)
    for k in range(n_nodes - 1):
        off_u[k] = unspliced_at(times_off[k], u0, 0.0, beta)
        off_s[k] = spliced_at(times_off[k], s0, u0, 0.0, beta, gamma)
    for cell in range(len(tau_on)):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        tau_on[cell] = times_on[nearest_node(u, s, on_u, on_s, True)]
        tau_off[cell] = times_off[nearest_node(u, s, off_u, off_s, False)]


@njit(cache=True, error_model="numpy")
def branch_distances(gene, parameters, tau_on, tau_off, distances):
    """Squared standardised distances to the two branches, written into `distances` (n_cells, 2): off, on."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling = parameters[SCALING]
    u0, s0 = switching_state(parameters)
    for cell in range(len(tau_on)):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        du = (u - unspliced_at(tau_off[cell], u0, 0.0, beta)) / gene.std_u * scaling
        ds = (s - spliced_at(tau_off[cell], s0, u0, 0.0, beta, gamma)) / gene.std_s
        distances[cell, OFF] = du * du + ds * ds
        du = (u - unspliced_at(tau_on[cell], 0.0, alpha, beta)) / gene.std_u * scaling
        ds = (s - spliced_at(tau_on[cell], 0.0, 0.0, alpha, beta, gamma)) / gene.std_s
        distances[cell, ON] = du * du + ds * ds


@njit(cache=True, error_model="numpy")
def branch_sums(distances, around, cell):
    """Sums over a cell's neighbourhood of its distances to the off and to the on branch."""
    off = on = 0.0
    for k in range(around.indptr[cell], around.indptr[cell + 1]):
        neighbor = around.indices[k]
        off += distances[neighbor, OFF]
        on += distances[neighbor, ON]
    return off, on


@njit(cache=True, error_model="numpy")
def steady_sums(gene, parameters, around, cell):
    """Sums over a cell's neighbourhood of the distances to the two steady states: (0, 0) and alpha's.

    Squares expand, so that sums of u, u^2, s, s^2 made once a gene serve for any parameters.
    """
    size = float(around.indptr[cell + 1] - around.indptr[cell])
    u_inf = parameters[ALPHA] / parameters[BETA] * parameters[SCALING]
    s_inf = parameters[ALPHA] / parameters[GAMMA]
    var_u, var_s = gene.std_u**2, gene.std_s**2
    uu, ss = gene.sum_uu[cell], gene.sum_ss[cell]
    off = uu / var_u + ss / var_s
    on = (uu - 2.0 * u_inf * gene.sum_u[cell] + size * u_inf * u_inf) / var_u
    on += (ss - 2.0 * s_inf * gene.sum_s[cell] + size * s_inf * s_inf) / var_s
    return off, on


@njit(cache=True, error_model="numpy")
def limit_gaps(tau_on, tau_off, induced):
    """Close the gaps in time that no cells fill: outliers must not stretch a branch.  Changes the times.

    Each branch's times, of its own cells only, are sorted; a gap is limited where it exceeds three times the
    99.5th percentile of all gaps of both branches, and all later cells of the branch move up.
    """
    sorted_on, sorted_off = np.sort(tau_on[induced]), np.sort(tau_off[~induced])
    n_on, n_off = len(sorted_on), len(sorted_off)
    gaps = np.empty(n_on + n_off)
    for k in range(n_on):
        gaps[k] = sorted_on[k] - (sorted_on[k - 1] if k > 0 else 0.0)
    for k in range(n_off):
        gaps[n_on + k] = sorted_off[k] - (sorted_off[k - 1] if k > 0 else 0.0)
    limit = GAP_FACTOR * np.percentile(gaps, GAP_PERCENTILE)
    wide_on = np.flatnonzero(gaps[:n_on] > limit)
    wide_off = np.flatnonzero(gaps[n_on:] > limit)
    ends_on, ends_off = sorted_on[wide_on], sorted_off[wide_off]
    for cell in range(len(induced)):
        if induced[cell]:
            tau = tau_on[cell]
            for k in range(len(wide_on)):
                if ends_on[k] > tau:
                    break
                tau_on[cell] -= gaps[wide_on[k]]
        else:
            tau = tau_off[cell]
            for k in range(len(wide_off)):
                if ends_off[k] > tau:
                    break
                tau_off[cell] -= gaps[n_on + wide_off[k]]


@njit(cache=True, error_model="numpy")
def branch_times(gene, around, parameters, projected, tau_on, tau_off, distances):
    """Times on both branches, gaps limited, and the distances that go with them; writes into the last three."""
    if projected and parameters[BETA] < parameters[GAMMA]:
        project_times(gene, parameters, tau_on, tau_off)
    else:
        invert_times(gene, parameters, tau_on, tau_off)
    branch_distances(gene, parameters, tau_on, tau_off, distances)
    induced = np.empty(len(tau_on), np.bool_)
    for cell in range(len(tau_on)):
        off, on = branch_sums(distances, around, cell)
        induced[cell] = on < off
    limit_gaps(tau_on, tau_off, induced)
    branch_distances(gene, parameters, tau_on, tau_off, distances)


@njit(cache=True, error_model="numpy")
def assign_times(gene, around, parameters, projected, distances, assignment):
    """Assign each cell to one of four states by its neighbourhood's distances, and so to a time.

    projected : take the nearest point of the curve where beta < gamma, instead of inverting the solution.
    distances : (n_cells, 2) working memory.   assignment : `Assignment` that is written into.
    A cell in the steady state (0, 0) gets time 0 and counts as induced, one in the other the switching time.
    """
    tau_on, tau_off = assignment.tau_on, assignment.tau_off
    branch_times(gene, around, parameters, projected, tau_on, tau_off, distances)
    for cell in range(len(tau_on)):
        state = OFF
        least, on = branch_sums(distances, around, cell)
        steady_off, steady_on = steady_sums(gene, parameters, around, cell)
        if on < least:
            state, least = ON, on
        if steady_off < least:
            state, least = STEADY_OFF, steady_off
        if steady_on < least:
            state, least = STEADY_ON, steady_on
        assignment.induced[cell] = state in (ON, STEADY_OFF)
        if state == ON:
            assignment.time[cell] = tau_on[cell]
        elif state == STEADY_OFF:
            assignment.time[cell] = 0.0
        elif state == OFF:
            assignment.time[cell] = tau_off[cell] + parameters[SWITCHING_TIME]
        else:
            assignment.time[cell] = parameters[SWITCHING_TIME]
