"""The portrait of a field: where it stands still, of which kind each such point is, and what parts its basins.

Fields are functions: `velocity(places)` takes and returns (n_places, n_dims), `jacobian(places)` returns
(n_places, n_dims, n_dims).  Nothing here needs a field to be learned.
"""

import logging
from typing import NamedTuple

import contourpy
import numpy as np
from scipy import integrate, optimize
from scipy.stats import qmc
from sklearn.neighbors import NearestNeighbors

log = logging.getLogger(__name__)

# what a place of rest is called, by how many of its directions spread
KINDS = ("attractor", "saddle", "repeller")

# share of the domain's extent by which two fixed points differ
APART = 1e-4

# a step of Newton's from a fixed point is shorter than this share of the domain's extent
STILL = 1e-6

# steps of the grid on which nullclines are drawn; a fixed point is sought in each that both of them cross
GRID = 100

# a separatrix starts so far from its saddle, and is so long at most, both in extents of the domain
FIRST_STEP, LONGEST = 1e-4, 5.0

# cells whose mean distance supports a fixed point, and the width of its Gaussian as a share of their range
CELLS_AROUND, WIDTH_OF_SUPPORT = 50, 0.1


class FixedPoints(NamedTuple):
    """Places at which a field is zero, from those nearest to cells on.

    places : (n_points, n_dims).   kinds : (n_points,) of `KINDS`.   eigenvalues : complex (n_points, n_dims), of the
    Jacobian, by descending real part; imaginary parts say that paths turn around the point.
    confidence : (n_points,) in (0, 1], of how close cells are; NaN where no cells were given.
    nearest_cell : (n_points,) int, -1 where no cells were given.
    """

    places: np.ndarray
    kinds: np.ndarray
    eigenvalues: np.ndarray
    confidence: np.ndarray
    nearest_cell: np.ndarray


def domain_around(cells, margin=0.1):
    """Box of all cells, (n_dims, 2), with `margin` of its extent on each side; cells without a place do not count.

    Where all cells have one coordinate, the margin is of the widest side.
    """
    low, high = np.nanmin(cells, axis=0), np.nanmax(cells, axis=0)
    extents = np.where(high > low, high - low, np.max(high - low))
    return np.stack([low - margin * extents, high + margin * extents], axis=1).astype(np.float64)


def fixed_points(velocity, jacobian, domain, *, rng, n_starts=100, cells=None):
    """`FixedPoints` of a field inside a box, found from many starts by Powell's method with the analytic Jacobian.

    domain : (n_dims, 2).   cells : (n_cells, n_dims), what the field was learned from.
    n_starts : from a Latin hypercube, and in more than three dimensions from the cells; in two dimensions they begin
        from each step of a grid that both nullclines cross, too.
    """
    n_dims, extents = len(domain), np.ptp(domain, axis=1)
    known = None if cells is None else cells[np.isfinite(cells).all(axis=1)]
    starts = qmc.scale(qmc.LatinHypercube(n_dims, rng=rng).random(n_starts), domain[:, 0], domain[:, 1])
    if n_dims == 2:
        starts = np.concatenate([starts, _crossings(velocity, domain)])
    elif n_dims > 3 and known is not None:
        # a box of many dimensions is nearly empty
        starts = known[rng.choice(len(known), size=min(n_starts, len(known)), replace=False)]
    found = []
    for start in starts:
        place = _root(velocity, jacobian, start)
        inside = np.all((place >= domain[:, 0]) & (place <= domain[:, 1]))
        is_new = all(np.max(np.abs(place - other) / extents) > APART for other in found)
        if inside and is_new and _is_root(velocity, jacobian, place, STILL * extents):
            found.append(place)
    places = np.array(found).reshape(-1, n_dims)
    eigenvalues = np.linalg.eigvals(jacobian(places)) if len(places) else np.empty((0, n_dims))
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-eigenvalues.real, axis=1), axis=1).astype(complex)
    confidence, nearest = _support(places, known)
    if known is not None and len(places):
        nearest = np.flatnonzero(np.isfinite(cells).all(axis=1))[nearest]
    order = np.lexsort([*places.T, -np.nan_to_num(confidence)])
    kinds = np.array([kind_of(values) for values in eigenvalues], dtype=object)
    log.info("%d fixed points from %d starts: %s", len(places), len(starts), ", ".join(kinds[order]) or "none")
    return FixedPoints(places[order], kinds[order].astype(str), eigenvalues[order], confidence[order], nearest[order])


def kind_of(eigenvalues):
    """Which of `KINDS` a fixed point is, by the real parts of its eigenvalues: below 0 all, some or none of them."""
    n_spreading = int(np.sum(np.real(eigenvalues) >= 0))
    return KINDS[1] if 0 < n_spreading < len(eigenvalues) else KINDS[2 if n_spreading else 0]


def nullclines(velocity, domain, *, n_steps=GRID):
    """Lines on which one component of a plane field is zero: for each of both a list of (n_points, 2), float64."""
    x, y, vectors = on_grid(velocity, domain, n_steps)
    return [contourpy.contour_generator(x, y, component).lines(0.0) for component in np.moveaxis(vectors, -1, 0)]


def on_grid(velocity, domain, n_steps=GRID):
    """A plane field on a grid: x and y, (n_steps + 1,), and vectors [row of y, column of x], (., ., 2)."""
    x, y = (np.linspace(low, high, n_steps + 1) for low, high in domain)
    places = np.stack(np.meshgrid(x, y), axis=-1)
    return x, y, velocity(places.reshape(-1, 2)).reshape(places.shape)


def separatrices(velocity, jacobian, points, domain):
    """Lines that end in the saddles of a plane field, which part the places that it carries here from those there.

    From each saddle against the flow, to both sides of the eigenvector that gathers, by integration with error control.
    A line ends where the field stands still, beyond the domain, or where it is five times as long as that.

    points : `FixedPoints`.   Returns a list of (n_points, 2), from the saddle outwards, and the saddles' numbers.
    """
    low, extents = domain[:, 0], np.ptp(domain, axis=1)
    found, saddles = [], []

    # in extents of the domain
    def flow(x):
        return velocity((low + extents * x)[None])[0] / extents

    # along the line and not in time: it leaves its saddle, and reaches another point, in no finite time
    def against(_, x):
        there = flow(x)
        return -there / max(np.linalg.norm(there), np.finfo(np.float64).tiny)

    def leaves(_, x):
        return np.min(np.minimum(x, 1 - x))

    leaves.terminal = True
    for number in np.flatnonzero(points.kinds == "saddle"):
        place = points.places[number]
        values, vectors = np.linalg.eig(jacobian(place[None])[0])
        gathering = np.real(vectors[:, np.argmin(np.real(values))]) / extents
        gathering *= FIRST_STEP / np.linalg.norm(gathering)
        for side in (1, -1):
            start = (place - low) / extents + side * gathering
            # nearly as slow as that it is elsewhere near points only, those that nobody has found among them
            slowest = np.linalg.norm(flow(start)) / 2

            def rests(_, x, slowest=slowest):
                return np.linalg.norm(flow(x)) - slowest

            rests.terminal = True
            solved = integrate.solve_ivp(
                against, (0, LONGEST), start, events=[leaves, rests], rtol=1e-6, atol=1e-6, max_step=0.01
            )
            found.append(np.vstack([place, low + extents * solved.y.T]))
            saddles.append(int(number))
    return found, saddles


def _root(velocity, jacobian, start):
    """Where a search for a zero ends that begins at `start`."""
    solved = optimize.root(
        lambda x: velocity(x[None])[0], start, jac=lambda x: jacobian(x[None])[0], options={"xtol": 1e-12}
    )
    return solved.x


def _is_root(velocity, jacobian, place, within):
    """Whether a zero of the field is so close to a place, by its slope there.

    Not by its speed alone: a field of kernels is slow, too, where it dies away.
    """
    try:
        step = np.linalg.solve(jacobian(place[None])[0], velocity(place[None])[0])
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(np.abs(step) <= within))


def _crossings(velocity, domain):
    """Middles of the steps of a grid over whose corners both components change sign, (n_steps, 2)."""
    x, y, vectors = on_grid(velocity, domain)
    positive = vectors > 0
    corners = np.stack([positive[:-1, :-1], positive[1:, :-1], positive[:-1, 1:], positive[1:, 1:]])
    rows, columns = np.nonzero(np.all(corners.any(axis=0) & ~corners.all(axis=0), axis=-1))
    return np.column_stack([(x[columns] + x[columns + 1]) / 2, (y[rows] + y[rows + 1]) / 2])


def _support(places, cells):
    """How close cells are to places, relative to the closest of them or to the middle of the cells; and the nearest."""
    if cells is None or len(places) == 0:
        return np.full(len(places), np.nan), np.full(len(places), -1)
    n_around = min(CELLS_AROUND, len(cells))
    nearest = NearestNeighbors(n_neighbors=n_around).fit(cells)
    distances, around = nearest.kneighbors(np.vstack([places, np.median(cells, axis=0)]))
    width = WIDTH_OF_SUPPORT * np.mean(np.ptp(cells, axis=0))
    support = np.exp(-0.5 * (distances.mean(axis=1) / width) ** 2)
    support /= max(support.max(), np.finfo(np.float64).tiny)
    return support[:-1], around[:-1, 0]
