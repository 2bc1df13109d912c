"""Simulated cells follow exact kinetics, counts have the right distribution, and genes behave as their kind says."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from veloshard.simulation import BOTH_FATES, BRANCHING_TIME, DURATION, FATES, TRUNK, simulate, simulate_counts


def draw(seed=0, **options):
    return simulate(np.random.default_rng(seed), **{"n_cells": 400, "n_genes": 100, **options})


@pytest.fixture(scope="module")
def cells():
    return draw()


def test_results_are_bitwise_identical_for_the_same_seed_only():
    for first, second in zip(draw(), draw(), strict=True):
        dense = [part.toarray() if hasattr(part, "toarray") else part for part in (first, second)]
        np.testing.assert_array_equal(*dense)
    assert (draw().spliced != draw(seed=1).spliced).nnz > 0


def test_abundances_solve_the_splicing_equations(cells):
    for gene in [np.flatnonzero(cells.kind == kind)[0] for kind in np.unique(cells.kind)]:
        rates = cells.beta[gene], cells.gamma[gene]
        for fate, name in enumerate(FATES):
            in_fate = np.flatnonzero(cells.lineage == name)[:20]
            on, off = cells.switch_on[fate, gene], cells.switch_off[fate, gene]
            starts_on = cells.kind[gene] == "down"
            start = [cells.alpha[gene] / rate if starts_on else 0.0 for rate in rates]
            times = np.sort(cells.time[in_fate])
            solution = solve_ivp(
                lambda t, y, on=on, off=off, gene=gene: (
                    cells.alpha[gene] * (on <= t < off) - cells.beta[gene] * y[0],
                    cells.beta[gene] * y[0] - cells.gamma[gene] * y[1],
                ),
                (0, DURATION),
                start,
                t_eval=times,
                max_step=0.02,  # the rate changes in steps
                rtol=1e-8,
            )
            scale = cells.alpha[gene] / min(rates)
            order = in_fate[np.argsort(cells.time[in_fate])]
            np.testing.assert_allclose(cells.unspliced_abundance[order, gene], solution.y[0], atol=0.01 * scale)
            np.testing.assert_allclose(cells.spliced_abundance[order, gene], solution.y[1], atol=0.01 * scale)


def test_velocity_is_beta_u_minus_gamma_s(cells):
    expected = cells.beta * cells.unspliced_abundance - cells.gamma * cells.spliced_abundance
    np.testing.assert_allclose(cells.velocity, expected)


def test_signs_of_velocity_follow_the_kind_of_the_gene(cells):
    tolerance = 1e-9 * np.abs(cells.velocity).max()
    assert (cells.velocity[:, cells.kind == "up"] >= -tolerance).all()
    assert (cells.velocity[:, cells.kind == "late"] >= -tolerance).all()
    assert (cells.velocity[:, cells.kind == "down"] <= tolerance).all()
    up_down = cells.velocity[:, cells.kind == "up_down"]
    assert ((up_down > tolerance).any(axis=0) & (up_down < -tolerance).any(axis=0)).all()
    first_switch = cells.switch_on[:, cells.kind == "late"].min(axis=0)
    assert (first_switch >= 0.7 * DURATION).all()


def test_fates_share_their_switches_before_the_branching(cells):
    trunk = cells.lineage == TRUNK
    assert (trunk == (cells.time < BRANCHING_TIME)).all()
    for switches in (cells.switch_on, cells.switch_off):
        before = switches < BRANCHING_TIME
        np.testing.assert_array_equal(np.where(before[0], switches[0], 0), np.where(before[1], switches[1], 0))
    # later switches differ for genes of one fate
    is_of_one_fate = cells.fate != BOTH_FATES
    differs = (cells.switch_on[0] != cells.switch_on[1]) | (cells.switch_off[0] != cells.switch_off[1])
    np.testing.assert_array_equal(differs, is_of_one_fate)


def test_rates_and_switches_differ_between_genes(cells):
    for values in (cells.alpha, cells.beta, cells.gamma):
        assert len(np.unique(values)) == len(values)
    is_switched_on = np.isfinite(cells.switch_on).any(axis=0) & (cells.kind != "down")
    assert len(np.unique(cells.switch_on.min(axis=0)[is_switched_on])) == is_switched_on.sum()


def test_counts_are_poisson_around_the_abundances():
    cells = draw(n_cells=2000, depth=5000)
    for counts, mean in (
        (cells.spliced, cells.size_factor[:, None] * cells.spliced_abundance),
        (cells.unspliced, cells.size_factor[:, None] * cells.unspliced_capture * cells.unspliced_abundance),
    ):
        is_tested = mean > 0.1
        deviation = (counts.toarray() - mean)[is_tested] / np.sqrt(mean[is_tested])
        # mean 0 and variance 1, with five standard errors as tolerance (fourth moment of a Poisson: 3 + 1/mean)
        error = 5 / np.sqrt(is_tested.sum())
        assert abs(deviation.mean()) < error
        assert abs(deviation.var() - 1) < error * np.sqrt(2 + 1 / 0.1)


def test_noise_is_the_coefficient_of_variation_in_excess_of_poisson():
    cells = draw(n_cells=2000, depth=20_000, noise=0.5)
    mean = cells.size_factor[:, None] * cells.spliced_abundance
    is_high = mean > 20
    excess = ((cells.spliced.toarray() - mean)[is_high] ** 2 - mean[is_high]) / mean[is_high] ** 2
    assert np.sqrt(excess.mean()) == pytest.approx(0.5, rel=0.05)


def test_depth_and_its_spread():
    cells = draw(n_cells=3000, depth=1500, depth_spread=0.4)
    total = cells.spliced.sum() + cells.unspliced.sum()
    # tolerance: five standard errors of the mean of log-normal sizes
    assert total / 3000 == pytest.approx(1500, rel=5 * 0.42 / np.sqrt(3000))
    assert np.log(cells.size_factor).std() == pytest.approx(0.4, rel=0.1)
    assert draw(depth_spread=0).size_factor.tolist() == [1.0] * 400


@pytest.mark.parametrize(
    "wrong",
    [{"n_cells": 5}, {"n_genes": 24}, {"depth": 0}, {"depth_spread": -1}, {"unspliced_capture": 1}, {"noise": -0.1}],
)
def test_argument_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"simulate: {next(iter(wrong))} is"):
        draw(**wrong)


def test_simulated_counts_contain_the_truth():
    counts = simulate_counts(seed=3, n_cells=300, n_genes=60)
    simulated = draw(seed=3, n_cells=300, n_genes=60)
    assert (counts.layers["spliced"] != simulated.spliced).nnz == 0
    np.testing.assert_array_equal(counts.obs["true_time"], simulated.time)
    np.testing.assert_array_equal(counts.layers["true_velocity"], simulated.velocity.astype(np.float32))
    for rate in ("alpha", "beta", "gamma"):
        np.testing.assert_array_equal(counts.var[f"true_{rate}"], getattr(simulated, rate))
