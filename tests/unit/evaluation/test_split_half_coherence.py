import numpy as np
import pytest
from support.cells import cloud, nearest, ring
from veloshard.evaluation.split_half_coherence import split_half_coherence
from veloshard.graph.confidence import compute_confidence


def compute_coherence(moments, velocity, distances=None, seed=0):
    distances = nearest(moments, 15) if distances is None else distances
    arrays = [np.ascontiguousarray(values, dtype=np.float32) for values in (moments, velocity)]
    return split_half_coherence(*arrays, distances, rng=np.random.default_rng(seed))


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_cells_that_move_around_a_ring_have_a_high_coherence():
    assert compute_coherence(*ring(n_genes=60)) > 0.98


def test_independent_random_velocities_have_a_coherence_near_zero():
    moments, velocity, distances = cloud(n_cells=500, n_genes=200, n_neighbors=15)
    # standard deviation 0.005 for 500 cells with about 100 neighbors each
    assert abs(compute_coherence(moments, velocity, distances)) < 0.03


def test_one_random_velocity_of_all_cells_has_confidence_one_and_a_coherence_near_zero(rng):
    moments = rng.normal(size=(500, 200))
    velocity = np.tile(rng.normal(size=200), (500, 1)).astype(np.float32)
    distances = nearest(moments, 15)
    assert compute_confidence(velocity, distances).confidence.min() > 0.999
    # all cells share the velocity of a half, so that the standard deviation over random halves is 0.06
    assert abs(np.mean([compute_coherence(moments, velocity, distances, seed) for seed in range(5)])) < 0.1


def test_velocities_back_to_the_neighbors_have_a_coherence_near_zero(rng):
    moments = rng.normal(size=(500, 200)) * rng.uniform(0.5, 2, size=(500, 1))
    velocity = -moments + 0.3 * rng.normal(size=moments.shape)
    assert abs(compute_coherence(moments, velocity)) < 0.1


def test_coherence_falls_with_the_noise(rng):
    moments, velocity, distances = ring(n_genes=60)
    noise = rng.normal(size=velocity.shape)
    coherences = [compute_coherence(moments, velocity + share * noise, distances) for share in (0.0, 0.3, 1.0)]
    assert coherences[0] > coherences[1] > coherences[2] > 0


def test_coherence_depends_on_the_seed_only():
    moments, velocity, distances = ring(n_genes=60)
    noisy = velocity + np.random.default_rng(2).normal(size=velocity.shape)
    assert compute_coherence(moments, noisy, distances, 0) == compute_coherence(moments, noisy, distances, 0)
    assert compute_coherence(moments, noisy, distances, 0) != compute_coherence(moments, noisy, distances, 1)


def test_coherence_of_three_genes_or_zero_velocities_is_nan():
    moments, velocity, distances = ring(n_genes=60)
    assert np.isnan(compute_coherence(moments[:, :3], velocity[:, :3], distances))
    assert np.isnan(compute_coherence(moments, 0 * velocity, distances))
