"""What posterior samples of the velocity agree about."""

import numpy as np
import pytest
from cells import cloud, line, ring
from scipy import stats
from veloshard.uncertainty import rayleigh, score_samples


def scored(samples, moments, distances, embedding, **options):
    return score_samples(samples.__getitem__, len(samples), moments, distances, embedding, **options)


def places(moments):
    """The plane that cells lie in."""
    centred = moments - moments.mean(axis=0)
    return np.linalg.svd(centred, full_matrices=False)[0][:, :2] * 10


def test_samples_that_are_all_alike_agree_wholly():
    moments, velocity, distances = ring()
    found = scored([velocity] * 5, moments, distances, places(moments))
    np.testing.assert_allclose(found.resultant, 1)
    np.testing.assert_allclose(found.cosine, 1)
    np.testing.assert_allclose(found.magnitude, np.linalg.norm(velocity, axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.magnitude_sd, 0, atol=1e-6)
    assert (found.rayleigh_q < 0.01).all()


def test_the_angle_is_that_of_the_arrow():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.zeros(len(moments)), np.linspace(0, 1, len(moments))])
    found = scored([velocity] * 3, moments, distances, embedding)
    # at the ends all that is near lies one way, which says nothing
    np.testing.assert_allclose(found.angle[5:-5], np.pi / 2)


def test_as_many_samples_forwards_as_backwards_have_no_direction():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.linspace(0, 1, len(moments)), np.zeros(len(moments))])
    found = scored([velocity, -velocity] * 4, moments, distances, embedding)
    np.testing.assert_allclose(found.resultant, 0, atol=1e-12)
    assert (found.rayleigh_p > 0.9).all()


def test_samples_of_nothing_are_rarely_significant():
    rng = np.random.default_rng(0)
    moments, _, distances = cloud(n_cells=300)
    samples = [rng.normal(size=moments.shape).astype(np.float32) for _ in range(20)]
    found = scored(samples, moments, distances, places(moments))
    assert np.mean(found.rayleigh_p < 0.05) < 0.08
    assert (found.rayleigh_q >= found.rayleigh_p).all()
    assert found.resultant.mean() == pytest.approx(np.sqrt(np.pi / 4 / 20), rel=0.1)


def test_rayleighs_test_is_the_exact_one():
    # by simulation of directions without preference
    rng = np.random.default_rng(1)
    resultant = np.abs(np.exp(2j * np.pi * rng.uniform(size=(20_000, 12))).mean(axis=1))
    assert stats.kstest(rayleigh(resultant, 12), "uniform").pvalue > 1e-3
    assert rayleigh(np.array([1.0]), 12) < 1e-7
    assert rayleigh(np.array([0.0]), 12) == 1


@pytest.mark.parametrize("cells_at_once", [7, 80])
def test_cells_have_the_same_bits_in_any_block(cells_at_once):
    rng = np.random.default_rng(2)
    moments, velocity, distances = ring()
    samples = [velocity + rng.normal(scale=0.3, size=velocity.shape).astype(np.float32) for _ in range(4)]
    whole, parts = (
        scored(samples, moments, distances, places(moments), cells_at_once=n) for n in (1000, cells_at_once)
    )
    np.testing.assert_array_equal(whole.resultant, parts.resultant)
    np.testing.assert_array_equal(whole.angle, parts.angle)


def test_mean_and_deviation_are_those_of_the_samples():
    rng = np.random.default_rng(3)
    moments, velocity, distances = ring()
    samples = np.stack([velocity + rng.normal(size=velocity.shape).astype(np.float32) for _ in range(6)])
    found = scored(list(samples), moments, distances, places(moments))
    lengths = np.linalg.norm(samples, axis=2)
    np.testing.assert_allclose(found.magnitude, lengths.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.magnitude_sd, lengths.std(axis=0, ddof=1), rtol=1e-5)
    centred = samples - samples.mean(axis=2, keepdims=True)
    mean = centred.mean(axis=0)
    cosines = (centred * mean).sum(axis=2) / np.linalg.norm(centred, axis=2) / np.linalg.norm(mean, axis=1)
    np.testing.assert_allclose(found.cosine, cosines.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.cosine_sd, cosines.std(axis=0, ddof=1), rtol=1e-4)


def test_arrows_may_be_those_of_scaled_genes_while_lengths_keep_their_unit():
    rng = np.random.default_rng(4)
    moments, velocity, distances = ring()
    samples = [velocity + rng.normal(scale=0.3, size=velocity.shape).astype(np.float32) for _ in range(4)]
    extent = np.ptp(moments, axis=0)
    scaled = scored(samples, moments, distances, places(moments), scale_genes=True)
    by_hand = scored([sample / extent for sample in samples], moments / extent, distances, places(moments))
    np.testing.assert_array_equal(scaled.angle, by_hand.angle)
    plain = scored(samples, moments, distances, places(moments))
    assert not np.array_equal(scaled.resultant, plain.resultant)
    np.testing.assert_array_equal(scaled.magnitude, plain.magnitude)


def test_a_cell_without_a_place_has_no_angle_and_does_not_spoil_the_others():
    moments, velocity, distances = ring()
    embedding = places(moments)
    embedding[3] = np.nan
    found = scored([velocity] * 3, moments, distances, embedding)
    assert np.isnan(found.angle[3])
    assert np.isnan(found.rayleigh_q[3])
    assert np.isfinite(np.delete(found.rayleigh_q, 3)).all()


def test_a_single_sample_is_refused():
    moments, velocity, distances = ring()
    with pytest.raises(ValueError, match="1 samples of the velocity say nothing"):
        scored([velocity], moments, distances, places(moments))
