"""Expectation-maximization for the curve of a gene: compiled functions.

The model is a mixture over points along the curve, with sampling noise. The curve has two branches, induction from time
0 and repression from the switching time. With the splicing time as unit (beta = 1) it is

    u = exp(LOG_U) u(tau; 1, 1, r),  s = exp(LOG_S) s(tau; 1, 1, r),  r = exp(LOG_RATIO),

where u and s are the closed-form solution for alpha = beta = 1 and gamma = r, and the switching time is
exp(LOG_SWITCH). Each branch has `N_POINTS` points with free weights, so no distribution of the cells over time is
assumed. Between points the curve is approximated by line segments: the noise is wider along the curve than across it.
Abundances are compared on the variance-stabilized scale of Anscombe (1948), on which the noise of counts is constant.

One iteration consists of

1. the neighbor-smoothed branch assignment: the probability of induction of a cell follows from the mean log odds of its
   neighborhood (`smoothed_branch_counts`),
2. the E-step: responsibilities of the points of each branch for the cells, with some updates of the points' weights
   (`e_step`),
3. the M-step: one damped Gauss-Newton step for the shape of the curve, and the noise variance (`gauss_newton_step`).

Anderson acceleration extrapolates from the last iterations (`run_em`). Cells are binned, so only the branch assignment
scales with the number of cells.

The first axis of arrays of shape (2, ...) is the branch: repression (`OFF`), then induction (`ON`). An axis of length 2
for abundances is u, then s.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from veloshard.kinetics.methods.dynamical.time_assignment import OFF, ON
from veloshard.kinetics.splicing import state_at
from veloshard.numba_support.vector_math import exp, log

# Indices into the shape, the logarithms of the four parameters of a curve.
LOG_U, LOG_S, LOG_RATIO, LOG_SWITCH = range(4)


# Indices into the state of a fit: the shape, the logarithm of the noise variance, the weights of all points.
LOG_NOISE, WEIGHTS = 4, 5


# Points per branch, and number of partial sums over them, so that loops compile to vector instructions.
N_POINTS, LANES = 24, 8


N_STATE = WEIGHTS + 2 * N_POINTS


# Square root of the remaining relaxation where repression ends.
END_FRACTION = 0.02


# Density of a uniform background that is added to each branch, so that outliers have no effect on the curve.
BACKGROUND_DENSITY = 1e-6


# Maximum number of bins per axis of the phase portrait.
MAX_BINS = 32


# Pseudocount of the weights, as a fraction of the number of cells, distributed evenly over the points.
SMOOTHING = 0.3


# Bounds of the shape. Those of the switching time exclude values that cannot be told from 0 or infinity.
LOWER_BOUNDS = np.array([-30.0, -30.0, math.log(0.02), math.log(0.05)])


UPPER_BOUNDS = np.array([30.0, 30.0, math.log(50.0), math.log(25.0)])


# Largest change of a logarithm per iteration.
MAX_STEP = 0.5


# Factor of Gauss-Newton steps, which are too long because they neglect that responsibilities change with the shape.
DAMPING = 0.5


# Weight updates per E-step, and number of previous iterations that Anderson acceleration uses.
WEIGHT_UPDATES, ANDERSON_MEMORY = 3, 3


class BinnedCells(NamedTuple):
    """Cells of a gene in bins of the phase portrait.

    Attributes
    ----------
    bin_of : ndarray of uint32, shape (n_cells,)
        Bin of each cell.
    means : ndarray of float64, shape (n_bins, 2)
        Means of u and s of the cells of each bin, on the variance-stabilized scale.
    """

    bin_of: np.ndarray
    means: np.ndarray


class Prior(NamedTuple):
    """Normal priors of the shape, and the weight of the data.

    Attributes
    ----------
    ratio, switch : tuple of float
        Mean and precision of `LOG_RATIO` and of `LOG_SWITCH`.
    slope : tuple of float
        Mean and precision of `LOG_U` + `LOG_RATIO` - `LOG_S`, the logarithm of u/s in the steady state.
    cells_per_observation : float
        Number of cells per independent observation. It exceeds 1 because neighbors share their counts.
    """

    ratio: tuple
    switch: tuple
    slope: tuple
    cells_per_observation: float


@njit(forceinline=True, error_model="numpy")
def stabilized(abundance, unit):
    """Return an abundance on the scale of unit noise; `unit` is the variance of an abundance of 1 (Anscombe 1948)."""
    return 2.0 * math.sqrt(abundance / unit + 0.375)


@njit(forceinline=True, error_model="numpy")
def bin_scale(extent, width):
    """Return the number of bins and the bins per unit, slightly reduced so that the maximum is in the last bin."""
    number = min(max(int(extent / width), 1), MAX_BINS)
    return number, 0.999999 * number / extent if extent > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def bin_cells(u, s, units, width):
    """Bin cells by their abundances.

    Parameters
    ----------
    u, s : ndarray of float64, shape (n_cells,)
        First moments.
    units : tuple of float
        Sampling variances of moments of 1, unspliced and spliced.
    width : float
        Width of the bins on the variance-stabilized scale, in standard deviations of the noise.

    Returns
    -------
    BinnedCells
        Occupied bins, numbered in the order of their first cells.
    """
    n_cells = len(u)
    x, y = np.empty(n_cells), np.empty(n_cells)
    for cell in range(n_cells):
        x[cell], y[cell] = stabilized(u[cell], units[0]), stabilized(s[cell], units[1])
    low_x, low_y = x.min(), y.min()
    n_x, per_x = bin_scale(x.max() - low_x, width)
    n_y, per_y = bin_scale(y.max() - low_y, width)
    bin_number = np.full(n_x * n_y, -1, np.int64)
    bin_of = np.empty(n_cells, np.uint32)
    sums = np.zeros((n_x * n_y, 3))
    n_bins = 0
    for cell in range(n_cells):
        cell_bin = int((x[cell] - low_x) * per_x) * n_y + int((y[cell] - low_y) * per_y)
        if bin_number[cell_bin] < 0:
            bin_number[cell_bin] = n_bins
            n_bins += 1
        bin_of[cell] = bin_number[cell_bin]
        sums[bin_of[cell], 0] += x[cell]
        sums[bin_of[cell], 1] += y[cell]
        sums[bin_of[cell], 2] += 1.0
    return BinnedCells(bin_of, sums[:n_bins, :2] / sums[:n_bins, 2:])


@njit(cache=True, nogil=True, error_model="numpy")
def curve_points(shape, units):
    """Return the points along a curve.

    The times are spaced evenly in the square root of the relaxation by the slower of the two rates: of its completed
    part in induction, of its remaining part in repression.

    Parameters
    ----------
    shape : ndarray of float64, shape (4,)
        Logarithms of the parameters of the curve.
    units : tuple of float
        Sampling variances of moments of 1, unspliced and spliced.

    Returns
    -------
    tau : ndarray of float64, shape (2, N_POINTS)
        Times since the beginning of the branch, in splicing times.
    abundances : ndarray of float64, shape (2, 2, N_POINTS)
        Branch, abundance (u, s) and point.
    points : ndarray of float64, shape (2, 2, N_POINTS)
        The abundances on the variance-stabilized scale.
    """
    scale_u, scale_s = math.exp(shape[LOG_U]), math.exp(shape[LOG_S])
    ratio, switch = math.exp(shape[LOG_RATIO]), math.exp(shape[LOG_SWITCH])
    # a smooth minimum of 1 and the ratio, because the fit would jump where the two rates are equal
    slower = ratio / math.sqrt(1.0 + ratio * ratio)
    done = 1.0 - exp(-slower * switch)
    u0, s0 = state_at(switch, 0.0, 0.0, 1.0, 1.0, ratio)
    tau, abundances, points = np.empty((2, N_POINTS)), np.empty((2, 2, N_POINTS)), np.empty((2, 2, N_POINTS))
    for k in range(N_POINTS):
        part = (k + 0.5) / N_POINTS
        tau[ON, k] = -log(1.0 - part * part * done) / slower
        tau[OFF, k] = -2.0 * log(1.0 - part * (1.0 - END_FRACTION)) / slower
        on_u, on_s = state_at(tau[ON, k], 0.0, 0.0, 1.0, 1.0, ratio)
        off_u, off_s = state_at(tau[OFF, k], u0, s0, 0.0, 1.0, ratio)
        abundances[ON, 0, k], abundances[ON, 1, k] = scale_u * on_u, scale_s * on_s
        abundances[OFF, 0, k], abundances[OFF, 1, k] = scale_u * off_u, scale_s * off_s
    for branch in range(2):
        for k in range(N_POINTS):
            points[branch, 0, k] = stabilized(abundances[branch, 0, k], units[0])
            points[branch, 1, k] = stabilized(abundances[branch, 1, k], units[1])
    return tau, abundances, points


@njit(cache=True, nogil=True, error_model="numpy")
def density_kernels(points, noise):
    """Return the parameters of the density around each point: a vector v along the curve and a height.

    The squared distance to a point is d.d - (d.v)^2 for a displacement d. Along the curve the variance exceeds the
    noise variance by that of a uniform distribution over the distance to the next point.

    Parameters
    ----------
    points : ndarray of float64, shape (2, 2, N_POINTS)
        Points on the variance-stabilized scale.
    noise : float
        Noise variance across the curve.

    Returns
    -------
    ndarray of float64, shape (2, 3, N_POINTS)
        u and s of the vector, and the height of the density relative to that of isotropic noise.
    """
    kernels = np.empty((2, 3, N_POINTS))
    for branch in range(2):
        for k in range(N_POINTS):
            low, high = max(k - 1, 0), min(k + 1, N_POINTS - 1)
            step_u = (points[branch, 0, high] - points[branch, 0, low]) / (high - low)
            step_s = (points[branch, 1, high] - points[branch, 1, low]) / (high - low)
            squared = step_u * step_u + step_s * step_s
            spread = squared / 12.0
            length = math.sqrt(spread / ((noise + spread) * squared)) if squared > 0 else 0.0
            kernels[branch, 0, k], kernels[branch, 1, k] = length * step_u, length * step_s
            kernels[branch, 2, k] = 1.0 / math.sqrt(1.0 + spread / noise)
    return kernels


@njit(forceinline=True, error_model="numpy")
def e_step_densities(x, y, points, kernels, per_noise, squares, densities):
    """Compute the squared distances of a branch's points to (x, y), and their densities there.

    Parameters
    ----------
    x, y : float
        Abundances on the variance-stabilized scale.
    points : ndarray of float64, shape (2, N_POINTS)
        Points of the branch.
    kernels : ndarray of float64, shape (3, N_POINTS)
        Parameters of their densities.
    per_noise : float
        1 / (2 x noise variance).
    squares, densities : ndarray of float64, shape (N_POINTS,)
        Outputs.
    """
    for k in range(N_POINTS):
        du, ds = x - points[0, k], y - points[1, k]
        along = du * kernels[0, k] + ds * kernels[1, k]
        squares[k] = du * du + ds * ds - along * along
        densities[k] = kernels[2, k] * exp(-per_noise * squares[k])


@njit(forceinline=True, error_model="numpy")
def mixture_density(weights, densities, weighted):
    """Return the mixture density of a branch, and write the densities times weights into `weighted`, (N_POINTS,)."""
    for k in range(N_POINTS):
        weighted[k] = weights[k] * densities[k]
    total = BACKGROUND_DENSITY
    for lane in range(LANES):
        part = weighted[lane]
        for k in range(lane + LANES, N_POINTS, LANES):
            part += weighted[k]
        total += part
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def log_odds(state, binned, units):
    """Return the log odds of induction against repression for each bin, (n_bins,)."""
    shape, noise, weights = unpack_state(state)
    points = curve_points(shape, units)[2]
    kernels = density_kernels(points, noise)
    odds = np.empty(len(binned.means))
    rows = np.empty((3, N_POINTS))
    for k in range(len(odds)):
        x, y = binned.means[k]
        e_step_densities(x, y, points[ON], kernels[ON], 0.5 / noise, rows[0], rows[1])
        on = mixture_density(weights[ON], rows[1], rows[2])
        e_step_densities(x, y, points[OFF], kernels[OFF], 0.5 / noise, rows[0], rows[1])
        odds[k] = math.log(on / mixture_density(weights[OFF], rows[1], rows[2]))
    return odds


@njit(cache=True, nogil=True, error_model="numpy")
def smoothed_branch_counts(odds, binned, neighborhood, stride):
    """Assign cells to branches by the mean log odds of their neighborhoods, and count them per bin.

    Parameters
    ----------
    odds : ndarray of float64, shape (n_bins,)
        Log odds of induction.
    binned : BinnedCells
        Cells of the gene.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    stride : int
        Use every `stride`-th cell.

    Returns
    -------
    ndarray of float64, shape (n_bins, 2)
        Expected number of cells of each bin in repression and in induction.
    """
    branch_counts = np.zeros((len(odds), 2))
    cell_odds = np.empty(len(binned.bin_of))
    for cell in range(len(cell_odds)):
        cell_odds[cell] = odds[binned.bin_of[cell]]
    for cell in range(0, len(cell_odds), stride):
        total = 0.0
        for k in range(neighborhood.indptr[cell], neighborhood.indptr[cell + 1]):
            total += cell_odds[neighborhood.indices[k]]
        p_induction = logistic(total / (neighborhood.indptr[cell + 1] - neighborhood.indptr[cell]))
        branch_counts[binned.bin_of[cell], ON] += p_induction
        branch_counts[binned.bin_of[cell], OFF] += 1.0 - p_induction
    return branch_counts


@njit(forceinline=True, error_model="numpy")
def logistic(odds):
    """Return the probability of log odds."""
    return 1.0 / (1.0 + math.exp(-odds))


@njit(cache=True, nogil=True, error_model="numpy")
def e_step(binned, branch_counts, points, kernels, noise, weights, n_updates):
    """Compute the E-step: sums over the cells, weighted by the responsibilities of the points.

    Before, the mixture weights of the points are updated in place.

    Parameters
    ----------
    binned : BinnedCells
        Cells of the gene.
    branch_counts : ndarray of float64, shape (n_bins, 2)
        Number of cells of each bin on each branch.
    points : ndarray of float64, shape (2, 2, N_POINTS)
        Points on the variance-stabilized scale.
    kernels : ndarray of float64, shape (2, 3, N_POINTS)
        Parameters of their densities.
    noise : float
        Noise variance.
    weights : ndarray of float64, shape (2, N_POINTS)
        Mixture weights; modified.
    n_updates : int
        Number of updates of the mixture weights.

    Returns
    -------
    sums : ndarray of float64, shape (2, 4, N_POINTS)
        Number of cells, sums of their u and s on the variance-stabilized scale, and sum of their squared distances.
    log_likelihood : float
        Log-likelihood of all counted cells, up to a constant.
    """
    n_bins = len(binned.means)
    sums = np.zeros((2, 4, N_POINTS))
    squares, densities = np.empty((n_bins, N_POINTS)), np.empty((n_bins, N_POINTS))
    weighted, point_counts = np.empty(N_POINTS), np.empty(N_POINTS)
    log_likelihood = 0.0
    for branch in range(2):
        n_cells = branch_counts[:, branch].sum()
        for k in range(n_bins):
            x, y = binned.means[k]
            e_step_densities(x, y, points[branch], kernels[branch], 0.5 / noise, squares[k], densities[k])
        for _ in range(n_updates):
            point_counts[:] = 0.0
            for k in range(n_bins):
                per_density = branch_counts[k, branch] / mixture_density(weights[branch], densities[k], weighted)
                for point in range(N_POINTS):
                    point_counts[point] += per_density * weighted[point]
            # the small constant gives even weights to a branch without cells
            smoothing = (SMOOTHING * n_cells + 1e-9) / N_POINTS
            explained = point_counts.sum() + N_POINTS * smoothing
            for point in range(N_POINTS):
                weights[branch, point] = (point_counts[point] + smoothing) / explained
        for k in range(n_bins):
            x, y = binned.means[k]
            total = mixture_density(weights[branch], densities[k], weighted)
            log_likelihood += branch_counts[k, branch] * math.log(total)
            per_density = branch_counts[k, branch] / total
            for point in range(N_POINTS):
                responsibility = per_density * weighted[point]
                sums[branch, 0, point] += responsibility
                sums[branch, 1, point] += responsibility * x
                sums[branch, 2, point] += responsibility * y
                sums[branch, 3, point] += responsibility * squares[k, point]
    return sums, log_likelihood - branch_counts.sum() * math.log(noise)


@njit(cache=True, nogil=True, error_model="numpy")
def point_derivatives(shape, units, points):
    """Return the derivatives of the points by the shape, (4, 2, 2, N_POINTS), by finite differences."""
    derivatives = np.empty((4, 2, 2, N_POINTS))
    for parameter in range(4):
        perturbed = shape.copy()
        perturbed[parameter] += 1e-6
        perturbed_points = curve_points(perturbed, units)[2]
        for branch in range(2):
            for axis in range(2):
                for k in range(N_POINTS):
                    change = perturbed_points[branch, axis, k] - points[branch, axis, k]
                    derivatives[parameter, branch, axis, k] = change * 1e6
    return derivatives


@njit(cache=True, nogil=True, error_model="numpy")
def normal_equations(shape, points, derivatives, kernels, sums, per_noise, prior):
    """Return the gradient of the log posterior by the shape, and its Gauss-Newton matrix, at fixed responsibilities.

    Parameters
    ----------
    shape : ndarray of float64, shape (4,)
        Logarithms of the parameters of the curve.
    points : ndarray of float64, shape (2, 2, N_POINTS)
        Points on the variance-stabilized scale.
    derivatives : ndarray of float64, shape (4, 2, 2, N_POINTS)
        Derivatives of the points by the shape.
    kernels : ndarray of float64, shape (2, 3, N_POINTS)
        Parameters of the densities around the points.
    sums : ndarray of float64, shape (2, 4, N_POINTS)
        Sums of the E-step.
    per_noise : float
        1 / (noise variance x cells per independent observation).
    prior : Prior
        Prior of the shape.

    Returns
    -------
    gradient : ndarray of float64, shape (4,)
        Gradient of the log posterior.
    matrix : ndarray of float64, shape (4, 4)
        Gauss-Newton approximation of minus its second derivatives.
    """
    gradient, matrix = np.zeros(4), np.zeros((4, 4))
    across = np.empty((4, 2))
    for branch in range(2):
        for k in range(N_POINTS):
            number = sums[branch, 0, k]
            along_u, along_s = kernels[branch, 0, k], kernels[branch, 1, k]
            residual_u = sums[branch, 1, k] - number * points[branch, 0, k]
            residual_s = sums[branch, 2, k] - number * points[branch, 1, k]
            for p in range(4):
                slope_u, slope_s = derivatives[p, branch, 0, k], derivatives[p, branch, 1, k]
                along = slope_u * along_u + slope_s * along_s
                across[p, 0], across[p, 1] = slope_u - along * along_u, slope_s - along * along_s
                gradient[p] += per_noise * (across[p, 0] * residual_u + across[p, 1] * residual_s)
            for p in range(4):
                for q in range(p + 1):
                    matrix[p, q] += (
                        per_noise
                        * number
                        * (across[p, 0] * derivatives[q, branch, 0, k] + across[p, 1] * derivatives[q, branch, 1, k])
                    )
    for p in range(4):
        for q in range(p):
            matrix[q, p] = matrix[p, q]
    add_prior(shape, prior, gradient, matrix)
    return gradient, matrix


@njit(cache=True, nogil=True, error_model="numpy")
def add_prior(shape, prior, gradient, matrix):
    """Add gradient and precision of the prior to those of the likelihood, in place."""
    for parameter, (mean, precision) in ((LOG_RATIO, prior.ratio), (LOG_SWITCH, prior.switch)):
        gradient[parameter] += precision * (mean - shape[parameter])
        matrix[parameter, parameter] += precision
    mean, precision = prior.slope
    residual = precision * (mean - log_steady_slope(shape))
    for p, sign in ((LOG_U, 1.0), (LOG_RATIO, 1.0), (LOG_S, -1.0)):
        gradient[p] += sign * residual
        for q, other in ((LOG_U, 1.0), (LOG_RATIO, 1.0), (LOG_S, -1.0)):
            matrix[p, q] += sign * other * precision


@njit(forceinline=True, error_model="numpy")
def log_steady_slope(shape):
    """Return the logarithm of u/s in the steady state, which is gamma/beta times the scaling."""
    return shape[LOG_U] + shape[LOG_RATIO] - shape[LOG_S]


@njit(cache=True, nogil=True, error_model="numpy")
def log_prior(shape, prior):
    """Return the logarithm of the prior density, up to a constant."""
    mean, precision = prior.slope
    total = precision * (mean - log_steady_slope(shape)) ** 2
    for parameter, (mean, precision) in ((LOG_RATIO, prior.ratio), (LOG_SWITCH, prior.switch)):
        total += precision * (mean - shape[parameter]) ** 2
    return -0.5 * total


@njit(cache=True, nogil=True, error_model="numpy")
def solve(matrix, right):
    """Solve a small positive definite linear system by Gaussian elimination."""
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
def unpack_state(state):
    """Return shape (4,), noise variance and weights (2, N_POINTS) of a state."""
    return state[:LOG_NOISE], math.exp(state[LOG_NOISE]), state[WEIGHTS:].reshape(2, N_POINTS)


@njit(forceinline=True, error_model="numpy")
def effective_cells_per_observation(noise, prior):
    """Return the number of cells per independent observation, including misfit.

    The noise variance is in units of the sampling variance. Its excess over 1 is misfit of the curve, which does not
    average out over cells.
    """
    return prior.cells_per_observation * noise


@njit(cache=True, nogil=True, error_model="numpy")
def gauss_newton_step(state, binned, branch_counts, units, prior):
    """Compute an E-step with weight updates and an M-step: a Gauss-Newton step for the shape, and the noise variance.

    Parameters
    ----------
    state : ndarray of float64, shape (N_STATE,)
        Shape, logarithm of the noise variance, and weights.
    binned : BinnedCells
        Cells of the gene.
    branch_counts : ndarray of float64, shape (n_bins, 2)
        Number of cells of each bin on each branch.
    units : tuple of float
        Sampling variances of moments of 1, unspliced and spliced.
    prior : Prior
        Prior of the shape.

    Returns
    -------
    after : ndarray of float64, shape (N_STATE,)
        State after the step.
    log_posterior : float
        Log posterior at the shape before the step, after the weight updates.
    gradient : ndarray of float64, shape (4,)
        Gradient of the log posterior by the shape before the step.
    """
    after = state.copy()
    shape, noise, _ = unpack_state(state)
    weights = unpack_state(after)[2]
    points = curve_points(shape, units)[2]
    kernels = density_kernels(points, noise)
    sums, log_likelihood = e_step(binned, branch_counts, points, kernels, noise, weights, WEIGHT_UPDATES)
    gradient, matrix = normal_equations(
        shape,
        points,
        point_derivatives(shape, units, points),
        kernels,
        sums,
        1.0 / (noise * effective_cells_per_observation(noise, prior)),
        prior,
    )
    step = solve(matrix, gradient)
    longest = np.max(np.abs(step))
    after[:LOG_NOISE] += step * min(DAMPING, MAX_STEP / longest if longest > 0 else DAMPING)
    explained, squared = sums[:, 0].sum(), sums[:, 3].sum()
    after[LOG_NOISE] = math.log(squared / (2.0 * explained)) if explained > 0 else 0.0
    clip_to_bounds(after)
    return after, log_likelihood / prior.cells_per_observation + log_prior(shape, prior), gradient


@njit(forceinline=True, error_model="numpy")
def clip_to_bounds(state):
    """Clip shape and noise of a state to their bounds, in place."""
    for p in range(4):
        state[p] = min(max(state[p], LOWER_BOUNDS[p]), UPPER_BOUNDS[p])
    # the noise variance is at least that of sampling
    state[LOG_NOISE] = max(state[LOG_NOISE], 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def run_em(state, binned, neighborhood, units, prior, stride, tolerance, max_iterations):
    """Run expectation-maximization with Anderson acceleration (Anderson 1965) until shape and noise converge.

    Parameters
    ----------
    state : ndarray of float64, shape (N_STATE,)
        Initial shape, logarithm of the noise variance, and weights.
    binned : BinnedCells
        Cells of the gene.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    units : tuple of float
        Sampling variances of moments of 1, unspliced and spliced.
    prior : Prior
        Prior of the shape.
    stride : int
        Use every `stride`-th cell.
    tolerance : float
        Largest change of the shape and of the logarithm of the noise variance at convergence.
    max_iterations : int
        Maximum number of iterations.

    Returns
    -------
    state : ndarray of float64, shape (N_STATE,)
        State after the last iteration.
    n_iterations : int
        Number of iterations; `max_iterations` without convergence.
    """
    n = WEIGHTS
    iterates, steps = np.zeros((ANDERSON_MEMORY + 1, n)), np.zeros((ANDERSON_MEMORY + 1, n))
    n_stored = 0
    least_change = math.inf
    for iteration in range(max_iterations):
        branch_counts = smoothed_branch_counts(log_odds(state, binned, units), binned, neighborhood, stride)
        after = gauss_newton_step(state, binned, branch_counts, units, prior)[0]
        em_step = after[:n] - state[:n]
        change = np.max(np.abs(em_step))
        if change > 2.0 * least_change:
            # restart the acceleration after a step that is much larger than the smallest one
            n_stored, least_change = 0, math.inf
        least_change = min(least_change, change)
        for k in range(min(n_stored, ANDERSON_MEMORY), 0, -1):
            iterates[k], steps[k] = iterates[k - 1], steps[k - 1]
        iterates[0], steps[0] = state[:n], em_step
        n_stored = min(n_stored + 1, ANDERSON_MEMORY + 1)
        if n_stored > 2:
            step = anderson_step(iterates, steps, n_stored)
            longest = np.max(np.abs(step))
            step *= min(1.0, MAX_STEP / longest if longest > 0 else 1.0)
            after[:n] = state[:n] + step
            clip_to_bounds(after)
        total_change = max(change, np.max(np.abs(after[:n] - state[:n])))
        state = after
        # negated, so that NaN ends the loop
        if not total_change > tolerance:
            return state, iteration + 1
    return state, max_iterations


@njit(cache=True, nogil=True, error_model="numpy")
def anderson_step(iterates, steps, n_stored):
    """Return the step of Anderson acceleration, to where a linear model of the EM steps vanishes.

    iterates, steps : (n_rows, n_values), latest first, of which the first `n_stored` rows are used.
    """
    m = n_stored - 1
    n = iterates.shape[1]
    matrix, right = np.zeros((m, m)), np.zeros(m)
    for i in range(m):
        for j in range(m):
            for p in range(n):
                matrix[i, j] += (steps[i, p] - steps[i + 1, p]) * (steps[j, p] - steps[j + 1, p])
        for p in range(n):
            right[i] += (steps[i, p] - steps[i + 1, p]) * steps[0, p]
    trace = 0.0
    for i in range(m):
        trace += matrix[i, i]
    for i in range(m):
        matrix[i, i] += 1e-8 * trace + 1e-300
    share = solve(matrix, right)
    step = steps[0].copy()
    for i in range(m):
        for p in range(n):
            step[p] -= share[i] * (iterates[i, p] - iterates[i + 1, p] + steps[i, p] - steps[i + 1, p])
    return step


@njit(cache=True, nogil=True, error_model="numpy")
def negative_hessian(state, binned, branch_counts, units, prior):
    """Return minus the second derivatives of the log posterior by the shape, (4, 4), with updated weights."""
    gradient = gauss_newton_step(state, binned, branch_counts, units, prior)[2]
    matrix = np.empty((4, 4))
    for p in range(4):
        perturbed = state.copy()
        perturbed[p] += 1e-3
        perturbed_gradient = gauss_newton_step(perturbed, binned, branch_counts, units, prior)[2]
        for q in range(4):
            matrix[p, q] = (gradient[q] - perturbed_gradient[q]) / 1e-3
    return matrix


@njit(cache=True, nogil=True, error_model="numpy")
def process_duration(state, binned, branch_counts, units, half_share):
    """Return the duration of the process in splicing times: path of the cells along s over their mean speed.

    Parameters
    ----------
    state : ndarray of float64, shape (N_STATE,)
        Shape, logarithm of the noise variance, and weights.
    binned : BinnedCells
        Cells of the gene.
    branch_counts : ndarray of float64, shape (n_bins, 2)
        Number of cells of each bin on each branch.
    units : tuple of float
        Sampling variances of moments of 1, unspliced and spliced.
    half_share : float
        Share of all cells at which half of a point's part of the path is counted: share / (share + half_share).

    Returns
    -------
    float
        Duration for the cells on both branches.
    """
    shape, noise, weights = unpack_state(state)
    _, abundances, points = curve_points(shape, units)
    sums, _ = e_step(binned, branch_counts, points, density_kernels(points, noise), noise, weights, 0)
    ratio, per_u = math.exp(shape[LOG_RATIO]), math.exp(shape[LOG_S] - shape[LOG_U])
    n_cells = branch_counts.sum()
    path = speed = 0.0
    for branch in range(2):
        s = abundances[branch, 1]
        for k in range(N_POINTS):
            share = sums[branch, 0, k] / n_cells
            low, high = max(k - 1, 0), min(k + 1, N_POINTS - 1)
            path += abs(s[high] - s[low]) / (high - low) * share / (share + half_share)
            speed += share * abs(per_u * abundances[branch, 0, k] - ratio * s[k])
    return path / speed


class ExpectedState(NamedTuple):
    """Posterior means of the cells on the curve, over points and branches.

    Attributes
    ----------
    u, s : ndarray of float64, shape (n_cells,)
        Abundances.
    du, ds : ndarray of float64, shape (n_cells,)
        Velocities, in abundance per splicing time.
    transient : ndarray of bool, shape (n_cells,)
        False for cells in a steady state.
    """

    u: np.ndarray
    s: np.ndarray
    du: np.ndarray
    ds: np.ndarray
    transient: np.ndarray


@njit(forceinline=True, error_model="numpy")
def responsibility_mean(values, weighted, total):
    """Return the mean of values of the points, (N_POINTS,), by their weighted densities with the sum `total`."""
    mean = 0.0
    for lane in range(LANES):
        part = weighted[lane] * values[lane]
        for k in range(lane + LANES, N_POINTS, LANES):
            part += weighted[k] * values[k]
        mean += part
    return mean / total


@njit(cache=True, nogil=True, error_model="numpy")
def expected_state(state, u, s, neighborhood, units):
    """Return the posterior mean state of the cells.

    On each branch the mean is over the points, by their responsibilities for the cell. The probabilities of the
    branches follow from the mean log odds of the neighborhood. A cell is in a steady state if its neighborhood is more
    likely in one, (0, 0) or that of transcription, than on the branches.

    Parameters
    ----------
    state : ndarray of float64, shape (N_STATE,)
        Shape, logarithm of the noise variance, and weights.
    u, s : ndarray of float64, shape (n_cells,)
        First moments.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    units : tuple of float
        Sampling variances of moments of 1, unspliced and spliced.

    Returns
    -------
    ExpectedState
        Abundances and velocities of the cells.
    """
    n_cells = len(u)
    shape, noise, weights = unpack_state(state)
    scale_u, scale_s, ratio = math.exp(shape[LOG_U]), math.exp(shape[LOG_S]), math.exp(shape[LOG_RATIO])
    _, abundances, points = curve_points(shape, units)
    kernels = density_kernels(points, noise)
    empty_u, empty_s = stabilized(0.0, units[0]), stabilized(0.0, units[1])
    steady_u, steady_s = stabilized(scale_u, units[0]), stabilized(scale_s / ratio, units[1])
    squares, densities, weighted = np.empty(N_POINTS), np.empty(N_POINTS), np.empty(N_POINTS)
    # log odds of induction against repression, and of the branches against the steady states
    odds = np.empty((n_cells, 2))
    means = np.empty((2, 2, n_cells))
    log_density = np.empty(2)
    for cell in range(n_cells):
        x, y = stabilized(u[cell], units[0]), stabilized(s[cell], units[1])
        for branch in range(2):
            e_step_densities(x, y, points[branch], kernels[branch], 0.5 / noise, squares, densities)
            total = mixture_density(weights[branch], densities, weighted)
            log_density[branch] = math.log(total)
            total -= BACKGROUND_DENSITY
            if total < 1e-9 * BACKGROUND_DENSITY:
                # no point has a noticeable density: take the nearest one
                weighted[:] = 0.0
                weighted[np.argmin(squares)] = total = 1.0
            means[branch, 0, cell] = responsibility_mean(abundances[branch, 0], weighted, total)
            means[branch, 1, cell] = responsibility_mean(abundances[branch, 1], weighted, total)
        from_empty = (x - empty_u) ** 2 + (y - empty_s) ** 2
        from_steady = (x - steady_u) ** 2 + (y - steady_s) ** 2
        log_steady = max(-0.5 / noise * min(from_empty, from_steady), math.log(BACKGROUND_DENSITY))
        odds[cell, 0] = log_density[ON] - log_density[OFF]
        odds[cell, 1] = max(log_density[ON], log_density[OFF]) - log_steady
    p_induction, transient = np.empty(n_cells), np.empty(n_cells, np.bool_)
    for cell in range(n_cells):
        induction_odds = transient_odds = 0.0
        for k in range(neighborhood.indptr[cell], neighborhood.indptr[cell + 1]):
            induction_odds += odds[neighborhood.indices[k], 0]
            transient_odds += odds[neighborhood.indices[k], 1]
        p_induction[cell] = logistic(induction_odds / (neighborhood.indptr[cell + 1] - neighborhood.indptr[cell]))
        transient[cell] = transient_odds >= 0
    mean_u = p_induction * means[ON, 0] + (1.0 - p_induction) * means[OFF, 0]
    mean_s = p_induction * means[ON, 1] + (1.0 - p_induction) * means[OFF, 1]
    # velocities are linear in the abundances, so their means follow from the mean abundances
    return ExpectedState(
        mean_u, mean_s, p_induction * scale_u - mean_u, scale_s / scale_u * mean_u - ratio * mean_s, transient
    )
