from functools import partial

import numpy as np
import pytest
from scipy import integrate, optimize
from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.sparsevfc import VectorField, learn_vector_field, velocity_at
from veloshard.vectorfield.topography import (
    FixedPoints,
    classify_fixed_point,
    domain_of,
    evaluate_on_grid,
    find_fixed_points,
    find_nullclines,
    find_separatrices,
)

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

SQUARE = np.array([[-2.0, 2.0], [-2.0, 2.0]])


def rng(seed=0):
    return np.random.default_rng(seed)


def numerical_jacobian(velocity, step=1e-6):
    """Jacobian of a field by central differences, to 1e-9."""

    def jacobian_at(coordinates):
        steps = step * np.eye(coordinates.shape[1])
        return np.stack([(velocity(coordinates + s) - velocity(coordinates - s)) / (2 * step) for s in steps], axis=-1)

    return jacobian_at


def fixed_points_of(velocity, domain=SQUARE, seed=0, **options):
    return find_fixed_points(velocity, numerical_jacobian(velocity), domain, rng=rng(seed), **options)


def toggle_switch(coordinates):
    """Two genes that repress each other, with a Hill coefficient of 4: x' = 2 / (1 + y^4) - x."""
    return 2 / (1 + coordinates[:, ::-1] ** 4) - coordinates


def toggle_fixed_points():
    """Fixed points of the toggle_switch switch from scalar equations."""

    def hill(x):
        return 2 / (1 + x**4)

    symmetric = optimize.brentq(lambda x: hill(x) - x, 0, 2, xtol=1e-14)
    low = optimize.brentq(lambda x: hill(hill(x)) - x, 0, 0.5, xtol=1e-14)
    return np.array([[low, hill(low)], [symmetric, symmetric], [hill(low), low]])


TOGGLE = np.array([[0.0, 3.0], [0.0, 3.0]])


def limit_cycle(coordinates):
    """A repeller at zero, and a limit cycle at a radius of 1."""
    x, y = coordinates.T
    growth = 1 - x**2 - y**2
    return np.column_stack([growth * x - y, growth * y + x])


def linear_field(matrix):
    return lambda coordinates: coordinates @ np.transpose(matrix)


def end_of_trajectory(velocity, start, duration=50.0):
    """Return the end of the trajectory from a point."""
    return integrate.solve_ivp(lambda _, x: velocity(x[None])[0], (0, duration), start, method="LSODA").y[:, -1]


def test_a_toggle_switch_has_two_attractors_and_a_saddle():
    points = fixed_points_of(toggle_switch, TOGGLE)
    order = np.argsort(points.coordinates[:, 0])
    np.testing.assert_allclose(points.coordinates[order], toggle_fixed_points(), atol=1e-9)
    assert points.kinds[order].tolist() == ["attractor", "saddle", "attractor"]
    # on the diagonal the eigenvalues are -1 -+ h'(x), by symmetry
    x = toggle_fixed_points()[1, 0]
    slope = 8 * x**3 / (1 + x**4) ** 2
    np.testing.assert_allclose(points.eigenvalues[order[1]], [slope - 1, -slope - 1], atol=1e-7)


def test_the_separatrix_of_a_toggle_switch_is_the_diagonal():
    lines, saddles = find_separatrices(
        toggle_switch, numerical_jacobian(toggle_switch), fixed_points_of(toggle_switch, TOGGLE), TOGGLE
    )
    assert len(lines) == len(saddles) == 2
    for line in lines:
        # the tolerance of the integration is 1e-6 of the domain
        np.testing.assert_allclose(line[:, 0], line[:, 1], atol=1e-5)
    ends = sorted(line[-1, 0] for line in lines)
    np.testing.assert_allclose(ends, [0, 3], atol=1e-5)


def test_a_limit_cycle_has_one_fixed_point_a_repeller():
    points = fixed_points_of(limit_cycle)
    np.testing.assert_allclose(points.coordinates, [[0, 0]], atol=1e-9)
    assert points.kinds.tolist() == ["repeller"]
    # eigenvalues 1 +- i
    np.testing.assert_allclose(points.eigenvalues.real, 1, atol=1e-7)
    np.testing.assert_allclose(np.sort(points.eigenvalues.imag), [[-1, 1]], atol=1e-7)
    assert find_separatrices(limit_cycle, numerical_jacobian(limit_cycle), points, SQUARE) == ([], [])


@pytest.mark.parametrize(("parameter", "expected"), [(0.3, ["attractor", "saddle"]), (0.001, None), (-0.3, [])])
def test_a_saddle_and_an_attractor_vanish_in_a_saddle_node_bifurcation(parameter, expected):
    points = fixed_points_of(
        lambda coordinates: np.column_stack([parameter - coordinates[:, 0] ** 2, -coordinates[:, 1]])
    )
    expected = ["attractor", "saddle"] if expected is None else expected
    order = np.argsort(points.kinds)
    assert points.kinds[order].tolist() == expected
    if expected:
        root = np.sqrt(parameter)
        np.testing.assert_allclose(points.coordinates[order], [[root, 0], [-root, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("diagonal", "kind"), [((-1, -2, -3), "attractor"), ((1, -2, -3), "saddle"), ((1, 2, 0.5), "repeller")]
)
def test_a_linear_field_in_three_dimensions_has_one_fixed_point_of_its_kind(diagonal, kind):
    rotation = np.linalg.qr(rng().normal(size=(3, 3)))[0]
    matrix, center = rotation @ np.diag(diagonal) @ rotation.T, np.array([0.3, -0.5, 1.0])
    domain = np.tile([-2.0, 2.0], (3, 1))
    points = fixed_points_of(lambda coordinates: linear_field(matrix)(coordinates - center), domain, n_starts=10)
    np.testing.assert_allclose(points.coordinates, [center], atol=1e-9)
    assert points.kinds.tolist() == [kind]
    np.testing.assert_allclose(points.eigenvalues[0], sorted(diagonal, reverse=True), atol=1e-7)


def test_in_many_dimensions_the_search_starts_from_the_cells():
    n_dims = 8
    attractor = np.zeros(n_dims)
    attractor[0] = 1

    def velocity(coordinates):
        # attractors at +-1 in the first dimension, and a saddle between them
        return np.where(attractor == 1, coordinates - coordinates**3, -coordinates)

    # all cells are near one of the attractors
    cells = attractor + rng(1).normal(scale=0.05, size=(40, n_dims))
    points = fixed_points_of(velocity, np.tile([-2.0, 2.0], (n_dims, 1)), cells=cells, n_starts=20)
    np.testing.assert_allclose(points.coordinates, [attractor], atol=1e-9)
    assert points.kinds.tolist() == ["attractor"]


def test_fixed_points_outside_the_domain_are_left_out():
    assert len(fixed_points_of(linear_field(-np.eye(2)), np.array([[0.5, 2.0], [-1.0, 1.0]])).coordinates) == 0


def test_a_field_without_fixed_points_is_logged(caplog):
    with caplog.at_level("INFO"):
        points = fixed_points_of(np.ones_like)
    assert [len(array) for array in points] == [0] * 5
    assert points.coordinates.shape == (0, 2)
    assert "0 fixed points" in caplog.text


def test_fixed_points_are_sorted_by_confidence():
    cells = toggle_fixed_points()[2] + rng(1).normal(scale=0.1, size=(300, 2))
    points = fixed_points_of(toggle_switch, TOGGLE, cells=cells)
    np.testing.assert_allclose(points.coordinates[0], toggle_fixed_points()[2], atol=1e-9)
    assert (np.diff(points.confidence) <= 0).all()
    assert points.confidence[0] > 0.9 > 0.1 > points.confidence[1]


def test_confidence_does_not_depend_on_the_unit_of_the_coordinates():
    cells = toggle_fixed_points()[0] + rng(1).normal(scale=0.5, size=(300, 2))
    points = fixed_points_of(toggle_switch, TOGGLE, cells=cells)
    scaled = fixed_points_of(lambda coordinates: 8 * toggle_switch(coordinates / 8), 8 * TOGGLE, cells=8 * cells)
    np.testing.assert_allclose(scaled.confidence, points.confidence, atol=1e-9)


def test_the_nearest_cell_has_coordinates():
    cells = rng(1).uniform(0, 3, size=(200, 2))
    cells[[0, 3, 17, 100]] = np.nan
    points = fixed_points_of(toggle_switch, TOGGLE, cells=cells)
    distances = np.linalg.norm(points.coordinates[:, None] - cells, axis=2)
    np.testing.assert_array_equal(points.nearest_cell, np.nanargmin(distances, axis=1))


def test_without_cells_there_is_no_confidence():
    points = fixed_points_of(toggle_switch, TOGGLE)
    assert np.isnan(points.confidence).all()
    assert (points.nearest_cell == -1).all()


def test_results_are_bitwise_identical_for_one_seed_and_the_same_points_for_another():
    cells = rng(1).uniform(0, 3, size=(200, 2))
    first, repeated, other = (fixed_points_of(toggle_switch, TOGGLE, seed=seed, cells=cells) for seed in (1, 1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, repeated, strict=True))
    np.testing.assert_allclose(other.coordinates, first.coordinates, atol=1e-9)


def test_fixed_points_of_a_field_that_decays_between_clusters_are_near_clusters():
    # two clusters of cells, with an attractor at the center of each, at a distance at which the field between them is
    # zero to working precision
    matrix = np.array([[-1.0, -2.0], [2.0, -1.0]])
    centers = np.repeat([[0.0, 0.0], [100.0, 0.0]], 300, axis=0)
    offsets = rng(1).normal(size=(600, 2))
    field = learn_vector_field(centers + offsets, offsets @ matrix.T, rng=rng()).field
    velocity, cells = partial(velocity_at, field), centers + offsets
    points = find_fixed_points(velocity, partial(jacobian, field), domain_of(cells), rng=rng(), cells=cells)
    assert sorted(points.kinds[:2]) == ["attractor", "attractor"]
    # all others are within the range of a cluster's kernels, where the field is not zero to working precision
    distances = np.abs(points.coordinates[:, :1] - [0, 100]).min(axis=1)
    assert distances.max() < 15


@pytest.mark.parametrize(
    ("eigenvalues", "kind"),
    [
        ([-1, -2], "attractor"),
        ([-1 + 5j, -1 - 5j], "attractor"),
        ([1, -2], "saddle"),
        ([1, 2], "repeller"),
        ([0.1 + 1j, 0.1 - 1j], "repeller"),
        ([0, -1], "saddle"),
    ],
)
def test_the_kind_follows_from_the_real_parts_of_the_eigenvalues(eigenvalues, kind):
    assert classify_fixed_point(np.array(eigenvalues)) == kind


def test_a_component_is_zero_on_its_nullcline():
    # a circle of radius 1, and the straight line y = x / 2
    nullclines = find_nullclines(
        lambda coordinates: np.column_stack([np.sum(coordinates**2, axis=1) - 1, coordinates @ [0.5, -1.0]]), SQUARE
    )
    circle, line = (np.concatenate(lines) for lines in nullclines)
    # error of linear interpolation between points at a distance of 0.04: 0.04^2 / 8
    np.testing.assert_allclose(np.linalg.norm(circle, axis=1), 1, atol=3e-4)
    assert np.ptp(circle, axis=0).min() > 1.99
    np.testing.assert_allclose(line[:, 1], line[:, 0] / 2, atol=1e-9)
    assert np.ptp(line[:, 0]) == pytest.approx(4)


def test_a_component_that_is_never_zero_has_no_nullcline():
    assert find_nullclines(np.ones_like, SQUARE) == [[], []]


def test_rows_of_a_grid_have_the_same_y():
    x, y, vectors = evaluate_on_grid(lambda coordinates: coordinates, np.array([[0.0, 1.0], [5.0, 7.0]]), n_steps=4)
    assert (len(x), len(y), vectors.shape) == (5, 5, (5, 5, 2))
    np.testing.assert_array_equal(vectors[3, 1], [x[1], y[3]])


def test_a_separatrix_ends_at_a_repeller_or_at_the_boundary():
    def velocity(coordinates):
        # a repeller at zero, between two saddles
        return np.column_stack([coordinates[:, 0] - coordinates[:, 0] ** 3, coordinates[:, 1]])

    lines, saddles = find_separatrices(velocity, numerical_jacobian(velocity), fixed_points_of(velocity), SQUARE)
    ends = {(saddle, round(float(line[-1, 0]), 2)) for line, saddle in zip(lines, saddles, strict=True)}
    left, _, right = range(3)
    assert ends == {(left, -2.0), (left, 0.0), (right, 0.0), (right, 2.0)}


def test_a_separatrix_ends_at_a_fixed_point_that_is_not_listed():
    calls = []

    def velocity(coordinates):
        calls.append(len(coordinates))
        return np.column_stack([coordinates[:, 0] - coordinates[:, 0] ** 3, coordinates[:, 1]])

    saddle = FixedPoints(*(values[2:] for values in fixed_points_of(velocity)))
    assert saddle.kinds.tolist() == ["saddle"]
    calls.clear()
    lines, _ = find_separatrices(velocity, numerical_jacobian(velocity), saddle, SQUARE)
    assert sorted(round(float(line[-1, 0]), 2) for line in lines) == [0, 2]
    # steps of at most a hundredth of the domain with seven evaluations each, and some more near the ends
    assert sum(calls) < 3000


def test_separatrices_do_not_depend_on_the_unit_of_a_dimension():
    # x' = -x, y' = y + x^2: the separatrix of the saddle at zero is y = -x^2 / 3
    def velocity(coordinates):
        return np.column_stack([-coordinates[:, 0], coordinates[:, 1] + 1000 * coordinates[:, 0] ** 2])

    domain = SQUARE * [[1], [1000]]
    lines, _ = find_separatrices(velocity, numerical_jacobian(velocity), fixed_points_of(velocity, domain), domain)
    assert sorted(round(float(line[-1, 0]), 2) for line in lines) == [-2, 2]
    for line in lines:
        np.testing.assert_allclose(line[:, 1] / 1000, -(line[:, 0] ** 2) / 3, atol=1e-5)


def test_the_separatrix_of_a_learned_field_separates_its_basins():
    coordinates = rng(1).uniform(0, 2.5, size=(800, 2))
    noisy_velocity = toggle_switch(coordinates) + rng(2).normal(scale=0.02, size=coordinates.shape)
    field = learn_vector_field(coordinates, noisy_velocity, n_control_points=200, rng=rng()).field
    velocity, jacobian_at, domain = partial(velocity_at, field), partial(jacobian, field), domain_of(coordinates)
    points = find_fixed_points(velocity, jacobian_at, domain, rng=rng(), cells=coordinates)
    assert sorted(points.kinds) == ["attractor", "attractor", "saddle"]
    # twice the noise, because the velocity changes by about 1 per unit of the coordinates
    order = np.argsort(points.coordinates[:, 0])
    np.testing.assert_allclose(points.coordinates[order], toggle_fixed_points(), atol=0.04)
    lines, _ = find_separatrices(velocity, jacobian_at, points, domain)
    attractors = points.coordinates[points.kinds == "attractor"]
    for line in lines:
        for share in (0.2, 0.5, 0.8):
            point = line[int(share * len(line))]
            tangent = line[int(share * len(line)) + 1] - point
            normal = 0.02 * np.array([-tangent[1], tangent[0]]) / np.linalg.norm(tangent)
            ends = [end_of_trajectory(velocity, point + sign * normal) for sign in (1, -1)]
            reached = [np.argmin(np.linalg.norm(attractors - end, axis=1)) for end in ends]
            assert sorted(reached) == [0, 1]


def test_a_domain_includes_all_cells_and_a_margin():
    cells = np.array([[0.0, 10.0], [4.0, 30.0], [np.nan, np.nan], [2.0, 20.0]])
    np.testing.assert_allclose(domain_of(cells), [[-0.4, 4.4], [8.0, 32.0]])
    np.testing.assert_allclose(domain_of(cells, margin=0), [[0, 4], [10, 30]])


def test_a_domain_of_cells_on_a_line_has_an_extent_on_each_side():
    domain = domain_of(np.column_stack([np.linspace(0, 10, 5), np.full(5, 3.0)]))
    np.testing.assert_allclose(domain, [[-1, 11], [2, 4]])
    assert len(fixed_points_of(lambda coordinates: np.array([5.0, 3.0]) - coordinates, domain).coordinates) == 1


def test_two_cells_are_enough_for_confidence():
    points = fixed_points_of(toggle_switch, TOGGLE, cells=toggle_fixed_points()[:2] + 0.1)
    assert np.isfinite(points.confidence).all()


def test_the_velocity_of_a_field_of_kernels_is_zero_at_its_fixed_points():
    field = VectorField(rng(3).normal(size=(30, 2)), rng(4).normal(size=(30, 2)), 2.0)
    velocity = partial(velocity_at, field)
    points = find_fixed_points(velocity, partial(jacobian, field), SQUARE, rng=rng())
    assert len(points.coordinates) > 3
    speed = np.linalg.norm(velocity(points.coordinates), axis=1)
    assert speed.max() < 1e-9 * np.linalg.norm(evaluate_on_grid(velocity, SQUARE)[2], axis=2).max()
    # all points are different
    distances = np.linalg.norm(points.coordinates[:, None] - points.coordinates, axis=2)
    assert distances[~np.eye(len(distances), dtype=bool)].min() > 1e-3
