from functools import partial

import numpy as np
import pytest
from scipy import integrate, optimize
from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.sparsevfc import VectorField, learn, velocity_at
from veloshard.vectorfield.topography import (
    FixedPoints,
    domain_around,
    fixed_points,
    kind_of,
    nullclines,
    on_grid,
    separatrices,
)

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

SQUARE = np.array([[-2.0, 2.0], [-2.0, 2.0]])


def rng(seed=0):
    return np.random.default_rng(seed)


def slopes(velocity, step=1e-6):
    """Jacobian of a field by central differences, to 1e-9."""

    def of_places(places):
        steps = step * np.eye(places.shape[1])
        return np.stack([(velocity(places + s) - velocity(places - s)) / (2 * step) for s in steps], axis=-1)

    return of_places


def points_of(velocity, domain=SQUARE, seed=0, **options):
    return fixed_points(velocity, slopes(velocity), domain, rng=rng(seed), **options)


def toggle(places):
    """Two genes that repress each other, with a Hill coefficient of 4: x' = 2 / (1 + y^4) - x."""
    return 2 / (1 + places[:, ::-1] ** 4) - places


def toggle_roots():
    """Where the toggle switch stands still: between, and on both sides, from scalar equations."""

    def once(x):
        return 2 / (1 + x**4)

    middle = optimize.brentq(lambda x: once(x) - x, 0, 2, xtol=1e-14)
    low = optimize.brentq(lambda x: once(once(x)) - x, 0, 0.5, xtol=1e-14)
    return np.array([[low, once(low)], [middle, middle], [once(low), low]])


TOGGLE = np.array([[0.0, 3.0], [0.0, 3.0]])


def circling(places):
    """A repeller at zero, and a limit cycle at a radius of 1."""
    x, y = places.T
    inwards = 1 - x**2 - y**2
    return np.column_stack([inwards * x - y, inwards * y + x])


def linear(matrix):
    return lambda places: places @ np.transpose(matrix)


def carried(velocity, start, duration=50.0):
    """Where the field carries a place."""
    return integrate.solve_ivp(lambda _, x: velocity(x[None])[0], (0, duration), start, method="LSODA").y[:, -1]


def test_a_toggle_switch_has_two_attractors_and_a_saddle():
    found = points_of(toggle, TOGGLE)
    order = np.argsort(found.places[:, 0])
    np.testing.assert_allclose(found.places[order], toggle_roots(), atol=1e-9)
    assert found.kinds[order].tolist() == ["attractor", "saddle", "attractor"]
    # on the diagonal J = -1 -+ x h'(x), by symmetry
    x = toggle_roots()[1, 0]
    slope = 8 * x**3 / (1 + x**4) ** 2
    np.testing.assert_allclose(found.eigenvalues[order[1]], [slope - 1, -slope - 1], atol=1e-7)


def test_the_separatrix_of_a_toggle_switch_is_the_diagonal():
    lines, saddles = separatrices(toggle, slopes(toggle), points_of(toggle, TOGGLE), TOGGLE)
    assert len(lines) == len(saddles) == 2
    for line in lines:
        # to the integration's 1e-6 of the domain
        np.testing.assert_allclose(line[:, 0], line[:, 1], atol=1e-5)
    ends = sorted(line[-1, 0] for line in lines)
    np.testing.assert_allclose(ends, [0, 3], atol=1e-5)


def test_a_limit_cycle_surrounds_a_repeller_and_nothing_else_is_at_rest():
    points = points_of(circling)
    np.testing.assert_allclose(points.places, [[0, 0]], atol=1e-9)
    assert points.kinds.tolist() == ["repeller"]
    # 1 +- i
    np.testing.assert_allclose(points.eigenvalues.real, 1, atol=1e-7)
    np.testing.assert_allclose(np.sort(points.eigenvalues.imag), [[-1, 1]], atol=1e-7)
    assert separatrices(circling, slopes(circling), points, SQUARE) == ([], [])


@pytest.mark.parametrize(("parameter", "expected"), [(0.3, ["attractor", "saddle"]), (0.001, None), (-0.3, [])])
def test_a_saddle_and_an_attractor_meet_and_vanish(parameter, expected):
    found = points_of(lambda places: np.column_stack([parameter - places[:, 0] ** 2, -places[:, 1]]))
    expected = ["attractor", "saddle"] if expected is None else expected
    order = np.argsort(found.kinds)
    assert found.kinds[order].tolist() == expected
    if expected:
        root = np.sqrt(parameter)
        np.testing.assert_allclose(found.places[order], [[root, 0], [-root, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("diagonal", "kind"), [((-1, -2, -3), "attractor"), ((1, -2, -3), "saddle"), ((1, 2, 0.5), "repeller")]
)
def test_a_linear_field_of_three_dimensions_has_one_point_of_its_kind(diagonal, kind):
    turned = np.linalg.qr(rng().normal(size=(3, 3)))[0]
    matrix, middle = turned @ np.diag(diagonal) @ turned.T, np.array([0.3, -0.5, 1.0])
    found = points_of(lambda places: linear(matrix)(places - middle), np.tile([-2.0, 2.0], (3, 1)), n_starts=10)
    np.testing.assert_allclose(found.places, [middle], atol=1e-9)
    assert found.kinds.tolist() == [kind]
    np.testing.assert_allclose(found.eigenvalues[0], sorted(diagonal, reverse=True), atol=1e-7)


def test_in_many_dimensions_points_are_found_from_the_cells():
    n_dims = 8
    two_wells = np.zeros(n_dims)
    two_wells[0] = 1

    def velocity(places):
        # attractors at +-1 in the first dimension, a saddle between
        return np.where(two_wells == 1, places - places**3, -places)

    # all at one of them
    cells = two_wells + rng(1).normal(scale=0.05, size=(40, n_dims))
    found = points_of(velocity, np.tile([-2.0, 2.0], (n_dims, 1)), cells=cells, n_starts=20)
    np.testing.assert_allclose(found.places, [two_wells], atol=1e-9)
    assert found.kinds.tolist() == ["attractor"]


def test_points_outside_the_domain_are_none():
    assert len(points_of(linear(-np.eye(2)), np.array([[0.5, 2.0], [-1.0, 1.0]])).places) == 0


def test_a_field_that_never_rests_has_no_points_and_says_so(caplog):
    with caplog.at_level("INFO"):
        found = points_of(np.ones_like)
    assert [len(field) for field in found] == [0] * 5
    assert found.places.shape == (0, 2)
    assert "0 fixed points" in caplog.text


def test_points_come_from_those_among_the_cells_on():
    cells = toggle_roots()[2] + rng(1).normal(scale=0.1, size=(300, 2))
    found = points_of(toggle, TOGGLE, cells=cells)
    np.testing.assert_allclose(found.places[0], toggle_roots()[2], atol=1e-9)
    assert (np.diff(found.confidence) <= 0).all()
    assert found.confidence[0] > 0.9 > 0.1 > found.confidence[1]


def test_confidence_does_not_depend_on_the_unit_of_the_places():
    cells = toggle_roots()[0] + rng(1).normal(scale=0.5, size=(300, 2))
    here = points_of(toggle, TOGGLE, cells=cells)
    there = points_of(lambda places: 8 * toggle(places / 8), 8 * TOGGLE, cells=8 * cells)
    np.testing.assert_allclose(there.confidence, here.confidence, atol=1e-9)


def test_the_nearest_cell_is_one_with_a_place():
    cells = rng(1).uniform(0, 3, size=(200, 2))
    cells[[0, 3, 17, 100]] = np.nan
    found = points_of(toggle, TOGGLE, cells=cells)
    distances = np.linalg.norm(found.places[:, None] - cells, axis=2)
    np.testing.assert_array_equal(found.nearest_cell, np.nanargmin(distances, axis=1))


def test_without_cells_there_is_no_confidence():
    found = points_of(toggle, TOGGLE)
    assert np.isnan(found.confidence).all()
    assert (found.nearest_cell == -1).all()


def test_the_same_seed_gives_the_same_bits_and_another_the_same_points():
    cells = rng(1).uniform(0, 3, size=(200, 2))
    one, same, other = (points_of(toggle, TOGGLE, seed=seed, cells=cells) for seed in (1, 1, 2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, same, strict=True))
    np.testing.assert_allclose(other.places, one.places, atol=1e-9)


def test_a_field_that_dies_away_has_no_points_out_there():
    # two clusters of cells at rest in the middle of each, so far apart that the field is zero to working precision
    # between them
    turn = np.array([[-1.0, -2.0], [2.0, -1.0]])
    middles = np.repeat([[0.0, 0.0], [100.0, 0.0]], 300, axis=0)
    ways = rng(1).normal(size=(600, 2))
    field = learn(middles + ways, ways @ turn.T, rng=rng()).field
    velocity, cells = partial(velocity_at, field), middles + ways
    found = fixed_points(velocity, partial(jacobian, field), domain_around(cells), rng=rng(), cells=cells)
    assert sorted(found.kinds[:2]) == ["attractor", "attractor"]
    # all others are where the field is one still: within the reach of a cluster's kernels
    reach = np.abs(found.places[:, :1] - [0, 100]).min(axis=1)
    assert reach.max() < 15


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
def test_kinds_follow_from_the_real_parts_of_the_eigenvalues(eigenvalues, kind):
    assert kind_of(np.array(eigenvalues)) == kind


def test_nullclines_are_where_a_component_is_zero():
    # a circle of radius 1, and the straight line y = x / 2
    found = nullclines(lambda places: np.column_stack([np.sum(places**2, axis=1) - 1, places @ [0.5, -1.0]]), SQUARE)
    circle, line = (np.concatenate(lines) for lines in found)
    # linear between places 0.04 apart: 0.04^2 / 8 off
    np.testing.assert_allclose(np.linalg.norm(circle, axis=1), 1, atol=3e-4)
    assert np.ptp(circle, axis=0).min() > 1.99
    np.testing.assert_allclose(line[:, 1], line[:, 0] / 2, atol=1e-9)
    assert np.ptp(line[:, 0]) == pytest.approx(4)


def test_a_component_that_is_never_zero_has_no_nullcline():
    assert nullclines(np.ones_like, SQUARE) == [[], []]


def test_rows_of_a_grid_are_of_one_y():
    x, y, vectors = on_grid(lambda places: places, np.array([[0.0, 1.0], [5.0, 7.0]]), n_steps=4)
    assert (len(x), len(y), vectors.shape) == (5, 5, (5, 5, 2))
    np.testing.assert_array_equal(vectors[3, 1], [x[1], y[3]])


def test_a_separatrix_ends_at_the_point_that_it_comes_from():
    def velocity(places):
        # a repeller at zero between saddles
        return np.column_stack([places[:, 0] - places[:, 0] ** 3, places[:, 1]])

    lines, saddles = separatrices(velocity, slopes(velocity), points_of(velocity), SQUARE)
    ends = {(saddle, round(float(line[-1, 0]), 2)) for line, saddle in zip(lines, saddles, strict=True)}
    left, _, right = range(3)
    assert ends == {(left, -2.0), (left, 0.0), (right, 0.0), (right, 2.0)}


def test_a_separatrix_ends_at_a_point_that_nobody_has_listed():
    calls = []

    def velocity(places):
        calls.append(len(places))
        return np.column_stack([places[:, 0] - places[:, 0] ** 3, places[:, 1]])

    saddle = FixedPoints(*(values[2:] for values in points_of(velocity)))
    assert saddle.kinds.tolist() == ["saddle"]
    calls.clear()
    lines, _ = separatrices(velocity, slopes(velocity), saddle, SQUARE)
    assert sorted(round(float(line[-1, 0]), 2) for line in lines) == [0, 2]
    # steps of a hundredth of the domain at most, seven places each, and some more near the ends
    assert sum(calls) < 3000


def test_separatrices_do_not_depend_on_the_unit_of_a_dimension():
    # x' = -x, y' = y + x^2: what ends in zero is y = -x^2 / 3
    def velocity(places):
        return np.column_stack([-places[:, 0], places[:, 1] + 1000 * places[:, 0] ** 2])

    domain = SQUARE * [[1], [1000]]
    lines, _ = separatrices(velocity, slopes(velocity), points_of(velocity, domain), domain)
    assert sorted(round(float(line[-1, 0]), 2) for line in lines) == [-2, 2]
    for line in lines:
        np.testing.assert_allclose(line[:, 1] / 1000, -(line[:, 0] ** 2) / 3, atol=1e-5)


def test_the_separatrix_of_a_learned_field_parts_its_basins():
    places = rng(1).uniform(0, 2.5, size=(800, 2))
    arrows = toggle(places) + rng(2).normal(scale=0.02, size=places.shape)
    field = learn(places, arrows, n_controls=200, rng=rng()).field
    velocity, slope, domain = partial(velocity_at, field), partial(jacobian, field), domain_around(places)
    found = fixed_points(velocity, slope, domain, rng=rng(), cells=places)
    assert sorted(found.kinds) == ["attractor", "attractor", "saddle"]
    # the noise, and what it says of a place where the field grows by about 1 a unit
    order = np.argsort(found.places[:, 0])
    np.testing.assert_allclose(found.places[order], toggle_roots(), atol=0.04)
    lines, _ = separatrices(velocity, slope, found, domain)
    ends = found.places[found.kinds == "attractor"]
    for line in lines:
        for share in (0.2, 0.5, 0.8):
            place = line[int(share * len(line))]
            along = line[int(share * len(line)) + 1] - place
            aside = 0.02 * np.array([-along[1], along[0]]) / np.linalg.norm(along)
            nearest = [
                np.argmin(np.linalg.norm(ends - carried(velocity, place + side * aside), axis=1)) for side in (1, -1)
            ]
            assert sorted(nearest) == [0, 1]


def test_a_domain_has_all_cells_and_a_margin():
    cells = np.array([[0.0, 10.0], [4.0, 30.0], [np.nan, np.nan], [2.0, 20.0]])
    np.testing.assert_allclose(domain_around(cells), [[-0.4, 4.4], [8.0, 32.0]])
    np.testing.assert_allclose(domain_around(cells, margin=0), [[0, 4], [10, 30]])


def test_a_domain_of_cells_on_a_line_has_an_extent_on_each_side():
    found = domain_around(np.column_stack([np.linspace(0, 10, 5), np.full(5, 3.0)]))
    np.testing.assert_allclose(found, [[-1, 11], [2, 4]])
    assert len(points_of(lambda places: np.array([5.0, 3.0]) - places, found).places) == 1


def test_few_cells_are_enough_for_confidence():
    found = points_of(toggle, TOGGLE, cells=toggle_roots()[:2] + 0.1)
    assert np.isfinite(found.confidence).all()


def test_a_field_of_kernels_stands_still_where_its_velocity_is_zero():
    field = VectorField(rng(3).normal(size=(30, 2)), rng(4).normal(size=(30, 2)), 2.0)
    velocity = partial(velocity_at, field)
    found = fixed_points(velocity, partial(jacobian, field), SQUARE, rng=rng())
    assert len(found.places) > 3
    speed = np.linalg.norm(velocity(found.places), axis=1)
    assert speed.max() < 1e-9 * np.linalg.norm(on_grid(velocity, SQUARE)[2], axis=2).max()
    # no two are one
    apart = np.linalg.norm(found.places[:, None] - found.places, axis=2)
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 1e-3
