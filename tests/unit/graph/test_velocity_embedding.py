import math

import numpy as np
import pytest
from scipy import sparse
from support import naive
from support.cells import cloud, line, nearest, ring, with_threads
from veloshard.graph.transition_matrix import compute_transition_matrix
from veloshard.graph.velocity_embedding import (
    compute_velocity_embedding,
    direction_score,
    grid_arrow_mask,
    stream_mask,
    velocity_grid,
)
from veloshard.graph.velocity_graph import compute_velocity_graph, self_transitions


def transition_matrix_of(moments, velocity, distances):
    cosines = compute_velocity_graph(moments, velocity, distances)
    return compute_transition_matrix(cosines, self_transitions(cosines), use_negative_cosines=True)


def random_embedding(n_cells, n_dims=2, seed=1):
    return np.random.default_rng(seed).normal(size=(n_cells, n_dims))


@pytest.mark.parametrize("n_dims", [2, 3])
def test_velocity_embedding_equals_the_naive_twin_up_to_one_factor(n_dims):
    transition_matrix = transition_matrix_of(*cloud())
    embedding = random_embedding(60, n_dims)
    embedding[9] = embedding[4]
    velocity_embedding = compute_velocity_embedding(transition_matrix, embedding)
    expected = naive.velocity_embedding(transition_matrix.toarray().astype(float), embedding)
    factor = np.linalg.norm(velocity_embedding) / np.linalg.norm(expected)
    # probabilities are in single precision, all else in double precision
    np.testing.assert_allclose(velocity_embedding, factor * expected, atol=1e-6 * np.abs(velocity_embedding).max())


def test_mean_length_is_a_quarter_of_the_spacing_on_an_even_grid():
    embedding = random_embedding(60)
    for unit in (1, 1000):
        velocity_embedding = compute_velocity_embedding(transition_matrix_of(*cloud()), unit * embedding)
        spacing = np.ptp(unit * embedding, axis=0).mean() / math.sqrt(60)
        assert np.linalg.norm(velocity_embedding, axis=1).mean() == pytest.approx(spacing / 4)


def test_velocities_on_a_ring_are_tangential():
    moments, velocity, distances = ring()
    angle = np.linspace(0, 2 * np.pi, len(moments), endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    velocity_embedding = compute_velocity_embedding(transition_matrix_of(moments, velocity, distances), circle)
    tangent = np.column_stack([-circle[:, 1], circle[:, 0]])
    along_tangent = np.einsum("cd,cd->c", velocity_embedding, tangent)
    assert (along_tangent > 0.99 * np.linalg.norm(velocity_embedding, axis=1)).all()


def test_velocity_embedding_is_bitwise_identical_on_any_number_of_threads():
    transition_matrix, embedding = transition_matrix_of(*cloud()), random_embedding(60)
    one, two = (with_threads(n, compute_velocity_embedding, transition_matrix, embedding) for n in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_a_cell_without_transitions_has_a_zero_velocity():
    moments, velocity, distances = cloud()
    velocity[5] = 0
    transition_matrix = transition_matrix_of(moments, velocity, distances)
    assert compute_velocity_embedding(transition_matrix, random_embedding(60))[5].tolist() == [0, 0]


def test_an_empty_transition_matrix_gives_zero_velocities():
    empty = sparse.csr_matrix((5, 5), dtype=np.float32)
    assert (compute_velocity_embedding(empty, random_embedding(5)) == 0).all()


def test_grid_vectors_equal_a_velocity_that_all_cells_share():
    embedding = np.random.default_rng(0).uniform(size=(2000, 2))
    grid = velocity_grid(embedding, np.tile([0.3, -0.2], (2000, 1)))
    # with a mass above 1 the vector is the weighted mean
    is_dense = grid.mass > 1
    assert is_dense.mean() > 0.8
    np.testing.assert_allclose(grid.vectors[:, is_dense].T, np.tile([0.3, -0.2], (is_dense.sum(), 1)))


def test_grid_covers_all_cells_with_a_margin_in_even_double_precision_steps():
    embedding = random_embedding(300).astype(np.float32)
    grid = velocity_grid(embedding, np.ones((300, 2), dtype=np.float32), density=0.6)
    assert grid.mass.shape == grid.length.shape == (30, 30)
    assert grid.vectors.shape == (2, 30, 30)
    for axis, points in enumerate((grid.x, grid.y)):
        assert points.dtype == np.float64
        assert points[0] < embedding[:, axis].min()
        assert points[-1] > embedding[:, axis].max()
        np.testing.assert_allclose(np.diff(points), points[1] - points[0], rtol=1e-12)


def test_grid_vectors_are_indexed_by_row_and_column():
    embedding = random_embedding(2000)
    grid = velocity_grid(embedding, np.column_stack([embedding[:, 0], np.zeros(2000)]))
    is_dense = grid.mass > 1
    columns = np.broadcast_to(grid.x, is_dense.shape)
    # the nearest cells of a point have nearly its x: the difference is far below the range of 6
    assert np.abs(grid.vectors[0] - columns)[is_dense].max() < 0.3
    assert np.abs(grid.vectors[1]).max() == 0


def test_grid_leaves_out_cells_with_missing_coordinates_or_velocities():
    embedding, velocity_embedding = random_embedding(300), random_embedding(300, seed=2)
    partial_embedding, partial_velocities = embedding.copy(), velocity_embedding.copy()
    partial_embedding[7] = np.nan
    partial_velocities[9, 1] = np.nan
    complete = np.delete(np.arange(300), [7, 9])
    grid = velocity_grid(partial_embedding, partial_velocities)
    expected = velocity_grid(embedding[complete], velocity_embedding[complete])
    for values, expected_values in zip(grid, expected, strict=True):
        np.testing.assert_array_equal(values, expected_values)


def test_grid_of_five_cells_is_finite():
    grid = velocity_grid(random_embedding(5), np.ones((5, 2)))
    assert np.isfinite(grid.vectors).all()


def test_masks_leave_out_points_without_cells_and_points_without_motion():
    embedding = np.vstack([random_embedding(1000), random_embedding(1000, seed=2) + [20, 0]])
    velocity_embedding = np.repeat([[1.0, 0.0], [0.0, 0.0]], 1000, axis=0)
    grid = velocity_grid(embedding, velocity_embedding)
    left, right = grid.x < 4, grid.x > 16
    between = ~(left | right)
    assert not grid_arrow_mask(grid)[:, between].any()
    assert grid_arrow_mask(grid)[:, left].any()
    assert grid_arrow_mask(grid)[:, right].any()
    assert stream_mask(grid)[:, left].any()
    assert not stream_mask(grid)[:, right].any()


def test_direction_score_is_the_mean_cosine_of_the_cells_at_the_boundary():
    embedding = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1], [-1, 0]])
    labels = np.array(["a", "a", "b", "b", "a"])
    neighbors = sparse.csr_matrix((np.ones(5), ([0, 0, 1, 2, 4], [2, 3, 3, 0, 0])), shape=(5, 5))
    velocity_embedding = np.array([[1.0, 0], [0, 2], [9, 9], [9, 9], [9, 9]])
    # cell 0: cosines 1 and sqrt(1/2); cell 1: 0; cell 4 has no neighbor in b
    expected = ((1 + math.sqrt(0.5)) / 2 + 0) / 2
    assert direction_score(velocity_embedding, embedding, neighbors, labels, "a", "b") == pytest.approx(expected)


def test_direction_score_is_one_along_a_line_and_minus_one_against_it():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.arange(80.0), np.zeros(80)])
    labels = np.repeat(["early", "late"], 40)
    velocity_embedding = compute_velocity_embedding(transition_matrix_of(moments, velocity, distances), embedding)
    assert direction_score(velocity_embedding, embedding, distances, labels, "early", "late") == pytest.approx(1)
    assert direction_score(velocity_embedding, embedding, distances, labels, "late", "early") == pytest.approx(-1)


def test_direction_score_of_clusters_that_are_not_neighbors_is_nan():
    embedding = np.vstack([random_embedding(20), random_embedding(20, seed=2) + 100])
    labels = np.repeat(["a", "b"], 20)
    assert math.isnan(direction_score(np.ones((40, 2)), embedding, nearest(embedding, 5), labels, "a", "b"))


def test_neighbors_without_coordinates_are_ignored():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.arange(80.0), np.zeros(80)])
    embedding[40] = np.nan
    velocity_embedding = compute_velocity_embedding(transition_matrix_of(moments, velocity, distances), embedding)
    assert np.isnan(velocity_embedding[40]).all()
    assert np.isfinite(np.delete(velocity_embedding, 40, axis=0)).all()
    labels = np.repeat(["early", "late"], 40)
    assert direction_score(velocity_embedding, embedding, distances, labels, "early", "late") == pytest.approx(1)


def test_direction_score_of_zero_velocities_is_zero():
    embedding = random_embedding(40)
    labels = np.repeat(["a", "b"], 20)
    assert direction_score(np.zeros((40, 2)), embedding, nearest(embedding, 5), labels, "a", "b") == 0
