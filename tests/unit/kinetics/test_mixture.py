"""The EM algorithm for the curve of a gene against naive implementations and the splicing equations, and its solver."""

import math

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from support import naive
from veloshard.contract import GeneBlock
from veloshard.kinetics import methods
from veloshard.kinetics.methods.dynamical import mixture_kernels
from veloshard.kinetics.methods.dynamical.mixture_kernels import N_POINTS, OFF, ON, WEIGHTS
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.simulation import simulate

UNITS = (0.02, 0.05)
PRIOR = mixture_kernels.Prior((math.log(0.5), 12.0), (math.log(2.0), 1.0), (math.log(0.4), 6.0), 9.0)


def shape_of(*, scale_u=3.0, scale_s=5.0, ratio=0.6, switch=2.5):
    return np.log([scale_u, scale_s, ratio, switch])


def state_of(shape, noise=1.0):
    """Return the state of a fit with random weights of the points."""
    weights = np.random.default_rng(1).dirichlet(np.full(N_POINTS, 3.0), size=2)
    return np.concatenate([shape, [math.log(noise)], weights.ravel()])


def curve(shape, time):
    """Return u and s of a curve at times since transcription was switched on."""
    scale_u, scale_s, ratio, switch = np.exp(shape)
    on = naive.curve(time, 0.0, 0.0, 1.0, 1.0, ratio)
    off = naive.curve(time - switch, *naive.curve(switch, 0.0, 0.0, 1.0, 1.0, ratio), 0.0, 1.0, ratio)
    u, s = np.where(time < switch, on, off)
    return scale_u * u, scale_s * s


def simulate_cells(shape, *, n_cells=600, noise=0.3):
    """Return u, s and times of cells, evenly spaced in time on both branches, and their neighborhoods in time."""
    rng = np.random.default_rng(0)
    time = np.linspace(0.02, 2 * math.exp(shape[3]), n_cells)
    counts = np.array(curve(shape, time))
    counts += noise * np.sqrt(np.array(UNITS)[:, None] * counts) * rng.normal(size=counts.shape)
    band = np.abs(np.subtract.outer(range(n_cells), range(n_cells))) <= 4
    return *np.maximum(counts, 0), time, as_neighborhood(averaging_weights(sparse.csr_matrix(band * 1.0)))


def binned_cells(shape, **options):
    u, s, _, neighborhood = simulate_cells(shape, **options)
    return mixture_kernels.bin_cells(u, s, UNITS, 1.0), neighborhood


@pytest.mark.parametrize("ratio", [0.3, 0.99, 2.5])
def test_points_are_on_the_curve(ratio):
    shape = shape_of(ratio=ratio)
    tau, abundances, points = mixture_kernels.curve_points(shape, UNITS)
    for branch, since in ((ON, 0.0), (OFF, math.exp(shape[3]))):
        np.testing.assert_allclose(abundances[branch], curve(shape, tau[branch] + since), rtol=1e-6)
    np.testing.assert_allclose(points[:, 0], 2 * np.sqrt(abundances[:, 0] / UNITS[0] + 3 / 8))
    assert (np.diff(tau, axis=1) > 0).all()
    assert tau[ON, -1] < math.exp(shape[3])


def test_counts_have_unit_noise_on_the_variance_stabilized_scale():
    rng = np.random.default_rng(0)
    # means over 30 neighbors of Poisson counts: the variance of a mean of 1 is 1 / 30
    for mean in (1.0, 5.0, 40.0):
        moments = rng.poisson(mean, size=(4000, 30)).mean(axis=1)
        assert np.std([mixture_kernels.stabilized(moment, 1 / 30) for moment in moments]) == pytest.approx(1, abs=0.05)


def test_densities_are_normal_with_larger_variance_along_the_curve():
    points = mixture_kernels.curve_points(shape_of(), UNITS)[2]
    noise, k = 1.7, 9
    squares, densities = np.empty(N_POINTS), np.empty(N_POINTS)
    point = np.array([20.0, 12.0])
    mixture_kernels.e_step_densities(
        *point, points[ON], mixture_kernels.density_kernels(points, noise)[ON], 0.5 / noise, squares, densities
    )
    step = (points[ON, :, k + 1] - points[ON, :, k - 1]) / 2
    covariance = noise * np.eye(2) + np.outer(step, step) / 12
    displacement = point - points[ON, :, k]
    mahalanobis = displacement @ np.linalg.solve(covariance, displacement)
    assert squares[k] / noise == pytest.approx(mahalanobis)
    expected = math.exp(-0.5 * squares[k] / noise) * noise / math.sqrt(np.linalg.det(covariance))
    assert densities[k] == pytest.approx(expected)


def test_bins_contain_all_cells_with_their_mean():
    u, s, _, _ = simulate_cells(shape_of())
    binned = mixture_kernels.bin_cells(u, s, UNITS, 1.0)
    stabilized = 2 * np.sqrt(np.stack([u, s]) / np.array(UNITS)[:, None] + 3 / 8)
    for number, mean in enumerate(binned.means):
        np.testing.assert_allclose(mean, stabilized[:, binned.bin_of == number].mean(axis=1))
    assert np.ptp(stabilized[0][binned.bin_of == 0]) <= 1.1


def test_branch_counts_follow_from_the_mean_odds_of_neighborhoods():
    binned, neighborhood = binned_cells(shape_of())
    odds = np.random.default_rng(0).normal(size=len(binned.means))
    branch_counts = mixture_kernels.smoothed_branch_counts(odds, binned, neighborhood, 3)
    expected = np.zeros_like(branch_counts)
    for cell in range(0, len(binned.bin_of), 3):
        neighbors = neighborhood.indices[neighborhood.indptr[cell] : neighborhood.indptr[cell + 1]]
        p_induction = 1 / (1 + math.exp(-odds[binned.bin_of[neighbors]].mean()))
        expected[binned.bin_of[cell], [ON, OFF]] += p_induction, 1 - p_induction
    np.testing.assert_allclose(branch_counts, expected)


def naive_e_step(binned, branch_counts, points, kernels, noise, weights):
    """Return the result of `mixture_kernels.e_step` without weight updates, bin by bin."""
    sums, log_likelihood = np.zeros((2, 4, N_POINTS)), -branch_counts.sum() * math.log(noise)
    for (x, y), n_cells in zip(binned.means, branch_counts, strict=True):
        for branch in (OFF, ON):
            displacement = np.array([x, y])[:, None] - points[branch]
            squares = (displacement**2).sum(axis=0) - (displacement * kernels[branch, :2]).sum(axis=0) ** 2
            weighted = weights[branch] * kernels[branch, 2] * np.exp(-0.5 * squares / noise)
            total = weighted.sum() + mixture_kernels.BACKGROUND_DENSITY
            log_likelihood += n_cells[branch] * math.log(total)
            per_point = n_cells[branch] * weighted / total
            terms = [np.ones(N_POINTS), np.full(N_POINTS, x), np.full(N_POINTS, y), squares]
            sums[branch] += per_point * np.array(terms)
    return sums, log_likelihood


def e_step_arguments(shape, noise=1.0):
    """Return the arguments of an E-step."""
    binned, neighborhood = binned_cells(shape)
    state = state_of(shape, noise)
    points = mixture_kernels.curve_points(shape, UNITS)[2]
    odds = mixture_kernels.log_odds(state, binned, UNITS)
    branch_counts = mixture_kernels.smoothed_branch_counts(odds, binned, neighborhood, 1)
    weights = state[WEIGHTS:].reshape(2, N_POINTS).copy()
    return binned, branch_counts, points, mixture_kernels.density_kernels(points, noise), noise, weights


def test_e_step_equals_naive_implementation():
    arguments = e_step_arguments(shape_of(), noise=1.4)
    sums, log_likelihood = mixture_kernels.e_step(*arguments, 0)
    expected, expected_likelihood = naive_e_step(*arguments)
    np.testing.assert_allclose(sums, expected, rtol=1e-9, atol=1e-12)
    assert log_likelihood == pytest.approx(expected_likelihood)


def test_weight_updates_increase_the_likelihood_and_keep_the_sum():
    *arguments, weights = e_step_arguments(shape_of())
    likelihoods = [mixture_kernels.e_step(*arguments, weights, n_updates)[1] for n_updates in (0, 1, 20)]
    assert likelihoods[0] < likelihoods[1] < likelihoods[2]
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights > 0).all()


def test_gradient_equals_finite_differences_at_fixed_responsibilities():
    shape = shape_of()
    binned, branch_counts, points, kernels, noise, weights = e_step_arguments(shape)
    sums, _ = mixture_kernels.e_step(binned, branch_counts, points, kernels, noise, weights, 0)
    derivatives = mixture_kernels.point_derivatives(shape, UNITS, points)
    gradient, matrix = mixture_kernels.normal_equations(shape, points, derivatives, kernels, sums, 0.1, PRIOR)

    def log_posterior(perturbed):
        squared = 0.0
        for branch in (OFF, ON):
            n_cells, *center = sums[branch, :3]
            # the scatter of the cells around their mean does not depend on the shape
            displacement = np.array(center) / n_cells - mixture_kernels.curve_points(perturbed, UNITS)[2][branch]
            squared += n_cells @ ((displacement**2).sum(axis=0) - (displacement * kernels[branch, :2]).sum(axis=0) ** 2)
        return -0.05 * squared + mixture_kernels.log_prior(perturbed, PRIOR)

    steps = 1e-4 * np.eye(4)
    numeric = [(log_posterior(shape + step) - log_posterior(shape - step)) / 2e-4 for step in steps]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)
    assert (np.linalg.eigvalsh(matrix) > 0).all()
    np.testing.assert_allclose(mixture_kernels.solve(matrix, gradient), np.linalg.solve(matrix, gradient), rtol=1e-8)


def test_anderson_acceleration_of_a_linear_map_converges_to_its_fixed_point():
    rng = np.random.default_rng(0)
    fixed_point, decay = rng.normal(size=3), np.diag([0.9, -0.5, 0.3])
    iterates, steps = np.zeros((4, 3)), np.zeros((4, 3))
    iterate = np.zeros(3)
    for n_iterations in range(1, 6):
        step = (decay - np.eye(3)) @ (iterate - fixed_point)
        iterates, steps = np.roll(iterates, 1, axis=0), np.roll(steps, 1, axis=0)
        iterates[0], steps[0] = iterate, step
        if n_iterations > 2:
            step = mixture_kernels.anderson_step(iterates, steps, min(n_iterations, 4))
        iterate = iterate + step
    np.testing.assert_allclose(iterate, fixed_point, atol=1e-5)


@pytest.mark.parametrize("start", [(2.0, 4.0, 0.5, 1.0), (4.0, 7.0, 0.5, 4.0)])
def test_em_converges_to_the_true_curve_from_several_initial_states(start):
    shape = shape_of()
    u, s, _, neighborhood = simulate_cells(shape)
    binned = mixture_kernels.bin_cells(u, s, UNITS, 1.0)
    prior = PRIOR._replace(
        ratio=(shape[2], 12.0), slope=(mixture_kernels.log_steady_slope(shape), 6.0), cells_per_observation=1.0
    )
    start = state_of(shape_of(**dict(zip(("scale_u", "scale_s", "ratio", "switch"), start, strict=True))), 16.0)
    state, n_iterations = mixture_kernels.run_em(start, binned, neighborhood, UNITS, prior, 1, 1e-4, 200)
    assert n_iterations < 200
    np.testing.assert_allclose(state[:4], shape, atol=0.12)
    restarted = mixture_kernels.run_em(state, binned, neighborhood, UNITS, prior, 1, 1e-4, 200)[0]
    np.testing.assert_allclose(restarted[:5], state[:5], atol=2e-3)


def test_expected_state_is_the_true_state_without_noise():
    shape = shape_of()
    u, s, time, neighborhood = simulate_cells(shape, noise=0.0)
    state = state_of(shape, noise=1.0)
    state[WEIGHTS:] = 1 / N_POINTS
    expected = mixture_kernels.expected_state(state, u, s, neighborhood, UNITS)
    scale_u, scale_s, ratio, switch = np.exp(shape)
    # neighborhoods near the beginning, the switch and the end contain cells of both branches
    inner = (np.abs(time - switch) > 0.7) & (time > 0.3) & (time < time[-1] - 0.3)
    np.testing.assert_allclose(expected.u[inner], u[inner], atol=0.1)
    np.testing.assert_allclose(expected.s[inner], s[inner], atol=0.2)
    np.testing.assert_allclose(expected.du[inner], (np.where(time < switch, scale_u, 0) - u)[inner], atol=0.15)
    np.testing.assert_allclose(expected.ds[inner], (scale_s / scale_u * u - ratio * s)[inner], atol=0.3)
    assert expected.transient[inner].all()


def test_cells_in_a_steady_state_are_not_transient():
    shape = shape_of(switch=8.0)
    u, s = (np.repeat([0.0, steady], 40) for steady in (math.exp(shape[0]), math.exp(shape[1] - shape[2])))
    joined = np.kron(np.eye(2), np.ones((40, 40)))
    neighborhood = as_neighborhood(averaging_weights(sparse.csr_matrix(joined)))
    assert not mixture_kernels.expected_state(state_of(shape), u, s, neighborhood, UNITS).transient.any()


@pytest.mark.parametrize("switch", [1.5, 3.0])
def test_process_duration_is_that_of_cells_evenly_spaced_in_time(switch):
    shape = shape_of(switch=switch)
    binned, neighborhood = binned_cells(shape)
    state = state_of(shape)
    odds = mixture_kernels.log_odds(state, binned, UNITS)
    branch_counts = mixture_kernels.smoothed_branch_counts(odds, binned, neighborhood, 1)
    duration = mixture_kernels.process_duration(state, binned, branch_counts, UNITS, 0.1 / N_POINTS)
    assert duration == pytest.approx(2 * switch, rel=0.25)


@pytest.fixture(scope="module")
def simulation():
    """Return simulated genes with their truth, the order of the cells, and the fits of both solvers."""
    truth = simulate(np.random.default_rng(5), n_cells=1200, n_genes=240, depth=3000, noise=0.2)
    order = np.argsort(truth.time)
    lineages = truth.lineage[order]
    # neighbors are adjacent in time and of the same lineage
    joined = np.zeros((1200, 1200), bool)
    for lineage in np.unique(lineages):
        own = np.flatnonzero(lineages == lineage)
        joined[np.ix_(own, own)] = np.abs(np.subtract.outer(range(len(own)), range(len(own)))) <= 15
    neighborhood = as_neighborhood(averaging_weights(sparse.csr_matrix(joined * 1.0)))
    size = truth.size_factor[order, None]
    counts = [sparse.csc_matrix((layer.toarray()[order] / size).astype(np.float32)) for layer in truth[:2]]
    block = GeneBlock(truth.gene_names, *counts, neighborhood)
    fits = {
        solver: methods.run(block, method="dynamical", solver=solver, velocity="fitted", fit_all_genes=True)
        for solver in ("mixture", "scvelo")
    }
    return truth, order, fits


def test_velocities_of_the_mixture_and_ratios_are_nearer_to_the_truth(simulation):
    truth, order, fits = simulation
    velocity = truth.velocity[order].T
    expected = np.log2(truth.gamma * truth.unspliced_capture / truth.beta)
    ranks, errors = {}, {}
    for solver, fit in fits.items():
        fitted = fit.genes["status"] == "ok"
        assert fitted.mean() > 0.9
        pairs = zip(fit.layers["velocity"][fitted], velocity[fitted], strict=True)
        ranks[solver] = np.nanmedian([spearmanr(*pair).statistic for pair in pairs])
        errors[solver] = np.nanmedian(np.abs(np.log2(fit.genes["fit_gamma"] / fit.genes["fit_beta"]) - expected))
    assert ranks["mixture"] > max(ranks["scvelo"], 0.88)
    assert errors["mixture"] < 0.9 * errors["scvelo"]


def test_standard_errors_cover_the_truth(simulation):
    truth, _, fits = simulation
    genes = fits["mixture"].genes
    fitted = genes["status"] == "ok"
    expected = np.log(truth.gamma * truth.unspliced_capture / truth.beta)
    error = np.log(genes["fit_gamma"] / genes["fit_beta"]) - expected
    covered = np.abs(error / genes["fit_ratio_error"])[fitted] < 1.96
    assert 0.88 <= covered.mean() <= 0.995


def test_diagnostics_of_the_solver_are_finite_and_in_range(simulation):
    genes = simulation[2]["mixture"].genes
    fitted = genes["status"] == "ok"
    assert (genes["fit_noise"][fitted] >= 1).all()
    assert (genes["fit_iterations"][fitted] >= 1).all()
    assert np.isfinite(genes["fit_gradient"][fitted]).all()
    assert (genes["fit_spread"][fitted] >= 0).all()
    assert set(genes["fit_bound"][fitted]) <= {0.0, 1.0}
    assert np.mean(genes["fit_iterations"][fitted] < 40) > 0.9
