import numpy as np
import pytest
from cells import line
from scipy import sparse
from veloshard import store
from veloshard.graph import velocity_graph
from veloshard.paga import abstract_graph, transitions

# twelve cells in a row, each the neighbour of those beside it, in three clusters of four
N_CELLS = 12
THIRDS = np.repeat([0, 1, 2], 4)


def chain(forward=0.9):
    """Signed graph and distances of cells in a row: the cosine of each way on, and minus that of each way back."""
    ones = np.ones(N_CELLS - 1)
    graph = sparse.diags([forward * ones, -forward * ones], [1, -1], format="csr")
    return graph, abs(graph)


def arrows(abstracted):
    """Pairs of clusters, start and end, with an arrow."""
    return {(int(start), int(end)) for end, start in zip(*abstracted.transitions_confidence.nonzero(), strict=True)}


def test_a_chain_has_exactly_the_arrows_forward():
    abstracted = abstract_graph(*chain(), THIRDS, 3, pseudotime=np.linspace(0, 1, N_CELLS))
    # one step between clusters of four; the mean cell has 22 / 12 neighbours and itself
    confidence = 1 / ((1 + 22 / 12) * 4)
    expected = np.zeros((3, 3))
    # the column is where an arrow starts
    expected[1, 0] = expected[2, 1] = confidence
    np.testing.assert_allclose(abstracted.transitions_confidence.toarray(), expected, rtol=1e-12)
    assert abstracted.threshold == pytest.approx(confidence - 1e-6, rel=1e-12)
    assert abstracted.sizes.tolist() == [4, 4, 4]


def test_arrows_turn_around_with_the_velocities():
    moments, velocity, distances = line(n_cells=90)
    codes, time = np.repeat([0, 1, 2], 30), np.linspace(0, 1, 90)
    forward = abstract_graph(velocity_graph(moments, velocity, distances), distances, codes, 3, pseudotime=time)
    back = abstract_graph(velocity_graph(moments, -velocity, distances), distances, codes, 3, pseudotime=1 - time)
    assert arrows(forward) == {(0, 1), (1, 2)}
    assert arrows(back) == {(1, 0), (2, 1)}
    np.testing.assert_allclose(
        back.transitions_confidence.toarray(), forward.transitions_confidence.toarray().T, rtol=1e-12
    )


def test_connectivities_are_edges_over_those_expected_by_chance():
    abstracted = abstract_graph(*chain(), THIRDS, 3)
    # 7, 8 and 7 edges start in the clusters; one each way joins two that touch
    expected = 2 * 11 / (7 * 4 + 8 * 4)
    joined = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(abstracted.connectivities.toarray(), joined * expected, rtol=1e-12)
    tree = abstracted.connectivities_tree.toarray()
    np.testing.assert_allclose(tree + tree.T, joined * expected, rtol=1e-12)


def test_connectivities_are_at_most_one():
    distances = sparse.csr_matrix(np.ones((4, 4)) - np.eye(4))
    abstracted = abstract_graph(sparse.csr_matrix((4, 4)), distances, np.array([0, 1, 0, 1]), 2)
    assert abstracted.connectivities.toarray().tolist() == [[0, 1], [1, 0]]


def test_parts_that_are_not_connected_have_no_arrow_between_them():
    graph, distances = (sparse.block_diag([part, part], format="csr") for part in chain())
    codes = np.concatenate([THIRDS, THIRDS + 3])
    abstracted = abstract_graph(graph, distances, codes, 6)
    assert arrows(abstracted) == {(0, 1), (1, 2), (3, 4), (4, 5)}
    assert abstracted.connectivities[:3, 3:].nnz == 0


def test_steps_to_earlier_cells_do_not_count():
    abstracted = abstract_graph(*chain(), THIRDS, 3, pseudotime=np.linspace(1, 0, N_CELLS))
    assert arrows(abstracted) == set()
    assert abstracted.threshold == 0.01


def test_steps_to_a_cluster_that_is_much_earlier_do_not_count():
    # the last of the first cluster is before the first of the second, which is earlier by the mean
    time = np.array([0.9, 0.9, 0.9, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4, 0.5, 0.5, 0.5])
    assert arrows(abstract_graph(*chain(), THIRDS, 3, pseudotime=time)) == {(1, 2)}


def test_cells_without_a_time_take_no_steps():
    time = np.linspace(0, 1, N_CELLS)
    time[4:8] = np.nan
    assert arrows(abstract_graph(*chain(), THIRDS, 3, pseudotime=time)) == set()


def test_no_arrow_leads_to_a_root_or_starts_at_an_end():
    root, end = np.zeros(N_CELLS), np.zeros(N_CELLS)
    root[4] = end[7] = 1
    assert arrows(abstract_graph(*chain(), THIRDS, 3, root_cells=root)) == {(1, 2)}
    assert arrows(abstract_graph(*chain(), THIRDS, 3, end_points=end)) == {(0, 1)}
    # 0.9 itself is neither
    assert arrows(abstract_graph(*chain(), THIRDS, 3, root_cells=0.9 * root, end_points=0.9 * end)) == {(0, 1), (1, 2)}


def test_ways_that_hardly_agree_with_the_velocity_are_no_steps():
    assert arrows(abstract_graph(*chain(0.1), THIRDS, 3)) == set()
    assert arrows(abstract_graph(*chain(0.11), THIRDS, 3)) == {(0, 1), (1, 2)}


def test_cells_without_a_label_are_as_if_they_were_not_there():
    graph, distances = chain()
    codes = THIRDS.copy()
    codes[[3, 4]] = -1
    abstracted = abstract_graph(graph, distances, codes, 3)
    assert abstracted.sizes.tolist() == [3, 3, 4]
    assert arrows(abstracted) == {(1, 2)}
    left = codes >= 0
    alone = abstract_graph(graph[left][:, left], distances[left][:, left], codes[left], 3)
    np.testing.assert_array_equal(abstracted.connectivities.toarray(), alone.connectivities.toarray())


@pytest.mark.parametrize(("codes", "n_clusters"), [(np.zeros(N_CELLS, int), 1), (np.full(N_CELLS, -1), 0)])
def test_one_cluster_or_none_has_nothing_to_connect(codes, n_clusters, tmp_path):
    abstracted = abstract_graph(*chain(), codes, n_clusters, pseudotime=np.linspace(0, 1, N_CELLS))
    store.save_arrays(tmp_path / "paga.h5", abstracted._asdict())
    read = store.load_arrays(tmp_path / "paga.h5")
    for matrix in ("connectivities", "connectivities_tree", "transitions_confidence"):
        assert read[matrix].shape == (n_clusters, n_clusters)
        assert read[matrix].nnz == 0
    assert read["threshold"] == 0.01


def test_an_arrow_gives_way_to_a_more_confident_detour():
    steps = np.array([[0, 5, 2], [0, 0, 4], [0, 0, 0]])
    confidence, _ = transitions(steps, np.ones(3), 10)
    np.testing.assert_allclose(confidence, [[0, 0.5, 0], [0, 0, 0.4], [0, 0, 0]], rtol=1e-12)


def test_an_arrow_stays_beside_a_less_confident_detour_until_the_tree():
    steps = np.array([[0, 5, 4.5], [0, 0, 4], [0, 0, 0]])
    confidence, _ = transitions(steps, np.ones(3), 10)
    np.testing.assert_allclose(confidence, [[0, 0.5, 0.45], [0, 0, 0], [0, 0, 0]], rtol=1e-12)


def test_only_the_excess_of_steps_makes_an_arrow():
    confidence, _ = transitions(np.array([[0, 5], [2, 0]]), np.array([4, 9]), 10)
    np.testing.assert_allclose(confidence, [[0, 3 / (10 * 6)], [0, 0]], rtol=1e-12)


def test_arrows_do_not_depend_on_the_order_of_the_clusters():
    rng = np.random.default_rng(0)
    for _ in range(20):
        steps, sizes = rng.integers(0, 200, size=(7, 7)).astype(float), rng.integers(5, 50, size=7)
        order = rng.permutation(7)
        confidence, threshold = transitions(steps, sizes, 30)
        turned, same_threshold = transitions(steps[np.ix_(order, order)], sizes[order], 30)
        np.testing.assert_array_equal(turned, confidence[np.ix_(order, order)])
        assert same_threshold == threshold
