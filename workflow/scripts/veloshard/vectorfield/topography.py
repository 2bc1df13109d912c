"""Topography of a vector field: fixed points, nullclines and separatrices.

Vector fields are functions: `velocity(coordinates)` takes and returns (n_points, n_dims), `jacobian(coordinates)`
returns (n_points, n_dims, n_dims). They need not be learned.
"""

import logging
from typing import NamedTuple

import contourpy
import numpy as np
from scipy import integrate, optimize
from scipy.stats import qmc
from sklearn.neighbors import NearestNeighbors

log = logging.getLogger(__name__)

# Kinds of fixed points: no, some or all directions diverge.
KINDS = ("attractor", "saddle", "repeller")

# fixed points that are closer than this share of the domain's extent are the same
MIN_SEPARATION = 1e-4

# a root is accepted if a Newton step from it is at most this share of the domain's extent
MAX_NEWTON_STEP = 1e-6

# grid steps per axis for nullclines and for starts of the search
GRID_STEPS = 100

# distance of the start of a separatrix from its saddle, and its largest length, in extents of the domain
SEPARATRIX_START, MAX_SEPARATRIX_LENGTH = 1e-4, 5.0

# number of nearest cells whose mean distance determines the confidence of a fixed point, and the width of the Gaussian
# of that distance, as a share of the range of the cells
N_NEAREST_CELLS, CONFIDENCE_WIDTH = 50, 0.1


class FixedPoints(NamedTuple):
    """Fixed points of a vector field, by decreasing confidence.

    Attributes
    ----------
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Points at which the velocity is zero.
    kinds : ndarray of str, shape (n_points,)
        One of `KINDS` per point.
    eigenvalues : ndarray of complex128, shape (n_points, n_dims)
        Eigenvalues of the Jacobian, by decreasing real part. Trajectories spiral if imaginary parts are not zero.
    confidence : ndarray of float64, shape (n_points,)
        In (0, 1], larger if cells are closer; NaN without cells.
    nearest_cell : ndarray of int, shape (n_points,)
        Index of the nearest cell; -1 without cells.
    """

    coordinates: np.ndarray
    kinds: np.ndarray
    eigenvalues: np.ndarray
    confidence: np.ndarray
    nearest_cell: np.ndarray


def domain_of(cells, margin=0.1):
    """Return the bounding box of cells with a margin.

    Parameters
    ----------
    cells : ndarray of float, shape (n_cells, n_dims)
        Coordinates of the cells; NaN is ignored.
    margin : float
        Margin on each side, as a share of the extent. If all cells have the same coordinate, the margin is a share of
        the largest extent.

    Returns
    -------
    ndarray of float64, shape (n_dims, 2)
        Lower and upper bounds.
    """
    low, high = np.nanmin(cells, axis=0), np.nanmax(cells, axis=0)
    extents = np.where(high > low, high - low, np.max(high - low))
    return np.stack([low - margin * extents, high + margin * extents], axis=1).astype(np.float64)


def find_fixed_points(velocity, jacobian, domain, *, rng, n_starts=100, cells=None):
    """Return the fixed points of a vector field inside a box.

    Roots are searched from many starting points by Powell's hybrid method with the analytic Jacobian.

    Parameters
    ----------
    velocity : callable
        Function of coordinates (n_points, n_dims) that returns velocities of the same shape.
    jacobian : callable
        Function of coordinates (n_points, n_dims) that returns Jacobians (n_points, n_dims, n_dims).
    domain : ndarray of float64, shape (n_dims, 2)
        Lower and upper bounds of the box.
    rng : numpy.random.Generator
        Draws the starting points.
    n_starts : int
        Number of starting points from a Latin hypercube, or, in more than three dimensions, from the cells. In two
        dimensions the search also starts from each grid square that both nullclines cross.
    cells : ndarray of float, shape (n_cells, n_dims), optional
        Coordinates of the cells from which the field was learned. Cells with NaN are ignored.

    Returns
    -------
    FixedPoints
        Fixed points by decreasing confidence.
    """
    n_dims, extents = len(domain), np.ptp(domain, axis=1)
    finite_cells = None if cells is None else cells[np.isfinite(cells).all(axis=1)]
    starts = qmc.scale(qmc.LatinHypercube(n_dims, rng=rng).random(n_starts), domain[:, 0], domain[:, 1])
    if n_dims == 2:
        starts = np.concatenate([starts, _nullcline_crossings(velocity, domain)])
    elif n_dims > 3 and finite_cells is not None:
        # cells occupy a small part of a box of many dimensions
        starts = finite_cells[rng.choice(len(finite_cells), size=min(n_starts, len(finite_cells)), replace=False)]
    roots = []
    for start in starts:
        root = _find_root(velocity, jacobian, start)
        inside = np.all((root >= domain[:, 0]) & (root <= domain[:, 1]))
        is_new = all(np.max(np.abs(root - other) / extents) > MIN_SEPARATION for other in roots)
        if inside and is_new and _is_root(velocity, jacobian, root, MAX_NEWTON_STEP * extents):
            roots.append(root)
    coordinates = np.array(roots).reshape(-1, n_dims)
    eigenvalues = np.linalg.eigvals(jacobian(coordinates)) if len(coordinates) else np.empty((0, n_dims))
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-eigenvalues.real, axis=1), axis=1).astype(complex)
    confidence, nearest_cell = _confidence(coordinates, finite_cells)
    if finite_cells is not None and len(coordinates):
        nearest_cell = np.flatnonzero(np.isfinite(cells).all(axis=1))[nearest_cell]
    order = np.lexsort([*coordinates.T, -np.nan_to_num(confidence)])
    kinds = np.array([classify_fixed_point(values) for values in eigenvalues], dtype=object)
    log.info("%d fixed points from %d starts: %s", len(coordinates), len(starts), ", ".join(kinds[order]) or "none")
    return FixedPoints(
        coordinates[order], kinds[order].astype(str), eigenvalues[order], confidence[order], nearest_cell[order]
    )


def classify_fixed_point(eigenvalues):
    """Return the kind of a fixed point from the eigenvalues of its Jacobian.

    Parameters
    ----------
    eigenvalues : ndarray of float or complex, shape (n_dims,)
        Eigenvalues of the Jacobian.

    Returns
    -------
    str
        "attractor" if all real parts are negative, "repeller" if none is, "saddle" otherwise.
    """
    n_diverging = int(np.sum(np.real(eigenvalues) >= 0))
    return KINDS[1] if 0 < n_diverging < len(eigenvalues) else KINDS[2 if n_diverging else 0]


def find_nullclines(velocity, domain, *, n_steps=GRID_STEPS):
    """Return the nullclines of a vector field in two dimensions.

    Parameters
    ----------
    velocity : callable
        As in `find_fixed_points`.
    domain : ndarray of float64, shape (2, 2)
        Lower and upper bounds of both dimensions.
    n_steps : int
        Grid steps per axis.

    Returns
    -------
    list of list of ndarray
        For each component of the velocity the lines on which it is zero, float64 (n_line_points, 2).
    """
    x, y, vectors = evaluate_on_grid(velocity, domain, n_steps)
    return [contourpy.contour_generator(x, y, component).lines(0.0) for component in np.moveaxis(vectors, -1, 0)]


def evaluate_on_grid(velocity, domain, n_steps=GRID_STEPS):
    """Return a vector field in two dimensions on a regular grid.

    Parameters
    ----------
    velocity : callable
        As in `find_fixed_points`.
    domain : ndarray of float64, shape (2, 2)
        Lower and upper bounds of both dimensions.
    n_steps : int
        Grid steps per axis.

    Returns
    -------
    x, y : ndarray of float64, shape (n_steps + 1,)
        Coordinates of the grid.
    vectors : ndarray of float64, shape (n_steps + 1, n_steps + 1, 2)
        Velocities; element [row, column] is at (x[column], y[row]).
    """
    x, y = (np.linspace(low, high, n_steps + 1) for low, high in domain)
    coordinates = np.stack(np.meshgrid(x, y), axis=-1)
    return x, y, velocity(coordinates.reshape(-1, 2)).reshape(coordinates.shape)


def find_separatrices(velocity, jacobian, points, domain):
    """Return the separatrices of a vector field in two dimensions, which end in saddles.

    Each is integrated against the flow from a saddle, on both sides along the eigenvector of the negative eigenvalue. A
    line ends where the field is at rest, at the boundary of the domain, or at a length of five extents of the domain.

    Parameters
    ----------
    velocity, jacobian : callable
        As in `find_fixed_points`.
    points : FixedPoints
        Fixed points of the field.
    domain : ndarray of float64, shape (2, 2)
        Lower and upper bounds of both dimensions.

    Returns
    -------
    lines : list of ndarray of float64, shape (n_line_points, 2)
        The separatrices, each starting at its saddle.
    saddles : list of int
        Index of the saddle of each line.
    """
    low, extents = domain[:, 0], np.ptp(domain, axis=1)
    lines, saddles = [], []

    # coordinates and velocities in extents of the domain
    def flow(x):
        return velocity((low + extents * x)[None])[0] / extents

    # by arc length rather than time: it takes infinite time to leave a saddle and to reach another fixed point
    def backward_direction(_, x):
        flow_at_x = flow(x)
        return -flow_at_x / max(np.linalg.norm(flow_at_x), np.finfo(np.float64).tiny)

    def distance_to_boundary(_, x):
        return np.min(np.minimum(x, 1 - x))

    distance_to_boundary.terminal = True
    for saddle in np.flatnonzero(points.kinds == "saddle"):
        point = points.coordinates[saddle]
        values, vectors = np.linalg.eig(jacobian(point[None])[0])
        stable_direction = np.real(vectors[:, np.argmin(np.real(values))]) / extents
        stable_direction *= SEPARATRIX_START / np.linalg.norm(stable_direction)
        for sign in (1, -1):
            start = (point - low) / extents + sign * stable_direction
            # elsewhere the field is this slow only near other fixed points, including any that are not in `points`
            rest_speed = np.linalg.norm(flow(start)) / 2

            def speed_above_rest(_, x, rest_speed=rest_speed):
                return np.linalg.norm(flow(x)) - rest_speed

            speed_above_rest.terminal = True
            solution = integrate.solve_ivp(
                backward_direction,
                (0, MAX_SEPARATRIX_LENGTH),
                start,
                events=[distance_to_boundary, speed_above_rest],
                rtol=1e-6,
                atol=1e-6,
                max_step=0.01,
            )
            lines.append(np.vstack([point, low + extents * solution.y.T]))
            saddles.append(int(saddle))
    return lines, saddles


def _find_root(velocity, jacobian, start):
    """Return the point at which the search for a root from `start` ends."""
    solution = optimize.root(
        lambda x: velocity(x[None])[0], start, jac=lambda x: jacobian(x[None])[0], options={"xtol": 1e-12}
    )
    return solution.x


def _is_root(velocity, jacobian, point, max_step):
    """Return whether a Newton step from a point is short in each dimension.

    A small speed is not enough, because a field of kernels is also slow where it decays.
    """
    try:
        step = np.linalg.solve(jacobian(point[None])[0], velocity(point[None])[0])
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(np.abs(step) <= max_step))


def _nullcline_crossings(velocity, domain):
    """Return the centers of grid squares with corners between which both components change sign, (n_squares, 2)."""
    x, y, vectors = evaluate_on_grid(velocity, domain)
    positive = vectors > 0
    corners = np.stack([positive[:-1, :-1], positive[1:, :-1], positive[:-1, 1:], positive[1:, 1:]])
    rows, columns = np.nonzero(np.all(corners.any(axis=0) & ~corners.all(axis=0), axis=-1))
    return np.column_stack([(x[columns] + x[columns + 1]) / 2, (y[rows] + y[rows + 1]) / 2])


def _confidence(coordinates, cells):
    """Return the confidence of fixed points and their nearest cells.

    The confidence is relative to the largest of all points and of the median of the cells.
    """
    if cells is None or len(coordinates) == 0:
        return np.full(len(coordinates), np.nan), np.full(len(coordinates), -1)
    nearest = NearestNeighbors(n_neighbors=min(N_NEAREST_CELLS, len(cells))).fit(cells)
    distances, neighbors = nearest.kneighbors(np.vstack([coordinates, np.median(cells, axis=0)]))
    width = CONFIDENCE_WIDTH * np.mean(np.ptp(cells, axis=0))
    confidence = np.exp(-0.5 * (distances.mean(axis=1) / width) ** 2)
    confidence /= max(confidence.max(), np.finfo(np.float64).tiny)
    return confidence[:-1], neighbors[:-1, 0]
