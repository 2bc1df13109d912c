import numpy as np
import pytest
from scipy import sparse
from support.cells import cloud, line, ring
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_graph import compute_velocity_graph, self_transitions


def test_probabilities_are_exponential_in_the_cosine():
    cosines = np.array([[0, 0.5, -0.2], [0.1, 0, 0], [-0.3, -0.9, 0]], dtype=np.float32)
    transition_matrix = compute_transition_matrix(sparse.csr_matrix(cosines), scale=4).toarray()
    weights = np.where(cosines != 0, np.exp(4 * cosines.astype(float)), 0)
    np.testing.assert_allclose(transition_matrix, weights / weights.sum(axis=1, keepdims=True), rtol=1e-6)


def test_negative_cosines_give_negative_entries():
    cosines = np.array([[0, 0.5, -0.2], [0.1, 0, 0], [-0.3, -0.9, 0]], dtype=np.float32)
    transition_matrix = compute_transition_matrix(
        sparse.csr_matrix(cosines), scale=4, use_negative_cosines=True
    ).toarray()
    weights = np.sign(cosines) * np.expm1(4 * np.abs(cosines.astype(float)))
    np.testing.assert_allclose(transition_matrix, weights / np.abs(weights).sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("use_negative_cosines", [False, True])
def test_rows_sum_to_one(use_negative_cosines, backward):
    cosines = compute_velocity_graph(*cloud())
    transition_matrix = compute_transition_matrix(
        cosines,
        self_transitions(cosines),
        use_negative_cosines=use_negative_cosines,
        backward=backward,
    )
    # sums of 30 numbers in single precision
    np.testing.assert_allclose(abs(transition_matrix).sum(axis=1), 1, atol=1e-6)


def test_backward_transitions_have_the_transposed_weights():
    cosines = compute_velocity_graph(*ring())
    weights = np.where(cosines.toarray() != 0, np.exp(10 * cosines.toarray().astype(float)), 0).T
    backward = compute_transition_matrix(cosines, backward=True).toarray()
    np.testing.assert_allclose(backward, weights / weights.sum(axis=1, keepdims=True), rtol=1e-5)


def test_transitions_along_a_line_lead_forward():
    moments, velocity, distances = line()
    cosines = compute_velocity_graph(moments, velocity, distances)
    transition_matrix = compute_transition_matrix(cosines, self_transitions(cosines))
    # a step back has e^-20 of the weight of a step forward; self-transitions make the mean step shorter than one cell
    mean_step = transition_matrix @ np.arange(len(moments)) - np.arange(len(moments))
    assert (mean_step[:-1] > 0.4).all()


def test_a_cell_without_velocity_has_only_a_self_transition():
    moments, velocity, distances = cloud()
    velocity[5] = 0
    cosines = compute_velocity_graph(moments, velocity, distances)
    assert compute_transition_matrix(cosines)[[5]].nnz == 0
    with_self_transitions = compute_transition_matrix(cosines, self_transitions(cosines))
    assert with_self_transitions[5, 5] == 1


def test_an_empty_graph_gives_an_empty_transition_matrix():
    empty = sparse.csr_matrix((4, 4), dtype=np.float32)
    assert compute_transition_matrix(empty, self_transitions(empty)).nnz == 0
