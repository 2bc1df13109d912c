"""Sparse vector field consensus: a smooth vector field learned from noisy velocities with outliers (Ma et al. 2013)."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import linalg, special
from sklearn.neighbors import NearestNeighbors

from veloshard.errors import InputError

log = logging.getLogger(__name__)

# Sums over cells are sums over blocks of this many rows, added in the order of the blocks, so that results do not
# depend on the number of threads.
ROWS_PER_BLOCK = 4096

# Largest number of feature values (cells x features) kept in memory: 1 GB. Above it, features are recomputed in each
# iteration.
MAX_CACHED_FEATURES = 1 << 27

# Cells whose inlier probability changed by less are not updated in the normal equations. Most probabilities converge
# early, so that later iterations cost little.
MIN_PROBABILITY_CHANGE = 1e-8

# Bounds of the default number of control points. 50 (Dynamo's minimum) miss the attractors of a toggle switch. Time
# grows with the square of the number, and fields are smoother than 2000 control points resolve.
MIN_CONTROL_POINTS, MAX_CONTROL_POINTS = 100, 2000

# share of inliers: initial value and bounds (Ma et al. 2013; Dynamo 1.5.3)
INITIAL_INLIER_SHARE = 0.9

MIN_INLIER_SHARE, MAX_INLIER_SHARE = 0.05, 0.95

# cells with a larger inlier probability count as inliers
INLIER_THRESHOLD = 0.75

MIN_PROBABILITY = 1e-5

# the iteration stops at a smaller noise variance: outliers can no longer be distinguished
MIN_VARIANCE = 1e-8


class VectorField(NamedTuple):
    """Vector field ``f(x) = sum_m c_m exp(-b |x - x_m|^2)``.

    Attributes
    ----------
    control_points : ndarray of float64, shape (n_control_points, n_dims)
        The control points x_m, in the unit of the coordinates.
    coefficients : ndarray of float64, shape (n_control_points, n_dims)
        The coefficients c_m, in the unit of the velocities.
    width : float
        The kernel parameter b, in 1 / unit of the coordinates squared.
    """

    control_points: np.ndarray
    coefficients: np.ndarray
    width: float


class LearnedField(NamedTuple):
    """Vector field with the diagnostics of its fit.

    Attributes
    ----------
    field : VectorField
        The learned vector field.
    control_cells : ndarray of int, shape (n_control_points,)
        Indices of the cells whose coordinates are the control points.
    inlier_probability : ndarray of float64, shape (n_cells,)
        Probability that the velocity of a cell is the field plus Gaussian noise; NaN for cells without a velocity.
    variance : float
        Variance of the noise per dimension.
    cosine : float
        Mean over the cells of the cosine between velocity and field.
    energies : ndarray of float64, shape (n_iterations,)
        Energy before each iteration, for velocities with a root mean square length of 1. An iteration decreases the
        energy at fixed inlier probabilities; updated probabilities can increase it.
    attempts : int
        Number of sets of control points that were fitted.
    """

    field: VectorField
    control_cells: np.ndarray
    inlier_probability: np.ndarray
    variance: float
    cosine: float
    energies: np.ndarray
    attempts: int


def learn_vector_field(
    coordinates,
    velocity,
    *,
    rng,
    n_control_points=None,
    regularization=3.0,
    outlier_volume=5.0,
    max_iterations=30,
    tolerance=1e-5,
    min_cosine=0.6,
    max_attempts=5,
    n_threads=1,
):
    """Return the vector field learned from the velocities of cells by sparse vector field consensus.

    A velocity y_n is either f(x_n) plus Gaussian noise or uniformly distributed (an outlier). Expectation maximization
    estimates the inlier probabilities p_n and minimizes
    ``sum_n p_n |y_n - f(x_n)|^2 / 2 s^2 + (lambda / 2) tr(C' K C)`` over the coefficients C (Ma et al. 2013). Control
    points are coordinates of cells, drawn with probability proportional to speed. If the mean cosine between field and
    velocities is below `min_cosine`, the field is fitted again with other control points; the fit with the largest
    cosine is returned.

    Velocities are scaled to a root mean square length of 1 before the fit, and the result is scaled back.

    Parameters
    ----------
    coordinates : ndarray of float, shape (n_cells, n_dims)
        Coordinates of the cells. Cells with NaN in coordinates or velocity are left out.
    velocity : ndarray of float, shape (n_cells, n_dims)
        Velocities of the cells.
    rng : numpy.random.Generator
        Draws the control points.
    n_control_points : int, optional
        Number of control points, at most the number of different coordinates. The default is 1 per 20 cells (Dynamo's
        rule), at least 100 and at most 2000.
    regularization : float
        The weight lambda of smoothness.
    outlier_volume : float
        Volume of the uniform distribution of outliers, for velocities of length 1.
    max_iterations : int
        Largest number of iterations.
    tolerance : float
        The iteration stops if the relative change of the energy is at most this.
    min_cosine : float
        Mean cosine between field and velocities that is accepted without another attempt.
    max_attempts : int
        Largest number of sets of control points.
    n_threads : int
        Number of threads. The result does not depend on it.

    Returns
    -------
    LearnedField
        The field and the diagnostics of its fit.

    Raises
    ------
    InputError
        If no cell has a velocity, or all control points coincide.
    """
    coordinates, velocity = (np.asarray(x, dtype=np.float64) for x in (coordinates, velocity))
    cells = np.flatnonzero(np.isfinite(coordinates).all(axis=1) & np.isfinite(velocity).all(axis=1))
    coordinates, velocity, n_cells = coordinates[cells], velocity[cells], len(coordinates)
    speeds = np.linalg.norm(velocity, axis=1)
    if not speeds.any():
        raise InputError(
            f"no cell has a velocity: velocities are zero or NaN in all {n_cells} cells, so no vector field can be "
            "learned. Check the verdict on this method, and do not request a vector field for it."
        )
    # The outlier volume and the smallest variances are for velocities of length 1. In other units all cells, or none,
    # would be outliers.
    scale = math.sqrt(np.mean(speeds**2))
    # cells without speed are not candidates; cells with the same coordinates are one candidate
    moving = np.flatnonzero(speeds)
    candidates = moving[np.unique(coordinates[moving], axis=0, return_index=True)[1]]
    n_control_points = min(
        n_control_points or np.clip(len(cells) // 20 + 1, MIN_CONTROL_POINTS, MAX_CONTROL_POINTS), len(candidates)
    )
    draw_probability = speeds[candidates] / speeds[candidates].sum()
    best, attempts = None, 0
    while attempts < max_attempts and (best is None or best.cosine < min_cosine):
        attempts += 1
        control_cells = candidates[
            rng.choice(len(candidates), size=n_control_points, replace=False, p=draw_probability)
        ]
        learned = fit_field(
            coordinates,
            velocity / scale,
            coordinates[control_cells],
            regularization=regularization,
            outlier_volume=outlier_volume,
            max_iterations=max_iterations,
            tolerance=tolerance,
            n_threads=n_threads,
        )
        if best is None or learned.cosine > best.cosine:
            best = learned._replace(control_cells=cells[control_cells])
    inlier_probability = np.full(n_cells, np.nan)
    inlier_probability[cells] = best.inlier_probability
    log.info(
        "%d control points, %d iterations, mean cosine %.2f between field and velocities, %.0f %% of cells are inliers",
        n_control_points,
        len(best.energies),
        best.cosine,
        100 * np.mean(best.inlier_probability > INLIER_THRESHOLD),
    )
    if best.cosine < min_cosine:
        log.warning(
            "after %d sets of control points the mean cosine between field and velocities is only %.2f: the field may "
            "contradict the velocities of single cells",
            attempts,
            best.cosine,
        )
    return best._replace(
        field=best.field._replace(coefficients=scale * best.field.coefficients),
        inlier_probability=inlier_probability,
        variance=scale**2 * best.variance,
        attempts=attempts,
    )


def fit_field(
    coordinates,
    velocity,
    control_points,
    *,
    regularization=3.0,
    outlier_volume=5.0,
    max_iterations=30,
    tolerance=1e-5,
    n_threads=1,
):
    """Return the vector field for one set of control points.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n_cells, n_dims)
        Coordinates of the cells, without NaN.
    velocity : ndarray of float64, shape (n_cells, n_dims)
        Velocities of the cells, without NaN and with a length of about 1.
    control_points : ndarray of float64, shape (n_control_points, n_dims)
        The control points.
    regularization, outlier_volume : float
        As in `learn_vector_field`.
    max_iterations : int
        As in `learn_vector_field`.
    tolerance : float
        As in `learn_vector_field`.
    n_threads : int
        As in `learn_vector_field`.

    Returns
    -------
    LearnedField
        The field and the diagnostics of its fit; `control_cells` is empty.
    """
    n_cells, n_dims = velocity.shape
    width = kernel_width(control_points)
    whitening_matrix = whitening(kernel(control_points, control_points, width))
    features = _features(coordinates, control_points, width, whitening_matrix, n_threads)
    gram, right_side, used_probability = 0.0, 0.0, np.zeros(n_cells)
    weights, squared_errors = np.zeros((whitening_matrix.shape[1], n_dims)), _squared_lengths(velocity)
    variance = max(squared_errors.sum() / (n_cells * n_dims), 1e-7)
    inlier_share, energies = INITIAL_INLIER_SHARE, []
    while len(energies) < max_iterations and variance > MIN_VARIANCE:
        probability, energy = _expectation(squared_errors, variance, inlier_share, n_dims, outlier_volume)
        energy += regularization / 2 * np.vdot(weights, weights)
        relative_change = abs((energy - energies[-1]) / energy) if energies else math.inf
        energies.append(energy)
        probability = np.maximum(probability, MIN_PROBABILITY)
        changed = np.abs(probability - used_probability) > MIN_PROBABILITY_CHANGE
        probability_change = np.where(changed, probability - used_probability, 0)
        for gram_update, right_side_update in _updates(features, probability_change, velocity, n_threads):
            gram, right_side = gram + gram_update, right_side + right_side_update
        used_probability[changed] = probability[changed]
        # the matrix is symmetric, and only its upper triangle is computed
        penalty = regularization * variance * np.eye(len(gram))
        weights = linalg.solve(gram + penalty, right_side, assume_a="pos", lower=False, check_finite=False)
        # evaluated from the kernels: if features are not cached, they cost as much as the normal equations
        field = VectorField(control_points, whitening_matrix @ weights, width)
        predicted = velocity_at(field, coordinates, n_threads=n_threads)
        squared_errors = _squared_lengths(velocity - predicted)
        variance = probability @ squared_errors / (n_dims * probability.sum())
        inlier_share = np.clip(np.mean(probability > INLIER_THRESHOLD), MIN_INLIER_SHARE, MAX_INLIER_SHARE)
        if relative_change <= tolerance:
            break
    return LearnedField(
        field=field,
        control_cells=np.empty(0, dtype=int),
        inlier_probability=probability,
        variance=float(variance),
        cosine=mean_cosine(velocity, predicted),
        energies=np.array(energies),
        attempts=1,
    )


def velocity_at(field, coordinates, *, n_threads=1):
    """Return the velocity of a vector field at coordinates.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : array_like of float, shape (n_points, n_dims) or (n_dims,)
        Where to evaluate the field.
    n_threads : int
        Number of threads. The result does not depend on it.

    Returns
    -------
    ndarray of float64, shape of `coordinates`
        In the unit of the velocities that the field was learned from; NaN where a coordinate is NaN.
    """
    coordinates = np.asarray(coordinates, dtype=np.float64)
    points = np.atleast_2d(coordinates)
    velocity, blocks = np.empty_like(points), row_blocks(len(points), ROWS_PER_BLOCK)

    def velocity_of_block(rows):
        return kernel(points[rows], field.control_points, field.width) @ field.coefficients

    for rows, block_velocity in zip(blocks, _map_in_order(velocity_of_block, blocks, n_threads), strict=True):
        velocity[rows] = block_velocity
    return velocity.reshape(coordinates.shape)


def kernel(coordinates, control_points, width):
    """Return the Gaussian kernel ``exp(-b |x - x_m|^2)``.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n_points, n_dims)
        The points x.
    control_points : ndarray of float64, shape (n_control_points, n_dims)
        The control points x_m.
    width : float
        The kernel parameter b.

    Returns
    -------
    ndarray of float64, shape (n_points, n_control_points)
        Kernel values in [0, 1].
    """
    # centered on the control points: products of large coordinates would lose digits
    center = control_points.mean(axis=0)
    coordinates, control_points = coordinates - center, control_points - center
    values = coordinates @ control_points.T
    values *= -2
    values += _squared_lengths(coordinates)[:, None]
    values += _squared_lengths(control_points)
    np.maximum(values, 0, out=values)
    values *= -width
    return np.exp(values, out=values)


def kernel_width(control_points):
    """Return the kernel parameter b = 1 / h^2 for a set of control points.

    h is sqrt(2) / 1.5 times the mean distance to the nearest fifth of the other control points, as in Dynamo 1.5.3.

    Parameters
    ----------
    control_points : ndarray of float64, shape (n_control_points, n_dims)
        The control points.

    Returns
    -------
    float
        In 1 / unit of the coordinates squared.

    Raises
    ------
    InputError
        If all these distances are zero.
    """
    n_nearest = min(max(2, int(0.2 * len(control_points))) - 1, len(control_points) - 1)
    # centered: in many dimensions distances are computed from products, which lose digits of large coordinates
    centered = control_points - control_points.mean(axis=0)
    distances = NearestNeighbors(n_neighbors=n_nearest).fit(centered).kneighbors()[0] if n_nearest else np.zeros(1)
    if not distances.any():
        raise InputError(
            f"the {len(control_points)} control points have no distances from each other, so that the kernel width is "
            "undefined. A vector field needs cells with velocities at two or more different coordinates."
        )
    return float(1 / (math.sqrt(2) * distances.mean() / 1.5) ** 2)


def mean_cosine(velocity, predicted):
    """Return the mean over the cells of the cosine between velocities and predicted velocities.

    Parameters
    ----------
    velocity, predicted : ndarray of float64, shape (n_cells, n_dims)
        The velocities to compare.

    Returns
    -------
    float
        Mean cosine; cells where either velocity is zero count as 0.
    """
    products = np.einsum("cd,cd->c", velocity, predicted)
    lengths = np.sqrt(_squared_lengths(velocity) * _squared_lengths(predicted))
    return float(np.mean(np.divide(products, lengths, out=np.zeros(len(velocity)), where=lengths > 0)))


def whitening(gram):
    """Return the matrix W with W' K W = 1 that turns kernel values into features.

    With coefficients C = W z the energy tr(C' K C) is |z|^2. The normal equations for z are therefore well conditioned
    however close the control points are. Eigenvectors with eigenvalues of zero to working precision are left out.

    Parameters
    ----------
    gram : ndarray of float64, shape (n_control_points, n_control_points)
        The kernel K between the control points.

    Returns
    -------
    ndarray of float64, shape (n_control_points, n_features)
        The matrix W.
    """
    values, vectors = linalg.eigh(gram, check_finite=False)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])


def _expectation(squared_errors, variance, inlier_share, n_dims, outlier_volume):
    """Return the inlier probability of each cell, and the energy of the cells."""
    # in logarithms: a Gaussian far in its tail underflows, and the variance to the power of many dimensions overflows
    log_outlier_odds = n_dims / 2 * math.log(2 * math.pi * variance) + math.log(
        (1 - inlier_share) / (inlier_share * outlier_volume)
    )
    probability = special.expit(-squared_errors / (2 * variance) - log_outlier_odds)
    energy = probability @ squared_errors / (2 * variance) + probability.sum() * math.log(variance) * n_dims / 2
    return probability, energy


def _features(coordinates, control_points, width, whitening_matrix, n_threads):
    """Return a function that returns the features of cells by index, from memory or computed on each call."""

    def compute(rows):
        return kernel(coordinates[rows], control_points, width) @ whitening_matrix

    if len(coordinates) * whitening_matrix.shape[1] > MAX_CACHED_FEATURES:
        return compute
    cached = np.empty((len(coordinates), whitening_matrix.shape[1]))
    blocks = row_blocks(len(coordinates), ROWS_PER_BLOCK)
    for rows, block_features in zip(blocks, _map_in_order(compute, blocks, n_threads), strict=True):
        cached[rows] = block_features
    return cached.__getitem__


def _updates(features, probability_change, velocity, n_threads):
    """Yield the updates of B'PB (upper triangle) and B'PY for changed inlier probabilities P, one block at a time.

    Cells with a change of 0 are skipped. The order of the blocks does not depend on the number of threads.
    """

    def updates_of_block(rows):
        sign, weights = np.sign(probability_change[rows[0]]), np.sqrt(np.abs(probability_change[rows]))[:, None]
        weighted = features(rows) * weights
        return linalg.blas.dsyrk(sign, weighted.T, lower=0), sign * (weighted.T @ (weights * velocity[rows]))

    for cells in (np.flatnonzero(probability_change > 0), np.flatnonzero(probability_change < 0)):
        blocks = [cells[block] for block in row_blocks(len(cells), ROWS_PER_BLOCK)]
        yield from _map_in_order(updates_of_block, blocks, n_threads)


def _map_in_order(function, blocks, n_threads):
    """Yield the result of a function for each block, in the order of the blocks."""
    if n_threads == 1:
        yield from map(function, blocks)
        return
    with ThreadPoolExecutor(n_threads) as threads:
        # n_threads blocks at a time: the result for one block may be as large as the sum
        for first in range(0, len(blocks), n_threads):
            yield from threads.map(function, blocks[first : first + n_threads])


def _squared_lengths(vectors):
    return np.einsum("cd,cd->c", vectors, vectors)


def row_blocks(n_rows, rows_per_block):
    """Return slices of consecutive rows, each of `rows_per_block` rows except the last."""
    return [slice(first, min(first + rows_per_block, n_rows)) for first in range(0, n_rows, rows_per_block)]
