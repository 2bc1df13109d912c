import numpy as np
from scipy import sparse
from veloshard.neighbors import connectivity_weights


def graph():
    """A random symmetric graph of 30 cells, the last of which has no neighbour."""
    edges = np.triu(np.random.default_rng(0).random((30, 30)), 1)
    edges[edges < 0.8] = 0
    edges[:, -1] = 0
    return sparse.csr_matrix(edges + edges.T)


def test_each_cell_averages_itself_and_its_neighbours_alike():
    connectivities = graph()
    joined = connectivities.toarray() > 0
    np.fill_diagonal(joined, val=True)
    expected = (joined / joined.sum(axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_array_equal(connectivity_weights(connectivities).toarray(), expected)


def test_a_cell_without_neighbours_is_its_own_average():
    weights = connectivity_weights(graph())
    assert weights[29].nnz == 1
    assert weights[29, 29] == 1


def test_stored_zeros_and_loops_of_the_graph_change_nothing():
    connectivities = graph()
    looped = connectivities.copy()
    looped.data[:3] = 0
    without = looped.copy()
    without.eliminate_zeros()
    looped = looped + sparse.identity(30, format="csr") * 0.5
    expected = connectivity_weights(without)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(connectivity_weights(looped), part), getattr(expected, part))


def test_neighbours_are_in_order_and_the_graph_is_left_as_it_was():
    connectivities = graph()
    before = connectivities.copy()
    assert connectivity_weights(connectivities).has_sorted_indices
    assert (connectivities != before).nnz == 0
