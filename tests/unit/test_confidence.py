import naive
import numpy as np
import pytest
from cells import cloud, line, ring, with_threads
from scipy import sparse
from veloshard.confidence import confidence_and_length


def test_confidence_and_length_equal_the_slow_twin():
    _, velocity, distances = cloud()
    coherence = confidence_and_length(velocity, distances)
    confidence, length = naive.confidence_and_length(velocity, distances)
    # single precision in, double precision from there on
    np.testing.assert_allclose(coherence.confidence, confidence, atol=1e-12)
    np.testing.assert_allclose(coherence.length, length, rtol=1e-12)


def test_parallel_velocities_have_confidence_one():
    _, velocity, distances = line()
    np.testing.assert_allclose(confidence_and_length(velocity, distances).confidence, 1, rtol=1e-12)


def test_confidence_on_a_ring_is_the_cosine_of_the_angle_between_neighbors():
    _, velocity, distances = ring()
    # six neighbours, one to three steps of 1/80 turn away
    expected = np.cos(2 * np.pi / 80 * np.array([1, 2, 3])).mean()
    np.testing.assert_allclose(confidence_and_length(velocity, distances).confidence, expected, atol=1e-6)


def test_opposed_neighbors_give_confidence_zero():
    _, velocity, distances = line(n_cells=10, n_neighbors=2)
    velocity[4] *= -1
    assert confidence_and_length(velocity, distances).confidence[4] == 0


def test_a_zero_velocity_counts_as_no_agreement():
    _, velocity, distances = line(n_cells=10, n_neighbors=2)
    velocity[4] = 0
    coherence = confidence_and_length(velocity, distances)
    assert coherence.length[4] == 0
    assert coherence.confidence[4] == 0
    assert coherence.confidence[5] == pytest.approx(0.5)


def test_a_cell_without_neighbors_has_no_confidence():
    _, velocity, _ = line(n_cells=3, n_neighbors=2)
    neighbors = sparse.csr_matrix(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    confidence = confidence_and_length(velocity, neighbors).confidence
    assert np.isnan(confidence).tolist() == [False, False, True]


def test_confidence_and_length_have_the_same_bits_on_any_number_of_threads():
    _, velocity, distances = cloud(n_genes=131)
    one, two = (with_threads(n, confidence_and_length, velocity, distances) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()
