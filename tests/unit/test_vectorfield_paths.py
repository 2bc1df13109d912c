import numpy as np
import pytest
from cells import nearest
from scipy import sparse
from veloshard.vectorfield.paths import (
    AT_REST,
    evenly_spaced,
    follow,
    path_among_cells,
)

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


def test_back_and_forth_is_where_it_began():
    start = np.array([1.0, 0.5])
    back = follow(turning, start, speed=2.0, duration=1.5, backwards=True)
    assert back.times[-1] == -1.5
    np.testing.assert_allclose(back.places, turned(start, back.times), rtol=CLOSE, atol=CLOSE)
    again = follow(turning, back.places[-1], speed=2.0, duration=1.5)
    # what is wrong by the time it is back shrinks on the way
    np.testing.assert_allclose(again.places[-1], start, atol=2 * CLOSE)


def test_a_course_ends_where_the_field_is_a_hundredth_as_fast():
    course = follow(downhill, np.array([3.0, 4.0]), speed=5.0, duration=100.0)
    assert course.ends_at_rest
    # e^-t = 1 / 100
    assert course.times[-1] == pytest.approx(np.log(1 / AT_REST), rel=1e-4)
    assert np.linalg.norm(course.places[-1]) == pytest.approx(5 * AT_REST, rel=1e-4)


def test_a_course_that_begins_at_rest_ends_there():
    course = follow(downhill, np.array([0.001, 0]), speed=1.0, duration=10.0)
    assert course.ends_at_rest
    assert course.times.tolist() == [0]
    assert course.places.tolist() == [[0.001, 0]]


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


def test_the_path_among_cells_is_the_shortest_through_their_neighbors():
    # a row of cells and a detour
    places = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [1, 5]])
    # each pair is stored once, in either direction
    rows, columns = np.array([0, 2, 2, 0, 4]), np.array([1, 1, 3, 4, 3])
    lengths = np.linalg.norm(places[rows] - places[columns], axis=1)
    distances = sparse.csr_matrix((lengths, (rows, columns)), shape=(5, 5))
    assert path_among_cells(places, distances, 0, 3).tolist() == [0, 1, 2, 3]
    assert path_among_cells(places, distances, 3, 0).tolist() == [3, 2, 1, 0]


def test_between_cells_that_nothing_joins_there_is_no_path():
    places = np.vstack([np.random.default_rng(0).normal(size=(20, 2)) + middle for middle in (0, 100)])
    distances = nearest(places, 4)
    assert path_among_cells(places, distances, 0, 30) is None
    assert path_among_cells(places, distances, 7, 7).tolist() == [7]


def test_a_path_leads_over_cells_in_one_place():
    distances = sparse.csr_matrix((np.array([1.0, 0.0, 1.0]), ([0, 1, 2], [1, 2, 3])), shape=(4, 4))
    assert path_among_cells(np.zeros((4, 2)), distances, 0, 3).tolist() == [0, 1, 2, 3]


def test_points_are_evenly_spaced_along_corners():
    corner = np.array([[0.0, 0], [3, 0], [3, 1]])
    np.testing.assert_allclose(evenly_spaced(corner, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])


def test_points_that_come_twice_change_nothing():
    path = np.array([[0.0, 0], [0, 0], [3, 0], [3, 0], [3, 0], [3, 1], [3, 1]])
    np.testing.assert_allclose(evenly_spaced(path, 5), [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])
    np.testing.assert_array_equal(evenly_spaced(np.ones((3, 2)), 4), np.ones((4, 2)))
