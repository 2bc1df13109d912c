import numpy as np
import pytest
from veloshard.vectorfield import geometry
from veloshard.vectorfield.geometry import (
    acceleration,
    curl,
    curvature,
    directional_derivative,
    divergence,
    gene_jacobian,
    hessian,
    jacobian,
    jacobians,
    laplacian,
    mean_jacobians,
    sensitivity,
)
from veloshard.vectorfield.sparsevfc import VectorField, kernel, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

# step of central differences: its square, and the rounding over it, are below 1e-10
STEP = 1e-5
CLOSE = 1e-8


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    monkeypatch.setattr(geometry, "PLACES_AT_ONCE", 4)


def made_up(n_dims, seed=0):
    """A field of thirty kernels, and eleven places in it."""
    rng = np.random.default_rng(seed)
    controls, coefficients = rng.normal(size=(2, 30, n_dims))
    # the first place is a control point
    return VectorField(controls, coefficients, 0.4), np.vstack([controls[:1], rng.normal(size=(10, n_dims))])


def interpolated(function):
    """A field that is a given one, to 1e-3, within the unit disc."""
    controls = np.stack(np.meshgrid(*[np.linspace(-1.6, 1.6, 9)] * 2), axis=-1).reshape(-1, 2)
    return VectorField(controls, np.linalg.solve(kernel(controls, controls, 0.6), function(controls)), 0.6)


def disc(n_places=50, seed=0):
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n_places), rng.uniform(0.2, 0.8, n_places)
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def differences(function, places):
    """Central differences of a function of places along each dimension, which comes last."""
    steps = STEP * np.eye(places.shape[1])
    return np.stack([(function(places + step) - function(places - step)) / (2 * STEP) for step in steps], axis=-1)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_jacobian_is_what_differences_tell(n_dims):
    field, places = made_up(n_dims)
    np.testing.assert_allclose(
        jacobian(field, places), differences(lambda x: velocity_at(field, x), places), atol=CLOSE
    )


def test_jacobian_of_one_place_is_a_matrix():
    field, places = made_up(3)
    np.testing.assert_allclose(jacobian(field, places[4]), jacobian(field, places)[4], rtol=1e-12, atol=1e-14)


def test_blocks_of_places_are_all_places():
    field, places = made_up(2)
    rows = [block for block, _ in jacobians(field, places)]
    assert [(block.start, block.stop) for block in rows] == [(0, 4), (4, 8), (8, 11)]


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_change_along_directions_is_the_jacobian_times_them(n_dims):
    field, places = made_up(n_dims)
    directions = np.random.default_rng(1).normal(size=places.shape)
    expected = np.einsum("pde,pe->pd", jacobian(field, places), directions)
    np.testing.assert_allclose(directional_derivative(field, places, directions), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_divergence_is_the_trace_of_the_jacobian(n_dims):
    field, places = made_up(n_dims)
    expected = np.trace(jacobian(field, places), axis1=1, axis2=2)
    np.testing.assert_allclose(divergence(field, places), expected, rtol=1e-11, atol=1e-13)


def test_divergence_and_curl_have_their_signs():
    # counterclockwise and inwards
    field = interpolated(lambda x: np.column_stack([-x[:, 1] - 0.3 * x[:, 0], x[:, 0] - 0.3 * x[:, 1]]))
    np.testing.assert_allclose(curl(field, disc()), 2, atol=0.01)
    np.testing.assert_allclose(divergence(field, disc()), -0.6, atol=0.01)


def test_curl_in_three_dimensions_is_the_axis_of_turning():
    field, places = made_up(3)
    slopes = differences(lambda x: velocity_at(field, x), places)
    expected = np.column_stack(
        [
            slopes[:, 2, 1] - slopes[:, 1, 2],
            slopes[:, 0, 2] - slopes[:, 2, 0],
            slopes[:, 1, 0] - slopes[:, 0, 1],
        ]
    )
    np.testing.assert_allclose(curl(field, places), expected, atol=CLOSE)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_a_slope_has_no_curl(n_dims):
    # pairs of kernels, as far apart as this, are the slope of a kernel to its square
    apart = 1e-3
    field, places = made_up(n_dims)
    ways = apart * np.eye(n_dims)
    controls = np.concatenate([field.control_points + side * way for way in ways for side in (1, -1)])
    weights = field.coefficients[:, 0]
    slopes = [np.outer(weights, side * way) / (2 * apart**2) for way in ways for side in (1, -1)]
    slope = VectorField(controls, np.concatenate(slopes), field.width)
    assert np.abs(jacobian(slope, places)).max() > 1
    assert np.abs(curl(slope, places)).max() < 10 * apart**2


@pytest.mark.parametrize("n_dims", [1, 4])
def test_there_is_no_curl_but_in_two_and_three_dimensions(n_dims):
    with pytest.raises(ValueError, match=f"no curl in {n_dims} dimensions"):
        curl(*made_up(n_dims))


@pytest.mark.parametrize("n_dims", [2, 3, 5])
def test_acceleration_is_the_change_of_velocity_on_the_way(n_dims):
    field, places = made_up(n_dims)
    velocity = velocity_at(field, places)
    ahead, behind = (velocity_at(field, places + sign * STEP * velocity) for sign in (1, -1))
    np.testing.assert_allclose(acceleration(field, places), (ahead - behind) / (2 * STEP), atol=100 * CLOSE)


@pytest.mark.parametrize("n_dims", [2, 3, 5])
def test_curvature_is_at_a_right_angle_to_velocity_and_what_the_formula_says(n_dims):
    field, places = made_up(n_dims)
    f, a, found = velocity_at(field, places), acceleration(field, places), curvature(field, places)
    np.testing.assert_allclose(np.einsum("pd,pd->p", f, found), 0, atol=1e-10)
    for place in range(len(places)):
        v, w = f[place], a[place]
        np.testing.assert_allclose(found[place], (w * (v @ v) - v * (v @ w)) / (v @ v) ** 2, rtol=1e-9, atol=1e-12)


def test_paths_around_a_circle_bend_to_its_middle_by_one_over_its_radius():
    field, places = interpolated(lambda x: np.column_stack([-x[:, 1], x[:, 0]])), disc()
    inwards = -places / np.sum(places**2, axis=1)[:, None]
    np.testing.assert_allclose(curvature(field, places), inwards, atol=0.02)


def test_curvature_is_a_number_where_the_field_dies_away():
    field, _ = made_up(2)
    # from 1e-50, whose fourth power is none, to zero
    places = np.array([[20.0, 0], [25.0, 0], [30.0, 10], [1e3, 0]])
    speed = np.linalg.norm(velocity_at(field, places), axis=1)
    assert speed[0] < 1e-50
    assert speed[-1] == 0
    found = curvature(field, places)
    assert np.isfinite(found).all()
    assert (found[0] != 0).all()
    assert (found[-1] == 0).all()


def test_sensitivity_is_what_a_lasting_push_does_in_the_end():
    matrices = 0.3 * np.random.default_rng(0).normal(size=(6, 3, 3))
    for matrix, found in zip(matrices, sensitivity(matrices), strict=True):
        inverse = np.linalg.inv(np.eye(3) - matrix)
        np.testing.assert_allclose(found, inverse @ np.diag(1 / np.diag(inverse)), rtol=1e-12)
        # e is held one higher, and all others do as it says: x_d = sum_g J_dg x_g
        for e in range(3):
            others = np.delete(np.arange(3), e)
            np.testing.assert_allclose(found[others, e], matrix[others] @ found[:, e], rtol=1e-10)


def test_sensitivity_is_nan_where_nothing_comes_to_rest():
    found = sensitivity(np.array([np.eye(2), np.zeros((2, 2)), [[1, 1], [1, 1]]]))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], np.eye(2))
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_hessian_is_what_differences_of_the_jacobian_tell(n_dims):
    field, places = made_up(n_dims)
    found = hessian(field, places)
    np.testing.assert_allclose(found, differences(lambda x: jacobian(field, x), places), atol=10 * CLOSE)
    np.testing.assert_allclose(found, np.swapaxes(found, 2, 3), atol=1e-12)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_laplacian_is_the_hessian_contracted(n_dims):
    field, places = made_up(n_dims)
    expected = np.einsum("pdee->pd", hessian(field, places))
    np.testing.assert_allclose(laplacian(field, places), expected, rtol=1e-10, atol=1e-12)


def test_jacobian_of_genes_is_that_of_the_components_between_their_loadings():
    field, places = made_up(3)
    matrices, loadings = jacobian(field, places), np.random.default_rng(1).normal(size=(8, 3))
    effectors, regulators = np.array([1, 7]), np.array([0, 3, 4])
    found = gene_jacobian(matrices, loadings, effectors=effectors, regulators=regulators)
    assert found.shape == (11, 2, 3)
    for place, matrix in enumerate(matrices):
        whole = loadings @ matrix @ loadings.T
        np.testing.assert_allclose(found[place], whole[np.ix_(effectors, regulators)], rtol=1e-10, atol=1e-12)


def test_mean_jacobians_are_over_the_places_of_each_group():
    field, places = made_up(3)
    codes = np.array([0, 2, -1, 2, 2, 0, -1, 0, 2, 2, 0])
    found, each = mean_jacobians(field, places, codes, 4), jacobian(field, places)
    for group in (0, 2):
        np.testing.assert_allclose(found[group], each[codes == group].mean(axis=0), rtol=1e-12, atol=1e-14)
    assert np.isnan(found[[1, 3]]).all()


@pytest.mark.parametrize("derivative", [jacobian, divergence, curl, acceleration, curvature, hessian, laplacian])
def test_derivatives_do_not_depend_on_where_the_middle_is(derivative):
    # multiples of 2^-20, to which a million can be added without rounding
    field, places = made_up(2)
    controls, places = (np.round(x * 2**20) / 2**20 for x in (field.control_points, places))
    here = derivative(field._replace(control_points=controls), places)
    far = derivative(field._replace(control_points=controls + 1e6), places + 1e6)
    # the middle itself is known to 1e-10 there; it is the same for all
    np.testing.assert_allclose(far, here, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("derivative", [jacobian, divergence, curl, acceleration, curvature, hessian, laplacian])
def test_no_places_have_no_derivatives(derivative):
    field, places = made_up(2)
    assert derivative(field, places[:0]).shape == (0, *derivative(field, places).shape[1:])
