import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from support import naive
from support.cells import cloud, line, nearest, ring
from veloshard.analysis.latent_time import compute_latent_time
from veloshard.analysis.pseudotime import compute_pseudotimes, compute_velocity_pseudotime, root_sensitivity
from veloshard.analysis.terminal_states import compute_terminal_states, root_scores
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_graph import compute_velocity_graph


def two_lines(n_first=80, n_second=70):
    """Return moments, velocities and neighbors of two lines of cells that are not connected."""
    first, second = line(n_first), line(n_second)
    moments = np.vstack([first[0], second[0] + np.float32(50)])
    return moments, np.vstack([first[1], second[1]]), nearest(moments, 6)


def indicator(n_cells, cell):
    return (np.arange(n_cells) == cell).astype(float)


def simulated_gene_times(times, n_genes=40, noise=0.0, seed=0):
    """Return gene times (n_genes, n_cells) that are proportional to a common time, each with its own rate."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(5, 20, size=(n_genes, 1))
    return (rate * (times + noise * rng.uniform(size=(n_genes, len(times))))).astype(np.float32)


# sensitivity to the root


@pytest.mark.parametrize("has_gene_times", [False, True])
def test_pseudotimes_from_other_roots_are_compared_with_the_chosen_one(has_gene_times):
    moments, velocity, distances = line(160)
    graph = compute_velocity_graph(moments, velocity, distances)
    fit = {"fit_t": simulated_gene_times(np.linspace(0, 1, 160)), "likelihood": np.ones(40)} if has_gene_times else {}
    codes = np.repeat([0, 1, -1], [20, 120, 20])
    pseudotimes = compute_pseudotimes(graph, distances, distances, in_root_cluster=codes == 0, **fit)
    correlations = root_sensitivity(pseudotimes, graph, distances, names=["first", "middle"], codes=codes, **fit)
    assert list(correlations) == ["(detected)", "first", "middle"]
    assert correlations["first"] == pytest.approx(1)
    # the velocities start in the first cells, which are the detected roots
    assert correlations["(detected)"] > 0.99


def test_without_a_root_cluster_and_clusters_nothing_is_compared():
    moments, velocity, distances = line(160)
    graph = compute_velocity_graph(moments, velocity, distances)
    pseudotimes = compute_pseudotimes(graph, distances, distances)
    assert root_sensitivity(pseudotimes, graph, distances, names=[], codes=np.full(160, -1)) == {}


def test_root_sensitivity_of_many_cells_uses_some_of_them(monkeypatch):
    monkeypatch.setattr("veloshard.analysis.pseudotime._MAX_COMPARED_CELLS", 100)
    fit = {"fit_t": simulated_gene_times(np.linspace(0, 1, 300)), "likelihood": np.ones(40)}
    moments, velocity, distances = line(300)
    graph = compute_velocity_graph(moments, velocity, distances)
    pseudotimes = compute_pseudotimes(graph, distances, distances, in_root_cluster=np.arange(300) < 30, **fit)
    correlations = root_sensitivity(
        pseudotimes, graph, distances, names=["a"], codes=np.where(np.arange(300) < 30, 0, -1), **fit
    )
    assert correlations["a"] > 0.99


def test_a_root_that_is_not_among_the_compared_cells_is_replaced_by_a_cell_near_it(monkeypatch):
    monkeypatch.setattr("veloshard.analysis.pseudotime._MAX_COMPARED_CELLS", 100)
    fit = {"fit_t": simulated_gene_times(np.linspace(0, 1, 300)), "likelihood": np.ones(40)}
    moments, velocity, distances = line(300)
    graph = compute_velocity_graph(moments, velocity, distances)
    # cell 151 has the largest score, and every third cell is compared
    detected = np.where(abs(np.arange(300) - 151) < 10, 0.5, 0) + 0.5 * indicator(300, 151)
    chosen = compute_latent_time(fit["fit_t"], fit["likelihood"], detected, distances)
    pseudotimes = {"detected_root_cells": detected, "root_cells": detected, "latent_time": chosen}
    correlations = root_sensitivity(pseudotimes, graph, distances, names=[], codes=np.full(300, -1), **fit)
    assert correlations["(detected)"] > 0.8


# terminal states


@pytest.mark.parametrize("n_cells", [40, 140])
def test_terminal_states_of_a_line_are_at_its_ends(n_cells):
    moments, velocity, distances = line(n_cells)
    states = compute_terminal_states(compute_velocity_graph(moments, velocity, distances), distances)
    # within eight cells of the ends: averaging over neighbors spreads the scores
    assert np.flatnonzero(states.root_cells > 0.5).max() < 8
    assert np.flatnonzero(states.end_points > 0.5).min() >= n_cells - 8
    for scores in states:
        assert scores.min() == 0
        assert scores.max() == 1


def test_end_points_are_the_stationary_distribution_of_a_long_random_walk():
    moments, velocity, distances = cloud(n_neighbors=10)
    cosines = compute_velocity_graph(moments, velocity, distances)
    distribution = naive.stationary_distribution(compute_transition_matrix(cosines).toarray().astype(float))
    scores = np.minimum(distribution, np.percentile(distribution, 98))
    is_neighbor = (distances > 0).toarray() | np.eye(len(moments), dtype=bool)
    averaged = np.array([scores[row].mean() for row in is_neighbor])
    averaged = np.minimum(averaged, np.percentile(averaged, 98))
    expected = (averaged - averaged.min()) / np.ptp(averaged)
    # averaging weights are in single precision
    np.testing.assert_allclose(compute_terminal_states(cosines, distances).end_points, expected, atol=1e-6)


def test_roots_are_detected_without_a_stationary_distribution():
    moments, velocity, distances = line()
    # a cell in the middle that is a neighbor of no other cell: probability that reaches it is lost
    moments = np.vstack([moments, moments[40] + np.float32(0.3)])
    velocity = np.vstack([velocity, velocity[40]])
    distances = nearest(moments, 6)
    assert np.bincount(distances.indices, minlength=81)[80] == 0
    states = compute_terminal_states(compute_velocity_graph(moments, velocity, distances), distances)
    assert states.root_cells.max() == 1
    assert np.flatnonzero(states.root_cells > 0.5).max() < 6


def test_each_component_has_its_own_root_cells_and_end_points():
    moments, velocity, distances = two_lines()
    states = compute_terminal_states(compute_velocity_graph(moments, velocity, distances), distances)
    roots, ends = (np.flatnonzero(scores > 0.5) for scores in states)
    assert {cell // 80 for cell in roots} == {0, 1}
    assert {cell // 80 for cell in ends} == {0, 1}
    assert ((roots < 8) | ((roots >= 80) & (roots < 88))).all()
    assert (((ends >= 72) & (ends < 80)) | (ends >= 142)).all()


def test_a_uniform_ring_has_no_root_cells_and_no_end_points():
    moments, velocity, distances = ring()
    # neighbors by index, because rounding would decide among equal distances
    steps = np.array([-3, -2, -1, 1, 2, 3])
    rows = np.repeat(np.arange(80), 6)
    distances = sparse.csr_matrix((np.ones(480), (rows, (rows + np.tile(steps, 80)) % 80)), shape=(80, 80))
    states = compute_terminal_states(compute_velocity_graph(moments, velocity, distances), distances)
    assert states.root_cells.max() == 0
    assert states.end_points.max() == 0


def test_a_graph_without_edges_has_no_root_cells_and_no_end_points():
    _, _, distances = cloud()
    states = compute_terminal_states(sparse.csr_matrix((60, 60), dtype=np.float32), distances)
    assert (states.root_cells == 0).all()
    assert (states.end_points == 0).all()


def test_terminal_states_are_bitwise_identical_in_every_run():
    moments, velocity, distances = cloud(n_cells=120)
    cosines = compute_velocity_graph(moments, velocity, distances)
    for a, b in zip(
        compute_terminal_states(cosines, distances), compute_terminal_states(cosines, distances), strict=True
    ):
        assert a.tobytes() == b.tobytes()


# root scores


def test_root_scores_are_zero_outside_the_root_cluster_and_reach_one():
    scores = root_scores(np.array([0.2, 0.1, 0.9, 0.0]), np.array([True, True, False, True]))
    np.testing.assert_allclose(scores, [1, 0.5, 0, 0])


def test_all_cells_of_a_root_cluster_without_detected_roots_have_score_one():
    scores = root_scores(np.array([0, 0, 0.9]), np.array([True, True, False]))
    assert scores.tolist() == [1, 1, 0]


# pseudotime


@pytest.mark.parametrize("n_cells", [40, 140])
def test_pseudotime_rises_along_a_line(n_cells):
    moments, velocity, distances = line(n_cells)
    cosines = compute_velocity_graph(moments, velocity, distances)
    pseudotime = compute_velocity_pseudotime(cosines, *compute_terminal_states(cosines, distances), distances)
    assert pseudotime.min() == 0
    assert pseudotime.max() == 1
    assert spearmanr(pseudotime, np.arange(n_cells))[0] > 0.99


@pytest.mark.parametrize("n_cells", [40, 140])
def test_pseudotime_is_the_diffusion_distance_from_the_root(n_cells):
    moments, velocity, distances = cloud(n_cells=n_cells)
    cosines = compute_velocity_graph(moments, velocity, distances)
    no_end_points, no_neighbors = np.zeros(n_cells), sparse.csr_matrix((n_cells, n_cells))
    pseudotime = compute_velocity_pseudotime(cosines, indicator(n_cells, 7), no_end_points, no_neighbors)
    expected = naive.diffusion_distances(cosines.toarray().astype(float), 7)
    # precision of the iterative eigenvalue solver
    np.testing.assert_allclose(pseudotime, expected / expected.max(), atol=1e-5)


def test_end_points_without_root_cells_give_a_pseudotime():
    moments, velocity, distances = line()
    cosines = compute_velocity_graph(moments, velocity, distances)
    pseudotime = compute_velocity_pseudotime(cosines, np.zeros(80), indicator(80, 79), distances)
    assert spearmanr(pseudotime, np.arange(80))[0] > 0.99


def test_each_component_has_its_own_pseudotime():
    cosines = compute_velocity_graph(*two_lines())
    distances = two_lines()[2]
    pseudotime = compute_velocity_pseudotime(cosines, *compute_terminal_states(cosines, distances), distances)
    for component in (slice(0, 80), slice(80, 150)):
        assert spearmanr(pseudotime[component], np.arange(150)[component])[0] > 0.99


def test_pseudotime_is_nan_in_a_component_without_scores_and_in_a_cell_without_edges():
    moments, velocity, distances = two_lines()
    velocity[0] = 0
    distances = distances.tolil()
    distances[:, 0] = 0
    distances = distances.tocsr()
    cosines = compute_velocity_graph(moments, velocity, distances)
    pseudotime = compute_velocity_pseudotime(cosines, indicator(150, 1), np.zeros(150), distances)
    assert np.flatnonzero(np.isnan(pseudotime)).tolist() == [0, *range(80, 150)]


def test_pseudotime_of_a_graph_without_edges_is_nan():
    empty = sparse.csr_matrix((5, 5), dtype=np.float32)
    assert np.isnan(compute_velocity_pseudotime(empty, np.ones(5), np.ones(5), empty)).all()


# latent time


def test_latent_time_without_averaging_equals_the_naive_twin():
    times = np.random.default_rng(1).uniform(size=90)
    gene_times = simulated_gene_times(times, noise=0.3)
    root = int(np.argmin(times))
    # cells without neighbors are not averaged
    latent = compute_latent_time(gene_times, np.ones(40), indicator(90, root), sparse.csr_matrix((90, 90)))
    expected = naive.shared_time(gene_times, root)
    np.testing.assert_allclose(latent, expected, atol=1e-6)


def test_gene_times_are_shifted_independently_for_each_root():
    times = np.random.default_rng(1).uniform(size=90)
    gene_times = simulated_gene_times(times, noise=0.3)
    roots = np.argsort(gene_times.sum(axis=0))[[0, 10, 30]]
    scores = np.isin(np.arange(90), roots).astype(float)
    latent = compute_latent_time(gene_times, np.ones(40), scores, sparse.csr_matrix((90, 90)))
    mean = np.mean([naive.shared_time(gene_times, root) for root in roots], axis=0)
    np.testing.assert_allclose(latent, (mean - mean.min()) / np.ptp(mean), atol=1e-6)


def test_latent_time_recovers_the_common_time_of_noisy_gene_times():
    moments, _, distances = line(200)
    times = np.linspace(0, 1, 200)
    latent = compute_latent_time(simulated_gene_times(times, noise=0.5), np.ones(40), indicator(200, 0), distances)
    assert latent.min() == 0
    assert latent.max() == 1
    assert spearmanr(latent, times)[0] > 0.97


def test_latent_time_of_a_cycle_starts_at_the_root():
    times = np.linspace(0, 1, 100, endpoint=False)
    latent = compute_latent_time(
        simulated_gene_times(times), np.ones(40), indicator(100, 60), sparse.csr_matrix((100, 100))
    )
    # latent time rises along the cycle from the root
    assert np.diff(np.roll(latent, -60)).min() > -1e-6
    assert latent[60] == 0
    assert latent[59] == 1


def test_without_root_cells_the_earliest_cells_are_the_roots():
    _, _, distances = line(100)
    times = np.linspace(0, 1, 100)
    latent = compute_latent_time(simulated_gene_times(times), np.ones(40), np.zeros(100), distances)
    # the first four cells are roots in turn, and cells before a root are moved to the end of its time
    assert spearmanr(latent[4:], times[4:])[0] > 0.99


def test_genes_without_a_fit_or_with_a_low_likelihood_are_left_out():
    _, _, distances = line(100)
    gene_times = simulated_gene_times(np.linspace(0, 1, 100))
    likelihood = np.ones(40)
    invalid = gene_times[:3, ::-1].copy()
    invalid[0, 5] = np.nan
    latent = compute_latent_time(
        np.vstack([invalid, gene_times]),
        np.concatenate([[1, 0.05, np.nan], likelihood]),
        indicator(100, 0),
        distances,
    )
    assert latent.tobytes() == compute_latent_time(gene_times, likelihood, indicator(100, 0), distances).tobytes()


def test_a_cell_with_a_deviating_time_does_not_change_its_neighbors():
    _, _, distances = line(100)
    times = np.linspace(0, 1, 100)
    deviating = times.copy()
    deviating[30] = 0.95
    latent = compute_latent_time(simulated_gene_times(deviating), np.ones(40), indicator(100, 0), distances)
    expected = compute_latent_time(simulated_gene_times(times), np.ones(40), indicator(100, 0), distances)
    # in the average of six neighbors it would change them by 0.09; leaving it out changes means by half a cell
    assert np.abs(latent - expected).max() < 0.01


def test_latent_time_without_any_usable_gene_is_nan():
    _, _, distances = line(50)
    gene_times = simulated_gene_times(np.linspace(0, 1, 50))
    assert np.isnan(compute_latent_time(gene_times, np.full(40, np.nan), np.ones(50), distances)).all()
    assert np.isnan(compute_latent_time(gene_times * np.float32(np.nan), np.ones(40), np.ones(50), distances)).all()


def test_latent_time_of_constant_gene_times_is_zero():
    _, _, distances = line(50)
    assert (compute_latent_time(np.ones((4, 50), dtype=np.float32), np.ones(4), np.ones(50), distances) == 0).all()


def test_latent_time_is_bitwise_identical_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    gene_times = rng.uniform(size=(20, 300)).astype(np.float32)
    whole = compute_latent_time(gene_times, np.ones(20), indicator(300, 3), sparse.csr_matrix((300, 300)))
    monkeypatch.setattr("veloshard.analysis.latent_time._BLOCK", 100)
    blocks = compute_latent_time(gene_times, np.ones(20), indicator(300, 3), sparse.csr_matrix((300, 300)))
    assert blocks.tobytes() == whole.tobytes()
