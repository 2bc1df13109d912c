"""The dynamical fit against naive implementations, SciPy and the splicing equations."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from support import naive
from veloshard.kinetics.methods.dynamical import gene, initialization, loss, optimization, time_assignment, velocity
from veloshard.neighborhood import as_neighborhood, averaging_weights

# gamma above and below beta, for which times are inverted and projected differently
SLOW_SPLICING = np.array([2.0, 0.4, 0.9, 6.0, 1.3])
FAST_SPLICING = np.array([2.0, 0.9, 0.4, 6.0, 0.7])


@pytest.fixture(params=[SLOW_SPLICING, FAST_SPLICING], ids=["slow splicing", "fast splicing"])
def parameters(request):
    return request.param


def cells_on_curve(parameters, *, n_cells=150, noise=0.1):
    """Return moments of cells, evenly spaced in time on both branches, and their neighborhoods in time."""
    alpha, beta, gamma, switching_time, scaling = parameters
    rng = np.random.default_rng(0)
    time = np.linspace(0.05, 2 * switching_time, n_cells)
    u_switch, s_switch = naive.curve(switching_time, 0.0, 0.0, alpha, beta, gamma)
    on = naive.curve(time, 0, 0, alpha, beta, gamma)
    off = naive.curve(time - switching_time, u_switch, s_switch, 0, beta, gamma)
    counts = np.where(time < switching_time, on, off) * np.exp(noise * rng.normal(size=(2, n_cells)))
    band = np.abs(np.subtract.outer(range(n_cells), range(n_cells))) <= 4
    return counts[0] * scaling, counts[1], as_neighborhood(averaging_weights(sparse.csr_matrix(band * 1.0)))


def described(parameters, **options):
    unspliced, spliced, neighborhood = cells_on_curve(parameters, **options)
    return gene.describe_gene(unspliced, spliced, neighborhood), neighborhood


def dense(neighborhood):
    n_cells = len(neighborhood.indptr) - 1
    return sparse.csr_matrix(
        (neighborhood.weights, neighborhood.indices, neighborhood.indptr), shape=(n_cells, n_cells)
    ).toarray()


@pytest.mark.parametrize("projected", [False, True])
def test_time_assignment_equals_naive_implementation(parameters, projected):
    described_gene, neighborhood = described(parameters)
    assignment = time_assignment.assign_times(described_gene, neighborhood, parameters, projected)
    time, induced = naive.assigned_times(
        described_gene.unspliced,
        described_gene.spliced,
        described_gene.std_u,
        described_gene.std_s,
        dense(neighborhood),
        parameters,
        projected=projected,
    )
    assert 0 < assignment.induced.sum() < len(induced)
    np.testing.assert_array_equal(assignment.induced, induced)
    # sums in another order, divided by differences of similar numbers
    np.testing.assert_allclose(assignment.time, time, rtol=1e-9, atol=1e-9)


def test_true_times_are_assigned_to_cells_on_the_curve(parameters):
    described_gene, neighborhood = described(parameters, noise=0.0)
    assignment = time_assignment.assign_times(described_gene, neighborhood, parameters, False)
    time = np.linspace(0.05, 2 * parameters[gene.SWITCHING_TIME], len(assignment.time))
    # near the switch, neighborhoods contain cells of both branches
    away_from_switch = np.abs(time - parameters[gene.SWITCHING_TIME]) > 1
    np.testing.assert_allclose(assignment.time[away_from_switch], time[away_from_switch], rtol=1e-6)


def test_error_of_an_assignment_is_the_squared_error_at_its_times(parameters):
    described_gene, neighborhood = described(parameters)
    for projected in (False, True):
        assignment = time_assignment.assign_times(described_gene, neighborhood, parameters, projected)
        assert assignment.error == pytest.approx(
            loss.squared_error(described_gene, parameters, assignment.time), rel=1e-10
        )


def test_closed_gaps_equal_naive_implementation(parameters):
    rng = np.random.default_rng(0)
    described_gene, _ = described(parameters, n_cells=1200)
    tau = rng.uniform(0, 5, (2, 1200))
    tau[time_assignment.ON, :3] += [20, 40, 41]
    tau[time_assignment.OFF, -1] += 30
    induced = np.arange(1200) < 700
    expected = naive.limited_gaps(tau[time_assignment.ON], tau[time_assignment.OFF], induced)
    times = np.concatenate([np.sort(tau[time_assignment.ON, induced]), np.sort(tau[time_assignment.OFF, ~induced])])
    gaps = time_assignment.gaps_between(times, 700)
    limit = 3 * np.percentile(gaps, 99.5)
    distances = time_assignment.branch_distances(described_gene, parameters, tau)
    time_assignment.close_gaps(described_gene, parameters, times, gaps, 700, limit, induced, tau, distances)
    np.testing.assert_allclose((tau[time_assignment.ON], tau[time_assignment.OFF]), expected, rtol=1e-12)
    assert tau.max() < 10
    np.testing.assert_allclose(distances, time_assignment.branch_distances(described_gene, parameters, tau), rtol=1e-12)


@pytest.mark.parametrize("percent", [0.0, 50.0, 99.5, 100.0])
@pytest.mark.parametrize("n_values", [1, 2, 999])
@pytest.mark.parametrize("shape", [0.01, 1.0])
def test_percentile_equals_numpy(percent, n_values, shape):
    values = np.random.default_rng(0).gamma(shape, size=n_values)
    assert time_assignment.percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-14)
    assert time_assignment.percentile(np.zeros(n_values), percent) == 0


@pytest.mark.parametrize("top", [np.inf, 1.0, 0.0])
@pytest.mark.parametrize("shape", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("n_times", [0, 1, 2, 999])
def test_times_are_sorted(n_times, shape, top):
    times = np.minimum(np.random.default_rng(0).gamma(shape, size=n_times), top)
    expected = np.sort(times)
    time_assignment.sort_times(times)
    np.testing.assert_array_equal(times, expected)


def test_sorting_keeps_nan_and_infinite_times():
    times = np.array([3.0, np.nan, 1.0, np.inf])
    time_assignment.sort_times(times)
    assert sorted(times[np.isfinite(times)]) == [1.0, 3.0]
    assert np.isnan(times).sum() == np.isinf(times).sum() == 1


@pytest.mark.parametrize("rising", [True, False])
def test_nearest_node_equals_full_scan(rising):
    rng = np.random.default_rng(0)
    for n_nodes in (5, 200):
        nodes_u = np.sort(rng.uniform(0, 3, n_nodes))[:: 1 if rising else -1].copy()
        nodes_s = rng.uniform(0, 3, n_nodes)
        radii = time_assignment.block_radii(nodes_u, nodes_s)
        for u, s in rng.uniform(-1, 4, (500, 2)):
            full_scan = ((nodes_u - u) ** 2 + (nodes_s - s) ** 2).argmin()
            assert time_assignment.nearest_node(u, s, nodes_u, nodes_s, radii) == full_scan


def test_squared_error_and_penalty_are_sums_over_fitted_cells(parameters):
    described_gene, _ = described(parameters)
    alpha, beta, gamma, switching_time, scaling = parameters
    time = np.random.default_rng(1).uniform(0, 12, len(described_gene.spliced))
    u_switch, s_switch = naive.curve(switching_time, 0.0, 0.0, alpha, beta, gamma)
    expected = 0.0
    for cell in described_gene.fitted:
        on = time[cell] < switching_time
        start = (0, 0, alpha) if on else (u_switch, s_switch, 0)
        u, s = naive.curve(time[cell] - (0 if on else switching_time), *start, beta, gamma)
        expected += ((u * scaling - described_gene.unspliced[cell]) / described_gene.std_u) ** 2
        expected += ((s - described_gene.spliced[cell]) / described_gene.std_s) ** 2
    assert loss.squared_error(described_gene, parameters, time) == pytest.approx(expected, rel=1e-10)
    deviation = (gamma / beta - 0.5) / described_gene.std_s * described_gene.spliced[described_gene.fitted]
    assert loss.penalty(described_gene, parameters, 0.5) == pytest.approx(np.sum(deviation**2))
    assert loss.penalty(described_gene, parameters, math.nan) == 0


@pytest.mark.parametrize("free", [(3,), (0, 2), (3, 0, 1, 2)])
@pytest.mark.parametrize("start", [1.0, 0.6, 1.7])
def test_simplex_step_equals_one_iteration_of_scipy(parameters, free, start):
    described_gene, neighborhood = described(parameters)
    problem = optimization.Problem(described_gene, neighborhood, math.nan, False)
    begin = parameters * [start, 1 / start, 1, start, 1]
    n_fitted = len(described_gene.fitted)

    def objective(values):
        trial = begin.copy()
        trial[list(free)] = values
        return optimization.evaluate(problem, trial).loss / n_fitted

    expected = minimize(
        objective,
        begin[list(free)],
        method="Nelder-Mead",
        # SciPy counts the first simplex as an iteration
        options={"maxiter": 2, "xatol": 1e-4, "fatol": 1e-4},
    )
    best = optimization.simplex_step(partial(optimization.evaluate, problem), begin, free, 1e-4, n_fitted)
    np.testing.assert_allclose(best.parameters[list(free)], expected.x, rtol=1e-12)
    assert best.loss / n_fitted == pytest.approx(expected.fun, rel=1e-12)
    constant = np.setdiff1d(range(5), free)
    np.testing.assert_array_equal(best.parameters[constant], begin[constant])


def test_accepted_parameters_are_not_evaluated_again(parameters):
    described_gene, neighborhood = described(parameters)
    problem = optimization.Problem(described_gene, neighborhood, math.nan, False)
    state = optimization.accept(optimization.evaluate(problem, parameters))
    assert optimization.evaluate_or_reuse(problem, state, parameters.copy()) is state.current
    evaluated = optimization.evaluate_or_reuse(problem, state._replace(current=None), parameters)
    assert evaluated.loss == state.current.loss
    assert optimization.evaluate_or_reuse(problem, state, parameters * 1.01).loss != state.current.loss


def test_the_stages_lower_the_loss(parameters):
    described_gene, neighborhood = described(parameters)
    start = initialization.initial_parameters(described_gene)
    problem = optimization.Problem(described_gene, neighborhood, math.nan, False)
    fitted = optimization.minimize(described_gene, neighborhood, start.parameters)
    assert fitted.accepted.loss < optimization.evaluate(problem, start.parameters).loss


def test_rates_are_recovered_from_cells_on_the_curve():
    described_gene, neighborhood = described(FAST_SPLICING, n_cells=600, noise=0.0)
    start = initialization.initial_parameters(described_gene)
    fitted = optimization.minimize(described_gene, neighborhood, start.parameters).accepted.parameters
    # the unit of time is arbitrary, so only ratios of rates are identified; the tolerance is that of one step per stage
    for rate in (gene.ALPHA, gene.GAMMA):
        scale = fitted[gene.SCALING] if rate == gene.ALPHA else 1.0
        truth = FAST_SPLICING[rate] / FAST_SPLICING[gene.BETA] / (1 / FAST_SPLICING[gene.SCALING] if rate == 0 else 1)
        assert fitted[rate] / fitted[gene.BETA] * scale == pytest.approx(truth, rel=0.2)


def test_time_is_aligned_to_the_same_duration_for_all_genes():
    time = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 4.5, 6.0])
    # up to 3 in induction and 2 in repression; two of seven cells are in steady states
    assert velocity.alignment_factor(time, 4.0) == pytest.approx(20 / ((3 + 2) / (1 - 2 / 7)))
    assert velocity.alignment_factor(np.zeros(3), 4.0) == 20


def test_a_change_of_the_unit_of_time_does_not_change_the_curve(parameters):
    aligned = velocity.align(parameters, 2.5)
    time = np.linspace(0, 12, 50)
    np.testing.assert_allclose(loss.curve_at(time * 2.5, aligned), loss.curve_at(time, parameters), rtol=1e-12)


def test_fitted_velocity_is_the_slope_of_the_curve(parameters):
    described_gene, neighborhood = described(parameters, noise=0.0)
    assignment = time_assignment.assign_times(described_gene, neighborhood, parameters, False)
    ds, du = velocity.fitted_velocity(described_gene, neighborhood, parameters, assignment.tau)
    time = gene.neighborhood_means(assignment.time, neighborhood)
    step = 1e-5
    after, before = loss.curve_at(time + step, parameters), loss.curve_at(time - step, parameters)
    slope_u, slope_s = (np.subtract(after, before)) / (2 * step)
    states, _ = time_assignment.likeliest_states(
        described_gene,
        neighborhood,
        parameters,
        time_assignment.branch_distances(described_gene, parameters, assignment.tau),
    )
    # neighborhoods near the switch contain cells of both branches
    compared = (states <= time_assignment.ON) & (np.abs(time - parameters[gene.SWITCHING_TIME]) > 1)
    assert compared.sum() > 60
    bounded = np.maximum(slope_s, -described_gene.spliced)
    np.testing.assert_allclose(ds[compared], bounded[compared], atol=1e-6)
    bounded = np.maximum(slope_u * parameters[gene.SCALING], -described_gene.unspliced)
    np.testing.assert_allclose(du[compared], bounded[compared], atol=1e-6)


def test_residual_velocity_is_beta_u_minus_gamma_s(parameters):
    described_gene, _ = described(parameters)
    alpha, beta, gamma, switching_time, scaling = parameters
    time = np.linspace(0, 12, len(described_gene.spliced))
    ds, du = velocity.residual_velocity(described_gene, parameters, time)
    u = described_gene.unspliced / scaling
    np.testing.assert_allclose(ds, beta * u - gamma * described_gene.spliced)
    np.testing.assert_allclose(du / scaling, np.where(time < switching_time, alpha, 0) - beta * u)


def gene_fit(described_gene, parameters, time, velocities):
    """Return the fit of a solver that assigned the cells to some times and velocities."""
    u, s = loss.curve_at(time, parameters)
    abundances = (u * parameters[gene.SCALING], s)
    tau = np.zeros((2, len(time)))
    return gene.GeneFit(described_gene, parameters, 1.0, 1.0, 1.0, time, tau, abundances, velocities, {})


def on_curve(parameters, **options):
    """Return the fit of a gene with cells at their true times, and residual velocities."""
    described_gene, _ = described(parameters, **options)
    time = np.linspace(0.05, 2 * parameters[gene.SWITCHING_TIME], len(described_gene.spliced))
    return gene_fit(described_gene, parameters, time, velocity.residual_velocity(described_gene, parameters, time))


def near_line(parameters):
    """Return the fit of a gene with cells along u = s / 2 at random times, and constant velocities."""
    described_gene, _ = described(parameters)
    rng = np.random.default_rng(0)
    time = rng.permutation(np.linspace(0.05, 2 * parameters[gene.SWITCHING_TIME], len(described_gene.spliced)))
    spliced = rng.gamma(3.0, size=len(time))
    on_line = described_gene._replace(spliced=spliced, unspliced=0.5 * spliced + rng.uniform(-0.01, 0.01, len(time)))
    return gene_fit(on_line, parameters, time, (np.ones(len(time)),) * 2)


def test_curve_weight_is_1_for_cells_on_the_curve_and_0_for_cells_on_a_line(parameters):
    exact, noisy, line = on_curve(parameters, noise=0.0), on_curve(parameters, noise=0.2), near_line(parameters)
    weights = [velocity.shrunken_velocity(fitted)[2] for fitted in (exact, noisy, line)]
    assert weights[0] == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2]
    assert weights[2] < 1e-6


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5])
def test_curve_weight_is_the_posterior_probability_of_the_curve_for_8_observations(parameters, ratio):
    fitted = on_curve(parameters, noise=0.0)
    u, s, std_u, std_s = (getattr(fitted.gene, name) for name in ("unspliced", "spliced", "std_u", "std_s"))
    slope = u.sum() / s.sum()
    to_line = np.mean((u - slope * s) ** 2) / (std_u**2 + (slope * std_s) ** 2)
    # all cells are as far from their fitted abundances as makes the ratio of the mean squared distances to both
    shifted = fitted._replace(fitted_abundances=(u, s + std_s * np.sqrt(ratio * to_line)))
    # normal likelihoods with the variances at their estimates: variance ** (-n / 2) for n observations
    curve, line = ratio ** (-8 / 2), 1.0
    assert velocity.shrunken_velocity(shifted)[2] == pytest.approx(curve / (curve + line))


def test_supported_velocity_is_the_curves_where_cells_are_on_it(parameters):
    exact = on_curve(parameters, noise=0.0)
    ds, du, _ = velocity.shrunken_velocity(exact)
    np.testing.assert_allclose(ds, np.maximum(exact.velocity[0], -exact.gene.spliced), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(du, np.maximum(exact.velocity[1], -exact.gene.unspliced), rtol=1e-5, atol=1e-6)


def test_supported_velocity_is_that_about_a_line_where_cells_are_not_on_the_curve(parameters):
    line = near_line(parameters)
    ds, du, _ = velocity.shrunken_velocity(line)
    u, s = line.gene.unspliced, line.gene.spliced
    ratio = u.sum() / s.sum()
    np.testing.assert_allclose(ds, np.maximum(0.4 / ratio * (u - ratio * s), -s), rtol=1e-4, atol=1e-5)
    assert np.abs(du).max() < 1e-5


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_supported_velocity_does_not_depend_on_the_unit_of_unspliced_counts(parameters, unit):
    plain = on_curve(parameters)
    scaled_gene = plain.gene._replace(unspliced=plain.gene.unspliced * unit, std_u=plain.gene.std_u * unit)
    scaled = parameters.copy()
    scaled[gene.SCALING] *= unit
    ds, du, weight = velocity.shrunken_velocity(plain)
    velocities = plain.velocity[0], plain.velocity[1] * unit
    scaled_fit = gene_fit(scaled_gene, scaled, plain.time, velocities)
    scaled_ds, scaled_du, scaled_weight = velocity.shrunken_velocity(scaled_fit)
    np.testing.assert_allclose(scaled_ds, ds, rtol=1e-9)
    np.testing.assert_allclose(scaled_du, du * unit, rtol=1e-9)
    assert scaled_weight == pytest.approx(weight)


def test_bimodality_detects_two_modes_but_not_one():
    rng = np.random.default_rng(0)
    # as in scVelo, the statistic is a density, so it depends on the unit of x
    two = np.concatenate([rng.normal(0.1, 0.002, 400), rng.normal(0.2, 0.002, 400)])
    p_value, upper = initialization.bimodality(two)
    assert p_value < 1e-3
    assert upper == pytest.approx(0.2, abs=0.01)
    assert initialization.bimodality(rng.normal(1, 0.3, 800))[0] > 0.1
    assert initialization.bimodality(np.ones(5)) == (1.0, 0.0)


def test_kernel_density_equals_scipy():
    from scipy.stats import gaussian_kde

    x = np.random.default_rng(0).gamma(2.0, size=200)
    grid = np.linspace(x.min(), x.max(), 30)
    np.testing.assert_allclose(initialization.kernel_density(x, grid), gaussian_kde(x)(grid), rtol=1e-10)


@pytest.mark.parametrize("n_both", [0, 1, 2])
def test_fewer_than_three_cells_with_both_counts_cannot_be_fitted(n_both):
    unspliced, spliced, neighborhood = cells_on_curve(FAST_SPLICING)
    unspliced[n_both:] = 0
    assert gene.describe_gene(unspliced, spliced, neighborhood) is None


def test_outliers_are_not_fitted_and_do_not_set_the_scale():
    unspliced, spliced, neighborhood = cells_on_curve(FAST_SPLICING)
    plain = gene.describe_gene(unspliced, spliced, neighborhood)
    spliced[[3, 70]] = 1e4
    with_outliers = gene.describe_gene(unspliced, spliced, neighborhood)
    assert not {3, 70} & set(with_outliers.fitted)
    assert with_outliers.std_s == pytest.approx(plain.std_s, rel=0.1)
