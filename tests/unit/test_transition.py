import numpy as np
import pytest
from cells import cloud, line, ring
from scipy import sparse
from veloshard.graph import self_transitions, velocity_graph
from veloshard.transition import transition_matrix


def test_probabilities_are_exponential_in_the_cosine():
    cosines = np.array([[0, 0.5, -0.2], [0.1, 0, 0], [-0.3, -0.9, 0]], dtype=np.float32)
    transition = transition_matrix(sparse.csr_matrix(cosines), scale=4).toarray()
    weights = np.where(cosines != 0, np.exp(4 * cosines.astype(float)), 0)
    np.testing.assert_allclose(transition, weights / weights.sum(axis=1, keepdims=True), rtol=1e-6)


def test_negative_cosines_count_against():
    cosines = np.array([[0, 0.5, -0.2], [0.1, 0, 0], [-0.3, -0.9, 0]], dtype=np.float32)
    transition = transition_matrix(sparse.csr_matrix(cosines), scale=4, use_negative_cosines=True).toarray()
    weights = np.sign(cosines) * np.expm1(4 * np.abs(cosines.astype(float)))
    np.testing.assert_allclose(transition, weights / np.abs(weights).sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("use_negative_cosines", [False, True])
def test_rows_sum_to_one(use_negative_cosines, backward):
    cosines = velocity_graph(*cloud())
    transition = transition_matrix(
        cosines,
        self_transitions(cosines),
        use_negative_cosines=use_negative_cosines,
        backward=backward,
    )
    # 30 numbers of single precision
    np.testing.assert_allclose(abs(transition).sum(axis=1), 1, atol=1e-6)


def test_backward_walk_follows_the_ways_in_reverse():
    cosines = velocity_graph(*ring())
    weights = np.where(cosines.toarray() != 0, np.exp(10 * cosines.toarray().astype(float)), 0).T
    backward = transition_matrix(cosines, backward=True).toarray()
    np.testing.assert_allclose(backward, weights / weights.sum(axis=1, keepdims=True), rtol=1e-5)


def test_walk_along_a_line_goes_forward():
    moments, velocity, distances = line()
    cosines = velocity_graph(moments, velocity, distances)
    transition = transition_matrix(cosines, self_transitions(cosines))
    # one step at least, as a way back has e^-20 of the weight of a way ahead; less where a cell may stay
    steps = transition @ np.arange(len(moments)) - np.arange(len(moments))
    assert (steps[:-1] > 0.4).all()


def test_a_cell_without_velocity_stays_where_it_is():
    moments, velocity, distances = cloud()
    velocity[5] = 0
    cosines = velocity_graph(moments, velocity, distances)
    assert transition_matrix(cosines)[[5]].nnz == 0
    stays = transition_matrix(cosines, self_transitions(cosines))
    assert stays[5, 5] == 1


def test_no_velocity_at_all_gives_an_empty_walk():
    nothing = sparse.csr_matrix((4, 4), dtype=np.float32)
    assert transition_matrix(nothing, self_transitions(nothing)).nnz == 0
