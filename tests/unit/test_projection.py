import math

import naive
import numpy as np
import pytest
from cells import cloud, line, nearest, ring, with_threads
from scipy import sparse
from veloshard.graph import self_transitions, velocity_graph
from veloshard.projection import arrow_mask, direction_score, grid_field, project, stream_mask
from veloshard.transition import transition_matrix


def walk(moments, velocity, distances):
    cosines = velocity_graph(moments, velocity, distances)
    return transition_matrix(cosines, self_transitions(cosines), use_negative_cosines=True)


def embedded(n_cells, n_dims=2, seed=1):
    return np.random.default_rng(seed).normal(size=(n_cells, n_dims))


@pytest.mark.parametrize("n_dims", [2, 3])
def test_arrows_equal_the_slow_twin_up_to_one_factor(n_dims):
    cells = cloud()
    embedding = embedded(60, n_dims)
    embedding[9] = embedding[4]
    arrows = project(walk(*cells), embedding)
    slow = naive.project(walk(*cells).toarray().astype(float), embedding)
    factor = np.linalg.norm(arrows) / np.linalg.norm(slow)
    # the probabilities are in single precision, all else in double
    np.testing.assert_allclose(arrows, factor * slow, atol=1e-6 * np.abs(arrows).max())


def test_arrows_are_a_quarter_of_the_even_spacing_long():
    embedding = embedded(60)
    for unit in (1, 1000):
        arrows = project(walk(*cloud()), unit * embedding)
        spacing = np.ptp(unit * embedding, axis=0).mean() / math.sqrt(60)
        assert np.linalg.norm(arrows, axis=1).mean() == pytest.approx(spacing / 4)


def test_arrows_on_a_ring_go_around_it():
    moments, velocity, distances = ring()
    angle = np.linspace(0, 2 * np.pi, len(moments), endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    arrows = project(walk(moments, velocity, distances), circle)
    tangent = np.column_stack([-circle[:, 1], circle[:, 0]])
    assert (np.einsum("cd,cd->c", arrows, tangent) > 0.99 * np.linalg.norm(arrows, axis=1)).all()


def test_arrows_have_the_same_bits_on_any_number_of_threads():
    transition, embedding = walk(*cloud()), embedded(60)
    one, two = (with_threads(n, project, transition, embedding) for n in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_a_cell_without_transitions_has_no_arrow():
    moments, velocity, distances = cloud()
    velocity[5] = 0
    arrows = project(walk(moments, velocity, distances), embedded(60))
    assert arrows[5].tolist() == [0, 0]


def test_no_transitions_at_all_give_zero_arrows():
    arrows = project(sparse.csr_matrix((5, 5), dtype=np.float32), embedded(5))
    assert (arrows == 0).all()


def test_grid_returns_the_arrow_that_all_cells_share():
    places = np.random.default_rng(0).uniform(size=(2000, 2))
    # where the mass is above 1, the weights divide out
    field = grid_field(places, np.tile([0.3, -0.2], (2000, 1)))
    dense = field.mass > 1
    assert dense.mean() > 0.8
    np.testing.assert_allclose(field.vectors[:, dense].T, np.tile([0.3, -0.2], (dense.sum(), 1)))


def test_grid_covers_all_cells_with_a_margin_in_even_double_steps():
    places = embedded(300).astype(np.float32)
    field = grid_field(places, np.ones((300, 2), dtype=np.float32), density=0.6)
    assert field.mass.shape == field.length.shape == (30, 30)
    assert field.vectors.shape == (2, 30, 30)
    for axis, points in enumerate((field.x, field.y)):
        assert points.dtype == np.float64
        assert points[0] < places[:, axis].min()
        assert points[-1] > places[:, axis].max()
        np.testing.assert_allclose(np.diff(points), points[1] - points[0], rtol=1e-12)


def test_grid_places_vectors_by_row_and_column():
    places = embedded(2000)
    field = grid_field(places, np.column_stack([places[:, 0], np.zeros(2000)]))
    seen = field.mass > 1
    columns = np.broadcast_to(field.x, seen.shape)
    # cells within half a step or so around a point have its x: the difference is far below the range of 6
    assert np.abs(field.vectors[0] - columns)[seen].max() < 0.3
    assert np.abs(field.vectors[1]).max() == 0


def test_grid_leaves_out_cells_that_are_not_on_the_embedding():
    places, arrows = embedded(300), embedded(300, seed=2)
    holes, torn = places.copy(), arrows.copy()
    holes[7] = np.nan
    torn[9, 1] = np.nan
    kept = np.delete(np.arange(300), [7, 9])
    for partial, expected in zip(grid_field(holes, torn), grid_field(places[kept], arrows[kept]), strict=True):
        np.testing.assert_array_equal(partial, expected)


def test_grid_works_on_a_handful_of_cells():
    field = grid_field(embedded(5), np.ones((5, 2)))
    assert np.isfinite(field.vectors).all()


def test_masks_leave_out_the_empty_and_the_still_parts():
    places = np.vstack([embedded(1000), embedded(1000, seed=2) + [20, 0]])
    arrows = np.repeat([[1.0, 0.0], [0.0, 0.0]], 1000, axis=0)
    field = grid_field(places, arrows)
    left, right = field.x < 4, field.x > 16
    between = ~(left | right)
    assert not arrow_mask(field)[:, between].any()
    assert arrow_mask(field)[:, left].any()
    assert arrow_mask(field)[:, right].any()
    assert stream_mask(field)[:, left].any()
    assert not stream_mask(field)[:, right].any()


def test_direction_score_is_the_mean_cosine_of_cells_at_the_border():
    embedding = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1], [-1, 0]])
    labels = np.array(["a", "a", "b", "b", "a"])
    neighbors = sparse.csr_matrix((np.ones(5), ([0, 0, 1, 2, 4], [2, 3, 3, 0, 0])), shape=(5, 5))
    arrows = np.array([[1.0, 0], [0, 2], [9, 9], [9, 9], [9, 9]])
    # cell 0: cosines 1 and sqrt(1/2); cell 1: 0; cell 4 has no neighbour in b
    expected = ((1 + math.sqrt(0.5)) / 2 + 0) / 2
    assert direction_score(arrows, embedding, neighbors, labels, "a", "b") == pytest.approx(expected)


def test_direction_score_is_one_along_a_line_and_minus_one_against_it():
    moments, velocity, distances = line()
    embedding = np.column_stack([np.arange(80.0), np.zeros(80)])
    labels = np.repeat(["early", "late"], 40)
    arrows = project(walk(moments, velocity, distances), embedding)
    assert direction_score(arrows, embedding, distances, labels, "early", "late") == pytest.approx(1)
    assert direction_score(arrows, embedding, distances, labels, "late", "early") == pytest.approx(-1)


def test_direction_score_of_clusters_that_do_not_touch_is_nan():
    places = np.vstack([embedded(20), embedded(20, seed=2) + 100])
    labels = np.repeat(["a", "b"], 20)
    assert math.isnan(direction_score(np.ones((40, 2)), places, nearest(places, 5), labels, "a", "b"))


def test_a_neighbor_without_a_place_does_not_count():
    moments, velocity, distances = line()
    places = np.column_stack([np.arange(80.0), np.zeros(80)])
    places[40] = np.nan
    arrows = project(walk(moments, velocity, distances), places)
    assert np.isnan(arrows[40]).all()
    assert np.isfinite(np.delete(arrows, 40, axis=0)).all()
    labels = np.repeat(["early", "late"], 40)
    assert direction_score(arrows, places, distances, labels, "early", "late") == pytest.approx(1)


def test_zero_arrows_score_zero():
    places = embedded(40)
    labels = np.repeat(["a", "b"], 20)
    assert direction_score(np.zeros((40, 2)), places, nearest(places, 5), labels, "a", "b") == 0
