import numpy as np
from scipy import sparse
from veloshard.neighborhood import averaging_weights


def graph():
    """Return a random symmetric graph of 30 cells, in which the last cell has no neighbors."""
    edges = np.triu(np.random.default_rng(0).random((30, 30)), 1)
    edges[edges < 0.8] = 0
    edges[:, -1] = 0
    return sparse.csr_matrix(edges + edges.T)


def test_each_cell_and_its_neighbors_have_equal_weights():
    connectivities = graph()
    is_averaged = connectivities.toarray() > 0
    np.fill_diagonal(is_averaged, val=True)
    expected = (is_averaged / is_averaged.sum(axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_array_equal(averaging_weights(connectivities).toarray(), expected)


def test_cell_without_neighbors_is_its_own_average():
    weights = averaging_weights(graph())
    assert weights[29].nnz == 1
    assert weights[29, 29] == 1


def test_stored_zeros_and_self_loops_do_not_change_weights():
    connectivities = graph()
    with_loops = connectivities.copy()
    with_loops.data[:3] = 0
    without_zeros = with_loops.copy()
    without_zeros.eliminate_zeros()
    with_loops = with_loops + sparse.identity(30, format="csr") * 0.5
    expected = averaging_weights(without_zeros)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(averaging_weights(with_loops), part), getattr(expected, part))


def test_indices_are_sorted_and_the_graph_is_not_changed():
    connectivities = graph()
    before = connectivities.copy()
    assert averaging_weights(connectivities).has_sorted_indices
    assert (connectivities != before).nnz == 0
