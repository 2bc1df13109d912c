import numpy as np
import pytest
from cells import cloud, line, nearest, ring, with_threads
from naive import neighbors_of_neighbors, velocity_graph
from scipy import sparse
from veloshard import graph

# single precision sums of some ten to hundred terms
CLOSE = 3e-6


def same_bits(a, b):
    return (
        np.array_equal(a.indptr, b.indptr)
        and np.array_equal(a.indices, b.indices)
        and a.data.tobytes() == b.data.tobytes()
    )


@pytest.mark.parametrize("sqrt_transform", [False, True])
@pytest.mark.parametrize("n_genes", [2, 17, 130])
def test_cosines_equal_the_slow_twin(n_genes, sqrt_transform):
    cells = cloud(n_genes=n_genes)
    cosines = graph.velocity_graph(*cells, sqrt_transform=sqrt_transform)
    expected = velocity_graph(*cells, sqrt_transform=sqrt_transform)
    assert cosines.dtype == np.float32
    np.testing.assert_allclose(cosines.toarray(), expected, atol=CLOSE)


def test_cosines_ignore_what_all_genes_have_in_common():
    moments, velocity, distances = cloud()
    shifted = graph.velocity_graph(moments, velocity + np.float32(5), distances)
    # the shift costs the velocities (of about 1) three bits
    np.testing.assert_allclose(
        shifted.toarray(), graph.velocity_graph(moments, velocity, distances).toarray(), atol=1e-5
    )


def test_scaled_genes_count_alike_whatever_their_expression():
    moments, velocity, distances = cloud()
    moments[:, 5] = 3.0  # which nobody can scale
    factor = np.where(np.arange(moments.shape[1]) == 2, 100, 1).astype(np.float32)
    as_it_is, blown_up = (graph.scaled_to_range(moments * by, velocity * by) for by in (np.ones_like(factor), factor))
    np.testing.assert_allclose(np.delete(np.ptp(as_it_is[0], axis=0), 5), 1, rtol=1e-6)
    for scaled, other in zip(as_it_is, blown_up, strict=True):
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, other, rtol=1e-5, atol=1e-6)
    # without it that gene decides alone
    plain = graph.velocity_graph(moments * factor, velocity * factor, distances).toarray()
    equal = graph.velocity_graph(*blown_up, distances).toarray()
    assert np.abs(plain[plain != 0]).mean() > 2 * np.abs(equal[equal != 0]).mean()


def test_scaled_blocks_of_cells_are_those_of_the_whole():
    moments, velocity, _ = cloud()
    whole = graph.scaled_to_range(moments, velocity)[1]
    np.testing.assert_array_equal(graph.scaled_to_range(moments, velocity[7:20])[1], whole[7:20])


def test_neighbors_are_those_at_one_or_two_steps():
    _, _, distances = cloud()
    reached = graph.neighbors_of_neighbors(distances, 10, 20)
    for row, cell in enumerate(range(10, 20)):
        assert set(reached[[row]].indices) - {cell} == neighbors_of_neighbors(distances, cell)


def test_cells_may_differ_in_their_number_of_neighbors():
    moments, velocity, distances = cloud()
    ragged = distances.copy()
    ragged.data[ragged.indices % 3 == 0] = 0
    ragged.eliminate_zeros()
    assert len(set(np.diff(ragged.indptr))) > 1
    np.testing.assert_allclose(
        graph.velocity_graph(moments, velocity, ragged).toarray(),
        velocity_graph(moments, velocity, ragged),
        atol=CLOSE,
    )


@pytest.mark.parametrize("sqrt_transform", [False, True])
@pytest.mark.parametrize("n_blocks", [3, 7])
def test_graph_has_the_same_bits_however_the_cells_are_split(n_blocks, sqrt_transform):
    moments, velocity, distances = cloud(n_genes=131)
    whole = graph.velocity_graph(moments, velocity, distances, sqrt_transform=sqrt_transform)
    blocks = [
        graph.velocity_graph(
            moments,
            np.ascontiguousarray(velocity[block]),
            distances,
            first_cell=block[0],
            sqrt_transform=sqrt_transform,
        )
        for block in np.array_split(np.arange(len(moments)), n_blocks)
    ]
    assert same_bits(sparse.vstack(blocks, format="csr"), whole)


def test_graph_has_the_same_bits_on_any_number_of_threads():
    cells = cloud(n_genes=131)
    assert same_bits(with_threads(1, graph.velocity_graph, *cells), with_threads(2, graph.velocity_graph, *cells))


def test_what_lies_ahead_has_cosine_one_and_what_lies_behind_minus_one():
    cosines = graph.velocity_graph(*line()).tocoo()
    np.testing.assert_allclose(cosines.data, np.sign(cosines.col - cosines.row), atol=CLOSE)


def test_cosines_on_a_ring_point_around_it():
    cosines = graph.velocity_graph(*ring()).tocoo()
    n_cells = cosines.shape[0]
    ahead = (cosines.col - cosines.row) % n_cells < n_cells / 2
    assert (np.sign(cosines.data) == np.where(ahead, 1, -1)).all()


def test_zero_velocity_and_coinciding_cells_store_nothing():
    moments, velocity, _ = cloud()
    velocity[3] = 0
    moments[8] = moments[7]
    cosines = graph.velocity_graph(moments, velocity, nearest(moments, 6))
    assert cosines[[3]].nnz == 0
    assert cosines[7, 8] == 0
    assert cosines[8, 7] == 0
    assert (cosines.data != 0).all()
    assert np.isfinite(cosines.data).all()
    assert cosines.diagonal().tolist() == [0] * len(moments)


def test_one_gene_has_no_direction():
    assert graph.velocity_graph(*cloud(n_genes=1)).nnz == 0


def test_parts_by_sign_add_up_to_the_graph():
    cosines = graph.velocity_graph(*cloud())
    positive, negative = graph.split_signs(cosines)
    assert positive.data.min() > 0
    assert negative.data.max() < 0
    assert same_bits((positive + negative).tocsr(), cosines)


def test_self_transitions_fall_with_the_best_cosine():
    best = np.linspace(0.1, 0.9, 51, dtype=np.float32)
    cosines = sparse.csr_matrix((best, (np.arange(51), np.roll(np.arange(51), 1))), shape=(51, 51))
    stay = graph.self_transitions(cosines)
    # the 98th of 0 ... 100 % lies on the one but last of 51 values
    np.testing.assert_allclose(stay, np.clip(best[49] - best, 0, 1), atol=1e-6)


def test_a_cell_with_opposing_ways_only_stays_like_one_without_ways():
    cosines = sparse.csr_matrix(np.array([[0, 0.5, 0], [-0.7, 0, -0.2], [0, 0, 0]], dtype=np.float32))
    stay = graph.self_transitions(cosines)
    assert stay[1] == stay[2] > stay[0]


def test_other_genes_or_too_many_cells_are_refused():
    moments, velocity, distances = cloud()
    with pytest.raises(ValueError, match="same velocity genes"):
        graph.velocity_graph(moments, velocity[:, :-1], distances)
    with pytest.raises(ValueError, match="all cells"):
        graph.velocity_graph(moments, velocity, distances, first_cell=1)
