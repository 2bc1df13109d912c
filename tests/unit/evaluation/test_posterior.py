import numpy as np
import pytest
from scipy import stats
from support.cells import cloud, line, ring
from veloshard.evaluation.posterior import rayleigh, score_posterior


def score_draws(draws, moments, distances, embedding, **options):
    return score_posterior(draws.__getitem__, len(draws), moments, distances, embedding, **options)


def plane_of(moments):
    """Return coordinates of the cells on their first two principal components."""
    centered = moments - moments.mean(axis=0)
    return np.linalg.svd(centered, full_matrices=False)[0][:, :2] * 10


def test_identical_draws_have_a_resultant_and_cosine_of_one():
    moments, velocity, distances = ring()
    scores = score_draws([velocity] * 5, moments, distances, plane_of(moments))
    np.testing.assert_allclose(scores.resultant, 1)
    np.testing.assert_allclose(scores.cosine, 1)
    np.testing.assert_allclose(scores.magnitude, np.linalg.norm(velocity, axis=1), rtol=1e-6)
    np.testing.assert_allclose(scores.magnitude_sd, 0, atol=1e-6)
    assert (scores.rayleigh_q < 0.01).all()


def test_the_angle_is_that_of_the_velocity_embedding():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.zeros(len(moments)), np.linspace(0, 1, len(moments))])
    scores = score_draws([velocity] * 3, moments, distances, embedding)
    # at the ends all neighbors are in one direction, so that the mean over neighbors cancels the velocity
    np.testing.assert_allclose(scores.angle[5:-5], np.pi / 2)


def test_equal_numbers_of_forward_and_backward_draws_have_no_direction():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.linspace(0, 1, len(moments)), np.zeros(len(moments))])
    scores = score_draws([velocity, -velocity] * 4, moments, distances, embedding)
    np.testing.assert_allclose(scores.resultant, 0, atol=1e-12)
    assert (scores.rayleigh_p > 0.9).all()


def test_random_draws_are_rarely_significant():
    rng = np.random.default_rng(0)
    moments, _, distances = cloud(n_cells=300)
    draws = [rng.normal(size=moments.shape).astype(np.float32) for _ in range(20)]
    scores = score_draws(draws, moments, distances, plane_of(moments))
    assert np.mean(scores.rayleigh_p < 0.05) < 0.08
    assert (scores.rayleigh_q >= scores.rayleigh_p).all()
    assert scores.resultant.mean() == pytest.approx(np.sqrt(np.pi / 4 / 20), rel=0.1)


def test_rayleighs_test_has_uniform_p_values_for_uniform_directions():
    rng = np.random.default_rng(1)
    resultant = np.abs(np.exp(2j * np.pi * rng.uniform(size=(20_000, 12))).mean(axis=1))
    assert stats.kstest(rayleigh(resultant, 12), "uniform").pvalue > 1e-3
    assert rayleigh(np.array([1.0]), 12) < 1e-7
    assert rayleigh(np.array([0.0]), 12) == 1


@pytest.mark.parametrize("cells_at_once", [7, 80])
def test_scores_are_bitwise_identical_in_any_block(cells_at_once):
    rng = np.random.default_rng(2)
    moments, velocity, distances = ring()
    draws = [velocity + rng.normal(scale=0.3, size=velocity.shape).astype(np.float32) for _ in range(4)]
    whole, blocks = (
        score_draws(draws, moments, distances, plane_of(moments), cells_at_once=n) for n in (1000, cells_at_once)
    )
    np.testing.assert_array_equal(whole.resultant, blocks.resultant)
    np.testing.assert_array_equal(whole.angle, blocks.angle)


def test_mean_and_standard_deviation_are_those_of_the_draws():
    rng = np.random.default_rng(3)
    moments, velocity, distances = ring()
    draws = np.stack([velocity + rng.normal(size=velocity.shape).astype(np.float32) for _ in range(6)])
    scores = score_draws(list(draws), moments, distances, plane_of(moments))
    lengths = np.linalg.norm(draws, axis=2)
    np.testing.assert_allclose(scores.magnitude, lengths.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scores.magnitude_sd, lengths.std(axis=0, ddof=1), rtol=1e-5)
    centered = draws - draws.mean(axis=2, keepdims=True)
    mean = centered.mean(axis=0)
    cosines = (centered * mean).sum(axis=2) / np.linalg.norm(centered, axis=2) / np.linalg.norm(mean, axis=1)
    np.testing.assert_allclose(scores.cosine, cosines.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scores.cosine_sd, cosines.std(axis=0, ddof=1), rtol=1e-4)


def test_scaled_genes_change_directions_but_not_lengths():
    rng = np.random.default_rng(4)
    moments, velocity, distances = ring()
    draws = [velocity + rng.normal(scale=0.3, size=velocity.shape).astype(np.float32) for _ in range(4)]
    gene_range = np.ptp(moments, axis=0)
    scaled = score_draws(draws, moments, distances, plane_of(moments), scale_genes=True)
    expected = score_draws([draw / gene_range for draw in draws], moments / gene_range, distances, plane_of(moments))
    np.testing.assert_array_equal(scaled.angle, expected.angle)
    unscaled = score_draws(draws, moments, distances, plane_of(moments))
    assert not np.array_equal(scaled.resultant, unscaled.resultant)
    np.testing.assert_array_equal(scaled.magnitude, unscaled.magnitude)


def test_a_cell_without_coordinates_has_no_angle_and_does_not_affect_the_others():
    moments, velocity, distances = ring()
    embedding = plane_of(moments)
    embedding[3] = np.nan
    scores = score_draws([velocity] * 3, moments, distances, embedding)
    assert np.isnan(scores.angle[3])
    assert np.isnan(scores.rayleigh_q[3])
    assert np.isfinite(np.delete(scores.rayleigh_q, 3)).all()


def test_a_single_draw_raises_an_error():
    moments, velocity, distances = ring()
    with pytest.raises(ValueError, match="n_draws is 1: .* at least 2 draws"):
        score_draws([velocity], moments, distances, plane_of(moments))
