import numpy as np
import pytest
from scipy import sparse
from support.cells import line
from veloshard.analysis.paga import cluster_transitions, compute_paga
from veloshard.graph.velocity_graph import compute_velocity_graph
from veloshard.io.hdf5 import load_arrays, save_arrays

# twelve cells in a chain, where adjacent cells are neighbors, in three clusters of four
N_CELLS = 12
THIRDS = np.repeat([0, 1, 2], 4)


def chain(cosine=0.9):
    """Return a velocity graph with this cosine forward and its negative backward, and the neighbor graph."""
    ones = np.ones(N_CELLS - 1)
    graph = sparse.diags([cosine * ones, -cosine * ones], [1, -1], format="csr")
    return graph, abs(graph)


def transitions_of(paga):
    """Return the pairs of clusters with a transition from the first to the second."""
    return {(int(start), int(end)) for end, start in zip(*paga.transitions_confidence.nonzero(), strict=True)}


def test_a_chain_has_the_forward_transitions_only():
    paga = compute_paga(*chain(), THIRDS, 3, pseudotime=np.linspace(0, 1, N_CELLS))
    # one step between clusters of four; a cell has 22 / 12 neighbors in the mean, and itself
    confidence = 1 / ((1 + 22 / 12) * 4)
    expected = np.zeros((3, 3))
    # transitions start in the cluster of the column
    expected[1, 0] = expected[2, 1] = confidence
    np.testing.assert_allclose(paga.transitions_confidence.toarray(), expected, rtol=1e-12)
    assert paga.threshold == pytest.approx(confidence - 1e-6, rel=1e-12)
    assert paga.sizes.tolist() == [4, 4, 4]


def test_transitions_reverse_with_the_velocities():
    moments, velocity, distances = line(n_cells=90)
    codes, time = np.repeat([0, 1, 2], 30), np.linspace(0, 1, 90)
    graph, reversed_graph = (compute_velocity_graph(moments, sign * velocity, distances) for sign in (1, -1))
    forward = compute_paga(graph, distances, codes, 3, pseudotime=time)
    backward = compute_paga(reversed_graph, distances, codes, 3, pseudotime=1 - time)
    assert transitions_of(forward) == {(0, 1), (1, 2)}
    assert transitions_of(backward) == {(1, 0), (2, 1)}
    np.testing.assert_allclose(
        backward.transitions_confidence.toarray(), forward.transitions_confidence.toarray().T, rtol=1e-12
    )


def test_connectivities_are_edges_over_those_expected_by_chance():
    paga = compute_paga(*chain(), THIRDS, 3)
    # 7, 8 and 7 edges start in the clusters; one edge in each direction connects adjacent clusters
    expected = 2 * 11 / (7 * 4 + 8 * 4)
    is_connected = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(paga.connectivities.toarray(), is_connected * expected, rtol=1e-12)
    tree = paga.connectivities_tree.toarray()
    np.testing.assert_allclose(tree + tree.T, is_connected * expected, rtol=1e-12)


def test_connectivities_are_at_most_one():
    distances = sparse.csr_matrix(np.ones((4, 4)) - np.eye(4))
    paga = compute_paga(sparse.csr_matrix((4, 4)), distances, np.array([0, 1, 0, 1]), 2)
    assert paga.connectivities.toarray().tolist() == [[0, 1], [1, 0]]


def test_components_have_no_transition_between_them():
    graph, distances = (sparse.block_diag([part, part], format="csr") for part in chain())
    codes = np.concatenate([THIRDS, THIRDS + 3])
    paga = compute_paga(graph, distances, codes, 6)
    assert transitions_of(paga) == {(0, 1), (1, 2), (3, 4), (4, 5)}
    assert paga.connectivities[:3, 3:].nnz == 0


def test_steps_to_earlier_cells_do_not_count():
    paga = compute_paga(*chain(), THIRDS, 3, pseudotime=np.linspace(1, 0, N_CELLS))
    assert transitions_of(paga) == set()
    assert paga.threshold == 0.01


def test_steps_to_a_much_earlier_cluster_do_not_count():
    # the last cell of the first cluster is before the first cell of the second, whose mean is earlier
    time = np.array([0.9, 0.9, 0.9, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4, 0.5, 0.5, 0.5])
    assert transitions_of(compute_paga(*chain(), THIRDS, 3, pseudotime=time)) == {(1, 2)}


def test_steps_of_cells_without_a_pseudotime_do_not_count():
    time = np.linspace(0, 1, N_CELLS)
    time[4:8] = np.nan
    assert transitions_of(compute_paga(*chain(), THIRDS, 3, pseudotime=time)) == set()


def test_steps_to_root_cells_and_from_end_points_do_not_count():
    root, end = np.zeros(N_CELLS), np.zeros(N_CELLS)
    root[4] = end[7] = 1
    assert transitions_of(compute_paga(*chain(), THIRDS, 3, root_cells=root)) == {(1, 2)}
    assert transitions_of(compute_paga(*chain(), THIRDS, 3, end_points=end)) == {(0, 1)}
    # a score of 0.9 is not above the bound
    assert transitions_of(compute_paga(*chain(), THIRDS, 3, root_cells=0.9 * root, end_points=0.9 * end)) == {
        (0, 1),
        (1, 2),
    }


def test_edges_with_a_cosine_up_to_the_minimum_are_no_steps():
    assert transitions_of(compute_paga(*chain(0.1), THIRDS, 3)) == set()
    assert transitions_of(compute_paga(*chain(0.11), THIRDS, 3)) == {(0, 1), (1, 2)}


def test_cells_without_a_label_and_their_edges_are_ignored():
    graph, distances = chain()
    codes = THIRDS.copy()
    codes[[3, 4]] = -1
    paga = compute_paga(graph, distances, codes, 3)
    assert paga.sizes.tolist() == [3, 3, 4]
    assert transitions_of(paga) == {(1, 2)}
    labeled = codes >= 0
    expected = compute_paga(graph[labeled][:, labeled], distances[labeled][:, labeled], codes[labeled], 3)
    np.testing.assert_array_equal(paga.connectivities.toarray(), expected.connectivities.toarray())


@pytest.mark.parametrize(("codes", "n_clusters"), [(np.zeros(N_CELLS, int), 1), (np.full(N_CELLS, -1), 0)])
def test_one_cluster_or_none_has_empty_graphs(codes, n_clusters, tmp_path):
    paga = compute_paga(*chain(), codes, n_clusters, pseudotime=np.linspace(0, 1, N_CELLS))
    save_arrays(tmp_path / "paga.h5", paga._asdict())
    loaded = load_arrays(tmp_path / "paga.h5")
    for matrix in ("connectivities", "connectivities_tree", "transitions_confidence"):
        assert loaded[matrix].shape == (n_clusters, n_clusters)
        assert loaded[matrix].nnz == 0
    assert loaded["threshold"] == 0.01


def test_a_transition_weaker_than_a_two_step_path_is_removed():
    n_steps = np.array([[0, 5, 2], [0, 0, 4], [0, 0, 0]])
    confidence, _ = cluster_transitions(n_steps, np.ones(3), 10)
    np.testing.assert_allclose(confidence, [[0, 0.5, 0], [0, 0, 0.4], [0, 0, 0]], rtol=1e-12)


def test_a_transition_stronger_than_a_two_step_path_is_kept_on_the_spanning_tree():
    n_steps = np.array([[0, 5, 4.5], [0, 0, 4], [0, 0, 0]])
    confidence, _ = cluster_transitions(n_steps, np.ones(3), 10)
    np.testing.assert_allclose(confidence, [[0, 0.5, 0.45], [0, 0, 0], [0, 0, 0]], rtol=1e-12)


def test_confidence_is_the_excess_of_steps_in_one_direction():
    confidence, _ = cluster_transitions(np.array([[0, 5], [2, 0]]), np.array([4, 9]), 10)
    np.testing.assert_allclose(confidence, [[0, 3 / (10 * 6)], [0, 0]], rtol=1e-12)


def test_transitions_do_not_depend_on_the_order_of_the_clusters():
    rng = np.random.default_rng(0)
    for _ in range(20):
        n_steps, sizes = rng.integers(0, 200, size=(7, 7)).astype(float), rng.integers(5, 50, size=7)
        order = rng.permutation(7)
        confidence, threshold = cluster_transitions(n_steps, sizes, 30)
        reordered, reordered_threshold = cluster_transitions(n_steps[np.ix_(order, order)], sizes[order], 30)
        np.testing.assert_array_equal(reordered, confidence[np.ix_(order, order)])
        assert reordered_threshold == threshold
