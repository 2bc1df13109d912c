import numpy as np
import pytest
from veloshard.vectorfield import confinement
from veloshard.vectorfield.confinement import ConfinedField, confined
from veloshard.vectorfield.sparsevfc import VectorField, kernel, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

STEP = 1e-5


def made_up(n_dims, seed=0):
    """A field of thirty kernels, and places of eleven cells in it, as multiples of 2^-20."""
    rng = np.random.default_rng(seed)
    controls, places = (np.round(rng.normal(size=(n, n_dims)) * 2**20) / 2**20 for n in (30, 11))
    return VectorField(controls, rng.normal(size=(30, n_dims)), 0.4), places


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_drift_is_the_slope_of_the_logarithm_of_the_density(n_dims):
    field, places = made_up(n_dims)

    def log_density(places):
        return np.log(kernel(places, field.control_points, field.width).sum(axis=1))

    drift = ConfinedField(field, 3.0).velocity(places) - velocity_at(field, places)
    steps = STEP * np.eye(n_dims)
    slopes = [(log_density(places + step) - log_density(places - step)) / (2 * STEP) for step in steps]
    np.testing.assert_allclose(drift, 3 * np.column_stack(slopes), atol=1e-8)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_jacobian_is_what_differences_tell(n_dims):
    field, places = made_up(n_dims)
    held = ConfinedField(field, 0.7)
    steps = STEP * np.eye(n_dims)
    expected = [(held.velocity(places + step) - held.velocity(places - step)) / (2 * STEP) for step in steps]
    np.testing.assert_allclose(held.jacobian(places), np.stack(expected, axis=-1), atol=1e-8)


def test_far_from_the_cells_the_drift_leads_back():
    field, _ = made_up(2)
    # kernels are zero there
    places = 1e3 * np.array([[1.0, 0], [0, -1], [3, 4]])
    assert not velocity_at(field, places).any()
    drift = ConfinedField(field, 1.0).velocity(places)
    np.testing.assert_allclose(drift, -2 * field.width * places, rtol=0.01, atol=10)


def test_at_a_usual_cell_the_drift_is_as_fast_as_the_field():
    field, places = made_up(3)
    held = confined(field, places)
    drift = np.linalg.norm(held.velocity(places) - velocity_at(field, places), axis=1)
    speed = np.linalg.norm(velocity_at(field, places), axis=1)
    assert np.median(drift) == pytest.approx(speed.mean())


def test_blocks_of_cells_are_all_cells(monkeypatch):
    field, places = made_up(3)
    whole = confined(field, places)
    velocity = whole.velocity(places)
    monkeypatch.setattr(confinement, "PLACES_AT_ONCE", 4)
    assert confined(field, places).diffusion == pytest.approx(whole.diffusion, rel=1e-12)
    np.testing.assert_allclose(whole.velocity(places), velocity, rtol=1e-12)


def test_result_does_not_depend_on_where_the_middle_is():
    field, places = made_up(3)
    here, there = (
        confined(field, places),
        confined(field._replace(control_points=field.control_points + 1e6), places + 1e6),
    )
    assert there.diffusion == pytest.approx(here.diffusion, rel=1e-9)
    # the mean of the control points itself is known to 1e-10 there
    np.testing.assert_allclose(there.velocity(places + 1e6), here.velocity(places), atol=1e-8)
    np.testing.assert_allclose(there.jacobian(places + 1e6), here.jacobian(places), atol=1e-8)
