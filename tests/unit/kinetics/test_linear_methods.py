"""The steady-state and the stochastic model against true slopes and the reference implementations in `naive`."""

import numpy as np
import pytest
from scipy import sparse
from support import naive
from veloshard.contract import GeneBlock
from veloshard.kinetics.methods import steady_state, stochastic
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.moments import first_moments, second_moments

GAMMA = np.array([0.2, 0.5, 1.0, 1.7])


def block_of(spliced, unspliced, *, width=3):
    """Return the `GeneBlock` of cells in one dimension, each averaged over those within `width`."""
    cells = range(len(spliced))
    band = np.abs(np.subtract.outer(cells, cells)) <= width
    return GeneBlock(
        np.array([f"gene{k}" for k in range(spliced.shape[1])]),
        sparse.csc_matrix(spliced.astype(np.float32)),
        sparse.csc_matrix(unspliced.astype(np.float32)),
        as_neighborhood(averaging_weights(sparse.csr_matrix(band * 1.0))),
    )


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    level = rng.uniform(2, 30, 4) * np.linspace(0.1, 1, 200)[:, None]
    return block_of(rng.poisson(level), rng.poisson(GAMMA * level))


def test_gamma_is_recovered_without_noise():
    spliced = np.linspace(1, 9, 80)[:, None] * [1.0, 3.0, 0.5, 2.0]
    fit = steady_state.fit(block_of(spliced, GAMMA * spliced))
    np.testing.assert_allclose(fit.genes["velocity_gamma"], GAMMA, rtol=1e-6)
    np.testing.assert_allclose(fit.layers["velocity"], 0, atol=1e-5)
    np.testing.assert_allclose(fit.genes["velocity_r2"], 1)
    assert (fit.genes["status"] == "ok").all()


@pytest.mark.parametrize("percentile", [50, 95, 99])
def test_steady_state_ratio_equals_naive_implementation(noisy, percentile):
    gamma = steady_state.fit(noisy, percentile=percentile).genes["velocity_gamma"]
    spliced, unspliced = (first_moments(layer, noisy.neighborhood) for layer in (noisy.spliced, noisy.unspliced))
    expected = [naive.steady_state_ratio(s, u, percentile) for s, u in zip(spliced, unspliced, strict=True)]
    # sums of single-precision products
    np.testing.assert_allclose(gamma, expected, rtol=1e-6)


@pytest.mark.parametrize("percentile", [50, 95])
def test_stochastic_ratio_equals_naive_implementation(noisy, percentile):
    genes = stochastic.fit(noisy, percentile=percentile).genes
    first = [first_moments(layer, noisy.neighborhood) for layer in (noisy.spliced, noisy.unspliced)]
    second = second_moments(noisy.spliced, noisy.unspliced, noisy.neighborhood)
    expected = [naive.generalized_ratio(*rows, percentile) for rows in zip(*first, *second, strict=True)]
    assert (genes["status"] == "ok").all()
    np.testing.assert_allclose(genes["velocity_gamma"], expected, rtol=1e-5)
    linear = steady_state.fit(noisy, percentile=percentile).genes["velocity_gamma"]
    np.testing.assert_array_equal(genes["velocity_qreg_ratio"], linear)
    assert not np.allclose(genes["velocity_gamma"], linear, rtol=1e-3)


@pytest.mark.parametrize("model", [steady_state, stochastic])
def test_velocity_is_the_residual_from_the_line(noisy, model):
    fit = model.fit(noisy)
    spliced, unspliced = (first_moments(layer, noisy.neighborhood) for layer in (noisy.spliced, noisy.unspliced))
    expected = unspliced - fit.genes["velocity_gamma"][:, None] * spliced
    np.testing.assert_allclose(fit.layers["velocity"], expected, rtol=1e-6)


def test_r_squared_is_the_explained_fraction_of_the_variance():
    observed = np.array([[1.0, 2.0, 3.0, 6.0], [2.0, 2.0, 2.0, 2.0]])
    residual = np.array([[0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert steady_state.r_squared(residual, observed).tolist() == [1 - 0.5 / 14, 0.0]


def test_velocity_is_positive_in_induction_and_negative_in_repression():
    time = np.linspace(0, 6, 300)
    # beta = 1, gamma = 0.5: induction first, then repression from the steady state
    on_u, on_s = naive.curve(time, 0.0, 0.0, 2.0, 1.0, 0.5)
    off_u, off_s = naive.curve(time, 2.0, 4.0, 0.0, 1.0, 0.5)
    steady = np.full(30, 2.0), np.full(30, 4.0)
    unspliced, spliced = (
        np.concatenate(parts)[:, None] for parts in zip((on_u, on_s), steady, (off_u, off_s), strict=True)
    )
    velocity = steady_state.fit(block_of(spliced, unspliced)).layers["velocity"][0]
    assert (velocity[10:200] > 0).all()
    assert (velocity[350:600] < 0).all()


@pytest.mark.parametrize(
    ("modify", "reason"),
    [
        (lambda s, u: (s * 0, u), "no spliced counts"),
        (lambda s, u: (s, u * 0), "no unspliced counts"),
        (lambda s, u: (s, u * 1e-3), "steady-state ratio at most 0.01"),
        (lambda s, u: (s, u[::-1]), "r2 of the steady-state line at most 0.01"),
    ],
)
@pytest.mark.parametrize("model", [steady_state, stochastic])
def test_genes_without_a_steady_state_line_have_a_reason(model, modify, reason):
    level = np.linspace(1, 20, 100)[:, None]
    fit = model.fit(block_of(*modify(level, 0.4 * level)))
    assert fit.genes["reason"].tolist() == [reason]
