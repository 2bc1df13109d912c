"""A gene's cells as a mixture over points of its curve, each seen through sampling noise.

The curve has two branches, transcription on from time 0 and off from the switching time; with splicing as the unit of
time (beta = 1) it is

    u = exp(LOG_U) u(tau; 1, 1, r),  s = exp(LOG_S) s(tau; 1, 1, r),  r = exp(LOG_RATIO), off from tau = exp(LOG_SWITCH)

of the closed form for alpha = beta = 1, gamma = r.  Each branch is `N_POINTS` points with weights of their own: nothing
is assumed of how cells spread over time.  Between its points the curve is taken as straight, by noise that is longer
along it.  Abundances are compared on a scale on which the noise of counts is the same everywhere (Anscombe 1948).

Arrays (2, ...) have the way down first, then the way up: `OFF`, `ON`.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from veloshard.elementary import exp, log
from veloshard.methods.dynamical.assign import OFF, ON
from veloshard.splicing import state_at

# Positions in the array of shape parameters.
LOG_U, LOG_S, LOG_RATIO, LOG_SWITCH = range(4)
# And in the state of a fit: the shape, the logarithm of the noise variance, the weights of all points.
LOG_NOISE, WEIGHTS = 4, 5
# Points a branch, in so many sums side by side: a vector each.
N_POINTS, LANES = 24, 8
N_STATE = WEIGHTS + 2 * N_POINTS
# The way down ends where so much of its beginning is left, on the scale of square roots.
END = 0.02
# A cell is no more unlikely than this under any branch: outliers pull no curve.
LEAST_DENSITY = 1e-6
# Bins of the phase portrait a side, at most.
MOST_BINS = 32
# Weights are smoothed by so many cells, as a share of all, spread evenly over the points.
SMOOTHING = 0.3
# Shapes stay within these bounds, of which the last keep the switching time to what can be told from never and always.
LOWEST = np.array([-30.0, -30.0, math.log(0.02), math.log(0.05)])
HIGHEST = np.array([30.0, 30.0, math.log(50.0), math.log(25.0)])
LONGEST_STEP = 0.5
# Steps are shortened, because what points are given changes with the shape.
DAMPING = 0.5
# Weights are adapted in so many rounds a step; the last so many steps tell where the next one goes.
ROUNDS, MEMORY = 3, 3


class Sample(NamedTuple):
    """A gene's cells in bins of the phase portrait.

    bin_of : (n_cells,) uint32.   places : (n_bins, 2), mean of the cells of a bin, u then s, in units of noise.
    """

    bin_of: np.ndarray
    places: np.ndarray


class Prior(NamedTuple):
    """What is expected of a shape: of the logarithms, (means, precisions), and how far the data count.

    ratio, switch : two numbers each, of LOG_RATIO and LOG_SWITCH.
    slope : of LOG_U + LOG_RATIO - LOG_S, the logarithm of u/s in the steady state.
    repeats : how many cells count as one observation: neighbors share their counts.
    """

    ratio: tuple
    switch: tuple
    slope: tuple
    repeats: float


@njit(forceinline=True, error_model="numpy")
def stabilised(abundance, unit):
    """Abundance on a scale with noise of variance 1, given the variance of an abundance of 1."""
    return 2.0 * math.sqrt(abundance / unit + 0.375)


@njit(forceinline=True, error_model="numpy")
def bins_along(extent, width):
    """Number of bins of about some width, and how many go into a unit: a little less, for the last one's end."""
    number = min(max(int(extent / width), 1), MOST_BINS)
    return number, 0.999999 * number / extent if extent > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def bin_cells(u, s, units, width):
    """`Sample` of cells by their abundances, (n_cells,) each, in bins of some width in units of noise."""
    n_cells = len(u)
    x, y = np.empty(n_cells), np.empty(n_cells)
    for cell in range(n_cells):
        x[cell], y[cell] = stabilised(u[cell], units[0]), stabilised(s[cell], units[1])
    low_x, low_y = x.min(), y.min()
    n_x, per_x = bins_along(x.max() - low_x, width)
    n_y, per_y = bins_along(y.max() - low_y, width)
    number = np.full(n_x * n_y, -1, np.int64)
    bin_of = np.empty(n_cells, np.uint32)
    sums = np.zeros((n_x * n_y, 3))
    n_bins = 0
    for cell in range(n_cells):
        place = int((x[cell] - low_x) * per_x) * n_y + int((y[cell] - low_y) * per_y)
        if number[place] < 0:
            number[place] = n_bins
            n_bins += 1
        bin_of[cell] = number[place]
        sums[bin_of[cell], 0] += x[cell]
        sums[bin_of[cell], 1] += y[cell]
        sums[bin_of[cell], 2] += 1.0
    return Sample(bin_of, sums[:n_bins, :2] / sums[:n_bins, 2:])


@njit(cache=True, nogil=True, error_model="numpy")
def trace(shape, units):
    """Points of a shape: their times since the branch began (2, N_POINTS), and u and s there (2, 2, N_POINTS).

    And where those are on the scale of the noise, (2, 2, N_POINTS).  Points are evenly spread over the square root
    of what the slower of the two rates has yet to do.
    """
    scale_u, scale_s = math.exp(shape[LOG_U]), math.exp(shape[LOG_S])
    ratio, switch = math.exp(shape[LOG_RATIO]), math.exp(shape[LOG_SWITCH])
    # smoothly, lest the fit jump where the two rates meet
    slower = ratio / math.sqrt(1.0 + ratio * ratio)
    done = 1.0 - exp(-slower * switch)
    u0, s0 = state_at(switch, 0.0, 0.0, 1.0, 1.0, ratio)
    tau, abundances, places = np.empty((2, N_POINTS)), np.empty((2, 2, N_POINTS)), np.empty((2, 2, N_POINTS))
    for k in range(N_POINTS):
        part = (k + 0.5) / N_POINTS
        tau[ON, k] = -log(1.0 - part * part * done) / slower
        tau[OFF, k] = -2.0 * log(1.0 - part * (1.0 - END)) / slower
        on_u, on_s = state_at(tau[ON, k], 0.0, 0.0, 1.0, 1.0, ratio)
        off_u, off_s = state_at(tau[OFF, k], u0, s0, 0.0, 1.0, ratio)
        abundances[ON, 0, k], abundances[ON, 1, k] = scale_u * on_u, scale_s * on_s
        abundances[OFF, 0, k], abundances[OFF, 1, k] = scale_u * off_u, scale_s * off_s
    for branch in range(2):
        for k in range(N_POINTS):
            places[branch, 0, k] = stabilised(abundances[branch, 0, k], units[0])
            places[branch, 1, k] = stabilised(abundances[branch, 1, k], units[1])
    return tau, abundances, places


@njit(cache=True, nogil=True, error_model="numpy")
def kernels_of(places, noise):
    """What turns distances to points into densities, (2, 3, N_POINTS): a vector along the curve and a height.

    places : (2, 2, N_POINTS).   noise : variance across the curve.
    The squared distance to a point is d.d - (d.v)^2 with its vector v: along the curve the variance is larger by
    that of an even spread over the way to the next point.
    """
    kernels = np.empty((2, 3, N_POINTS))
    for branch in range(2):
        for k in range(N_POINTS):
            low, high = max(k - 1, 0), min(k + 1, N_POINTS - 1)
            step_u = (places[branch, 0, high] - places[branch, 0, low]) / (high - low)
            step_s = (places[branch, 1, high] - places[branch, 1, low]) / (high - low)
            squared = step_u * step_u + step_s * step_s
            spread = squared / 12.0
            length = math.sqrt(spread / ((noise + spread) * squared)) if squared > 0 else 0.0
            kernels[branch, 0, k], kernels[branch, 1, k] = length * step_u, length * step_s
            kernels[branch, 2, k] = 1.0 / math.sqrt(1.0 + spread / noise)
    return kernels


@njit(forceinline=True, error_model="numpy")
def approach(x, y, places, kernels, per_noise, squares, densities):
    """Squared distances of a branch's points to (x, y) and their densities there, into two rows.

    places : (2, N_POINTS).   kernels : (3, N_POINTS).   per_noise : 1 / (2 x noise variance).
    """
    for k in range(N_POINTS):
        du, ds = x - places[0, k], y - places[1, k]
        along = du * kernels[0, k] + ds * kernels[1, k]
        squares[k] = du * du + ds * ds - along * along
        densities[k] = kernels[2, k] * exp(-per_noise * squares[k])


@njit(forceinline=True, error_model="numpy")
def mix(weights, densities, given):
    """Densities times weights, into a row, and their sum, in lanes side by side."""
    for k in range(N_POINTS):
        given[k] = weights[k] * densities[k]
    total = LEAST_DENSITY
    for lane in range(LANES):
        part = given[lane]
        for k in range(lane + LANES, N_POINTS, LANES):
            part += given[k]
        total += part
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def log_odds(state, sample, units):
    """Log odds of each bin's cells for the way up, (n_bins,)."""
    shape, noise, weights = parts_of(state)
    places = trace(shape, units)[2]
    kernels = kernels_of(places, noise)
    odds = np.empty(len(sample.places))
    rows = np.empty((3, N_POINTS))
    for k in range(len(odds)):
        x, y = sample.places[k]
        approach(x, y, places[ON], kernels[ON], 0.5 / noise, rows[0], rows[1])
        on = mix(weights[ON], rows[1], rows[2])
        approach(x, y, places[OFF], kernels[OFF], 0.5 / noise, rows[0], rows[1])
        odds[k] = math.log(on / mix(weights[OFF], rows[1], rows[2]))
    return odds


@njit(cache=True, nogil=True, error_model="numpy")
def vote(odds, sample, around, every):
    """Numbers of cells of each bin that go down and up, (n_bins, 2), by the mean odds of each cell's neighborhood.

    Every so many-th cell is counted.
    """
    counted = np.zeros((len(odds), 2))
    of_cells = np.empty(len(sample.bin_of))
    for cell in range(len(of_cells)):
        of_cells[cell] = odds[sample.bin_of[cell]]
    for cell in range(0, len(of_cells), every):
        total = 0.0
        for k in range(around.indptr[cell], around.indptr[cell + 1]):
            total += of_cells[around.indices[k]]
        up = chance(total / (around.indptr[cell + 1] - around.indptr[cell]))
        counted[sample.bin_of[cell], ON] += up
        counted[sample.bin_of[cell], OFF] += 1.0 - up
    return counted


@njit(forceinline=True, error_model="numpy")
def chance(odds):
    """Probability of log odds."""
    return 1.0 / (1.0 + math.exp(-odds))


@njit(cache=True, nogil=True, error_model="numpy")
def expect(sample, counted, places, kernels, noise, weights, rounds):
    """The E-step: sums over the cells of what each point is given, (2, 4, N_POINTS), and the log-likelihood.

    The four are the number of cells, the sums of their places, u and s, and of their squared distances.  Before,
    weights (2, N_POINTS) are changed to what is likeliest for these points, in so many rounds.
    """
    n_bins = len(sample.places)
    sums = np.zeros((2, 4, N_POINTS))
    squares, densities = np.empty((n_bins, N_POINTS)), np.empty((n_bins, N_POINTS))
    given, numbers = np.empty(N_POINTS), np.empty(N_POINTS)
    log_likelihood = 0.0
    for branch in range(2):
        n_cells = counted[:, branch].sum()
        for k in range(n_bins):
            x, y = sample.places[k]
            approach(x, y, places[branch], kernels[branch], 0.5 / noise, squares[k], densities[k])
        for _ in range(rounds):
            numbers[:] = 0.0
            for k in range(n_bins):
                share = counted[k, branch] / mix(weights[branch], densities[k], given)
                for point in range(N_POINTS):
                    numbers[point] += share * given[point]
            # a branch without cells keeps even weights
            smoothing = (SMOOTHING * n_cells + 1e-9) / N_POINTS
            explained = numbers.sum() + N_POINTS * smoothing
            for point in range(N_POINTS):
                weights[branch, point] = (numbers[point] + smoothing) / explained
        for k in range(n_bins):
            x, y = sample.places[k]
            total = mix(weights[branch], densities[k], given)
            log_likelihood += counted[k, branch] * math.log(total)
            share = counted[k, branch] / total
            for point in range(N_POINTS):
                part = share * given[point]
                sums[branch, 0, point] += part
                sums[branch, 1, point] += part * x
                sums[branch, 2, point] += part * y
                sums[branch, 3, point] += part * squares[k, point]
    return sums, log_likelihood - counted.sum() * math.log(noise)


@njit(cache=True, nogil=True, error_model="numpy")
def slopes_of(shape, units, places):
    """Derivatives of the points' places by the shape parameters, (4, 2, 2, N_POINTS), by small differences."""
    slopes = np.empty((4, 2, 2, N_POINTS))
    for parameter in range(4):
        moved = shape.copy()
        moved[parameter] += 1e-6
        elsewhere = trace(moved, units)[2]
        for branch in range(2):
            for axis in range(2):
                for k in range(N_POINTS):
                    slopes[parameter, branch, axis, k] = (elsewhere[branch, axis, k] - places[branch, axis, k]) * 1e6
    return slopes


@njit(cache=True, nogil=True, error_model="numpy")
def normal_equations(shape, places, slopes, kernels, sums, per_noise, prior):
    """Gradient (4,) of the log posterior of a shape, points' weights fixed, and its Gauss-Newton matrix (4, 4).

    per_noise : 1 / (noise variance x cells that count as one).
    """
    gradient, matrix = np.zeros(4), np.zeros((4, 4))
    across = np.empty((4, 2))
    for branch in range(2):
        for k in range(N_POINTS):
            number = sums[branch, 0, k]
            along_u, along_s = kernels[branch, 0, k], kernels[branch, 1, k]
            off_u = sums[branch, 1, k] - number * places[branch, 0, k]
            off_s = sums[branch, 2, k] - number * places[branch, 1, k]
            for p in range(4):
                slope_u, slope_s = slopes[p, branch, 0, k], slopes[p, branch, 1, k]
                along = slope_u * along_u + slope_s * along_s
                across[p, 0], across[p, 1] = slope_u - along * along_u, slope_s - along * along_s
                gradient[p] += per_noise * (across[p, 0] * off_u + across[p, 1] * off_s)
            for p in range(4):
                for q in range(p + 1):
                    matrix[p, q] += (
                        per_noise
                        * number
                        * (across[p, 0] * slopes[q, branch, 0, k] + across[p, 1] * slopes[q, branch, 1, k])
                    )
    for p in range(4):
        for q in range(p):
            matrix[q, p] = matrix[p, q]
    add_prior(shape, prior, gradient, matrix)
    return gradient, matrix


@njit(cache=True, nogil=True, error_model="numpy")
def add_prior(shape, prior, gradient, matrix):
    """Add gradient and precision of the prior to those of the likelihood."""
    for parameter, (mean, precision) in ((LOG_RATIO, prior.ratio), (LOG_SWITCH, prior.switch)):
        gradient[parameter] += precision * (mean - shape[parameter])
        matrix[parameter, parameter] += precision
    mean, precision = prior.slope
    left = precision * (mean - slope_of(shape))
    for p, sign in ((LOG_U, 1.0), (LOG_RATIO, 1.0), (LOG_S, -1.0)):
        gradient[p] += sign * left
        for q, other in ((LOG_U, 1.0), (LOG_RATIO, 1.0), (LOG_S, -1.0)):
            matrix[p, q] += sign * other * precision


@njit(forceinline=True, error_model="numpy")
def slope_of(shape):
    """Logarithm of u/s in the steady state, which is gamma/beta times the scaling."""
    return shape[LOG_U] + shape[LOG_RATIO] - shape[LOG_S]


@njit(cache=True, nogil=True, error_model="numpy")
def log_prior(shape, prior):
    """Logarithm of the prior density, up to a constant."""
    mean, precision = prior.slope
    total = precision * (mean - slope_of(shape)) ** 2
    for parameter, (mean, precision) in ((LOG_RATIO, prior.ratio), (LOG_SWITCH, prior.switch)):
        total += precision * (mean - shape[parameter]) ** 2
    return -0.5 * total


@njit(cache=True, nogil=True, error_model="numpy")
def solved(matrix, right):
    """Solution of a small positive definite system, by elimination."""
    a, x = matrix.copy(), right.copy()
    n = len(x)
    for i in range(n):
        for j in range(i + 1, n):
            factor = a[j, i] / a[i, i]
            for k in range(i, n):
                a[j, k] -= factor * a[i, k]
            x[j] -= factor * x[i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            x[i] -= a[i, k] * x[k]
        x[i] /= a[i, i]
    return x


@njit(forceinline=True, error_model="numpy")
def parts_of(state):
    """Shape (4,), noise variance and weights (2, N_POINTS) of a fit's state."""
    return state[:LOG_NOISE], math.exp(state[LOG_NOISE]), state[WEIGHTS:].reshape(2, N_POINTS)


@njit(forceinline=True, error_model="numpy")
def repeats_of(noise, prior):
    """How many cells count as one observation.

    What is not sampling noise is misfit, which cells share however many they are.
    """
    return prior.repeats * noise


@njit(cache=True, nogil=True, error_model="numpy")
def advance(state, sample, counted, units, prior):
    """One step of expectation-maximisation: the state after it, and the log posterior and gradient before it."""
    after = state.copy()
    shape, noise, _ = parts_of(state)
    weights = parts_of(after)[2]
    places = trace(shape, units)[2]
    kernels = kernels_of(places, noise)
    sums, log_likelihood = expect(sample, counted, places, kernels, noise, weights, ROUNDS)
    gradient, matrix = normal_equations(
        shape,
        places,
        slopes_of(shape, units, places),
        kernels,
        sums,
        1.0 / (noise * repeats_of(noise, prior)),
        prior,
    )
    step = solved(matrix, gradient)
    longest = np.max(np.abs(step))
    after[:LOG_NOISE] += step * min(DAMPING, LONGEST_STEP / longest if longest > 0 else DAMPING)
    explained, squared = sums[:, 0].sum(), sums[:, 3].sum()
    after[LOG_NOISE] = math.log(squared / (2.0 * explained)) if explained > 0 else 0.0
    keep_within_bounds(after)
    return after, log_likelihood / prior.repeats + log_prior(shape, prior), gradient


@njit(forceinline=True, error_model="numpy")
def keep_within_bounds(state):
    """Bring shape and noise back to where they have a meaning."""
    for p in range(4):
        state[p] = min(max(state[p], LOWEST[p]), HIGHEST[p])
    # counts are never less noisy than their sampling
    state[LOG_NOISE] = max(state[LOG_NOISE], 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def climb(state, sample, around, units, prior, every, tolerance, most):
    """Votes and steps in turn until shape and noise stay within a tolerance: the state and the number of turns.

    Where the last few turns point to, the next one goes (Anderson 1965).
    every : count each so many-th cell.   most : at most so many turns.
    """
    n = WEIGHTS
    places, moves = np.zeros((MEMORY + 1, n)), np.zeros((MEMORY + 1, n))
    known = 0
    least = math.inf
    for turn in range(most):
        counted = vote(log_odds(state, sample, units), sample, around, every)
        after = advance(state, sample, counted, units, prior)[0]
        move = after[:n] - state[:n]
        size = np.max(np.abs(move))
        if size > 2.0 * least:
            # the past misleads
            known, least = 0, math.inf
        least = min(least, size)
        for k in range(min(known, MEMORY), 0, -1):
            places[k], moves[k] = places[k - 1], moves[k - 1]
        places[0], moves[0] = state[:n], move
        known = min(known + 1, MEMORY + 1)
        if known > 2:
            step = extrapolated(places, moves, known)
            longest = np.max(np.abs(step))
            step *= min(1.0, LONGEST_STEP / longest if longest > 0 else 1.0)
            after[:n] = state[:n] + step
            keep_within_bounds(after)
        moved = max(size, np.max(np.abs(after[:n] - state[:n])))
        state = after
        # written so that what is not a number ends it
        if not moved > tolerance:
            return state, turn + 1
    return state, most


@njit(cache=True, nogil=True, error_model="numpy")
def extrapolated(places, moves, known):
    """The step to where moves would vanish if they depended on the place as between the last ones."""
    m = known - 1
    n = places.shape[1]
    matrix, right = np.zeros((m, m)), np.zeros(m)
    for i in range(m):
        for j in range(m):
            for p in range(n):
                matrix[i, j] += (moves[i, p] - moves[i + 1, p]) * (moves[j, p] - moves[j + 1, p])
        for p in range(n):
            right[i] += (moves[i, p] - moves[i + 1, p]) * moves[0, p]
    trace_of = 0.0
    for i in range(m):
        trace_of += matrix[i, i]
    for i in range(m):
        matrix[i, i] += 1e-8 * trace_of + 1e-300
    share = solved(matrix, right)
    step = moves[0].copy()
    for i in range(m):
        for p in range(n):
            step[p] -= share[i] * (places[i, p] - places[i + 1, p] + moves[i, p] - moves[i + 1, p])
    return step


@njit(cache=True, nogil=True, error_model="numpy")
def curvature(state, sample, counted, units, prior):
    """Minus the second derivatives of the log posterior by the shape, (4, 4), at weights likeliest for each shape."""
    gradient = advance(state, sample, counted, units, prior)[2]
    matrix = np.empty((4, 4))
    for p in range(4):
        moved = state.copy()
        moved[p] += 1e-3
        elsewhere = advance(moved, sample, counted, units, prior)[2]
        for q in range(4):
            matrix[p, q] = (gradient[q] - elsewhere[q]) / 1e-3
    return matrix


@njit(cache=True, nogil=True, error_model="numpy")
def duration(state, sample, counted, units, least):
    """How long the process lasts in splicing times: the way along s that cells cover, over their mean speed.

    least : a point's part of the way counts by its cells / (its cells + least), shares of all cells.
    """
    shape, noise, weights = parts_of(state)
    _, abundances, places = trace(shape, units)
    sums, _ = expect(sample, counted, places, kernels_of(places, noise), noise, weights, 0)
    ratio, per_u = math.exp(shape[LOG_RATIO]), math.exp(shape[LOG_S] - shape[LOG_U])
    n_cells = counted.sum()
    way = speed = 0.0
    for branch in range(2):
        s = abundances[branch, 1]
        for k in range(N_POINTS):
            share = sums[branch, 0, k] / n_cells
            low, high = max(k - 1, 0), min(k + 1, N_POINTS - 1)
            way += abs(s[high] - s[low]) / (high - low) * share / (share + least)
            speed += share * abs(per_u * abundances[branch, 0, k] - ratio * s[k])
    return way / speed


class Located(NamedTuple):
    """Where cells are on the curve, posterior means over points and branches, (n_cells,) each.

    u, s : abundances.   du, ds : their slopes, abundance per splicing time.   moves : bool, not in a steady state.
    """

    u: np.ndarray
    s: np.ndarray
    du: np.ndarray
    ds: np.ndarray
    moves: np.ndarray


@njit(forceinline=True, error_model="numpy")
def mean_of(values, given, total):
    """Mean of points' values by what each is given of a cell, in lanes side by side."""
    mean = 0.0
    for lane in range(LANES):
        part = given[lane] * values[lane]
        for k in range(lane + LANES, N_POINTS, LANES):
            part += given[k] * values[k]
        mean += part
    return mean / total


@njit(cache=True, nogil=True, error_model="numpy")
def locate(state, u, s, around, units):
    """`Located` cells, by their own abundances on each branch and by their neighborhood's vote between the branches.

    The neighborhood also votes between those and the steady states at their ends, (0, 0) and that of transcription.
    """
    n_cells = len(u)
    shape, noise, weights = parts_of(state)
    scale_u, scale_s, ratio = math.exp(shape[LOG_U]), math.exp(shape[LOG_S]), math.exp(shape[LOG_RATIO])
    _, abundances, places = trace(shape, units)
    kernels = kernels_of(places, noise)
    nothing_u, nothing_s = stabilised(0.0, units[0]), stabilised(0.0, units[1])
    steady_u, steady_s = stabilised(scale_u, units[0]), stabilised(scale_s / ratio, units[1])
    squares, densities, given = np.empty(N_POINTS), np.empty(N_POINTS), np.empty(N_POINTS)
    # log odds for the way up, and for moving at all
    odds = np.empty((n_cells, 2))
    means = np.empty((2, 2, n_cells))
    log_density = np.empty(2)
    for cell in range(n_cells):
        x, y = stabilised(u[cell], units[0]), stabilised(s[cell], units[1])
        for branch in range(2):
            approach(x, y, places[branch], kernels[branch], 0.5 / noise, squares, densities)
            total = mix(weights[branch], densities, given)
            log_density[branch] = math.log(total)
            total -= LEAST_DENSITY
            if total < 1e-9 * LEAST_DENSITY:
                # beyond the reach of all: at the nearest
                given[:] = 0.0
                given[np.argmin(squares)] = total = 1.0
            means[branch, 0, cell] = mean_of(abundances[branch, 0], given, total)
            means[branch, 1, cell] = mean_of(abundances[branch, 1], given, total)
        to_nothing = (x - nothing_u) ** 2 + (y - nothing_s) ** 2
        to_steady = (x - steady_u) ** 2 + (y - steady_s) ** 2
        at_rest = max(-0.5 / noise * min(to_nothing, to_steady), math.log(LEAST_DENSITY))
        odds[cell, 0] = log_density[ON] - log_density[OFF]
        odds[cell, 1] = max(log_density[ON], log_density[OFF]) - at_rest
    up, moves = np.empty(n_cells), np.empty(n_cells, np.bool_)
    for cell in range(n_cells):
        for_up = for_moving = 0.0
        for k in range(around.indptr[cell], around.indptr[cell + 1]):
            for_up += odds[around.indices[k], 0]
            for_moving += odds[around.indices[k], 1]
        up[cell] = chance(for_up / (around.indptr[cell + 1] - around.indptr[cell]))
        moves[cell] = for_moving >= 0
    mean_u = up * means[ON, 0] + (1.0 - up) * means[OFF, 0]
    mean_s = up * means[ON, 1] + (1.0 - up) * means[OFF, 1]
    # slopes are linear in the abundances, and so are their means
    return Located(mean_u, mean_s, up * scale_u - mean_u, scale_s / scale_u * mean_u - ratio * mean_s, moves)
