"""The kernels of the dynamical fit against slow twins, SciPy and the splicing equations."""

import math
from functools import partial

import naive
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from veloshard.methods.dynamical import assign, gene, initial, loss, optimise, velocity
from veloshard.moments import neighborhood
from veloshard.neighbors import connectivity_weights

# gamma above and below beta: times are inverted and projected in other ways
SLOW_SPLICING = np.array([2.0, 0.4, 0.9, 6.0, 1.3])
FAST_SPLICING = np.array([2.0, 0.9, 0.4, 6.0, 0.7])


@pytest.fixture(params=[SLOW_SPLICING, FAST_SPLICING], ids=["slow splicing", "fast splicing"])
def parameters(request):
    return request.param


def cells_on_curve(parameters, *, n_cells=150, noise=0.1):
    """Unspliced and spliced counts of cells at even times on both branches, and their neighborhoods in time."""
    alpha, beta, gamma, switching_time, scaling = parameters
    rng = np.random.default_rng(0)
    time = np.linspace(0.05, 2 * switching_time, n_cells)
    u_switch, s_switch = naive.curve(switching_time, 0.0, 0.0, alpha, beta, gamma)
    on = naive.curve(time, 0, 0, alpha, beta, gamma)
    off = naive.curve(time - switching_time, u_switch, s_switch, 0, beta, gamma)
    counts = np.where(time < switching_time, on, off) * np.exp(noise * rng.normal(size=(2, n_cells)))
    band = np.abs(np.subtract.outer(range(n_cells), range(n_cells))) <= 4
    return counts[0] * scaling, counts[1], neighborhood(connectivity_weights(sparse.csr_matrix(band * 1.0)))


def described(parameters, **options):
    unspliced, spliced, around = cells_on_curve(parameters, **options)
    return gene.describe_gene(unspliced, spliced, around), around


def dense(around):
    n_cells = len(around.indptr) - 1
    return sparse.csr_matrix((around.weights, around.indices, around.indptr), shape=(n_cells, n_cells)).toarray()


@pytest.mark.parametrize("projected", [False, True])
def test_assignment_equals_its_twin(parameters, projected):
    described_gene, around = described(parameters)
    found = assign.assign_times(described_gene, around, parameters, projected)
    time, induced = naive.assigned_times(
        described_gene.unspliced,
        described_gene.spliced,
        described_gene.std_u,
        described_gene.std_s,
        dense(around),
        parameters,
        projected=projected,
    )
    assert 0 < found.induced.sum() < len(induced)
    np.testing.assert_array_equal(found.induced, induced)
    # sums in another order, divided by differences of near numbers
    np.testing.assert_allclose(found.time, time, rtol=1e-9, atol=1e-9)


def test_times_of_cells_on_the_curve_are_their_own(parameters):
    described_gene, around = described(parameters, noise=0.0)
    found = assign.assign_times(described_gene, around, parameters, False)
    time = np.linspace(0.05, 2 * parameters[gene.SWITCHING_TIME], len(found.time))
    # about the switch the two branches meet, and a neighborhood takes one side
    apart = np.abs(time - parameters[gene.SWITCHING_TIME]) > 1
    np.testing.assert_allclose(found.time[apart], time[apart], rtol=1e-6)


def test_error_of_an_assignment_is_that_at_its_times(parameters):
    described_gene, around = described(parameters)
    for projected in (False, True):
        found = assign.assign_times(described_gene, around, parameters, projected)
        assert found.error == pytest.approx(loss.squared_error(described_gene, parameters, found.time), rel=1e-10)


def test_gaps_are_closed_as_by_the_twin(parameters):
    rng = np.random.default_rng(0)
    described_gene, _ = described(parameters, n_cells=1200)
    tau = rng.uniform(0, 5, (2, 1200))
    tau[assign.ON, :3] += [20, 40, 41]
    tau[assign.OFF, -1] += 30
    induced = np.arange(1200) < 700
    expected = naive.limited_gaps(tau[assign.ON], tau[assign.OFF], induced)
    times = np.concatenate([np.sort(tau[assign.ON, induced]), np.sort(tau[assign.OFF, ~induced])])
    gaps = assign.gaps_between(times, 700)
    limit = 3 * np.percentile(gaps, 99.5)
    distances = assign.branch_distances(described_gene, parameters, tau)
    assign.close_gaps(described_gene, parameters, times, gaps, 700, limit, induced, tau, distances)
    np.testing.assert_allclose((tau[assign.ON], tau[assign.OFF]), expected, rtol=1e-12)
    assert tau.max() < 10
    np.testing.assert_allclose(distances, assign.branch_distances(described_gene, parameters, tau), rtol=1e-12)


@pytest.mark.parametrize("percent", [0.0, 50.0, 99.5, 100.0])
@pytest.mark.parametrize("n_values", [1, 2, 999])
@pytest.mark.parametrize("shape", [0.01, 1.0])
def test_percentile_is_that_of_numpy(percent, n_values, shape):
    values = np.random.default_rng(0).gamma(shape, size=n_values)
    assert assign.percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-14)
    assert assign.percentile(np.zeros(n_values), percent) == 0


@pytest.mark.parametrize("top", [np.inf, 1.0, 0.0])
@pytest.mark.parametrize("shape", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("n_times", [0, 1, 2, 999])
def test_times_are_sorted(n_times, shape, top):
    times = np.minimum(np.random.default_rng(0).gamma(shape, size=n_times), top)
    expected = np.sort(times)
    assign.sort_times(times)
    np.testing.assert_array_equal(times, expected)


def test_what_is_no_number_stays_among_the_times():
    times = np.array([3.0, np.nan, 1.0, np.inf])
    assign.sort_times(times)
    assert sorted(times[np.isfinite(times)]) == [1.0, 3.0]
    assert np.isnan(times).sum() == np.isinf(times).sum() == 1


@pytest.mark.parametrize("rising", [True, False])
def test_nearest_node_is_that_of_a_full_scan(rising):
    rng = np.random.default_rng(0)
    for n_nodes in (5, 200):
        nodes_u = np.sort(rng.uniform(0, 3, n_nodes))[:: 1 if rising else -1].copy()
        nodes_s = rng.uniform(0, 3, n_nodes)
        radii = assign.block_radii(nodes_u, nodes_s)
        for u, s in rng.uniform(-1, 4, (500, 2)):
            full_scan = ((nodes_u - u) ** 2 + (nodes_s - s) ** 2).argmin()
            assert assign.nearest_node(u, s, nodes_u, nodes_s, radii) == full_scan


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
    drift = (gamma / beta - 0.5) / described_gene.std_s * described_gene.spliced[described_gene.fitted]
    assert loss.penalty(described_gene, parameters, 0.5) == pytest.approx(np.sum(drift**2))
    assert loss.penalty(described_gene, parameters, math.nan) == 0


@pytest.mark.parametrize("free", [(3,), (0, 2), (3, 0, 1, 2)])
@pytest.mark.parametrize("start", [1.0, 0.6, 1.7])
def test_simplex_step_is_one_iteration_of_scipy(parameters, free, start):
    described_gene, around = described(parameters)
    problem = optimise.Problem(described_gene, around, math.nan, False)
    begin = parameters * [start, 1 / start, 1, start, 1]
    n_fitted = len(described_gene.fitted)

    def objective(values):
        trial = begin.copy()
        trial[list(free)] = values
        return optimise.evaluate(problem, trial).loss / n_fitted

    scipys = minimize(
        objective,
        begin[list(free)],
        method="Nelder-Mead",
        # SciPy counts the first simplex as an iteration
        options={"maxiter": 2, "xatol": 1e-4, "fatol": 1e-4},
    )
    stepped = optimise.simplex_step(partial(optimise.evaluate, problem), begin, free, 1e-4, n_fitted)
    np.testing.assert_allclose(stepped.parameters[list(free)], scipys.x, rtol=1e-12)
    assert stepped.loss / n_fitted == pytest.approx(scipys.fun, rel=1e-12)
    kept = np.setdiff1d(range(5), free)
    np.testing.assert_array_equal(stepped.parameters[kept], begin[kept])


def test_a_trial_at_hand_is_not_made_again(parameters):
    described_gene, around = described(parameters)
    problem = optimise.Problem(described_gene, around, math.nan, False)
    state = optimise.accept(optimise.evaluate(problem, parameters))
    assert optimise.trial_of(problem, state, parameters.copy()) is state.current
    made = optimise.trial_of(problem, state._replace(current=None), parameters)
    assert made.loss == state.current.loss
    assert optimise.trial_of(problem, state, parameters * 1.01).loss != state.current.loss


def test_no_stage_raises_the_loss_by_more_than_an_earlier_switch_may(parameters):
    described_gene, around = described(parameters)
    start = initial.initial_parameters(described_gene)
    problem = optimise.Problem(described_gene, around, math.nan, False)
    fitted = optimise.minimise(described_gene, around, start.parameters)
    assert fitted.accepted.loss < optimise.evaluate(problem, start.parameters).loss


def test_rates_are_recovered_from_cells_on_the_curve():
    described_gene, around = described(FAST_SPLICING, n_cells=600, noise=0.0)
    start = initial.initial_parameters(described_gene)
    fitted = optimise.minimise(described_gene, around, start.parameters).accepted.parameters
    # the unit of time is free: ratios are what the data tell; one step a stage comes this near to them
    for over in (gene.ALPHA, gene.GAMMA):
        scale = fitted[gene.SCALING] if over == gene.ALPHA else 1.0
        truth = FAST_SPLICING[over] / FAST_SPLICING[gene.BETA] / (1 / FAST_SPLICING[gene.SCALING] if over == 0 else 1)
        assert fitted[over] / fitted[gene.BETA] * scale == pytest.approx(truth, rel=0.2)


def test_time_is_stretched_to_the_same_length_for_all_genes():
    time = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 4.5, 6.0])
    # up to 3 on the way up, 2 on the way down, and two of seven cells at rest
    assert velocity.alignment_factor(time, 4.0) == pytest.approx(20 / ((3 + 2) / (1 - 2 / 7)))
    assert velocity.alignment_factor(np.zeros(3), 4.0) == 20


def test_changing_the_unit_of_time_moves_no_cell_on_the_curve(parameters):
    aligned = velocity.align(parameters, 2.5)
    time = np.linspace(0, 12, 50)
    np.testing.assert_allclose(loss.curve_at(time * 2.5, aligned), loss.curve_at(time, parameters), rtol=1e-12)


def test_fitted_velocity_is_the_slope_of_the_curve(parameters):
    described_gene, around = described(parameters, noise=0.0)
    found = assign.assign_times(described_gene, around, parameters, False)
    ds, du = velocity.fitted_velocity(described_gene, around, parameters, found.tau)
    time = gene.neighborhood_means(found.time, around)
    step = 1e-5
    after, before = loss.curve_at(time + step, parameters), loss.curve_at(time - step, parameters)
    slope_u, slope_s = (np.subtract(after, before)) / (2 * step)
    states, _ = assign.likeliest_states(
        described_gene,
        around,
        parameters,
        assign.branch_distances(described_gene, parameters, found.tau),
    )
    # neighborhoods that reach over the switch mix both branches
    moving = (states <= assign.ON) & (np.abs(time - parameters[gene.SWITCHING_TIME]) > 1)
    assert moving.sum() > 60
    bounded = np.maximum(slope_s, -described_gene.spliced)
    np.testing.assert_allclose(ds[moving], bounded[moving], atol=1e-6)
    bounded = np.maximum(slope_u * parameters[gene.SCALING], -described_gene.unspliced)
    np.testing.assert_allclose(du[moving], bounded[moving], atol=1e-6)


def test_residual_velocity_is_beta_u_minus_gamma_s(parameters):
    described_gene, _ = described(parameters)
    alpha, beta, gamma, switching_time, scaling = parameters
    time = np.linspace(0, 12, len(described_gene.spliced))
    ds, du = velocity.residual_velocity(described_gene, parameters, time)
    u = described_gene.unspliced / scaling
    np.testing.assert_allclose(ds, beta * u - gamma * described_gene.spliced)
    np.testing.assert_allclose(du / scaling, np.where(time < switching_time, alpha, 0) - beta * u)


def fitted(described_gene, parameters, time, form):
    """What a solver would hand on that has put the cells at these times, with some velocities of the curve."""
    u, s = loss.curve_at(time, parameters)
    place = (u * parameters[gene.SCALING], s)
    return gene.Fitted(described_gene, parameters, 1.0, 1.0, 1.0, time, np.zeros((2, len(time))), place, form, {})


def on_curve(parameters, **options):
    """A gene of cells at even times, `fitted` at their own with the velocities of the residual form."""
    described_gene, _ = described(parameters, **options)
    time = np.linspace(0.05, 2 * parameters[gene.SWITCHING_TIME], len(described_gene.spliced))
    return fitted(described_gene, parameters, time, velocity.residual_velocity(described_gene, parameters, time))


def near_line(parameters):
    """A gene of cells along u = s / 2 whose places on the curve have nothing to do with them."""
    described_gene, _ = described(parameters)
    rng = np.random.default_rng(0)
    time = rng.permutation(np.linspace(0.05, 2 * parameters[gene.SWITCHING_TIME], len(described_gene.spliced)))
    spliced = rng.gamma(3.0, size=len(time))
    on_line = described_gene._replace(spliced=spliced, unspliced=0.5 * spliced + rng.uniform(-0.01, 0.01, len(time)))
    return fitted(on_line, parameters, time, (np.ones(len(time)),) * 2)


def test_cells_on_the_curve_support_it_and_cells_on_a_line_do_not(parameters):
    exact, noisy, line = on_curve(parameters, noise=0.0), on_curve(parameters, noise=0.2), near_line(parameters)
    weights = [velocity.supported_velocity(gene_fit)[2] for gene_fit in (exact, noisy, line)]
    assert weights[0] == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2]
    assert weights[2] < 1e-6


def test_supported_velocity_is_the_curves_where_cells_are_on_it(parameters):
    exact = on_curve(parameters, noise=0.0)
    ds, du, _ = velocity.supported_velocity(exact)
    np.testing.assert_allclose(ds, np.maximum(exact.velocity[0], -exact.gene.spliced), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(du, np.maximum(exact.velocity[1], -exact.gene.unspliced), rtol=1e-5, atol=1e-6)


def test_supported_velocity_is_that_about_a_line_where_cells_are_not_on_the_curve(parameters):
    line = near_line(parameters)
    ds, du, _ = velocity.supported_velocity(line)
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
    ds, du, weight = velocity.supported_velocity(plain)
    form = plain.velocity[0], plain.velocity[1] * unit
    found = velocity.supported_velocity(fitted(scaled_gene, scaled, plain.time, form))
    np.testing.assert_allclose(found[0], ds, rtol=1e-9)
    np.testing.assert_allclose(found[1], du * unit, rtol=1e-9)
    assert found[2] == pytest.approx(weight)


def test_bimodality_sees_two_modes_and_not_one():
    rng = np.random.default_rng(0)
    # a peak counts by its height, so that the unit of x matters (scVelo's test)
    two = np.concatenate([rng.normal(0.1, 0.002, 400), rng.normal(0.2, 0.002, 400)])
    p_value, upper = initial.bimodality(two)
    assert p_value < 1e-3
    assert upper == pytest.approx(0.2, abs=0.01)
    assert initial.bimodality(rng.normal(1, 0.3, 800))[0] > 0.1
    assert initial.bimodality(np.ones(5)) == (1.0, 0.0)


def test_kernel_density_is_that_of_scipy():
    from scipy.stats import gaussian_kde

    x = np.random.default_rng(0).gamma(2.0, size=200)
    grid = np.linspace(x.min(), x.max(), 30)
    np.testing.assert_allclose(initial.kernel_density(x, grid), gaussian_kde(x)(grid), rtol=1e-10)


@pytest.mark.parametrize("n_both", [0, 1, 2])
def test_fewer_than_three_cells_with_both_counts_cannot_be_fitted(n_both):
    unspliced, spliced, around = cells_on_curve(FAST_SPLICING)
    unspliced[n_both:] = 0
    assert gene.describe_gene(unspliced, spliced, around) is None


def test_outliers_are_neither_fitted_nor_set_the_scale():
    unspliced, spliced, around = cells_on_curve(FAST_SPLICING)
    plain = gene.describe_gene(unspliced, spliced, around)
    spliced[[3, 70]] = 1e4
    with_outliers = gene.describe_gene(unspliced, spliced, around)
    assert not {3, 70} & set(with_outliers.fitted)
    assert with_outliers.std_s == pytest.approx(plain.std_s, rel=0.1)
