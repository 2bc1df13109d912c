import numpy as np
import pytest
from veloshard.vectorfield import confinement
from veloshard.vectorfield.confinement import confined
from veloshard.vectorfield.paths import follow
from veloshard.vectorfield.sparsevfc import VectorField, fit_field, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

STEP = 1e-6


def made_up(n_dims, seed=0):
    """A field of thirty kernels, and places of sixty cells in it, as multiples of 2^-20."""
    rng = np.random.default_rng(seed)
    controls, places = (np.round(rng.normal(size=(n, n_dims)) * 2**20) / 2**20 for n in (30, 60))
    return VectorField(controls, rng.normal(size=(30, n_dims)), 0.4), places


def pull(held, places):
    return held.velocity(places) - velocity_at(held.field, places)


def test_nine_in_ten_cells_feel_no_pull():
    field, places = made_up(3)
    # those that hold others are nearer to a middle of which they are
    free = ~np.any(pull(confined(field, places), places[1::2]) != 0, axis=1)
    assert np.mean(free) == pytest.approx(0.9, abs=1 / 30)


def test_far_from_the_cells_the_pull_leads_back():
    field, cells = made_up(2)
    held = confined(field, cells)
    places = 50 * np.array([[1.0, 0], [0, -1], [0.6, 0.8]])
    back = pull(held, places)
    cosines = -np.einsum("pd,pd->p", back, places) / np.linalg.norm(back, axis=1) / 50
    assert (cosines > 0.99).all()


def test_at_twice_the_reach_the_pull_is_as_fast_as_the_field():
    field, cells = made_up(2)
    held = confined(field, cells)
    # of a single anchor, so that the middle stays where it is
    held = held._replace(anchors=np.zeros((1, 2)), middle=np.zeros(2))
    assert np.linalg.norm(pull(held, np.array([[0.0, 2 * held.reach]]))) == pytest.approx(held.speed)
    assert not pull(held, np.array([[0.0, held.reach]])).any()


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_jacobian_is_what_differences_tell_on_either_side_of_the_reach(n_dims):
    field, cells = made_up(n_dims)
    held = confined(field, cells)
    places = np.concatenate([cells, 2.5 * cells])
    assert 0 < np.sum(np.any(pull(held, places) != 0, axis=1)) < len(places)
    steps = STEP * np.eye(n_dims)
    expected = [(held.velocity(places + step) - held.velocity(places - step)) / (2 * STEP) for step in steps]
    np.testing.assert_allclose(held.jacobian(places), np.stack(expected, axis=-1), rtol=1e-5, atol=1e-6)


def test_cells_stay_in_the_branch_that_the_field_leads_into():
    rng = np.random.default_rng(0)
    along, branch = 4 * rng.random(600), np.repeat([1, -1], 300)
    ahead = np.column_stack([np.ones(600), branch * np.where(along > 2, 1, 0)])
    cells = np.column_stack([along, branch * np.maximum(along - 2, 0)]) + rng.normal(0, 0.08, (600, 2))
    field = fit_field(cells, 0.3 * ahead, cells[::6]).field
    held = confined(field, cells)
    for sign in (1, -1):
        start = cells[(branch == sign) & (along > 3)][0]
        plain, kept = (
            follow(flow, start, speed=held.speed, duration=60)
            for flow in (lambda places: velocity_at(field, places), held.velocity)
        )
        assert np.linalg.norm(plain.places[-1] - cells, axis=1).min() > 0.5
        assert np.linalg.norm(kept.places[-1] - cells, axis=1).min() < 0.2
        assert sign * kept.places[-1, 1] > 1.5


def test_blocks_of_cells_are_all_cells(monkeypatch):
    field, places = made_up(3)
    whole = confined(field, places)
    velocity, slopes = whole.velocity(2 * places), whole.jacobian(2 * places)
    monkeypatch.setattr(confinement, "PLACES_AT_ONCE", 4)
    assert confined(field, places).reach == pytest.approx(whole.reach, rel=1e-12)
    np.testing.assert_allclose(whole.velocity(2 * places), velocity, rtol=1e-12)
    np.testing.assert_allclose(whole.jacobian(2 * places), slopes, rtol=1e-9, atol=1e-12)


def test_result_does_not_depend_on_where_the_middle_is():
    field, places = made_up(3)
    away = field._replace(control_points=field.control_points + 1e6)
    here, there = confined(field, places), confined(away, places + 1e6)
    assert there.reach == pytest.approx(here.reach, rel=1e-8)
    # the mean of the cells itself is known to 1e-10 there
    np.testing.assert_allclose(there.velocity(2 * places + 1e6), here.velocity(2 * places), atol=1e-7)
    np.testing.assert_allclose(there.jacobian(2 * places + 1e6), here.jacobian(2 * places), atol=1e-6)
