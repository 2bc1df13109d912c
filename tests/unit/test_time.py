import naive
import numpy as np
import pytest
from cells import cloud, line, nearest, ring
from scipy import sparse
from scipy.stats import spearmanr
from veloshard.graph import velocity_graph
from veloshard.time import (
    latent_time,
    order_cells,
    root_scores,
    root_sensitivity,
    terminal_states,
    velocity_pseudotime,
)
from veloshard.transition import transition_matrix


def two_lines(n_first=80, n_second=70):
    """Two lines of cells far from each other, with nothing in between."""
    first, second = line(n_first), line(n_second)
    moments = np.vstack([first[0], second[0] + np.float32(50)])
    return moments, np.vstack([first[1], second[1]]), nearest(moments, 6)


def indicator(n_cells, cell):
    return (np.arange(n_cells) == cell).astype(float)


def clocks_of(times, n_genes=40, noise=0.0, seed=0):
    """Gene clocks (n_genes, n_cells) that follow a common time, each at its own pace."""
    rng = np.random.default_rng(seed)
    pace = rng.uniform(5, 20, size=(n_genes, 1))
    return (pace * (times + noise * rng.uniform(size=(n_genes, len(times))))).astype(np.float32)


# other roots


@pytest.mark.parametrize("fitted", [False, True])
def test_orders_from_other_roots_are_compared_with_the_chosen_one(fitted):
    moments, velocity, distances = line(160)
    graph = velocity_graph(moments, velocity, distances)
    clocks = {"fit_t": clocks_of(np.linspace(0, 1, 160)), "likelihood": np.ones(40)} if fitted else {}
    codes = np.repeat([0, 1, -1], [20, 120, 20])
    orders = order_cells(graph, distances, distances, in_root_cluster=codes == 0, **clocks)
    found = root_sensitivity(orders, graph, distances, names=["first", "middle"], codes=codes, **clocks)
    assert list(found) == ["(detected)", "first", "middle"]
    assert found["first"] == pytest.approx(1)
    # the velocities lead away from the first cells: they are the detected roots
    assert found["(detected)"] > 0.99


def test_without_a_chosen_root_there_are_only_clusters_to_compare_with():
    moments, velocity, distances = line(160)
    graph = velocity_graph(moments, velocity, distances)
    orders = order_cells(graph, distances, distances)
    assert root_sensitivity(orders, graph, distances, names=[], codes=np.full(160, -1)) == {}


def test_many_cells_are_compared_by_some_of_them(monkeypatch):
    monkeypatch.setattr("veloshard.time._COMPARED", 100)
    clocks = {"fit_t": clocks_of(np.linspace(0, 1, 300)), "likelihood": np.ones(40)}
    moments, velocity, distances = line(300)
    graph = velocity_graph(moments, velocity, distances)
    orders = order_cells(graph, distances, distances, in_root_cluster=np.arange(300) < 30, **clocks)
    found = root_sensitivity(
        orders, graph, distances, names=["a"], codes=np.where(np.arange(300) < 30, 0, -1), **clocks
    )
    assert found["a"] > 0.99


def test_a_root_that_is_not_among_the_compared_cells_is_found_beside_it(monkeypatch):
    monkeypatch.setattr("veloshard.time._COMPARED", 100)
    clocks = {"fit_t": clocks_of(np.linspace(0, 1, 300)), "likelihood": np.ones(40)}
    moments, velocity, distances = line(300)
    graph = velocity_graph(moments, velocity, distances)
    # the best root is cell 151, and every third is compared
    detected = np.where(abs(np.arange(300) - 151) < 10, 0.5, 0) + 0.5 * indicator(300, 151)
    chosen = latent_time(clocks["fit_t"], clocks["likelihood"], detected, distances)
    orders = {"detected_root_cells": detected, "root_cells": detected, "latent_time": chosen}
    found = root_sensitivity(orders, graph, distances, names=[], codes=np.full(300, -1), **clocks)
    assert found["(detected)"] > 0.8


# terminal states


@pytest.mark.parametrize("n_cells", [40, 140])
def test_a_line_starts_and_ends_at_its_ends(n_cells):
    moments, velocity, distances = line(n_cells)
    states = terminal_states(velocity_graph(moments, velocity, distances), distances)
    # within eight cells: those that see nothing ahead, and those that reach them in two steps of three
    assert np.flatnonzero(states.root_cells > 0.5).max() < 8
    assert np.flatnonzero(states.end_points > 0.5).min() >= n_cells - 8
    for scores in states:
        assert scores.min() == 0
        assert scores.max() == 1


def test_end_points_are_where_a_long_walk_stays():
    moments, velocity, distances = cloud(n_neighbors=10)
    cosines = velocity_graph(moments, velocity, distances)
    visits = naive.stationary_distribution(transition_matrix(cosines).toarray().astype(float))
    scores = np.minimum(visits, np.percentile(visits, 98))
    around = (distances > 0).toarray() | np.eye(len(moments), dtype=bool)
    smooth = np.array([scores[row].mean() for row in around])
    smooth = np.minimum(smooth, np.percentile(smooth, 98))
    expected = (smooth - smooth.min()) / np.ptp(smooth)
    # weights of the means are in single precision
    np.testing.assert_allclose(terminal_states(cosines, distances).end_points, expected, atol=1e-6)


def test_roots_are_found_though_the_backward_walk_runs_out():
    moments, velocity, distances = line()
    # nobody's neighbour, in the middle: what steps back to it is lost
    moments = np.vstack([moments, moments[40] + np.float32(0.3)])
    velocity = np.vstack([velocity, velocity[40]])
    distances = nearest(moments, 6)
    assert np.bincount(distances.indices, minlength=81)[80] == 0
    states = terminal_states(velocity_graph(moments, velocity, distances), distances)
    assert states.root_cells.max() == 1
    assert np.flatnonzero(states.root_cells > 0.5).max() < 6


def test_each_separate_part_has_its_own_root_and_end():
    moments, velocity, distances = two_lines()
    states = terminal_states(velocity_graph(moments, velocity, distances), distances)
    roots, ends = (np.flatnonzero(scores > 0.5) for scores in states)
    assert {cell // 80 for cell in roots} == {0, 1}
    assert {cell // 80 for cell in ends} == {0, 1}
    assert ((roots < 8) | ((roots >= 80) & (roots < 88))).all()
    assert (((ends >= 72) & (ends < 80)) | (ends >= 142)).all()


def test_an_even_ring_has_neither_root_nor_end():
    moments, velocity, distances = ring()
    # neighbours by position: equal distances leave the choice among them to rounding
    steps = np.array([-3, -2, -1, 1, 2, 3])
    rows = np.repeat(np.arange(80), 6)
    distances = sparse.csr_matrix((np.ones(480), (rows, (rows + np.tile(steps, 80)) % 80)), shape=(80, 80))
    states = terminal_states(velocity_graph(moments, velocity, distances), distances)
    assert states.root_cells.max() == 0
    assert states.end_points.max() == 0


def test_a_graph_without_edges_has_neither_root_nor_end():
    _, _, distances = cloud()
    states = terminal_states(sparse.csr_matrix((60, 60), dtype=np.float32), distances)
    assert (states.root_cells == 0).all()
    assert (states.end_points == 0).all()


def test_terminal_states_are_the_same_bits_every_time():
    moments, velocity, distances = cloud(n_cells=120)
    cosines = velocity_graph(moments, velocity, distances)
    for a, b in zip(terminal_states(cosines, distances), terminal_states(cosines, distances), strict=True):
        assert a.tobytes() == b.tobytes()


# roots


def test_root_scores_keep_to_the_cluster_and_reach_one():
    scores = root_scores(np.array([0.2, 0.1, 0.9, 0.0]), np.array([True, True, False, True]))
    np.testing.assert_allclose(scores, [1, 0.5, 0, 0])


def test_without_detected_roots_in_it_the_whole_cluster_is_a_candidate():
    scores = root_scores(np.array([0, 0, 0.9]), np.array([True, True, False]))
    assert scores.tolist() == [1, 1, 0]


# pseudotime


@pytest.mark.parametrize("n_cells", [40, 140])
def test_pseudotime_rises_along_a_line(n_cells):
    moments, velocity, distances = line(n_cells)
    cosines = velocity_graph(moments, velocity, distances)
    pseudotime = velocity_pseudotime(cosines, *terminal_states(cosines, distances), distances)
    assert pseudotime.min() == 0
    assert pseudotime.max() == 1
    assert spearmanr(pseudotime, np.arange(n_cells))[0] > 0.99


@pytest.mark.parametrize("n_cells", [40, 140])
def test_pseudotime_is_the_diffusion_distance_from_the_root(n_cells):
    moments, velocity, distances = cloud(n_cells=n_cells)
    cosines = velocity_graph(moments, velocity, distances)
    nobody = np.zeros(n_cells)
    lonely = sparse.csr_matrix((n_cells, n_cells))
    pseudotime = velocity_pseudotime(cosines, indicator(n_cells, 7), nobody, lonely)
    expected = naive.diffusion_distances(cosines.toarray().astype(float), 7)
    # eigenvectors by iteration and of a whole matrix agree to about this
    np.testing.assert_allclose(pseudotime, expected / expected.max(), atol=1e-5)


def test_an_end_alone_gives_a_pseudotime_too():
    moments, velocity, distances = line()
    cosines = velocity_graph(moments, velocity, distances)
    pseudotime = velocity_pseudotime(cosines, np.zeros(80), indicator(80, 79), distances)
    assert spearmanr(pseudotime, np.arange(80))[0] > 0.99


def test_separate_parts_are_timed_on_their_own():
    cosines = velocity_graph(*two_lines())
    distances = two_lines()[2]
    pseudotime = velocity_pseudotime(cosines, *terminal_states(cosines, distances), distances)
    for part in (slice(0, 80), slice(80, 150)):
        assert spearmanr(pseudotime[part], np.arange(150)[part])[0] > 0.99


def test_a_part_without_root_and_end_and_a_cell_without_edges_have_no_pseudotime():
    moments, velocity, distances = two_lines()
    velocity[0] = 0
    distances = distances.tolil()
    distances[:, 0] = 0
    distances = distances.tocsr()
    cosines = velocity_graph(moments, velocity, distances)
    pseudotime = velocity_pseudotime(cosines, indicator(150, 1), np.zeros(150), distances)
    assert np.flatnonzero(np.isnan(pseudotime)).tolist() == [0, *range(80, 150)]


def test_a_graph_without_edges_gives_no_pseudotime():
    nothing = sparse.csr_matrix((5, 5), dtype=np.float32)
    assert np.isnan(velocity_pseudotime(nothing, np.ones(5), np.ones(5), nothing)).all()


# latent time


def test_latent_time_of_unmixed_clocks_is_the_shared_time_of_the_slow_twin():
    times = np.random.default_rng(1).uniform(size=90)
    clocks = clocks_of(times, noise=0.3)
    root = int(np.argmin(times))
    # without neighbours nothing is averaged
    latent = latent_time(clocks, np.ones(40), indicator(90, root), sparse.csr_matrix((90, 90)))
    expected = naive.shared_time(clocks, root)
    np.testing.assert_allclose(latent, expected, atol=1e-6)


def test_each_root_starts_from_the_genes_own_clocks():
    times = np.random.default_rng(1).uniform(size=90)
    clocks = clocks_of(times, noise=0.3)
    roots = np.argsort(clocks.sum(axis=0))[[0, 10, 30]]
    scores = np.isin(np.arange(90), roots).astype(float)
    latent = latent_time(clocks, np.ones(40), scores, sparse.csr_matrix((90, 90)))
    mean = np.mean([naive.shared_time(clocks, root) for root in roots], axis=0)
    np.testing.assert_allclose(latent, (mean - mean.min()) / np.ptp(mean), atol=1e-6)


def test_latent_time_follows_the_common_time_of_noisy_clocks():
    moments, _, distances = line(200)
    times = np.linspace(0, 1, 200)
    latent = latent_time(clocks_of(times, noise=0.5), np.ones(40), indicator(200, 0), distances)
    assert latent.min() == 0
    assert latent.max() == 1
    assert spearmanr(latent, times)[0] > 0.97


def test_on_a_cycle_time_starts_at_the_root():
    times = np.linspace(0, 1, 100, endpoint=False)
    latent = latent_time(clocks_of(times), np.ones(40), indicator(100, 60), sparse.csr_matrix((100, 100)))
    # the last cell of the cycle and the first are at the same time
    assert np.diff(np.roll(latent, -60)).min() > -1e-6
    assert latent[60] == 0
    assert latent[59] == 1


def test_without_a_certain_root_the_earliest_cells_are_taken():
    _, _, distances = line(100)
    times = np.linspace(0, 1, 100)
    latent = latent_time(clocks_of(times), np.ones(40), np.zeros(100), distances)
    # the first four cells take turns at being the first: what one of them calls late may be the start
    assert spearmanr(latent[4:], times[4:])[0] > 0.99


def test_genes_without_fit_or_of_low_likelihood_do_not_count():
    _, _, distances = line(100)
    clocks = clocks_of(np.linspace(0, 1, 100))
    likelihood = np.ones(40)
    bad = clocks[:3, ::-1].copy()
    bad[0, 5] = np.nan
    added = latent_time(
        np.vstack([bad, clocks]),
        np.concatenate([[1, 0.05, np.nan], likelihood]),
        indicator(100, 0),
        distances,
    )
    assert added.tobytes() == latent_time(clocks, likelihood, indicator(100, 0), distances).tobytes()


def test_one_cell_at_odds_does_not_move_its_neighbors():
    _, _, distances = line(100)
    times = np.linspace(0, 1, 100)
    odd = times.copy()
    odd[30] = 0.95
    latent = latent_time(clocks_of(odd), np.ones(40), indicator(100, 0), distances)
    undisturbed = latent_time(clocks_of(times), np.ones(40), indicator(100, 0), distances)
    # taken among its six neighbours it would move them by .09; leaving it out moves means by half a cell
    assert np.abs(latent - undisturbed).max() < 0.01


def test_no_usable_gene_gives_no_latent_time():
    _, _, distances = line(50)
    clocks = clocks_of(np.linspace(0, 1, 50))
    assert np.isnan(latent_time(clocks, np.full(40, np.nan), np.ones(50), distances)).all()
    assert np.isnan(latent_time(clocks * np.float32(np.nan), np.ones(40), np.ones(50), distances)).all()


def test_clocks_that_stand_still_give_zero():
    _, _, distances = line(50)
    assert (latent_time(np.ones((4, 50), dtype=np.float32), np.ones(4), np.ones(50), distances) == 0).all()


def test_large_inputs_are_timed_in_blocks_with_the_same_result(monkeypatch):
    rng = np.random.default_rng(0)
    clocks = rng.uniform(size=(20, 300)).astype(np.float32)
    whole = latent_time(clocks, np.ones(20), indicator(300, 3), sparse.csr_matrix((300, 300)))
    monkeypatch.setattr("veloshard.time._BLOCK", 100)
    blocks = latent_time(clocks, np.ones(20), indicator(300, 3), sparse.csr_matrix((300, 300)))
    assert blocks.tobytes() == whole.tobytes()
