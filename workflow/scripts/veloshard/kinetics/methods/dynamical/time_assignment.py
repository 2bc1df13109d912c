"""Time assignment: branch and time of each cell on the curve of a gene, given its parameters (Bergen et al. 2020).

The model's abundances are on the scale of the spliced counts, that is unspliced counts are divided by `scaling`. The
first axis of arrays of shape (2, n_cells) is the branch: repression (`OFF`), then induction (`ON`).
"""

import math

import numpy as np
from numba import njit

from veloshard.kinetics.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, Assignment
from veloshard.kinetics.splicing import state_at
from veloshard.numba_support.vector_math import log

# Arguments of the logarithm are clipped to this distance from 0 and 1, so that cells beyond the curve get finite times.
MARGIN = 1e-6


# A gap between successive times is an artifact where it exceeds three times this percentile of all gaps.
GAP_PERCENTILE, GAP_FACTOR = 99.5, 3.0


# Buckets with more times than this are sorted by `ndarray.sort` instead of by insertion.
MAX_INSERTION_SORT = 32


# Nodes per block in the search for the nearest node, which skips whole blocks.
BLOCK = 16


# States of a cell: repression, induction, and the steady states without and with transcription.
OFF, ON, STEADY_OFF, STEADY_ON = range(4)


@njit(forceinline=True, error_model="numpy")
def _clipped_log(x):
    x = MARGIN if x < MARGIN else x
    return log(1.0 - MARGIN if x > 1.0 - MARGIN else x)


@njit(forceinline=True, error_model="numpy")
def _clip(x, low, high):
    x = low if x < low else x
    return high if x > high else x


@njit(forceinline=True, error_model="numpy")
def time_from_unspliced(u, u0, alpha, beta):
    """Return the time since u0, by inversion of the solution for u."""
    u_inf = alpha / beta
    return -1.0 / beta * _clipped_log((u - u_inf) / (u0 - u_inf))


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def time_from_state(u, s, u0, s0, alpha, beta, gamma):
    """Return the time since (u0, s0), from u if gamma >= beta, else from s - beta/(gamma - beta) u.

    This combination relaxes at the rate gamma alone, so the logarithm of its distance from the limit is linear in time.
    """
    if gamma >= beta:
        return time_from_unspliced(u, u0, alpha, beta)
    weight = beta * (1.0 / (gamma - beta))
    x_inf = alpha / gamma - weight * (alpha / beta)
    return -1.0 / gamma * _clipped_log((s - weight * u - x_inf) / (s0 - weight * u0 - x_inf))


@njit(cache=True, nogil=True, error_model="numpy")
def switching_state(parameters):
    """Return (u, s) at the time when transcription is switched off."""
    return state_at(parameters[SWITCHING_TIME], 0.0, 0.0, parameters[ALPHA], parameters[BETA], parameters[GAMMA])


@njit(forceinline=True, error_model="numpy")
def squared_distance(u, s, model_u, model_s, weight_u, weight_s):
    """Return the squared distance of (u, s) to the model; the weights are 1 / standard deviation."""
    du, ds = (u - model_u) * weight_u, (s - model_s) * weight_s
    return du * du + ds * ds


@njit(cache=True, nogil=True, error_model="numpy")
def invert_times(gene, parameters):
    """Return times on both branches by inversion of the solution, clipped to the branch, and the distances there.

    Both arrays have shape (2, n_cells).
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling, switching_time = parameters[SCALING], parameters[SWITCHING_TIME]
    u0, s0 = switching_state(parameters)
    tau = np.empty((2, len(gene.spliced)))
    for cell in range(tau.shape[1]):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        tau[OFF, cell] = time_from_state(u, s, u0, s0, 0.0, beta, gamma)
        tau[ON, cell] = _clip(time_from_state(u, s, 0.0, 0.0, alpha, beta, gamma), 0.0, switching_time)
    longest = -math.inf
    for cell in range(tau.shape[1]):
        if gene.spliced[cell] > 0 and tau[OFF, cell] > longest:
            longest = tau[OFF, cell]
    for cell in range(tau.shape[1]):
        tau[OFF, cell] = _clip(tau[OFF, cell], 0.0, longest)
    return tau, branch_distances(gene, parameters, tau)


@njit(cache=True, nogil=True, error_model="numpy")
def branch_distances(gene, parameters, tau):
    """Return the squared standardized distances of the cells to both branches at the times `tau`, (2, n_cells)."""
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling = parameters[SCALING]
    weight_u, weight_s = scaling / gene.std_u, 1.0 / gene.std_s
    u0, s0 = switching_state(parameters)
    distances = np.empty(tau.shape)
    for cell in range(tau.shape[1]):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        off_u, off_s = state_at(tau[OFF, cell], u0, s0, 0.0, beta, gamma)
        on_u, on_s = state_at(tau[ON, cell], 0.0, 0.0, alpha, beta, gamma)
        distances[OFF, cell] = squared_distance(u, s, off_u, off_s, weight_u, weight_s)
        distances[ON, cell] = squared_distance(u, s, on_u, on_s, weight_u, weight_s)
    return distances


@njit(cache=True, nogil=True, error_model="numpy")
def block_radii(nodes_u, nodes_s):
    """Return the largest distance of a node to the middle node of its block of `BLOCK` nodes, (n_blocks,)."""
    radii = np.zeros(-(-len(nodes_u) // BLOCK))
    for k in range(len(nodes_u)):
        block = k // BLOCK
        middle = middle_of(block, len(nodes_u))
        radius = math.sqrt((nodes_u[k] - nodes_u[middle]) ** 2 + (nodes_s[k] - nodes_s[middle]) ** 2)
        radii[block] = max(radii[block], radius)
    return radii


@njit(forceinline=True, error_model="numpy")
def middle_of(block, n_nodes):
    """Return the index of the middle node of a block."""
    return min(block * BLOCK + BLOCK // 2, n_nodes - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_node(u, s, nodes_u, nodes_s, radii):
    """Return the index of the node nearest to (u, s), the first one of ties.

    By the triangle inequality, a block cannot contain the nearest node if its middle node is farther away than the
    nearest middle node plus the radius of the block. Such blocks are skipped; the result is that of a full scan.
    """
    n_nodes, n_blocks = len(nodes_u), len(radii)
    nearest_middle = math.inf
    for block in range(n_blocks):
        k = middle_of(block, n_nodes)
        nearest_middle = min(nearest_middle, (nodes_u[k] - u) ** 2 + (nodes_s[k] - s) ** 2)
    reach = math.sqrt(nearest_middle) * (1.0 + 1e-9)
    best, nearest = math.inf, 0
    for block in range(n_blocks):
        k = middle_of(block, n_nodes)
        if (nodes_u[k] - u) ** 2 + (nodes_s[k] - s) ** 2 > (reach + radii[block]) ** 2:
            continue
        for k in range(block * BLOCK, min((block + 1) * BLOCK, n_nodes)):
            distance = (nodes_u[k] - u) ** 2 + (nodes_s[k] - s) ** 2
            if distance < best:
                best, nearest = distance, k
    return nearest


@njit(cache=True, nogil=True, error_model="numpy")
def project_times(gene, parameters):
    """Return the times of the nearest of 200 to 500 nodes on each branch, and the distances there.

    Both arrays have shape (2, n_cells). The nearest node is that in the unit of the spliced counts, not standardized.
    """
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling = parameters[SCALING]
    weight_u, weight_s = scaling / gene.std_u, 1.0 / gene.std_s
    u0, s0 = switching_state(parameters)
    n_cells = len(gene.spliced)
    lowest = math.inf
    for cell in range(n_cells):
        if gene.spliced[cell] > 0 and gene.unspliced[cell] / scaling < lowest:
            lowest = gene.unspliced[cell] / scaling
    n_nodes = min(max(int(n_cells / 5), 200), 500)
    times_on = np.linspace(0.0, parameters[SWITCHING_TIME], n_nodes)
    # the first node in repression is the last one in induction
    times_off = np.linspace(0.0, time_from_unspliced(lowest, u0, 0.0, beta), n_nodes)[1:]
    on_u, on_s = np.empty(n_nodes), np.empty(n_nodes)
    off_u, off_s = np.empty(n_nodes - 1), np.empty(n_nodes - 1)
    for k in range(n_nodes):
        on_u[k], on_s[k] = state_at(times_on[k], 0.0, 0.0, alpha, beta, gamma)
    for k in range(n_nodes - 1):
        off_u[k], off_s[k] = state_at(times_off[k], u0, s0, 0.0, beta, gamma)
    on_radii, off_radii = block_radii(on_u, on_s), block_radii(off_u, off_s)
    tau, distances = np.empty((2, n_cells)), np.empty((2, n_cells))
    for cell in range(n_cells):
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        k = nearest_node(u, s, off_u, off_s, off_radii)
        tau[OFF, cell] = times_off[k]
        distances[OFF, cell] = squared_distance(u, s, off_u[k], off_s[k], weight_u, weight_s)
        k = nearest_node(u, s, on_u, on_s, on_radii)
        tau[ON, cell] = times_on[k]
        distances[ON, cell] = squared_distance(u, s, on_u[k], on_s[k], weight_u, weight_s)
    return tau, distances


@njit(cache=True, nogil=True, error_model="numpy")
def split_branches(tau, distances, neighborhood):
    """Assign each cell to the branch with the smaller sum of distances over its neighborhood.

    Returns
    -------
    induced : ndarray of bool, shape (n_cells,)
        True for cells in induction.
    times : ndarray of float64, shape (n_cells,)
        Times of the cells on their branches: those in induction, then those in repression.
    n_on : int
        Number of cells in induction.
    """
    n_cells = tau.shape[1]
    excess = distances[ON] - distances[OFF]
    induced = np.empty(n_cells, np.bool_)
    n_on = 0
    for cell in range(n_cells):
        total = 0.0
        for k in range(neighborhood.indptr[cell], neighborhood.indptr[cell + 1]):
            total += excess[neighborhood.indices[k]]
        induced[cell] = total < 0
        n_on += induced[cell]
    times = np.empty(n_cells)
    next_on, next_off = 0, n_on
    for cell in range(n_cells):
        if induced[cell]:
            times[next_on] = tau[ON, cell]
            next_on += 1
        else:
            times[next_off] = tau[OFF, cell]
            next_off += 1
    return induced, times, n_on


@njit(cache=True, nogil=True, error_model="numpy")
def sort_times(times):
    """Sort times >= 0 in place, by distribution over as many buckets of equal width as there are times."""
    n_times = len(times)
    last = 0.0
    for time in times:
        last = max(last, time)
    per_time = (n_times - 1) / last if last > 0 else 0.0
    bucket_of = np.empty(n_times, np.uint32)
    starts = np.zeros(n_times + 1, np.uint32)
    for k in range(n_times):
        bucket = times[k] * per_time
        # the comparisons are false for NaN, which goes to the first bucket
        bucket_of[k] = int(bucket) if 0.0 < bucket < n_times - 1 else (n_times - 1 if bucket > 0.0 else 0)
        starts[bucket_of[k] + 1] += 1
    for k in range(n_times):
        starts[k + 1] += starts[k]
    placed = np.empty(n_times)
    for k in range(n_times):
        placed[starts[bucket_of[k]]] = times[k]
        starts[bucket_of[k]] += 1
    # each bucket's start was advanced to its end
    start = np.uint32(0)
    for k in range(n_times):
        stop = starts[k]
        if stop - start > MAX_INSERTION_SORT:
            placed[start:stop].sort()
        else:
            for j in range(start + 1, stop):
                time, i = placed[j], j
                while i > start and placed[i - 1] > time:
                    placed[i] = placed[i - 1]
                    i -= 1
                placed[i] = time
        start = stop
    times[:] = placed


@njit(cache=True, nogil=True, error_model="numpy")
def percentile(values, percent):
    """Return a percentile of values >= 0, linearly interpolated; only the largest values are sorted."""
    n_values = len(values)
    position = percent / 100.0 * (n_values - 1)
    below = int(position)
    largest, n_largest = np.empty(n_values), 0
    bound = 8.0 * np.sum(values) / n_values
    while n_largest < n_values - below:
        n_largest = 0
        for value in values:
            largest[n_largest] = value
            # negated, so that NaN is counted and the search ends
            n_largest += not value < bound
        # at a bound of 0 all values are counted
        bound = 0.25 * bound if bound > 1e-300 else 0.0
    largest = largest[:n_largest]
    largest.sort()
    low = largest[n_largest - (n_values - below)]
    high = largest[min(n_largest - (n_values - below) + 1, n_largest - 1)]
    return low + (high - low) * (position - below)


@njit(cache=True, nogil=True, error_model="numpy")
def gaps_between(times, n_on):
    """Return the gap before each sorted time, (n_cells,), for the `n_on` times in induction, then those in repression.

    The gap before the first time of a branch starts at 0.
    """
    gaps = np.empty(len(times))
    for k in range(len(times)):
        gaps[k] = times[k] - (0.0 if k in (0, n_on) else times[k - 1])
    return gaps


@njit(cache=True, nogil=True, error_model="numpy")
def close_gaps(gene, parameters, times, gaps, n_on, limit, induced, tau, distances):
    """Remove gaps in time that exceed `limit`, in place, so that outliers do not lengthen a branch.

    All later cells of the branch move by the size of the gap. `tau` and `distances` are modified for these cells.
    `times`, `gaps` and `n_on` are those of `gaps_between`.
    """
    wide = np.empty(len(times), np.int64)
    n_wide = n_wide_on = 0
    for k in range(len(times)):
        if gaps[k] > limit:
            wide[n_wide] = k
            n_wide += 1
            n_wide_on += k < n_on
    alpha, beta, gamma = parameters[ALPHA], parameters[BETA], parameters[GAMMA]
    scaling = parameters[SCALING]
    weight_u, weight_s = scaling / gene.std_u, 1.0 / gene.std_s
    u0, s0 = switching_state(parameters)
    for cell in range(tau.shape[1]):
        branch = ON if induced[cell] else OFF
        first, last = (0, n_wide_on) if induced[cell] else (n_wide_on, n_wide)
        if first == last or tau[branch, cell] < times[wide[first]]:
            continue
        closed_time = tau[branch, cell]
        for k in wide[first:last]:
            if times[k] > tau[branch, cell]:
                break
            closed_time -= gaps[k]
        tau[branch, cell] = closed_time
        model_u, model_s = (
            state_at(closed_time, 0.0, 0.0, alpha, beta, gamma)
            if induced[cell]
            else state_at(closed_time, u0, s0, 0.0, beta, gamma)
        )
        u, s = gene.unspliced[cell] / scaling, gene.spliced[cell]
        distances[branch, cell] = squared_distance(u, s, model_u, model_s, weight_u, weight_s)


@njit(cache=True, nogil=True, error_model="numpy")
def likeliest_states(gene, neighborhood, parameters, distances):
    """Return the most likely state of each cell, by the sums of squared distances over its neighborhood.

    Parameters
    ----------
    gene : Gene
        The data, with `sums` over the neighborhoods.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    distances : ndarray of float64, shape (2, n_cells)
        Squared standardized distances of the cells to both branches.

    Returns
    -------
    states : ndarray of int8, shape (n_cells,)
        `OFF`, `ON`, `STEADY_OFF` or `STEADY_ON`.
    least : ndarray of float64, shape (n_cells,)
        Sum of the squared distances to that state over the neighborhood.
    """
    n_cells = distances.shape[1]
    states, least = np.empty(n_cells, np.int8), np.empty(n_cells)
    # distances to the steady states, (0, 0) and (u_inf, s_inf), follow from expanded squares and sums per gene
    u_inf = parameters[ALPHA] / parameters[BETA] * parameters[SCALING] / gene.std_u
    s_inf = parameters[ALPHA] / parameters[GAMMA] / gene.std_s
    # both distances of a cell are adjacent in memory, for one look-up per neighbor
    pairs = np.empty((n_cells, 2))
    for cell in range(n_cells):
        pairs[cell, OFF], pairs[cell, ON] = distances[OFF, cell], distances[ON, cell]
    for cell in range(n_cells):
        off = on = 0.0
        for k in range(neighborhood.indptr[cell], neighborhood.indptr[cell + 1]):
            off += pairs[neighborhood.indices[k], OFF]
            on += pairs[neighborhood.indices[k], ON]
        size = float(neighborhood.indptr[cell + 1] - neighborhood.indptr[cell])
        sum_u, sum_s, steady_off = gene.sums[cell]
        steady_on = steady_off - 2.0 * (u_inf * sum_u + s_inf * sum_s) + size * (u_inf**2 + s_inf**2)
        state, total = OFF, off
        if on < total:
            state, total = ON, on
        if steady_off < total:
            state, total = STEADY_OFF, steady_off
        if steady_on < total:
            state, total = STEADY_ON, steady_on
        states[cell], least[cell] = state, total
    return states, least


@njit(cache=True, nogil=True, error_model="numpy")
def times_in_states(gene, parameters, states, tau, distances):
    """Return time and induction of each cell in its state, and the squared error of the fitted cells."""
    switching_time = parameters[SWITCHING_TIME]
    u0, s0 = switching_state(parameters)
    time, induced = np.empty(len(states)), np.empty(len(states), np.bool_)
    for cell in range(len(states)):
        state = states[cell]
        induced[cell] = state in (ON, STEADY_OFF)
        if state == ON:
            time[cell] = tau[ON, cell]
        elif state == OFF:
            time[cell] = tau[OFF, cell] + switching_time
        else:
            time[cell] = 0.0 if state == STEADY_OFF else switching_time
    weight_u, weight_s = parameters[SCALING] / gene.std_u, 1.0 / gene.std_s
    error = 0.0
    for cell in gene.fitted:
        state = states[cell]
        if state <= ON:
            error += distances[state, cell]
        else:
            # steady states are represented by the beginning and the end of induction
            u, s = gene.unspliced[cell] / parameters[SCALING], gene.spliced[cell]
            model_u, model_s = (0.0, 0.0) if state == STEADY_OFF else (u0, s0)
            error += squared_distance(u, s, model_u, model_s, weight_u, weight_s)
    return time, induced, error


@njit(cache=True, nogil=True, error_model="numpy")
def assign_times(gene, neighborhood, parameters, projected):
    """Assign each cell to one of four states by the distances of its neighborhood, and to a time.

    Cells in the steady state (0, 0) get time 0 and count as induced. Cells in the steady state of transcription get the
    switching time.

    Parameters
    ----------
    gene : Gene
        The data.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    projected : bool
        Use the nearest node of the curve if beta < gamma, instead of inverting the solution.

    Returns
    -------
    Assignment
        Times, branches and squared error.
    """
    if projected and parameters[BETA] < parameters[GAMMA]:
        tau, distances = project_times(gene, parameters)
    else:
        tau, distances = invert_times(gene, parameters)
    induced, times, n_on = split_branches(tau, distances, neighborhood)
    sort_times(times[:n_on])
    sort_times(times[n_on:])
    gaps = gaps_between(times, n_on)
    limit = GAP_FACTOR * percentile(gaps, GAP_PERCENTILE)
    close_gaps(gene, parameters, times, gaps, n_on, limit, induced, tau, distances)
    states, _ = likeliest_states(gene, neighborhood, parameters, distances)
    time, induced, error = times_in_states(gene, parameters, states, tau, distances)
    return Assignment(time, induced, tau, error)
