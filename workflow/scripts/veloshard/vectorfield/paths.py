"""Where a field carries a cell, and how a cell gets where the field does not carry it.

Fields are functions, as in `topography`.
"""

from typing import NamedTuple

import numpy as np
from scipy import integrate, optimize, sparse

# the field is at rest where it is slower than this share of its mean speed over the cells
AT_REST = 1e-2

# of an integration, relative to the field and to its extent
RELATIVE, ABSOLUTE = 1e-6, 1e-8

# a path counts as no faster than this share of the mean speed on the first guess
SLOWEST = 1e-3

# points of a path that is sought first, steps downhill until points are spread again, rounds of that at most, and the
# share by which the action falls in a round that is not the last
COARSE, STEPS_OF_ROUND, MOST_ROUNDS, FALLS_BY = 20, 10, 50, 3e-3


class Course(NamedTuple):
    """A path in time.

    times : (n_points,), from 0.   places : (n_points, n_dims).
    ends_at_rest : bool, whether the field stands still there; False where time was up.
    """

    times: np.ndarray
    places: np.ndarray
    ends_at_rest: bool


class ActionPath(NamedTuple):
    """The path of least action between two places.

    times : (n_points,), from 0, at the field's speed.   places : (n_points, n_dims), evenly spaced.
    action : float, at least 0 but for rounding.   converged : bool.
    """

    times: np.ndarray
    places: np.ndarray
    action: float
    converged: bool


def follow(velocity, start, *, speed, duration, n_points=100):
    """`Course` of the field from a place, with error control, by an implicit or explicit method as it needs.

    start : (n_dims,).   speed : what is usual: where the field is slower than a hundredth of it, the course ends.
    duration : time after which it ends at the latest, > 0.
    n_points : of the returned course, evenly spaced in its length.
    """
    start = np.asarray(start, dtype=np.float64)

    def moves(_, x):
        return velocity(x[None])[0]

    def rests(_, x):
        return np.linalg.norm(velocity(x[None])[0]) - AT_REST * speed

    rests.terminal = True
    if rests(0, start) <= 0:
        return Course(np.zeros(n_points), np.tile(start, (n_points, 1)), True)
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
    return Course(times, solved.sol(times).T, solved.status == 1)


def least_action_path(velocity, jacobian, start, end, *, first_guess=None, n_points=60, diffusion=1.0, charge=0.0):
    """The path that noise of the given strength takes most likely from one place to another, however long that takes.

    Minimises the geometric action S = (1 / D) int |f| |dx| - f . dx, which is that of Freidlin and Wentzell at the
    speed |f|, the best one everywhere (Heymann and Vanden-Eijnden 2008).  By rounds: some steps downhill, then points
    are spread evenly along the path again, without which they leap over what is costly; with few points first.

    start, end : (n_dims,).   first_guess : (n_guessed, n_dims) between them, by default a straight line.
    n_points : of the path, both ends included.   diffusion : D > 0, in squared unit of the places over time.
    charge : a speed that is added in quadrature to |f| in the search, and not in the action that is returned: where the
        field is slow a detour costs nothing, and with it its length.
    """
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    path = np.vstack([start, *([] if first_guess is None else [first_guess]), end])
    # where the field stands still a path would take for ever
    slowest = SLOWEST * np.mean(np.linalg.norm(velocity(evenly_spaced(path, n_points)), axis=1))
    # whose square is still a number
    slowest = max(slowest, 1e-150)
    for fineness in sorted({min(n_points, COARSE), n_points}):
        path, converged = _relaxed(evenly_spaced(path, fineness), velocity, jacobian, max(charge, slowest))
    steps, flow = np.diff(path, axis=0), velocity((path[:-1] + path[1:]) / 2)
    speeds = np.sqrt(np.einsum("sd,sd->s", flow, flow) + slowest**2)
    times = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1) / speeds)])
    action, _ = geometric_action(path, velocity, jacobian, slowest)
    return ActionPath(times, path, action / diffusion, converged)


def geometric_action(path, velocity, jacobian, slowest):
    """D S of a polyline (n_points, n_dims), and its gradient, the same shape; the field counts at the middles of steps.

    slowest : speed that is added in quadrature to |f|, so that there is a gradient where the field is zero.
    """
    steps, middles = np.diff(path, axis=0), (path[:-1] + path[1:]) / 2
    flow = velocity(middles)
    speeds = np.sqrt(np.einsum("sd,sd->s", flow, flow) + slowest**2)[:, None]
    lengths = np.linalg.norm(steps, axis=1)[:, None]
    by_step = np.divide(speeds * steps, lengths, out=np.zeros_like(steps), where=lengths > 0) - flow
    by_middle = np.einsum("sd,sde->se", flow * lengths / speeds - steps, jacobian(middles))
    gradient = np.zeros_like(path)
    gradient[:-1] += by_middle / 2 - by_step
    gradient[1:] += by_middle / 2 + by_step
    return float(np.sum(speeds * lengths) - np.vdot(flow, steps)), gradient


def _relaxed(path, velocity, jacobian, slowest):
    """A path of less action between the same ends, its points evenly spaced; and whether that hardly falls."""
    first, last = path[0], path[-1]
    # rules by which a search ends are for numbers without a unit
    length = max(np.sum(np.linalg.norm(np.diff(path, axis=0), axis=1)), np.finfo(np.float64).tiny)
    usual = max(length * np.linalg.norm(velocity(path), axis=1).mean(), 1e-150)

    def with_ends(inner):
        return np.vstack([first, first + length * inner.reshape(-1, len(first)), last])

    def scaled(inner):
        action, gradient = geometric_action(with_ends(inner), velocity, jacobian, slowest)
        return action / usual, gradient[1:-1].ravel() * (length / usual)

    action, converged = geometric_action(path, velocity, jacobian, slowest)[0], False
    for _ in range(MOST_ROUNDS):
        if converged:
            break
        inner = ((path[1:-1] - first) / length).ravel()
        solved = optimize.minimize(scaled, inner, jac=True, method="L-BFGS-B", options={"maxiter": STEPS_OF_ROUND})
        moved = evenly_spaced(with_ends(solved.x), len(path))
        after = geometric_action(moved, velocity, jacobian, slowest)[0]
        # spreading the points may cost what the steps have gained
        converged = after >= (1 - FALLS_BY) * action
        if after < action:
            path, action = moved, after
    return path, converged


def path_among_cells(distances, source, target):
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
