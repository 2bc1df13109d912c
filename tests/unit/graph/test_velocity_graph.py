import numpy as np
import pytest
from scipy import sparse
from support import naive
from support.cells import cloud, line, nearest, ring, with_threads
from veloshard.graph.velocity_graph import (
    compute_velocity_graph,
    neighbors_of_neighbors,
    scale_to_range,
    self_transitions,
    split_signs,
)

# rounding of sums of 10 to 100 terms in single precision
CLOSE = 3e-6


def is_bitwise_identical(a, b):
    return (
        np.array_equal(a.indptr, b.indptr)
        and np.array_equal(a.indices, b.indices)
        and a.data.tobytes() == b.data.tobytes()
    )


@pytest.mark.parametrize("sqrt_transform", [False, True])
@pytest.mark.parametrize("n_genes", [2, 17, 130])
def test_cosines_equal_the_naive_twin(n_genes, sqrt_transform):
    cells = cloud(n_genes=n_genes)
    cosines = compute_velocity_graph(*cells, sqrt_transform=sqrt_transform)
    expected = naive.velocity_graph(*cells, sqrt_transform=sqrt_transform)
    assert cosines.dtype == np.float32
    np.testing.assert_allclose(cosines.toarray(), expected, atol=CLOSE)


def test_cosines_do_not_depend_on_the_mean_over_the_genes():
    moments, velocity, distances = cloud()
    shifted = compute_velocity_graph(moments, velocity + np.float32(5), distances)
    # a shift of 5 takes three bits of precision from velocities of about 1
    np.testing.assert_allclose(
        shifted.toarray(), compute_velocity_graph(moments, velocity, distances).toarray(), atol=1e-5
    )


def test_scaled_genes_have_equal_weight_whatever_their_expression():
    moments, velocity, distances = cloud()
    moments[:, 5] = 3.0  # a gene with a range of 0
    factor = np.where(np.arange(moments.shape[1]) == 2, 100, 1).astype(np.float32)
    original, multiplied = (scale_to_range(moments * by, velocity * by) for by in (np.ones_like(factor), factor))
    np.testing.assert_allclose(np.delete(np.ptp(original[0], axis=0), 5), 1, rtol=1e-6)
    for scaled, other in zip(original, multiplied, strict=True):
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, other, rtol=1e-5, atol=1e-6)
    # without scaling, one gene determines the cosines
    unscaled = compute_velocity_graph(moments * factor, velocity * factor, distances).toarray()
    scaled = compute_velocity_graph(*multiplied, distances).toarray()
    assert np.abs(unscaled[unscaled != 0]).mean() > 2 * np.abs(scaled[scaled != 0]).mean()


def test_blocks_of_cells_are_scaled_like_all_cells():
    moments, velocity, _ = cloud()
    whole = scale_to_range(moments, velocity)[1]
    np.testing.assert_array_equal(scale_to_range(moments, velocity[7:20])[1], whole[7:20])


def test_neighbors_of_neighbors_are_the_cells_at_one_or_two_steps():
    _, _, distances = cloud()
    reached = neighbors_of_neighbors(distances, 10, 20)
    for row, cell in enumerate(range(10, 20)):
        assert set(reached[[row]].indices) - {cell} == naive.neighbors_of_neighbors(distances, cell)


def test_cells_may_differ_in_their_number_of_neighbors():
    moments, velocity, distances = cloud()
    ragged = distances.copy()
    ragged.data[ragged.indices % 3 == 0] = 0
    ragged.eliminate_zeros()
    assert len(set(np.diff(ragged.indptr))) > 1
    np.testing.assert_allclose(
        compute_velocity_graph(moments, velocity, ragged).toarray(),
        naive.velocity_graph(moments, velocity, ragged),
        atol=CLOSE,
    )


@pytest.mark.parametrize("sqrt_transform", [False, True])
@pytest.mark.parametrize("n_blocks", [3, 7])
def test_graph_is_bitwise_identical_for_any_number_of_blocks(n_blocks, sqrt_transform):
    moments, velocity, distances = cloud(n_genes=131)
    whole = compute_velocity_graph(moments, velocity, distances, sqrt_transform=sqrt_transform)
    blocks = [
        compute_velocity_graph(
            moments,
            np.ascontiguousarray(velocity[block]),
            distances,
            first_cell=block[0],
            sqrt_transform=sqrt_transform,
        )
        for block in np.array_split(np.arange(len(moments)), n_blocks)
    ]
    assert is_bitwise_identical(sparse.vstack(blocks, format="csr"), whole)


def test_graph_is_bitwise_identical_on_any_number_of_threads():
    cells = cloud(n_genes=131)
    assert is_bitwise_identical(
        with_threads(1, compute_velocity_graph, *cells), with_threads(2, compute_velocity_graph, *cells)
    )


def test_cosines_along_a_line_are_one_forward_and_minus_one_backward():
    cosines = compute_velocity_graph(*line()).tocoo()
    np.testing.assert_allclose(cosines.data, np.sign(cosines.col - cosines.row), atol=CLOSE)


def test_cosines_on_a_ring_are_positive_forward_and_negative_backward():
    cosines = compute_velocity_graph(*ring()).tocoo()
    n_cells = cosines.shape[0]
    is_forward = (cosines.col - cosines.row) % n_cells < n_cells / 2
    assert (np.sign(cosines.data) == np.where(is_forward, 1, -1)).all()


def test_zero_velocities_and_identical_cells_have_no_entries():
    moments, velocity, _ = cloud()
    velocity[3] = 0
    moments[8] = moments[7]
    cosines = compute_velocity_graph(moments, velocity, nearest(moments, 6))
    assert cosines[[3]].nnz == 0
    assert cosines[7, 8] == 0
    assert cosines[8, 7] == 0
    assert (cosines.data != 0).all()
    assert np.isfinite(cosines.data).all()
    assert cosines.diagonal().tolist() == [0] * len(moments)


def test_the_graph_of_one_gene_is_empty():
    assert compute_velocity_graph(*cloud(n_genes=1)).nnz == 0


def test_positive_and_negative_entries_add_up_to_the_graph():
    cosines = compute_velocity_graph(*cloud())
    positive, negative = split_signs(cosines)
    assert positive.data.min() > 0
    assert negative.data.max() < 0
    assert is_bitwise_identical((positive + negative).tocsr(), cosines)


def test_self_transition_probability_falls_with_the_largest_cosine():
    largest_cosine = np.linspace(0.1, 0.9, 51, dtype=np.float32)
    cosines = sparse.csr_matrix((largest_cosine, (np.arange(51), np.roll(np.arange(51), 1))), shape=(51, 51))
    # the 98th percentile of 51 values is the second largest
    expected = np.clip(largest_cosine[49] - largest_cosine, 0, 1)
    np.testing.assert_allclose(self_transitions(cosines), expected, atol=1e-6)


def test_self_transitions_of_cells_with_negative_cosines_and_without_cosines_are_equal():
    cosines = sparse.csr_matrix(np.array([[0, 0.5, 0], [-0.7, 0, -0.2], [0, 0, 0]], dtype=np.float32))
    probability = self_transitions(cosines)
    assert probability[1] == probability[2] > probability[0]


def test_different_genes_or_missing_cells_raise_an_error():
    moments, velocity, distances = cloud()
    with pytest.raises(ValueError, match="same velocity genes"):
        compute_velocity_graph(moments, velocity[:, :-1], distances)
    with pytest.raises(ValueError, match="all cells"):
        compute_velocity_graph(moments, velocity, distances, first_cell=1)
