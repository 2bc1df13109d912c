"""Where a field carries a cell, and how a cell gets where the field does not carry it.

Fields are functions, as in `topography`.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import integrate, optimize, sparse

# the field is at rest where it is slower than this share of its mean speed over the cells
AT_REST = 1e-2

# of an integration, relative to the field and to its extent
RELATIVE, ABSOLUTE = 1e-6, 1e-8

# of a search for the path of least action, whose values and slopes are of order 1
SEARCH = {"maxiter": 500, "ftol": 1e-9, "gtol": 1e-6}

# where on a step the field is asked for, and what each place counts (Gauss and Legendre): asked for in the middle only,
# paths leap over what opposes them
NODES, WEIGHTS = (np.polynomial.legendre.leggauss(4) + np.array([[1], [0]])) / 2


class Course(NamedTuple):
    """A path in time.

    times : (n_points,), from 0, negative where it leads back.   places : (n_points, n_dims).
    ends_at_rest : bool, whether the field stands still there; False where time was up.
    """

    times: np.ndarray
    places: np.ndarray
    ends_at_rest: bool


class ActionPath(NamedTuple):
    """The path of least action between two places.

    places : (n_points, n_dims).   duration : float, time from end to end.   action : float, at least 0.
    converged : bool.
    """

    places: np.ndarray
    duration: float
    action: float
    converged: bool


def follow(velocity, start, *, speed, duration, n_points=100, backwards=False):
    """`Course` of the field from a place, with error control, by an implicit or explicit method as it needs.

    start : (n_dims,).   speed : what is usual: where the field is slower than a hundredth of it, the course ends.
    duration : time after which it ends at the latest, > 0.   backwards : against the flow.
    n_points : of the returned course, evenly spaced in its length.
    """
    sign = -1.0 if backwards else 1.0
    start = np.asarray(start, dtype=np.float64)

    def moves(_, x):
        return sign * velocity(x[None])[0]

    def rests(_, x):
        return np.linalg.norm(velocity(x[None])[0]) - AT_REST * speed

    rests.terminal = True
    if rests(0, start) <= 0:
        return Course(np.zeros(1), start[None], True)
    solved = integrate.solve_ivp(
        moves,
        (0, duration),
        start,
        method="LSODA",
        events=rests,
        dense_output=True,
        rtol=RELATIVE,
        atol=ABSOLUTE * speed * duration,
    )
    fine = np.linspace(0, solved.t[-1], 10 * n_points)
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(solved.sol(fine).T, axis=0), axis=1))])
    times = np.interp(np.linspace(0, walked[-1], n_points), walked, fine)
    return Course(sign * times, solved.sol(times).T, solved.status == 1)


def least_action_path(velocity, jacobian, start, end, *, first_guess=None, n_points=25, diffusion=1.0):
    """The path that noise of the given strength takes most likely from one place to another, and how long it takes.

    Minimises S = (1 / 2 D) sum_i |(x_i+1 - x_i) / dt - f|^2 dt, of each step the mean, by places and time step at once:
    for given places the best step is dt = sqrt(sum |dx|^2 / sum |f|^2), which is put in (Freidlin and Wentzell 1984).
    A path from, to or by a place of rest would take for ever: its duration grows with the number of its points.

    start, end : (n_dims,).   first_guess : (n_points, n_dims) between them, by default a straight line.
    n_points : of the path, both ends included.   diffusion : D > 0, in squared unit of the places over time.

    Returns `ActionPath`.  An infinite `duration` and a NaN action where the field is zero all along; no duration and no
    action where both places are one.
    """
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    if first_guess is None:
        first_guess = np.stack([start, end])
    path = evenly_spaced(np.vstack([start, first_guess, end]), n_points)
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    if length == 0:
        return ActionPath(path, 0.0, 0.0, True)
    # of a path across a flow like this one: rules by which a search ends are for numbers without a unit
    usual = length * np.linalg.norm(velocity(path), axis=1).mean() / diffusion
    if usual == 0:
        return ActionPath(path, math.inf, math.nan, False)

    def with_ends(inner):
        return np.vstack([start, start + length * inner.reshape(-1, len(start)), end])

    def scaled(inner):
        value, gradient, _ = action(with_ends(inner), velocity, jacobian, diffusion=diffusion)
        return value / usual, gradient.ravel() * length / usual

    inner = ((path[1:-1] - start) / length).ravel()
    solved = optimize.minimize(scaled, inner, jac=True, method="L-BFGS-B", options=SEARCH)
    path = with_ends(solved.x)
    value, _, step = action(path, velocity, jacobian, diffusion=diffusion)
    return ActionPath(path, step * (n_points - 1), value, bool(solved.success))


def action(path, velocity, jacobian, *, diffusion=1.0):
    """Action of a path (n_points, n_dims) at its best time step, its slope by the inner points, and that step.

    Returns float, (n_points - 2, n_dims) and float.
    """
    steps = np.diff(path, axis=0)
    along, weights = NODES[:, None, None], WEIGHTS[:, None, None]
    places = (path[:-1] + along * steps).reshape(-1, path.shape[1])
    flow = velocity(places).reshape(len(NODES), *steps.shape)
    # where the field is zero any time is too short
    speed = max(math.sqrt(np.sum(weights * flow**2)), math.sqrt(np.finfo(np.float64).tiny))
    step = float(np.linalg.norm(steps)) / speed
    missed = steps / step - flow
    value = 0.5 * step * float(np.sum(weights * missed**2)) / diffusion
    # by the end and by the beginning of each step; by the time step the slope is zero at the best one
    pulled = step * np.einsum("ksd,ksde->kse", missed, jacobian(places).reshape(*flow.shape, -1))
    by_end = np.sum(weights * (missed - along * pulled), axis=0)
    by_beginning = -np.sum(weights * (missed + (1 - along) * pulled), axis=0)
    return value, (by_end[:-1] + by_beginning[1:]) / diffusion, step


def path_among_cells(places, distances, source, target):
    """Numbers of the cells on the shortest path through the neighbour graph, from `source` to `target`; or None.

    distances : CSR (n_cells, n_cells), of neighbours; ways are taken in both directions.
    """
    _, before = sparse.csgraph.dijkstra(distances, directed=False, indices=source, return_predecessors=True)
    path = [target]
    while path[-1] != source:
        path.append(before[path[-1]])
        if path[-1] < 0:
            return None
    return np.array(path[::-1])


def evenly_spaced(path, n_points):
    """Points on a polyline, evenly spaced along it, ends included: (n_points, n_dims)."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    wanted = np.linspace(0, lengths[-1], n_points)
    return np.column_stack([np.interp(wanted, lengths, column) for column in path.T])
