"""The mixture over a gene's curve against slow twins and the splicing equations, and the solver built on it."""

import math

import naive
import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from veloshard import methods
from veloshard.contract import GeneBlock
from veloshard.methods.dynamical import mixture
from veloshard.methods.dynamical.mixture import N_POINTS, OFF, ON, WEIGHTS
from veloshard.moments import neighborhood
from veloshard.neighbors import connectivity_weights
from veloshard.simulate import simulate

UNITS = (0.02, 0.05)
PRIOR = mixture.Prior((math.log(0.5), 12.0), (math.log(2.0), 1.0), (math.log(0.4), 6.0), 9.0)


def shape_of(*, scale_u=3.0, scale_s=5.0, ratio=0.6, switch=2.5):
    return np.log([scale_u, scale_s, ratio, switch])


def state_of(shape, noise=1.0):
    """A fit's state with uneven weights of the points."""
    weights = np.random.default_rng(1).dirichlet(np.full(N_POINTS, 3.0), size=2)
    return np.concatenate([shape, [math.log(noise)], weights.ravel()])


def curve(shape, time):
    """u and s of a shape at times since the switch on."""
    scale_u, scale_s, ratio, switch = np.exp(shape)
    on = naive.curve(time, 0.0, 0.0, 1.0, 1.0, ratio)
    off = naive.curve(time - switch, *naive.curve(switch, 0.0, 0.0, 1.0, 1.0, ratio), 0.0, 1.0, ratio)
    u, s = np.where(time < switch, on, off)
    return scale_u * u, scale_s * s


def cells(shape, *, n_cells=600, noise=0.3):
    """u and s of cells at even times on both branches, with noise of counts, and their neighborhoods in time."""
    rng = np.random.default_rng(0)
    time = np.linspace(0.02, 2 * math.exp(shape[3]), n_cells)
    counts = np.array(curve(shape, time))
    counts += noise * np.sqrt(np.array(UNITS)[:, None] * counts) * rng.normal(size=counts.shape)
    band = np.abs(np.subtract.outer(range(n_cells), range(n_cells))) <= 4
    return *np.maximum(counts, 0), time, neighborhood(connectivity_weights(sparse.csr_matrix(band * 1.0)))


def sample_of(shape, **options):
    u, s, _, around = cells(shape, **options)
    return mixture.bin_cells(u, s, UNITS, 1.0), around


@pytest.mark.parametrize("ratio", [0.3, 0.99, 2.5])
def test_points_are_on_the_curve(ratio):
    shape = shape_of(ratio=ratio)
    tau, abundances, places = mixture.trace(shape, UNITS)
    for branch, since in ((ON, 0.0), (OFF, math.exp(shape[3]))):
        np.testing.assert_allclose(abundances[branch], curve(shape, tau[branch] + since), rtol=1e-6)
    np.testing.assert_allclose(places[:, 0], 2 * np.sqrt(abundances[:, 0] / UNITS[0] + 3 / 8))
    assert (np.diff(tau, axis=1) > 0).all()
    assert tau[ON, -1] < math.exp(shape[3])


def test_counts_have_unit_noise_on_the_scale_of_the_places():
    rng = np.random.default_rng(0)
    # means over 30 neighbors of Poisson counts: the variance of a mean of 1 is 1 / 30
    for mean in (1.0, 5.0, 40.0):
        moments = rng.poisson(mean, size=(4000, 30)).mean(axis=1)
        assert np.std([mixture.stabilised(moment, 1 / 30) for moment in moments]) == pytest.approx(1, abs=0.05)


def test_distances_are_those_of_noise_that_is_longer_along_the_curve():
    places = mixture.trace(shape_of(), UNITS)[2]
    noise, k = 1.7, 9
    squares, densities = np.empty(N_POINTS), np.empty(N_POINTS)
    point = np.array([20.0, 12.0])
    mixture.approach(*point, places[ON], mixture.kernels_of(places, noise)[ON], 0.5 / noise, squares, densities)
    step = (places[ON, :, k + 1] - places[ON, :, k - 1]) / 2
    covariance = noise * np.eye(2) + np.outer(step, step) / 12
    away = point - places[ON, :, k]
    assert squares[k] / noise == pytest.approx(away @ np.linalg.solve(covariance, away))
    expected = math.exp(-0.5 * squares[k] / noise) * noise / math.sqrt(np.linalg.det(covariance))
    assert densities[k] == pytest.approx(expected)


def test_bins_hold_all_cells_at_their_mean():
    u, s, _, _ = cells(shape_of())
    sample = mixture.bin_cells(u, s, UNITS, 1.0)
    places = 2 * np.sqrt(np.stack([u, s]) / np.array(UNITS)[:, None] + 3 / 8)
    for number, place in enumerate(sample.places):
        np.testing.assert_allclose(place, places[:, sample.bin_of == number].mean(axis=1))
    assert np.ptp(places[0][sample.bin_of == 0]) <= 1.1


def test_votes_are_mean_odds_of_neighborhoods():
    sample, around = sample_of(shape_of())
    odds = np.random.default_rng(0).normal(size=len(sample.places))
    counted = mixture.vote(odds, sample, around, 3)
    expected = np.zeros_like(counted)
    for cell in range(0, len(sample.bin_of), 3):
        near = around.indices[around.indptr[cell] : around.indptr[cell + 1]]
        up = 1 / (1 + math.exp(-odds[sample.bin_of[near]].mean()))
        expected[sample.bin_of[cell], [ON, OFF]] += up, 1 - up
    np.testing.assert_allclose(counted, expected)


def expected_sums(sample, counted, places, kernels, noise, weights):
    """`mixture.expect` without rounds, bin by bin and point by point."""
    sums, log_likelihood = np.zeros((2, 4, N_POINTS)), -counted.sum() * math.log(noise)
    for (x, y), numbers in zip(sample.places, counted, strict=True):
        for branch in (OFF, ON):
            away = np.array([x, y])[:, None] - places[branch]
            squares = (away**2).sum(axis=0) - (away * kernels[branch, :2]).sum(axis=0) ** 2
            given = weights[branch] * kernels[branch, 2] * np.exp(-0.5 * squares / noise)
            total = given.sum() + mixture.LEAST_DENSITY
            log_likelihood += numbers[branch] * math.log(total)
            share = numbers[branch] * given / total
            sums[branch] += share * np.array([np.ones(N_POINTS), np.full(N_POINTS, x), np.full(N_POINTS, y), squares])
    return sums, log_likelihood


def mixed(shape, noise=1.0):
    """All that an E-step starts from."""
    sample, around = sample_of(shape)
    state = state_of(shape, noise)
    places = mixture.trace(shape, UNITS)[2]
    counted = mixture.vote(mixture.log_odds(state, sample, UNITS), sample, around, 1)
    weights = state[WEIGHTS:].reshape(2, N_POINTS).copy()
    return sample, counted, places, mixture.kernels_of(places, noise), noise, weights


def test_expectation_equals_its_twin():
    given = mixed(shape_of(), noise=1.4)
    sums, log_likelihood = mixture.expect(*given, 0)
    expected, expected_likelihood = expected_sums(*given)
    np.testing.assert_allclose(sums, expected, rtol=1e-9, atol=1e-12)
    assert log_likelihood == pytest.approx(expected_likelihood)


def test_weights_become_likelier_and_stay_shares():
    given = mixed(shape_of())
    likelihoods = [mixture.expect(*given, rounds)[1] for rounds in (0, 1, 20)]
    assert likelihoods[0] < likelihoods[1] < likelihoods[2]
    np.testing.assert_allclose(given[-1].sum(axis=1), 1)
    assert (given[-1] > 0).all()


def test_gradient_is_that_of_the_distances_for_what_points_are_given():
    shape = shape_of()
    sample, counted, places, kernels, noise, weights = mixed(shape)
    sums, _ = mixture.expect(sample, counted, places, kernels, noise, weights, 0)
    slopes = mixture.slopes_of(shape, UNITS, places)
    gradient, matrix = mixture.normal_equations(shape, places, slopes, kernels, sums, 0.1, PRIOR)

    def log_posterior(moved):
        squared = 0.0
        for branch in (OFF, ON):
            number, *center = sums[branch, :3]
            # cells scatter about their mean, which no shape changes
            away = np.array(center) / number - mixture.trace(moved, UNITS)[2][branch]
            squared += number @ ((away**2).sum(axis=0) - (away * kernels[branch, :2]).sum(axis=0) ** 2)
        return -0.05 * squared + mixture.log_prior(moved, PRIOR)

    steps = 1e-4 * np.eye(4)
    numeric = [(log_posterior(shape + step) - log_posterior(shape - step)) / 2e-4 for step in steps]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)
    assert (np.linalg.eigvalsh(matrix) > 0).all()
    np.testing.assert_allclose(mixture.solved(matrix, gradient), np.linalg.solve(matrix, gradient), rtol=1e-8)


def test_turns_of_a_linear_map_end_at_its_fixed_point():
    rng = np.random.default_rng(0)
    fixed, decay = rng.normal(size=3), np.diag([0.9, -0.5, 0.3])
    places, moves = np.zeros((4, 3)), np.zeros((4, 3))
    place = np.zeros(3)
    for known in range(1, 6):
        move = (decay - np.eye(3)) @ (place - fixed)
        places, moves = np.roll(places, 1, axis=0), np.roll(moves, 1, axis=0)
        places[0], moves[0] = place, move
        place = place + (mixture.extrapolated(places, moves, min(known, 4)) if known > 2 else move)
    np.testing.assert_allclose(place, fixed, atol=1e-5)


@pytest.mark.parametrize("start", [(2.0, 4.0, 0.5, 1.0), (4.0, 7.0, 0.5, 4.0)])
def test_the_curve_is_found_from_either_side(start):
    shape = shape_of()
    u, s, _, around = cells(shape)
    sample = mixture.bin_cells(u, s, UNITS, 1.0)
    firm = PRIOR._replace(ratio=(shape[2], 12.0), slope=(mixture.slope_of(shape), 6.0), repeats=1.0)
    start = state_of(shape_of(**dict(zip(("scale_u", "scale_s", "ratio", "switch"), start, strict=True))), 16.0)
    found, turns = mixture.climb(start, sample, around, UNITS, firm, 1, 1e-4, 200)
    assert turns < 200
    np.testing.assert_allclose(found[:4], shape, atol=0.12)
    again = mixture.climb(found, sample, around, UNITS, firm, 1, 1e-4, 200)[0]
    np.testing.assert_allclose(again[:5], found[:5], atol=2e-3)


def test_cells_are_located_where_they_are():
    shape = shape_of()
    u, s, time, around = cells(shape, noise=0.0)
    state = state_of(shape, noise=1.0)
    state[WEIGHTS:] = 1 / N_POINTS
    found = mixture.locate(state, u, s, around, UNITS)
    scale_u, scale_s, ratio, switch = np.exp(shape)
    # neighborhoods that reach across the switch or to its beginning vote for both branches
    inner = (np.abs(time - switch) > 0.7) & (time > 0.3) & (time < time[-1] - 0.3)
    np.testing.assert_allclose(found.u[inner], u[inner], atol=0.1)
    np.testing.assert_allclose(found.s[inner], s[inner], atol=0.2)
    np.testing.assert_allclose(found.du[inner], (np.where(time < switch, scale_u, 0) - u)[inner], atol=0.15)
    np.testing.assert_allclose(found.ds[inner], (scale_s / scale_u * u - ratio * s)[inner], atol=0.3)
    assert found.moves[inner].all()


def test_cells_without_counts_or_in_the_steady_state_do_not_move():
    shape = shape_of(switch=8.0)
    u, s = (np.repeat([0.0, steady], 40) for steady in (math.exp(shape[0]), math.exp(shape[1] - shape[2])))
    near = np.kron(np.eye(2), np.ones((40, 40)))
    around = neighborhood(connectivity_weights(sparse.csr_matrix(near)))
    assert not mixture.locate(state_of(shape), u, s, around, UNITS).moves.any()


@pytest.mark.parametrize("switch", [1.5, 3.0])
def test_the_length_of_the_process_is_that_of_cells_at_even_times(switch):
    shape = shape_of(switch=switch)
    sample, around = sample_of(shape)
    state = state_of(shape)
    counted = mixture.vote(mixture.log_odds(state, sample, UNITS), sample, around, 1)
    assert mixture.duration(state, sample, counted, UNITS, 0.1 / N_POINTS) == pytest.approx(2 * switch, rel=0.25)


@pytest.fixture(scope="module")
def simulation():
    """Simulated genes with their truth, and the fits of both solvers."""
    truth = simulate(np.random.default_rng(5), n_cells=1200, n_genes=240, depth=3000, noise=0.2)
    order = np.argsort(truth.time)
    fate = truth.lineage[order]
    # neighbors are the next cells in time of the same lineage
    near = np.zeros((1200, 1200), bool)
    for lineage in np.unique(fate):
        own = np.flatnonzero(fate == lineage)
        near[np.ix_(own, own)] = np.abs(np.subtract.outer(range(len(own)), range(len(own)))) <= 15
    around = neighborhood(connectivity_weights(sparse.csr_matrix(near * 1.0)))
    size = truth.size_factor[order, None]
    counts = [sparse.csc_matrix((layer.toarray()[order] / size).astype(np.float32)) for layer in truth[:2]]
    block = GeneBlock(truth.gene_names, *counts, around)
    found = {
        solver: methods.run(block, method="dynamical", solver=solver, velocity="fitted", fit_all_genes=True)
        for solver in ("converged", "compatible")
    }
    return truth, order, found


def test_converged_velocities_and_ratios_are_nearer_to_the_truth(simulation):
    truth, order, found = simulation
    velocity = truth.velocity[order].T
    expected = np.log2(truth.gamma * truth.unspliced_capture / truth.beta)
    ranks, errors = {}, {}
    for solver, fit in found.items():
        fitted = fit.genes["status"] == "ok"
        assert fitted.mean() > 0.9
        pairs = zip(fit.layers["velocity"][fitted], velocity[fitted], strict=True)
        ranks[solver] = np.nanmedian([spearmanr(*pair).statistic for pair in pairs])
        errors[solver] = np.nanmedian(np.abs(np.log2(fit.genes["fit_gamma"] / fit.genes["fit_beta"]) - expected))
    assert ranks["converged"] > max(ranks["compatible"], 0.88)
    assert errors["converged"] < 0.9 * errors["compatible"]


def test_standard_errors_cover_the_truth(simulation):
    truth, _, found = simulation
    genes = found["converged"].genes
    fitted = genes["status"] == "ok"
    expected = np.log(truth.gamma * truth.unspliced_capture / truth.beta)
    away = np.log(genes["fit_gamma"] / genes["fit_beta"]) - expected
    covered = np.abs(away / genes["fit_ratio_error"])[fitted] < 1.96
    assert 0.88 <= covered.mean() <= 0.995


def test_what_the_solver_says_of_itself_is_finite_and_in_range(simulation):
    genes = simulation[2]["converged"].genes
    fitted = genes["status"] == "ok"
    assert (genes["fit_noise"][fitted] >= 1).all()
    assert (genes["fit_iterations"][fitted] >= 1).all()
    assert np.isfinite(genes["fit_gradient"][fitted]).all()
    assert (genes["fit_spread"][fitted] >= 0).all()
    assert set(genes["fit_bound"][fitted]) <= {0.0, 1.0}
    assert np.mean(genes["fit_iterations"][fitted] < 40) > 0.9
