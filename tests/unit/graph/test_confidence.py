import numpy as np
import pytest
from scipy import sparse
from support import naive
from support.cells import cloud, line, ring, with_threads
from veloshard.graph.confidence import compute_confidence


def test_confidence_and_length_equal_the_naive_twin():
    _, velocity, distances = cloud()
    confidence, length = compute_confidence(velocity, distances)
    expected_confidence, expected_length = naive.confidence_and_length(velocity, distances)
    # velocities are in single precision, all computations in double precision
    np.testing.assert_allclose(confidence, expected_confidence, atol=1e-12)
    np.testing.assert_allclose(length, expected_length, rtol=1e-12)


def test_parallel_velocities_have_confidence_one():
    _, velocity, distances = line()
    np.testing.assert_allclose(compute_confidence(velocity, distances).confidence, 1, rtol=1e-12)


def test_confidence_on_a_ring_is_the_cosine_of_the_angle_between_neighbors():
    _, velocity, distances = ring()
    # six neighbors at one to three steps of 1/80 of the circle
    expected = np.cos(2 * np.pi / 80 * np.array([1, 2, 3])).mean()
    np.testing.assert_allclose(compute_confidence(velocity, distances).confidence, expected, atol=1e-6)


def test_velocity_opposite_to_its_neighbors_has_confidence_zero():
    _, velocity, distances = line(n_cells=10, n_neighbors=2)
    velocity[4] *= -1
    assert compute_confidence(velocity, distances).confidence[4] == 0


def test_correlation_with_a_zero_velocity_counts_as_zero():
    _, velocity, distances = line(n_cells=10, n_neighbors=2)
    velocity[4] = 0
    confidence, length = compute_confidence(velocity, distances)
    assert length[4] == 0
    assert confidence[4] == 0
    assert confidence[5] == pytest.approx(0.5)


def test_confidence_of_a_cell_without_neighbors_is_nan():
    _, velocity, _ = line(n_cells=3, n_neighbors=2)
    neighbors = sparse.csr_matrix(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    confidence = compute_confidence(velocity, neighbors).confidence
    assert np.isnan(confidence).tolist() == [False, False, True]


def test_confidence_and_length_are_bitwise_identical_on_any_number_of_threads():
    _, velocity, distances = cloud(n_genes=131)
    one, two = (with_threads(n, compute_confidence, velocity, distances) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()
