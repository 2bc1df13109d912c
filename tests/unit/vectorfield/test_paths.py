from functools import partial

import numpy as np
import pytest
from scipy import sparse
from support.cells import nearest
from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.paths import (
    REST_SPEED_SHARE,
    evenly_spaced,
    geometric_action,
    integrate_trajectory,
    least_action_path,
    shortest_cell_path,
)
from veloshard.vectorfield.sparsevfc import fit_field, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

# relative error of 1e-6 per integration step, over some tens of steps
TOLERANCE = 2e-5

SPIRAL = np.array([[-0.5, -2.0], [2.0, -0.5]])


def spiral(coordinates):
    return coordinates @ SPIRAL.T


def spiral_solution(start, times):
    """Solution of `spiral`: the radius decays as exp(-t / 2), the angle is 2 t."""
    point = (start[0] + 1j * start[1]) * np.exp((-0.5 + 2j) * np.asarray(times))
    return np.column_stack([point.real, point.imag])


def towards_zero(coordinates):
    return -coordinates


def constant_jacobian(matrix):
    return lambda coordinates: np.tile(matrix, (len(coordinates), 1, 1))


def double_well(coordinates):
    """-grad V with V = x^4 / 4 - x^2 / 2 + y^2 / 2: wells at (-1, 0) and (1, 0), separated by a barrier of 1 / 4."""
    return np.column_stack([coordinates[:, 0] - coordinates[:, 0] ** 3, -coordinates[:, 1]])


def double_well_jacobian(coordinates):
    jacobians = np.zeros((len(coordinates), 2, 2))
    jacobians[:, 0, 0], jacobians[:, 1, 1] = 1 - 3 * coordinates[:, 0] ** 2, -1
    return jacobians


def learned_field(n_dims, seed=0):
    """Velocity and Jacobian of a field of kernels, and cells in it."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(200, n_dims))
    field = fit_field(cells, np.sin(2 * np.roll(cells, 1, axis=1)) - 0.5 * cells, cells[:60]).field
    return partial(velocity_at, field), partial(jacobian, field), cells


def test_a_trajectory_is_the_solution_of_a_linear_field():
    start = np.array([1.0, 0.5])
    trajectory = integrate_trajectory(spiral, start, speed=2.0, duration=1.5)
    assert (trajectory.times[0], trajectory.times[-1]) == (0, 1.5)
    assert trajectory.coordinates.shape == (100, 2)
    np.testing.assert_allclose(trajectory.coordinates, spiral_solution(start, trajectory.times), atol=TOLERANCE)
    assert not trajectory.ends_at_rest


def test_a_trajectory_is_evenly_spaced():
    trajectory = integrate_trajectory(spiral, np.array([1.0, 0.5]), speed=2.0, duration=4.0)
    lengths = np.linalg.norm(np.diff(trajectory.coordinates, axis=0), axis=1)
    # the arc length is computed from ten times as many points
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.02)
    assert (np.diff(trajectory.times) > 0).all()


def test_a_trajectory_ends_where_the_speed_is_a_hundredth_of_the_mean():
    trajectory = integrate_trajectory(towards_zero, np.array([3.0, 4.0]), speed=5.0, duration=100.0)
    assert trajectory.ends_at_rest
    # e^-t = 1 / 100
    assert trajectory.times[-1] == pytest.approx(np.log(1 / REST_SPEED_SHARE), rel=1e-4)
    assert np.linalg.norm(trajectory.coordinates[-1]) == pytest.approx(5 * REST_SPEED_SHARE, rel=1e-4)


def test_a_trajectory_that_starts_at_rest_ends_there():
    trajectory = integrate_trajectory(towards_zero, np.array([0.001, 0]), speed=1.0, duration=10.0)
    assert trajectory.ends_at_rest
    assert not trajectory.times.any()
    np.testing.assert_array_equal(trajectory.coordinates, np.tile([0.001, 0], (100, 1)))


def test_a_stiff_field_takes_few_evaluations():
    calls = []

    def stiff(coordinates):
        calls.append(len(coordinates))
        return coordinates @ np.array([[-1.0, 0], [0, -1e6]])

    trajectory = integrate_trajectory(stiff, np.array([1.0, 1.0]), speed=1.0, duration=2.0)
    # an explicit method needs a million
    assert sum(calls) < 1000
    np.testing.assert_allclose(trajectory.coordinates[:, 0], np.exp(-trajectory.times), atol=TOLERANCE)


def test_a_trajectory_does_not_depend_on_the_unit_of_time():
    start = np.array([1.0, 0.5])
    slow = integrate_trajectory(spiral, start, speed=2.0, duration=1.5)
    fast = integrate_trajectory(lambda x: 1e6 * spiral(x), start, speed=2e6, duration=1.5e-6)
    np.testing.assert_allclose(fast.coordinates, slow.coordinates, atol=TOLERANCE)
    np.testing.assert_allclose(1e6 * fast.times, slow.times, atol=TOLERANCE)


@pytest.mark.parametrize("n_dims", [2, 3, 5])
def test_gradient_of_the_action_equals_central_differences(n_dims):
    velocity, jacobian_at, cells = learned_field(n_dims)
    path, step = cells[:6], 1e-6
    _, gradient = geometric_action(path, velocity, jacobian_at, 0.1)
    for point in range(6):
        for d in range(n_dims):
            change = np.zeros_like(path)
            change[point, d] = step
            above, below = (geometric_action(path + sign * change, velocity, jacobian_at, 0.1)[0] for sign in (1, -1))
            assert gradient[point, d] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-7)


def test_the_action_is_minimal_over_the_duration_of_each_step():
    velocity, jacobian_at, cells = learned_field(2)
    path = cells[:6]
    steps, flow = np.diff(path, axis=0), velocity((path[:-1] + path[1:]) / 2)
    lengths, speeds = np.linalg.norm(steps, axis=1), np.linalg.norm(flow, axis=1)

    def action_of(durations):
        return 0.5 * np.sum(durations[:, None] * (steps / durations[:, None] - flow) ** 2)

    best = lengths / speeds
    assert geometric_action(path, velocity, jacobian_at, 0.0)[0] == pytest.approx(action_of(best), rel=1e-12)
    assert action_of(best) < min(action_of(0.9 * best), action_of(1.1 * best))


def test_a_path_along_the_flow_has_no_action_and_the_duration_of_the_flow():
    start = np.array([1.0, 0.5])
    end = spiral_solution(start, [0.8])[0]
    path = least_action_path(spiral, constant_jacobian(SPIRAL), start, end, n_points=40)
    straight_line = evenly_spaced(np.stack([start, end]), 40)
    straight_action = geometric_action(straight_line, spiral, constant_jacobian(SPIRAL), 0.0)[0]
    assert path.converged
    # error of a polyline of 39 steps: the square of the angle between steps, 0.04
    assert 0 <= path.action < 2e-3 * straight_action
    assert path.times[-1] == pytest.approx(0.8, rel=0.01)
    np.testing.assert_allclose(path.coordinates, spiral_solution(start, path.times), atol=0.01)


@pytest.mark.parametrize("diffusion", [1.0, 7.0])
def test_the_action_against_a_gradient_is_twice_the_potential_difference_over_the_diffusion(diffusion):
    # f = -x is the negative gradient of x^2 / 2: the action up to x is x^2 / D (Freidlin and Wentzell)
    end = np.array([2.0, 0.0])
    path = least_action_path(towards_zero, constant_jacobian(-np.eye(2)), np.zeros(2), end, diffusion=diffusion)
    # no path has a smaller action; the smallest speed, a thousandth of the mean, increases it
    assert path.action == pytest.approx(4 / diffusion, rel=1e-3)
    np.testing.assert_allclose(path.coordinates[:, 1], 0, atol=1e-4)


@pytest.mark.parametrize("bend", [0.0, 0.5])
def test_the_action_between_wells_is_twice_the_barrier(bend):
    x = np.linspace(-1, 1, 15)
    first_guess = np.column_stack([x, bend * (1 - x**2)])
    path = least_action_path(double_well, double_well_jacobian, [-1, 0], [1, 0], first_guess=first_guess, n_points=50)
    # twice 1 / 4 up to the barrier; down from it the action is 0
    assert path.action == pytest.approx(0.5, rel=0.01)
    np.testing.assert_allclose(path.coordinates[:, 1], 0, atol=0.01)


@pytest.mark.parametrize("n_dims", [2, 4])
def test_steps_of_a_path_do_not_skip_parts_with_a_large_action(n_dims):
    velocity, jacobian_at, cells = learned_field(n_dims)
    for start, end in ((cells[4], cells[5]), (cells[6], cells[7])):
        path = least_action_path(velocity, jacobian_at, start, end)
        # the same path with 50 steps per step
        shares = np.linspace(0, 1, 50, endpoint=False)[:, None]
        steps = zip(path.coordinates[:-1], path.coordinates[1:], strict=True)
        dense = np.vstack([*(a + shares * (b - a) for a, b in steps), end])
        dense_action = geometric_action(dense, velocity, jacobian_at, 0.0)[0]
        straight_line = evenly_spaced(np.stack([start, end]), 100)
        straight_action = geometric_action(straight_line, velocity, jacobian_at, 0.0)[0]
        assert path.action < straight_action
        # error of steps of a hundredth of the path
        assert path.action == pytest.approx(dense_action, rel=0.02, abs=0.01 * straight_action)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_a_path_does_not_depend_on_the_units_of_time_and_coordinates(unit):
    velocity, jacobian_at, cells = learned_field(2)
    start, end = cells[:2]
    path = least_action_path(velocity, jacobian_at, start, end)
    fast = least_action_path(lambda x: unit * velocity(x), lambda x: unit * jacobian_at(x), start, end)
    # to the precision of the stopping rules
    np.testing.assert_allclose(fast.coordinates, path.coordinates, atol=1e-3)
    assert fast.action == pytest.approx(unit * path.action, rel=1e-3)
    assert fast.times[-1] == pytest.approx(path.times[-1] / unit, rel=1e-3)
    wide = least_action_path(
        lambda x: unit * velocity(x / unit), lambda x: jacobian_at(x / unit), unit * start, unit * end
    )
    np.testing.assert_allclose(wide.coordinates / unit, path.coordinates, atol=1e-3)
    assert wide.action == pytest.approx(unit**2 * path.action, rel=1e-3)


def test_the_length_penalty_prevents_detours_through_slow_regions():
    # fast on the first axis and slower away from it, so that detours have a smaller action
    def flow(coordinates):
        return np.column_stack([-1 / (1 + coordinates[:, 1] ** 2), np.zeros(len(coordinates))])

    def jacobian_at(coordinates):
        jacobians = np.zeros((len(coordinates), 2, 2))
        jacobians[:, 0, 1] = 2 * coordinates[:, 1] / (1 + coordinates[:, 1] ** 2) ** 2
        return jacobians

    ends = (np.array([0.0, 0.1]), np.array([3.0, 0.1]))
    detour, short = (least_action_path(flow, jacobian_at, *ends, length_penalty=speed) for speed in (0.0, 1.0))
    assert detour.coordinates[:, 1].max() > 2 * short.coordinates[:, 1].max()
    # neither action includes the penalty
    assert detour.action < short.action


def test_points_of_a_path_are_evenly_spaced():
    velocity, jacobian_at, cells = learned_field(2)
    lengths = np.linalg.norm(np.diff(least_action_path(velocity, jacobian_at, *cells[4:6]).coordinates, axis=0), axis=1)
    # chords of points that are evenly spaced by arc length
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.05)


def test_a_path_in_a_field_of_zero_is_straight_and_has_no_action():
    start, end = np.zeros(2), np.ones(2)
    path = least_action_path(np.zeros_like, constant_jacobian(np.zeros((2, 2))), start, end, n_points=5)
    assert path.action == pytest.approx(0, abs=1e-140)
    np.testing.assert_allclose(path.coordinates[2], 0.5)


def test_a_path_where_the_field_decays_is_finite():
    velocity, jacobian_at, _ = learned_field(2)
    path = least_action_path(velocity, jacobian_at, np.full(2, 15.0), np.full(2, 18.0))
    assert np.isfinite(path.coordinates).all()


def test_a_path_from_a_point_to_itself_has_no_length():
    point = np.array([1.0, 2.0])
    path = least_action_path(spiral, constant_jacobian(SPIRAL), point, point, n_points=4)
    assert (path.times[-1], path.action, path.converged) == (0, 0, True)
    np.testing.assert_array_equal(path.coordinates, np.tile(point, (4, 1)))


def test_the_cell_path_is_the_shortest_through_the_neighbor_graph():
    # cells on a line, and a detour
    coordinates = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [1, 5]])
    # each edge is stored in one direction only
    rows, columns = np.array([0, 2, 2, 0, 4]), np.array([1, 1, 3, 4, 3])
    lengths = np.linalg.norm(coordinates[rows] - coordinates[columns], axis=1)
    distances = sparse.csr_matrix((lengths, (rows, columns)), shape=(5, 5))
    assert shortest_cell_path(distances, 0, 3).tolist() == [0, 1, 2, 3]
    assert shortest_cell_path(distances, 3, 0).tolist() == [3, 2, 1, 0]


def test_there_is_no_cell_path_between_disconnected_cells():
    coordinates = np.vstack([np.random.default_rng(0).normal(size=(20, 2)) + center for center in (0, 100)])
    distances = nearest(coordinates, 4)
    assert shortest_cell_path(distances, 0, 30) is None
    assert shortest_cell_path(distances, 7, 7).tolist() == [7]


def test_a_cell_path_uses_edges_of_length_zero():
    distances = sparse.csr_matrix((np.array([1.0, 0.0, 1.0]), ([0, 1, 2], [1, 2, 3])), shape=(4, 4))
    assert shortest_cell_path(distances, 0, 3).tolist() == [0, 1, 2, 3]


def test_points_are_evenly_spaced_along_a_polyline_with_a_corner():
    corner = np.array([[0.0, 0], [3, 0], [3, 1]])
    np.testing.assert_allclose(evenly_spaced(corner, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])


def test_repeated_points_do_not_change_the_spacing():
    path = np.array([[0.0, 0], [0, 0], [3, 0], [3, 0], [3, 0], [3, 1], [3, 1]])
    np.testing.assert_allclose(evenly_spaced(path, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])
    np.testing.assert_array_equal(evenly_spaced(np.ones((3, 2)), 4), np.ones((4, 2)))
