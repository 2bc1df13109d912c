"""Trajectories along a vector field, and least action paths between two points.

Vector fields are functions, as in `topography`.
"""

from typing import NamedTuple

import numpy as np
from scipy import integrate, optimize, sparse

# a field is at rest where it is slower than this share of its mean speed over the cells
REST_SPEED_SHARE = 1e-2

# error tolerances of the integration; the absolute one in units of mean speed x duration
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-6, 1e-8

# smallest speed on a path, as a share of the mean speed on the first guess
MIN_SPEED_SHARE = 1e-3

# The search uses this many points first. A round is this many minimization steps, after which points are spaced evenly.
# The search ends after the largest number of rounds, or if the action decreases by less than this share in a round.
COARSE_POINTS, STEPS_PER_ROUND, MAX_ROUNDS, MIN_DECREASE = 20, 10, 50, 3e-3


class Trajectory(NamedTuple):
    """Trajectory of a vector field.

    Attributes
    ----------
    times : ndarray of float64, shape (n_points,)
        Times from 0.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Coordinates at these times.
    ends_at_rest : bool
        Whether the trajectory ended because the field is at rest; False if it ended at the largest duration.
    """

    times: np.ndarray
    coordinates: np.ndarray
    ends_at_rest: bool


class LeastActionPath(NamedTuple):
    """Least action path between two points.

    Attributes
    ----------
    times : ndarray of float64, shape (n_points,)
        Times from 0, at the speed of the field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Evenly spaced points of the path.
    action : float
        Action of the path, at least 0 except for rounding.
    converged : bool
        Whether the search converged.
    """

    times: np.ndarray
    coordinates: np.ndarray
    action: float
    converged: bool


def integrate_trajectory(velocity, start, *, speed, duration, n_points=100):
    """Return the trajectory of a vector field from a starting point.

    The integration controls its error and switches between an explicit and an implicit method (LSODA).

    Parameters
    ----------
    velocity : callable
        Function of coordinates (n_points, n_dims) that returns velocities of the same shape.
    start : array_like of float, shape (n_dims,)
        The starting point.
    speed : float
        Mean speed of the field over the cells. The trajectory ends where the field is slower than a hundredth of it.
    duration : float
        Largest duration of the trajectory, above 0.
    n_points : int
        Number of points returned, evenly spaced along the trajectory.

    Returns
    -------
    Trajectory
        Times and coordinates of the points.
    """
    start = np.asarray(start, dtype=np.float64)

    def derivative(_, x):
        return velocity(x[None])[0]

    def speed_above_rest(_, x):
        return np.linalg.norm(velocity(x[None])[0]) - REST_SPEED_SHARE * speed

    speed_above_rest.terminal = True
    if speed_above_rest(0, start) <= 0:
        return Trajectory(np.zeros(n_points), np.tile(start, (n_points, 1)), True)
    solution = integrate.solve_ivp(
        derivative,
        (0, duration),
        start,
        method="LSODA",
        events=speed_above_rest,
        dense_output=True,
        rtol=RELATIVE_TOLERANCE,
        atol=ABSOLUTE_TOLERANCE * speed * duration,
    )
    fine_times = np.linspace(0, solution.t[-1], 10 * n_points)
    step_lengths = np.linalg.norm(np.diff(solution.sol(fine_times).T, axis=0), axis=1)
    arc_lengths = np.concatenate([[0], np.cumsum(step_lengths)])
    times = np.interp(np.linspace(0, arc_lengths[-1], n_points), arc_lengths, fine_times)
    return Trajectory(times, solution.sol(times).T, solution.status == 1)


def least_action_path(
    velocity, jacobian, start, end, *, first_guess=None, n_points=60, diffusion=1.0, length_penalty=0.0
):
    """Return the most likely path of weak noise from one point to another, at any duration.

    Minimizes the geometric action ``S = (1 / D) int |f| |dx| - f . dx``. It is the Freidlin-Wentzell action at the
    speed ``|f|``, which is the optimal one everywhere (Heymann and Vanden-Eijnden 2008). The search alternates between
    minimization steps and even spacing of the points; without it, points would skip the parts of a path with a large
    action. It starts with few points.

    Parameters
    ----------
    velocity : callable
        Function of coordinates (n_points, n_dims) that returns velocities of the same shape.
    jacobian : callable
        Function of coordinates (n_points, n_dims) that returns Jacobians (n_points, n_dims, n_dims).
    start, end : array_like of float, shape (n_dims,)
        Both ends of the path.
    first_guess : ndarray of float64, shape (n_guess_points, n_dims), optional
        Points between the ends from which the search starts. The default is a straight line.
    n_points : int
        Number of points of the path, including both ends.
    diffusion : float
        Diffusion coefficient D, above 0, in unit of the coordinates squared / unit of time.
    length_penalty : float
        Speed added in quadrature to ``|f|`` in the search, but not in the returned action. Without it, detours are free
        where the field is slow; with it, their length adds to the action.

    Returns
    -------
    LeastActionPath
        Times and coordinates of the points, and the action.
    """
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    path = np.vstack([start, *([] if first_guess is None else [first_guess]), end])
    # without a smallest speed, times would be infinite where the field is zero
    min_speed = MIN_SPEED_SHARE * np.mean(np.linalg.norm(velocity(evenly_spaced(path, n_points)), axis=1))
    # the square of a smaller one underflows
    min_speed = max(min_speed, 1e-150)
    for resolution in sorted({min(n_points, COARSE_POINTS), n_points}):
        path, converged = _minimize_action(
            evenly_spaced(path, resolution), velocity, jacobian, max(length_penalty, min_speed)
        )
    steps, flow = np.diff(path, axis=0), velocity((path[:-1] + path[1:]) / 2)
    speeds = np.sqrt(np.einsum("sd,sd->s", flow, flow) + min_speed**2)
    times = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1) / speeds)])
    action, _ = geometric_action(path, velocity, jacobian, min_speed)
    return LeastActionPath(times, path, action / diffusion, converged)


def geometric_action(path, velocity, jacobian, min_speed):
    """Return D times the geometric action of a polyline, and its gradient.

    The field is evaluated at the midpoints of the steps.

    Parameters
    ----------
    path : ndarray of float64, shape (n_points, n_dims)
        Points of the polyline.
    velocity : callable
        As in `least_action_path`.
    jacobian : callable
        As in `least_action_path`.
    min_speed : float
        Speed added in quadrature to ``|f|``, so that the gradient exists where the field is zero.

    Returns
    -------
    action : float
        D times the action.
    gradient : ndarray of float64, shape (n_points, n_dims)
        Its derivative with respect to the points.
    """
    steps, midpoints = np.diff(path, axis=0), (path[:-1] + path[1:]) / 2
    flow = velocity(midpoints)
    speeds = np.sqrt(np.einsum("sd,sd->s", flow, flow) + min_speed**2)[:, None]
    lengths = np.linalg.norm(steps, axis=1)[:, None]
    by_step = np.divide(speeds * steps, lengths, out=np.zeros_like(steps), where=lengths > 0) - flow
    by_midpoint = np.einsum("sd,sde->se", flow * lengths / speeds - steps, jacobian(midpoints))
    gradient = np.zeros_like(path)
    gradient[:-1] += by_midpoint / 2 - by_step
    gradient[1:] += by_midpoint / 2 + by_step
    return float(np.sum(speeds * lengths) - np.vdot(flow, steps)), gradient


def _minimize_action(path, velocity, jacobian, min_speed):
    """Return an evenly spaced path of smaller action between the same ends, and whether the search converged."""
    first, last = path[0], path[-1]
    # scales: the stopping rules of the minimizer are for dimensionless numbers
    length = max(np.sum(np.linalg.norm(np.diff(path, axis=0), axis=1)), np.finfo(np.float64).tiny)
    action_scale = max(length * np.linalg.norm(velocity(path), axis=1).mean(), 1e-150)

    def with_ends(scaled_points):
        return np.vstack([first, first + length * scaled_points.reshape(-1, len(first)), last])

    def scaled_action(scaled_points):
        action, gradient = geometric_action(with_ends(scaled_points), velocity, jacobian, min_speed)
        return action / action_scale, gradient[1:-1].ravel() * (length / action_scale)

    action, converged = geometric_action(path, velocity, jacobian, min_speed)[0], False
    for _ in range(MAX_ROUNDS):
        if converged:
            break
        scaled_points = ((path[1:-1] - first) / length).ravel()
        minimum = optimize.minimize(
            scaled_action, scaled_points, jac=True, method="L-BFGS-B", options={"maxiter": STEPS_PER_ROUND}
        )
        new_path = evenly_spaced(with_ends(minimum.x), len(path))
        new_action = geometric_action(new_path, velocity, jacobian, min_speed)[0]
        # even spacing can increase the action by as much as the steps have decreased it
        converged = new_action >= (1 - MIN_DECREASE) * action
        if new_action < action:
            path, action = new_path, new_action
    return path, converged


def shortest_cell_path(distances, source, target):
    """Return the cells on the shortest path through the neighbor graph.

    Parameters
    ----------
    distances : scipy.sparse.csr_matrix, shape (n_cells, n_cells)
        Distances of the neighbors; edges are used in both directions.
    source, target : int
        First and last cell of the path.

    Returns
    -------
    ndarray of int, or None
        Indices of the cells from `source` to `target`; None if the graph does not connect them.
    """
    _, predecessors = sparse.csgraph.dijkstra(distances, directed=False, indices=source, return_predecessors=True)
    path = [target]
    while path[-1] != source:
        path.append(predecessors[path[-1]])
        if path[-1] < 0:
            return None
    return np.array(path[::-1])


def evenly_spaced(path, n_points):
    """Return points that are evenly spaced along a polyline.

    Parameters
    ----------
    path : ndarray of float64, shape (n_path_points, n_dims)
        Points of the polyline.
    n_points : int
        Number of points to return, including both ends.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims)
        The points, from the first to the last point of `path`.
    """
    arc_lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at_lengths = np.linspace(0, arc_lengths[-1], n_points)
    return np.column_stack([np.interp(at_lengths, arc_lengths, column) for column in path.T])
