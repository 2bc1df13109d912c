import numpy as np
import pytest
from cells import cloud, nearest, ring
from veloshard.coherence import gene_coherence
from veloshard.confidence import confidence_and_length


def coherence(moments, velocity, distances=None, seed=0):
    distances = nearest(moments, 15) if distances is None else distances
    arrays = [np.ascontiguousarray(values, dtype=np.float32) for values in (moments, velocity)]
    return gene_coherence(*arrays, distances, rng=np.random.default_rng(seed))


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_cells_that_move_around_a_circle_are_coherent():
    assert coherence(*ring(n_genes=60)) > 0.98


def test_errors_of_single_cells_are_not(rng):
    moments, velocity, distances = cloud(n_cells=500, n_genes=200, n_neighbors=15)
    # of 500 cells with some 100 ways each, standard deviation .005
    assert abs(coherence(moments, velocity, distances)) < 0.03


def test_the_same_error_of_all_cells_is_not_though_it_has_confidence_one(rng):
    moments = rng.normal(size=(500, 200))
    velocity = np.tile(rng.normal(size=200), (500, 1)).astype(np.float32)
    distances = nearest(moments, 15)
    assert confidence_and_length(velocity, distances).confidence.min() > 0.999
    # all cells share the velocity of a half: .06 is the standard deviation over its draws
    assert abs(np.mean([coherence(moments, velocity, distances, seed) for seed in range(5)])) < 0.1


def test_cells_that_fall_back_to_their_neighbors_are_not(rng):
    moments = rng.normal(size=(500, 200)) * rng.uniform(0.5, 2, size=(500, 1))
    velocity = -moments + 0.3 * rng.normal(size=moments.shape)
    assert abs(coherence(moments, velocity)) < 0.1


def test_it_grows_with_the_share_of_the_motion(rng):
    moments, velocity, distances = ring(n_genes=60)
    noise = rng.normal(size=velocity.shape)
    found = [coherence(moments, velocity + share * noise, distances) for share in (0.0, 0.3, 1.0)]
    assert found[0] > found[1] > found[2] > 0


def test_the_seed_decides():
    moments, velocity, distances = ring(n_genes=60)
    noisy = velocity + np.random.default_rng(2).normal(size=velocity.shape)
    assert coherence(moments, noisy, distances, 0) == coherence(moments, noisy, distances, 0)
    assert coherence(moments, noisy, distances, 0) != coherence(moments, noisy, distances, 1)


def test_without_genes_or_motion_it_cannot_be_told():
    moments, velocity, distances = ring(n_genes=60)
    assert np.isnan(coherence(moments[:, :3], velocity[:, :3], distances))
    assert np.isnan(coherence(moments, 0 * velocity, distances))
