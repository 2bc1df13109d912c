"""The E-step: where on its curve each cell of a gene is, given the parameters (Bergen et al. 2020).

Abundances of the model are those of the spliced counts' scale: unspliced counts are divided by `scaling`.
"""

import math

import numpy as np
from numba import njit

from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, Assignment
from veloshard.splicing import spliced_at, unspliced_at

# Arguments of the logarithm stay this far from 0 and 1, so that a cell beyond the curve gets a finite time.
MARGIN = 1e-6
# A gap between successive times is an artefact where it exceeds three times this percentile of all gaps.
GAP_PERCENTILE, GAP_FACTOR = 99.5, 3.0
OFF, ON, STEADY_OFF, STEADY_ON = range(4)


@njit(cache=True, nogil=True, error_model="numpy")
def _log_within(x):
    if x < MARGIN:
        x = MARGIN
    elif x > 1.0 - MARGIN:
        x = 1.0 - MARGIN
    return math.log(x)


@njit(cache=True, nogil=True, error_model="numpy")
def time_from_unspliced(u, u0, alpha, beta):
    """Time since u0, from u alone: the solution for u inverted."""
    u_inf = alpha / beta
    return -1.0 / beta * _log_within((u - u_inf) / (u0 - u_inf))


@njit(cache=True, nogil=True, error_model="numpy")
def time_from_state(u, s, u0, s0, alpha, beta, gamma):
    """Time since (u0, s0), from u where splicing is the slower step, else from s - beta/(gamma - beta) u.

    That combination decays with gamma alone, so its logarithm is linear in time.
    """
    if gamma >= beta:
        return time_from_unspliced(u, u0, alpha, beta)
    weight = beta * (1.0 / (gamma - beta))
    x_inf = alpha / gamma - weight * (alpha / beta)
    return -1.0 / gamma * _log_within((s - weight * u - x_inf) / (s0 - weight * u0 - x_inf))


@njit(cache=True, nogil=True, error_model="numpy")
def switching_state(parameters):
    """(u, s) when transcription is switched off."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    tau = parameters[SWITCHING_TIME]
    return unspliced_at(tau, 0.0, alpha, beta), spliced_at(tau, 0.0, 0.0, alpha, beta, gamma)


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
    on_u, on_s = np.empty(n_nodes), np.empty(n_nodes)
    off_u, off_s = np.empty(n_nodes - 1), np.empty(n_nodes - 1)
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


@njit(cache=True, nogil=True, error_model="numpy")
def branch_distances(gene, parameters, tau_on, tau_off):
    """Squared standardised distances of each cell to the two branches at its times: (n_cells, 2), off and on."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling = parameters[SCALING]
    u0, s0 = switching_state(parameters)
    distances = np.empty((len(tau_on), 2))
    for cell in range(len(tau_on)):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        du = (u - unspliced_at(tau_off[cell], u0, 0.0, beta)) / gene.std_u * scaling
        ds = (s - spliced_at(tau_off[cell], s0, u0, 0.0, beta, gamma)) / gene.std_s
        distances[cell, OFF] = du * du + ds * ds
        du = (u - unspliced_at(tau_on[cell], 0.0, alpha, beta)) / gene.std_u * scaling
        ds = (s - spliced_at(tau_on[cell], 0.0, 0.0, alpha, beta, gamma)) / gene.std_s
        distances[cell, ON] = du * du + ds * ds
    return distances


@njit(cache=True, nogil=True, error_model="numpy")
def branch_sums(distances, around, cell):
    """Sums over a cell's neighborhood of its distances to the off and to the on branch."""
    off = on = 0.0
    for k in range(around.indptr[cell], around.indptr[cell + 1]):
        neighbor = around.indices[k]
        off += distances[neighbor, OFF]
        on += distances[neighbor, ON]
    return off, on


@njit(cache=True, nogil=True, error_model="numpy")
def steady_sums(gene, parameters, around, cell):
    """Sums over a cell's neighborhood of the distances to the two steady states: (0, 0) and alpha's.

    Squares expand, so that sums of u, u^2, s, s^2 made once a gene serve for any parameters.
    """
    size = float(around.indptr[cell + 1] - around.indptr[cell])
    u_inf = parameters[ALPHA] / parameters[BETA] * parameters[SCALING]
    s_inf = parameters[ALPHA] / parameters[GAMMA]
    var_u, var_s = gene.std_u**2, gene.std_s**2
    sums = gene.sums[cell]
    off = sums[1] / var_u + sums[3] / var_s
    on = (sums[1] - 2.0 * u_inf * sums[0] + size * u_inf * u_inf) / var_u
    on += (sums[3] - 2.0 * s_inf * sums[2] + size * s_inf * s_inf) / var_s
    return off, on


@njit(cache=True, nogil=True, error_model="numpy")
def likeliest_state(gene, around, parameters, distances, cell):
    """Which of the four states is nearest to a cell's neighborhood, and the sum of the distances to it."""
    off, on = branch_sums(distances, around, cell)
    steady_off, steady_on = steady_sums(gene, parameters, around, cell)
    state, least = OFF, off
    if on < least:
        state, least = ON, on
    if steady_off < least:
        state, least = STEADY_OFF, steady_off
    if steady_on < least:
        state, least = STEADY_ON, steady_on
    return state, least


@njit(cache=True, nogil=True, error_model="numpy")
def limit_gaps(tau_on, tau_off, induced):
    """Close the gaps in time that no cells fill: outliers must not stretch a branch.  Changes the times.

    Each branch's times, of its own cells only, are sorted; a gap is limited where it exceeds three times the
    99.5th percentile of all gaps of both branches, and all later cells of the branch move up.
    """
    n_cells, n_on = len(induced), 0
    for cell in range(n_cells):
        n_on += induced[cell]
    # the way up, then the way down, each in order
    times = np.empty(n_cells)
    next_on, next_off = 0, n_on
    for cell in range(n_cells):
        if induced[cell]:
            times[next_on] = tau_on[cell]
            next_on += 1
        else:
            times[next_off] = tau_off[cell]
            next_off += 1
    times[:n_on].sort()
    times[n_on:].sort()
    gaps = np.empty(n_cells)
    for k in range(n_cells):
        gaps[k] = times[k] - (0.0 if k in (0, n_on) else times[k - 1])
    limit = GAP_FACTOR * percentile(gaps, GAP_PERCENTILE)

    wide = np.empty(n_cells, np.int64)
    n_wide = n_wide_on = 0
    for k in range(n_cells):
        if gaps[k] > limit:
            wide[n_wide] = k
            n_wide += 1
            n_wide_on += k < n_on
    for cell in range(n_cells):
        on = induced[cell]
        tau = tau_on[cell] if on else tau_off[cell]
        first, last = (0, n_wide_on) if on else (n_wide_on, n_wide)
        moved = tau
        for k in wide[first:last]:
            if times[k] > tau:
                break
            moved -= gaps[k]
        if on:
            tau_on[cell] = moved
        else:
            tau_off[cell] = moved


@njit(cache=True, nogil=True, error_model="numpy")
def percentile(values, percent):
    """Percentile with linear interpolation.  NumPy's own takes as long to compile as all else in this file."""
    ordered = np.sort(values)
    position = percent / 100.0 * (len(values) - 1)
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@njit(cache=True, nogil=True, error_model="numpy")
def assign_times(gene, around, parameters, projected):
    """Assign each cell to one of four states by its neighborhood's distances, and so to a time.

    projected : take the nearest point of the curve where beta < gamma, instead of inverting the solution.
    Returns an `Assignment`.  A cell in the steady state (0, 0) gets time 0 and counts as induced, one in the
    other the switching time.
    """
    n_cells = len(gene.spliced)
    tau_on, tau_off, time = np.empty(n_cells), np.empty(n_cells), np.empty(n_cells)
    induced = np.empty(n_cells, np.bool_)
    if projected and parameters[BETA] < parameters[GAMMA]:
        project_times(gene, parameters, tau_on, tau_off)
    else:
        invert_times(gene, parameters, tau_on, tau_off)
    distances = branch_distances(gene, parameters, tau_on, tau_off)
    for cell in range(n_cells):
        off, on = branch_sums(distances, around, cell)
        induced[cell] = on < off
    limit_gaps(tau_on, tau_off, induced)
    distances = branch_distances(gene, parameters, tau_on, tau_off)
    for cell in range(n_cells):
        state, _ = likeliest_state(gene, around, parameters, distances, cell)
        induced[cell] = state in (ON, STEADY_OFF)
        if state == ON:
            time[cell] = tau_on[cell]
        elif state == OFF:
            time[cell] = tau_off[cell] + parameters[SWITCHING_TIME]
        else:
            time[cell] = 0.0 if state == STEADY_OFF else parameters[SWITCHING_TIME]
    return Assignment(time, induced, tau_on, tau_off)
