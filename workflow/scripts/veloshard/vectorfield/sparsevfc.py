"""Sparse vector field consensus: a smooth field through arrows, some of which point anywhere (Ma et al. 2013)."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import linalg, special
from sklearn.neighbors import NearestNeighbors

from veloshard.errors import InputError

log = logging.getLogger(__name__)

# Rows that are multiplied together: sums over the cells are made of sums over blocks, in the order of the blocks, so
# that they never depend on how many threads there are.
ROWS_AT_ONCE = 4096

# Features of cells that are kept (a gigabyte); of more, each iteration computes them anew.
KEPT_FEATURES = 1 << 27

# A cell whose probability moves by less stays as it was in the equations: most are soon certain, and then cost nothing.
UNMOVED = 1e-8

# Control points where nobody asks for more or less: 50 (Dynamo's least) miss the attractors of a toggle switch; the
# squares of many cost time, and fields are smoother than that.
FEWEST_CONTROLS, MOST_CONTROLS = 100, 2000

# share of cells that hold to the field before any is looked at, and what it may become (Ma et al. 2013; Dynamo 1.5.3)
SHARE_AT_FIRST = 0.9
LEAST_SHARE, LARGEST_SHARE = 0.05, 0.95

# a cell with a greater probability to hold to the field counts as one that does; with a smaller, as one of this
INLIER = 0.75
LEAST_PROBABILITY = 1e-5

# below it there is no noise left to tell outliers by
LEAST_VARIANCE = 1e-8


class VectorField(NamedTuple):
    """f(x) = sum_m c_m exp(-b |x - x_m|^2).

    control_points, coefficients : (n_controls, n_dims) float64: x_m in the unit of the places, c_m of the arrows.
    width : float, b, in one over the squared unit of the places.
    """

    control_points: np.ndarray
    coefficients: np.ndarray
    width: float


class Learned(NamedTuple):
    """A field, and how it came about.

    control_cells : (n_controls,) int, the cells at the control points.
    inlier_probability : (n_cells,) float64, that a cell's arrow is the field and Gaussian noise; NaN without an arrow.
    variance : float, of that noise in each dimension.   cosine : float, mean over the cells between arrow and field.
    energies : (n_iterations,) float64, before each iteration, for arrows of length 1; an iteration lowers it for the
    probabilities that it has found, and new ones may raise it.   attempts : int, sets of control points.
    """

    field: VectorField
    control_cells: np.ndarray
    inlier_probability: np.ndarray
    variance: float
    cosine: float
    energies: np.ndarray
    attempts: int


def learn(
    places,
    arrows,
    *,
    rng,
    n_controls=None,
    regularization=3.0,
    outlier_volume=5.0,
    max_iterations=30,
    tolerance=1e-5,
    min_cosine=0.6,
    max_attempts=5,
    n_threads=1,
):
    """The field of least energy through arrows of cells, by expectation maximisation.

    An arrow is f(x) and Gaussian noise, or uniform in a volume; coefficients minimise
    sum_n p_n |y_n - f(x_n)|^2 / 2 s^2 + (lambda / 2) tr(C' K C), with p_n the probability of the former.  Control
    points are cells, drawn in proportion to the lengths of their arrows.  Where the field agrees with the arrows less
    than `min_cosine`, it is learned again from other control points, and the best is returned.

    places, arrows : (n_cells, n_dims); cells with a NaN in either are left out.  The result scales with either's unit:
        what follows is for arrows of a root mean square length of 1, to which they are brought.
    rng : numpy.random.Generator, draws the control points.
    n_controls : by default 1 in 20 cells (Dynamo's rule), 100 to 2000; not more than there are places.
    regularization : lambda.   outlier_volume : of the uniform density.
    max_iterations, tolerance : it ends after so many, or where the energy changes relatively by no more.
    n_threads : how many threads multiply; the result never depends on it.

    Returns `Learned`.  Raises InputError where no cell has an arrow.
    """
    places, arrows = (np.asarray(x, dtype=np.float64) for x in (places, arrows))
    cells = np.flatnonzero(np.isfinite(places).all(axis=1) & np.isfinite(arrows).all(axis=1))
    places, arrows, n_cells = places[cells], arrows[cells], len(places)
    lengths = np.linalg.norm(arrows, axis=1)
    if not lengths.any():
        raise InputError(
            "no cell has a velocity, so no vector field can be learned. Check the verdict on this method; remove the "
            "method or the option vector_field."
        )
    # the volume of outliers and the least variances are for arrows of length 1: in another unit all cells are outliers,
    # or none
    unit = math.sqrt(np.mean(lengths**2))
    # cells at rest are no control points; those in one place are one
    moving = np.flatnonzero(lengths)
    candidates = moving[np.unique(places[moving], axis=0, return_index=True)[1]]
    n_controls = min(n_controls or np.clip(len(cells) // 20 + 1, FEWEST_CONTROLS, MOST_CONTROLS), len(candidates))
    chances = lengths[candidates] / lengths[candidates].sum()
    best, attempts = None, 0
    while attempts < max_attempts and (best is None or best.cosine < min_cosine):
        attempts += 1
        controls = candidates[rng.choice(len(candidates), size=n_controls, replace=False, p=chances)]
        found = fit_field(
            places,
            arrows / unit,
            places[controls],
            regularization=regularization,
            outlier_volume=outlier_volume,
            max_iterations=max_iterations,
            tolerance=tolerance,
            n_threads=n_threads,
        )
        if best is None or found.cosine > best.cosine:
            best = found._replace(control_cells=cells[controls])
    probabilities = np.full(n_cells, np.nan)
    probabilities[cells] = best.inlier_probability
    log.info(
        "%d control points, %d iterations, cosine %.2f with the arrows, %.0f %% of cells hold to the field",
        n_controls,
        len(best.energies),
        best.cosine,
        100 * np.mean(best.inlier_probability > INLIER),
    )
    if best.cosine < min_cosine:
        log.warning(
            "after %d sets of control points the field agrees with the arrows by a cosine of %.2f only: what it says "
            "of single cells may not be what the velocities say",
            attempts,
            best.cosine,
        )
    return best._replace(
        field=best.field._replace(coefficients=unit * best.field.coefficients),
        inlier_probability=probabilities,
        variance=unit**2 * best.variance,
        attempts=attempts,
    )


def fit_field(
    places,
    arrows,
    control_points,
    *,
    regularization=3.0,
    outlier_volume=5.0,
    max_iterations=30,
    tolerance=1e-5,
    n_threads=1,
):
    """`Learned` with given control points, (n_controls, n_dims), without their cells; the rest as of `learn`.

    places, arrows : without NaN; the arrows of a length of about 1.
    """
    n_cells, n_dims = arrows.shape
    width = kernel_width(control_points)
    whitened = whitening(kernel(control_points, control_points, width))
    features = _features(places, control_points, width, whitened, n_threads)
    gram, right, counted = 0.0, 0.0, np.zeros(n_cells)
    weights, squares = np.zeros((whitened.shape[1], n_dims)), _squares(arrows)
    variance = max(squares.sum() / (n_cells * n_dims), 1e-7)
    share, energies = SHARE_AT_FIRST, []
    while len(energies) < max_iterations and variance > LEAST_VARIANCE:
        probability, energy = _expectation(squares, variance, share, n_dims, outlier_volume)
        energy += regularization / 2 * np.vdot(weights, weights)
        change = abs((energy - energies[-1]) / energy) if energies else math.inf
        energies.append(energy)
        probability = np.maximum(probability, LEAST_PROBABILITY)
        moved = np.abs(probability - counted) > UNMOVED
        for of_gram, of_right in _changes(features, np.where(moved, probability - counted, 0), arrows, n_threads):
            gram, right = gram + of_gram, right + of_right
        counted[moved] = probability[moved]
        # of a symmetric matrix the upper triangle, which is all that is there
        penalty = regularization * variance * np.eye(len(gram))
        weights = linalg.solve(gram + penalty, right, assume_a="pos", lower=False, check_finite=False)
        # not by the features: where those are not kept they cost as many multiplications as the equations
        field = VectorField(control_points, whitened @ weights, width)
        predicted = velocity_at(field, places, n_threads=n_threads)
        squares = _squares(arrows - predicted)
        variance = probability @ squares / (n_dims * probability.sum())
        share = np.clip(np.mean(probability > INLIER), LEAST_SHARE, LARGEST_SHARE)
        if change <= tolerance:
            break
    return Learned(
        field=field,
        control_cells=np.empty(0, dtype=int),
        inlier_probability=probability,
        variance=float(variance),
        cosine=mean_cosine(arrows, predicted),
        energies=np.array(energies),
        attempts=1,
    )


def velocity_at(field, places, *, n_threads=1):
    """The field at places, (n_places, n_dims) or (n_dims,): float64 of the same shape, in the unit of the arrows."""
    places = np.asarray(places, dtype=np.float64)
    at = np.atleast_2d(places)
    found, blocks = np.empty_like(at), blocks_of(len(at), ROWS_AT_ONCE)

    def of_block(rows):
        return kernel(at[rows], field.control_points, field.width) @ field.coefficients

    for rows, velocity in zip(blocks, _in_order(of_block, blocks, n_threads), strict=True):
        found[rows] = velocity
    return found.reshape(places.shape)


def kernel(places, control_points, width):
    """exp(-b |x - x_m|^2), float64 (n_places, n_controls)."""
    # from the middle of the controls: products of large coordinates would cost digits
    middle = control_points.mean(axis=0)
    places, control_points = places - middle, control_points - middle
    squares = places @ control_points.T
    squares *= -2
    squares += _squares(places)[:, None]
    squares += _squares(control_points)
    np.maximum(squares, 0, out=squares)
    squares *= -width
    return np.exp(squares, out=squares)


def kernel_width(control_points):
    """b = 1 / h^2, with h = sqrt(2) / 1.5 of the mean distance to a fifth of the other control points, the nearest.

    Raises InputError where those are all at a distance of zero.
    """
    n_nearest = min(max(2, int(0.2 * len(control_points))) - 1, len(control_points) - 1)
    # from their middle: in many dimensions distances are found by products, which cost digits of large coordinates
    centred = control_points - control_points.mean(axis=0)
    distances = NearestNeighbors(n_neighbors=n_nearest).fit(centred).kneighbors()[0] if n_nearest else np.zeros(1)
    if not distances.any():
        raise InputError(
            f"{len(control_points)} control points have no distances to tell the width of a kernel by: it takes cells "
            "with arrows in two places at least"
        )
    return float(1 / (math.sqrt(2) * distances.mean() / 1.5) ** 2)


def mean_cosine(arrows, predicted):
    """Mean over the cells of the cosine between arrow and field, 0 where either is; float."""
    products = np.einsum("cd,cd->c", arrows, predicted)
    lengths = np.sqrt(_squares(arrows) * _squares(predicted))
    return float(np.mean(np.divide(products, lengths, out=np.zeros(len(arrows)), where=lengths > 0)))


def whitening(gram):
    """W with W' K W = 1, float64 (n_controls, n_features), by which kernels become features.

    The energy tr(C'KC) of coefficients C = W z is |z|^2, so that the equations for z are never near singular, however
    close control points are.  Directions that vanish to working precision are left out.

    gram : K, (n_controls, n_controls).
    """
    values, vectors = linalg.eigh(gram, check_finite=False)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])


def _expectation(squares, variance, share, n_dims, outlier_volume):
    """Probability of each cell to hold to the field, and the energy of the cells."""
    # by logarithms: a Gaussian far away, and a variance to the power of many dimensions, are no numbers
    uniform = n_dims / 2 * math.log(2 * math.pi * variance) + math.log((1 - share) / (share * outlier_volume))
    probability = special.expit(-squares / (2 * variance) - uniform)
    return probability, probability @ squares / (2 * variance) + probability.sum() * math.log(variance) * n_dims / 2


def _features(places, control_points, width, whitened, n_threads):
    """Function that returns the features of cells by their numbers: of all that are kept, or made anew each time."""

    def made(rows):
        return kernel(places[rows], control_points, width) @ whitened

    if len(places) * whitened.shape[1] > KEPT_FEATURES:
        return made
    kept, blocks = np.empty((len(places), whitened.shape[1])), blocks_of(len(places), ROWS_AT_ONCE)
    for rows, found in zip(blocks, _in_order(made, blocks, n_threads), strict=True):
        kept[rows] = found
    return kept.__getitem__


def _changes(features, by, arrows, n_threads):
    """Yield what is to be added to B'PB, its upper triangle, and to B'PY where the probabilities P change.

    by : (n_cells,), the change; cells without one cost nothing.  By blocks of cells, in their order, however many
        threads there are.
    """

    def of_block(rows):
        sign, weights = np.sign(by[rows[0]]), np.sqrt(np.abs(by[rows]))[:, None]
        weighted = features(rows) * weights
        return linalg.blas.dsyrk(sign, weighted.T, lower=0), sign * (weighted.T @ (weights * arrows[rows]))

    for chosen in (np.flatnonzero(by > 0), np.flatnonzero(by < 0)):
        blocks = [chosen[block] for block in blocks_of(len(chosen), ROWS_AT_ONCE)]
        yield from _in_order(of_block, blocks, n_threads)


def _in_order(function, blocks, n_threads):
    """Yield what a function makes of each block, in their order; so many at once as there are threads."""
    if n_threads == 1:
        yield from map(function, blocks)
        return
    with ThreadPoolExecutor(n_threads) as threads:
        # not all at once: what is made of a block may be as large as the whole
        for first in range(0, len(blocks), n_threads):
            yield from threads.map(function, blocks[first : first + n_threads])


def _squares(vectors):
    return np.einsum("cd,cd->c", vectors, vectors)


def blocks_of(n_rows, at_once):
    """Slices of successive rows, of `at_once` each but for the last."""
    return [slice(first, min(first + at_once, n_rows)) for first in range(0, n_rows, at_once)]
