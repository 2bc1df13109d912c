import numpy as np
import pytest
from veloshard.vectorfield.paths import integrate_trajectory
from veloshard.vectorfield.restoring_drift import add_restoring_drift
from veloshard.vectorfield.sparsevfc import VectorField, fit_field, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

STEP = 1e-6


def random_field(n_dims, seed=0):
    """A field of 30 random kernels, and coordinates of 60 cells in it, as multiples of 2^-20."""
    rng = np.random.default_rng(seed)
    control_points, coordinates = (np.round(rng.normal(size=(n, n_dims)) * 2**20) / 2**20 for n in (30, 60))
    return VectorField(control_points, rng.normal(size=(30, n_dims)), 0.4), coordinates


def drift(field_with_drift, coordinates):
    return field_with_drift.velocity(coordinates) - velocity_at(field_with_drift.field, coordinates)


def test_90_percent_of_the_cells_have_no_drift():
    field, coordinates = random_field(3)
    # not at anchors, which are nearer to local means because they contribute to them
    has_drift = np.any(drift(add_restoring_drift(field, coordinates), coordinates[1::2]) != 0, axis=1)
    assert np.mean(has_drift) == pytest.approx(0.1, abs=1 / 30)


def test_the_drift_far_from_the_cells_points_to_them():
    field, cells = random_field(2)
    field_with_drift = add_restoring_drift(field, cells)
    coordinates = 50 * np.array([[1.0, 0], [0, -1], [0.6, 0.8]])
    drift_vectors = drift(field_with_drift, coordinates)
    cosines = -np.einsum("pd,pd->p", drift_vectors, coordinates) / np.linalg.norm(drift_vectors, axis=1) / 50
    assert (cosines > 0.99).all()


def test_the_drift_at_twice_the_drift_free_distance_has_the_mean_speed_of_the_field():
    field, cells = random_field(2)
    field_with_drift = add_restoring_drift(field, cells)
    # with one anchor the local mean is the same everywhere
    field_with_drift = field_with_drift._replace(anchors=np.zeros((1, 2)), center=np.zeros(2))
    distance = field_with_drift.drift_free_distance
    assert np.linalg.norm(drift(field_with_drift, np.array([[0.0, 2 * distance]]))) == pytest.approx(
        field_with_drift.mean_speed
    )
    assert not drift(field_with_drift, np.array([[0.0, distance]])).any()


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_jacobian_equals_central_differences_with_and_without_drift(n_dims):
    field, cells = random_field(n_dims)
    field_with_drift = add_restoring_drift(field, cells)
    coordinates = np.concatenate([cells, 2.5 * cells])
    assert 0 < np.sum(np.any(drift(field_with_drift, coordinates) != 0, axis=1)) < len(coordinates)
    steps = STEP * np.eye(n_dims)
    expected = [
        (field_with_drift.velocity(coordinates + step) - field_with_drift.velocity(coordinates - step)) / (2 * STEP)
        for step in steps
    ]
    np.testing.assert_allclose(
        field_with_drift.jacobian(coordinates), np.stack(expected, axis=-1), rtol=1e-5, atol=1e-6
    )


def test_trajectories_stay_in_the_branch_that_the_field_leads_into():
    rng = np.random.default_rng(0)
    time, branch = 4 * rng.random(600), np.repeat([1, -1], 300)
    direction = np.column_stack([np.ones(600), branch * np.where(time > 2, 1, 0)])
    cells = np.column_stack([time, branch * np.maximum(time - 2, 0)]) + rng.normal(0, 0.08, (600, 2))
    field = fit_field(cells, 0.3 * direction, cells[::6]).field
    field_with_drift = add_restoring_drift(field, cells)
    for sign in (1, -1):
        start = cells[(branch == sign) & (time > 3)][0]
        without_drift, with_drift = (
            integrate_trajectory(velocity, start, speed=field_with_drift.mean_speed, duration=60).coordinates[-1]
            for velocity in (lambda coordinates: velocity_at(field, coordinates), field_with_drift.velocity)
        )
        assert np.linalg.norm(without_drift - cells, axis=1).min() > 0.5
        assert np.linalg.norm(with_drift - cells, axis=1).min() < 0.2
        assert sign * with_drift[1] > 1.5


def test_the_block_size_changes_the_result_by_rounding_only(monkeypatch):
    field, coordinates = random_field(3)
    one_block = add_restoring_drift(field, coordinates)
    velocity, jacobians = one_block.velocity(2 * coordinates), one_block.jacobian(2 * coordinates)
    monkeypatch.setattr("veloshard.vectorfield.restoring_drift.POINTS_PER_BLOCK", 4)
    many_blocks = add_restoring_drift(field, coordinates)
    assert many_blocks.drift_free_distance == pytest.approx(one_block.drift_free_distance, rel=1e-12)
    np.testing.assert_allclose(one_block.velocity(2 * coordinates), velocity, rtol=1e-12)
    np.testing.assert_allclose(one_block.jacobian(2 * coordinates), jacobians, rtol=1e-9, atol=1e-12)


def test_result_does_not_depend_on_the_origin():
    field, coordinates = random_field(3)
    shifted_field = field._replace(control_points=field.control_points + 1e6)
    near, far = add_restoring_drift(field, coordinates), add_restoring_drift(shifted_field, coordinates + 1e6)
    assert far.drift_free_distance == pytest.approx(near.drift_free_distance, rel=1e-8)
    # the shifted mean of the cells is accurate to 1e-10
    np.testing.assert_allclose(far.velocity(2 * coordinates + 1e6), near.velocity(2 * coordinates), atol=1e-7)
    np.testing.assert_allclose(far.jacobian(2 * coordinates + 1e6), near.jacobian(2 * coordinates), atol=1e-6)
