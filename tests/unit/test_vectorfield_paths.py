from functools import partial

import numpy as np
import pytest
from cells import nearest
from scipy import sparse
from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.paths import (
    AT_REST,
    evenly_spaced,
    follow,
    geometric_action,
    least_action_path,
    path_among_cells,
)
from veloshard.vectorfield.sparsevfc import fit_field, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

# of an integration with relative errors of 1e-6 a step, over some tens of steps
CLOSE = 2e-5

TURNING = np.array([[-0.5, -2.0], [2.0, -0.5]])


def turning(places):
    return places @ TURNING.T


def turned(start, times):
    """Where `turning` carries a place: inwards by exp(-t / 2), around by 2 t."""
    place = (start[0] + 1j * start[1]) * np.exp((-0.5 + 2j) * np.asarray(times))
    return np.column_stack([place.real, place.imag])


def downhill(places):
    return -places


def same_slope(matrix):
    return lambda places: np.tile(matrix, (len(places), 1, 1))


def two_wells(places):
    """-V' of V = x^4 / 4 - x^2 / 2 + y^2 / 2: wells at (-1, 0) and (1, 0), between them a pass 1 / 4 high."""
    return np.column_stack([places[:, 0] - places[:, 0] ** 3, -places[:, 1]])


def two_wells_slope(places):
    found = np.zeros((len(places), 2, 2))
    found[:, 0, 0], found[:, 1, 1] = 1 - 3 * places[:, 0] ** 2, -1
    return found


def wavy(n_dims, seed=0):
    """A field of kernels through arrows without a common aim, and cells in it."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(200, n_dims))
    field = fit_field(cells, np.sin(2 * np.roll(cells, 1, axis=1)) - 0.5 * cells, cells[:60]).field
    return partial(velocity_at, field), partial(jacobian, field), cells


def test_a_course_is_the_solution_of_a_linear_field():
    start = np.array([1.0, 0.5])
    course = follow(turning, start, speed=2.0, duration=1.5)
    assert (course.times[0], course.times[-1]) == (0, 1.5)
    assert course.places.shape == (100, 2)
    np.testing.assert_allclose(course.places, turned(start, course.times), atol=CLOSE)
    assert not course.ends_at_rest


def test_a_course_is_evenly_spaced_in_its_length():
    course = follow(turning, np.array([1.0, 0.5]), speed=2.0, duration=4.0)
    lengths = np.linalg.norm(np.diff(course.places, axis=0), axis=1)
    # of a path that is looked at ten times as often as it has points
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.02)
    assert (np.diff(course.times) > 0).all()


def test_a_course_ends_where_the_field_is_a_hundredth_as_fast():
    course = follow(downhill, np.array([3.0, 4.0]), speed=5.0, duration=100.0)
    assert course.ends_at_rest
    # e^-t = 1 / 100
    assert course.times[-1] == pytest.approx(np.log(1 / AT_REST), rel=1e-4)
    assert np.linalg.norm(course.places[-1]) == pytest.approx(5 * AT_REST, rel=1e-4)


def test_a_course_that_begins_at_rest_ends_there():
    course = follow(downhill, np.array([0.001, 0]), speed=1.0, duration=10.0)
    assert course.ends_at_rest
    assert not course.times.any()
    np.testing.assert_array_equal(course.places, np.tile([0.001, 0], (100, 1)))


def test_a_stiff_field_takes_few_evaluations():
    calls = []

    def stiff(places):
        calls.append(len(places))
        return places @ np.array([[-1.0, 0], [0, -1e6]])

    course = follow(stiff, np.array([1.0, 1.0]), speed=1.0, duration=2.0)
    # an explicit method takes a million
    assert sum(calls) < 1000
    np.testing.assert_allclose(course.places[:, 0], np.exp(-course.times), atol=CLOSE)


def test_a_course_does_not_depend_on_the_unit_of_time():
    start = np.array([1.0, 0.5])
    slow = follow(turning, start, speed=2.0, duration=1.5)
    fast = follow(lambda x: 1e6 * turning(x), start, speed=2e6, duration=1.5e-6)
    np.testing.assert_allclose(fast.places, slow.places, atol=CLOSE)
    np.testing.assert_allclose(1e6 * fast.times, slow.times, atol=CLOSE)


@pytest.mark.parametrize("n_dims", [2, 3, 5])
def test_slope_of_the_action_is_what_differences_tell(n_dims):
    velocity, slope, cells = wavy(n_dims)
    path, step = cells[:6], 1e-6
    _, gradient = geometric_action(path, velocity, slope, 0.1)
    for point in range(6):
        for d in range(n_dims):
            way = np.zeros_like(path)
            way[point, d] = step
            ahead, behind = (geometric_action(path + side * way, velocity, slope, 0.1)[0] for side in (1, -1))
            assert gradient[point, d] == pytest.approx((ahead - behind) / (2 * step), rel=1e-6, abs=1e-7)


def test_the_action_is_that_at_the_best_speed_of_each_step():
    velocity, slope, cells = wavy(2)
    path = cells[:6]
    steps, flow = np.diff(path, axis=0), velocity((path[:-1] + path[1:]) / 2)
    lengths, speeds = np.linalg.norm(steps, axis=1), np.linalg.norm(flow, axis=1)

    def at(times):
        return 0.5 * np.sum(times[:, None] * (steps / times[:, None] - flow) ** 2)

    best = lengths / speeds
    assert geometric_action(path, velocity, slope, 0.0)[0] == pytest.approx(at(best), rel=1e-12)
    assert at(best) < min(at(0.9 * best), at(1.1 * best))


def test_a_path_along_the_flow_has_no_action_and_takes_its_time():
    start = np.array([1.0, 0.5])
    end = turned(start, [0.8])[0]
    found = least_action_path(turning, same_slope(TURNING), start, end, n_points=40)
    across = geometric_action(evenly_spaced(np.stack([start, end]), 40), turning, same_slope(TURNING), 0.0)[0]
    assert found.converged
    # corners of a path of 39 pieces: the square of what a piece turns by, 0.04
    assert 0 <= found.action < 2e-3 * across
    assert found.times[-1] == pytest.approx(0.8, rel=0.01)
    np.testing.assert_allclose(found.places, turned(start, found.times), atol=0.01)


@pytest.mark.parametrize("diffusion", [1.0, 7.0])
def test_the_way_up_costs_twice_the_height_over_the_diffusion(diffusion):
    # f = -x is the slope of x^2 / 2: up to x it is x^2 / D (Freidlin and Wentzell), by a path x e^t from minus infinity
    top = np.array([2.0, 0.0])
    found = least_action_path(downhill, same_slope(-np.eye(2)), np.zeros(2), top, diffusion=diffusion)
    # no path has less, and one is a thousandth slower than the field at its mean
    assert found.action == pytest.approx(4 / diffusion, rel=1e-3)
    np.testing.assert_allclose(found.places[:, 1], 0, atol=1e-4)


@pytest.mark.parametrize("bend", [0.0, 0.5])
def test_the_way_from_well_to_well_costs_the_pass_between_them(bend):
    along = np.linspace(-1, 1, 15)
    guess = np.column_stack([along, bend * (1 - along**2)])
    found = least_action_path(two_wells, two_wells_slope, [-1, 0], [1, 0], first_guess=guess, n_points=50)
    # twice 1 / 4: down is free
    assert found.action == pytest.approx(0.5, rel=0.01)
    np.testing.assert_allclose(found.places[:, 1], 0, atol=0.01)


@pytest.mark.parametrize("n_dims", [2, 4])
def test_a_path_never_leaps_over_what_opposes_it(n_dims):
    velocity, slope, cells = wavy(n_dims)
    for start, end in ((cells[4], cells[5]), (cells[6], cells[7])):
        found = least_action_path(velocity, slope, start, end)
        # the same path with each step in fifty: places between the points have no way to be left out
        shares = np.linspace(0, 1, 50, endpoint=False)[:, None]
        dense = np.vstack(
            [*(a + shares * (b - a) for a, b in zip(found.places[:-1], found.places[1:], strict=True)), end]
        )
        straight = geometric_action(evenly_spaced(np.stack([start, end]), 100), velocity, slope, 0.0)[0]
        assert found.action < straight
        # corners of pieces a hundredth of the path long
        assert found.action == pytest.approx(
            geometric_action(dense, velocity, slope, 0.0)[0], rel=0.02, abs=0.01 * straight
        )


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_a_path_depends_neither_on_the_unit_of_time_nor_on_that_of_places(unit):
    velocity, slope, cells = wavy(2)
    start, end = cells[:2]
    found = least_action_path(velocity, slope, start, end)
    fast = least_action_path(lambda x: unit * velocity(x), lambda x: unit * slope(x), start, end)
    # to what ends a search
    np.testing.assert_allclose(fast.places, found.places, atol=1e-3)
    assert fast.action == pytest.approx(unit * found.action, rel=1e-3)
    assert fast.times[-1] == pytest.approx(found.times[-1] / unit, rel=1e-3)
    wide = least_action_path(lambda x: unit * velocity(x / unit), lambda x: slope(x / unit), unit * start, unit * end)
    np.testing.assert_allclose(wide.places / unit, found.places, atol=1e-3)
    assert wide.action == pytest.approx(unit**2 * found.action, rel=1e-3)


def test_a_charge_spares_detours_through_what_is_slow():
    # fast along the first axis, and slower the farther from it, so that ways aside cost less and less
    def flow(places):
        return np.column_stack([-1 / (1 + places[:, 1] ** 2), np.zeros(len(places))])

    def slope(places):
        found = np.zeros((len(places), 2, 2))
        found[:, 0, 1] = 2 * places[:, 1] / (1 + places[:, 1] ** 2) ** 2
        return found

    ends = (np.array([0.0, 0.1]), np.array([3.0, 0.1]))
    aside, near = (least_action_path(flow, slope, *ends, charge=charge) for charge in (0.0, 1.0))
    assert aside.places[:, 1].max() > 2 * near.places[:, 1].max()
    # both actions are those without the charge
    assert aside.action < near.action


def test_points_of_a_path_are_evenly_spaced():
    velocity, slope, cells = wavy(2)
    lengths = np.linalg.norm(np.diff(least_action_path(velocity, slope, *cells[4:6]).places, axis=0), axis=1)
    # chords of a path that was spread by its arcs
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.05)


def test_a_path_where_nothing_flows_is_straight_and_costs_nothing():
    start, end = np.zeros(2), np.ones(2)
    found = least_action_path(np.zeros_like, same_slope(np.zeros((2, 2))), start, end, n_points=5)
    assert found.action == pytest.approx(0, abs=1e-140)
    np.testing.assert_allclose(found.places[2], 0.5)


def test_a_path_where_a_field_dies_away_is_made_of_numbers():
    velocity, slope, _ = wavy(2)
    found = least_action_path(velocity, slope, np.full(2, 15.0), np.full(2, 18.0))
    assert np.isfinite(found.places).all()


def test_a_path_from_a_place_to_itself_is_none():
    place = np.array([1.0, 2.0])
    found = least_action_path(turning, same_slope(TURNING), place, place, n_points=4)
    assert (found.times[-1], found.action, found.converged) == (0, 0, True)
    np.testing.assert_array_equal(found.places, np.tile(place, (4, 1)))


def test_the_path_among_cells_is_the_shortest_through_their_neighbors():
    # a row of cells and a detour
    places = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [1, 5]])
    # each pair is stored once, in either direction
    rows, columns = np.array([0, 2, 2, 0, 4]), np.array([1, 1, 3, 4, 3])
    lengths = np.linalg.norm(places[rows] - places[columns], axis=1)
    distances = sparse.csr_matrix((lengths, (rows, columns)), shape=(5, 5))
    assert path_among_cells(distances, 0, 3).tolist() == [0, 1, 2, 3]
    assert path_among_cells(distances, 3, 0).tolist() == [3, 2, 1, 0]


def test_between_cells_that_nothing_joins_there_is_no_path():
    places = np.vstack([np.random.default_rng(0).normal(size=(20, 2)) + middle for middle in (0, 100)])
    distances = nearest(places, 4)
    assert path_among_cells(distances, 0, 30) is None
    assert path_among_cells(distances, 7, 7).tolist() == [7]


def test_a_path_leads_over_cells_in_one_place():
    distances = sparse.csr_matrix((np.array([1.0, 0.0, 1.0]), ([0, 1, 2], [1, 2, 3])), shape=(4, 4))
    assert path_among_cells(distances, 0, 3).tolist() == [0, 1, 2, 3]


def test_points_are_evenly_spaced_along_corners():
    corner = np.array([[0.0, 0], [3, 0], [3, 1]])
    np.testing.assert_allclose(evenly_spaced(corner, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])


def test_points_that_come_twice_change_nothing():
    path = np.array([[0.0, 0], [0, 0], [3, 0], [3, 0], [3, 0], [3, 1], [3, 1]])
    np.testing.assert_allclose(evenly_spaced(path, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])
    np.testing.assert_array_equal(evenly_spaced(np.ones((3, 2)), 4), np.ones((4, 2)))
