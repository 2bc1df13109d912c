import numpy as np
import pytest
from veloshard.vectorfield.geometry import (
    acceleration,
    curl,
    curvature,
    directional_derivative,
    divergence,
    gene_jacobian,
    hessian,
    iterate_jacobians,
    jacobian,
    laplacian,
    mean_jacobians,
    sensitivity,
)
from veloshard.vectorfield.sparsevfc import VectorField, kernel, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

# step of central differences: its square, and rounding divided by it, are below 1e-10
STEP = 1e-5
TOLERANCE = 1e-8


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch):
    monkeypatch.setattr("veloshard.vectorfield.geometry.POINTS_PER_BLOCK", 4)


def random_field(n_dims, seed=0):
    """A field of 30 random kernels, and 11 points in it."""
    rng = np.random.default_rng(seed)
    control_points, coefficients = rng.normal(size=(2, 30, n_dims))
    # the first point is a control point
    return VectorField(control_points, coefficients, 0.4), np.vstack(
        [control_points[:1], rng.normal(size=(10, n_dims))]
    )


def interpolate(function):
    """A field of kernels that equals a function within the unit disc, to 1e-3."""
    control_points = np.stack(np.meshgrid(*[np.linspace(-1.6, 1.6, 9)] * 2), axis=-1).reshape(-1, 2)
    return VectorField(
        control_points, np.linalg.solve(kernel(control_points, control_points, 0.6), function(control_points)), 0.6
    )


def points_in_disc(n_points=50, seed=0):
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n_points), rng.uniform(0.2, 0.8, n_points)
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def central_differences(function, coordinates):
    """Central differences of a function of coordinates; the dimension of the derivative is the last axis."""
    steps = STEP * np.eye(coordinates.shape[1])
    return np.stack(
        [(function(coordinates + step) - function(coordinates - step)) / (2 * STEP) for step in steps], axis=-1
    )


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_jacobian_equals_central_differences(n_dims):
    field, coordinates = random_field(n_dims)
    np.testing.assert_allclose(
        jacobian(field, coordinates), central_differences(lambda x: velocity_at(field, x), coordinates), atol=TOLERANCE
    )


def test_jacobian_at_one_point_is_a_matrix():
    field, coordinates = random_field(3)
    np.testing.assert_allclose(jacobian(field, coordinates[4]), jacobian(field, coordinates)[4], rtol=1e-12, atol=1e-14)


def test_blocks_of_jacobians_include_all_points():
    field, coordinates = random_field(2)
    blocks = [rows for rows, _ in iterate_jacobians(field, coordinates)]
    assert [(rows.start, rows.stop) for rows in blocks] == [(0, 4), (4, 8), (8, 11)]


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_directional_derivative_is_the_jacobian_times_the_direction(n_dims):
    field, coordinates = random_field(n_dims)
    directions = np.random.default_rng(1).normal(size=coordinates.shape)
    expected = np.einsum("pde,pe->pd", jacobian(field, coordinates), directions)
    np.testing.assert_allclose(directional_derivative(field, coordinates, directions), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_divergence_is_the_trace_of_the_jacobian(n_dims):
    field, coordinates = random_field(n_dims)
    expected = np.trace(jacobian(field, coordinates), axis1=1, axis2=2)
    np.testing.assert_allclose(divergence(field, coordinates), expected, rtol=1e-11, atol=1e-13)


def test_divergence_and_curl_have_the_correct_signs():
    # counterclockwise and converging
    field = interpolate(lambda x: np.column_stack([-x[:, 1] - 0.3 * x[:, 0], x[:, 0] - 0.3 * x[:, 1]]))
    np.testing.assert_allclose(curl(field, points_in_disc()), 2, atol=0.01)
    np.testing.assert_allclose(divergence(field, points_in_disc()), -0.6, atol=0.01)


def test_curl_in_three_dimensions_equals_central_differences():
    field, coordinates = random_field(3)
    slopes = central_differences(lambda x: velocity_at(field, x), coordinates)
    expected = np.column_stack(
        [
            slopes[:, 2, 1] - slopes[:, 1, 2],
            slopes[:, 0, 2] - slopes[:, 2, 0],
            slopes[:, 1, 0] - slopes[:, 0, 1],
        ]
    )
    np.testing.assert_allclose(curl(field, coordinates), expected, atol=TOLERANCE)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_a_gradient_field_has_no_curl(n_dims):
    # pairs of kernels at this distance equal the gradient of a kernel, up to the square of the distance
    distance = 1e-3
    field, coordinates = random_field(n_dims)
    steps = distance * np.eye(n_dims)
    control_points = np.concatenate([field.control_points + sign * step for step in steps for sign in (1, -1)])
    weights = field.coefficients[:, 0]
    coefficients = [np.outer(weights, sign * step) / (2 * distance**2) for step in steps for sign in (1, -1)]
    gradient_field = VectorField(control_points, np.concatenate(coefficients), field.width)
    assert np.abs(jacobian(gradient_field, coordinates)).max() > 1
    assert np.abs(curl(gradient_field, coordinates)).max() < 10 * distance**2


@pytest.mark.parametrize("n_dims", [1, 4])
def test_curl_in_other_than_two_or_three_dimensions_raises_an_error(n_dims):
    with pytest.raises(ValueError, match=f"no curl in {n_dims} dimensions"):
        curl(*random_field(n_dims))


@pytest.mark.parametrize("n_dims", [2, 3, 5])
def test_acceleration_is_the_change_of_velocity_along_the_trajectory(n_dims):
    field, coordinates = random_field(n_dims)
    velocity = velocity_at(field, coordinates)
    ahead, behind = (velocity_at(field, coordinates + sign * STEP * velocity) for sign in (1, -1))
    np.testing.assert_allclose(acceleration(field, coordinates), (ahead - behind) / (2 * STEP), atol=100 * TOLERANCE)


@pytest.mark.parametrize("n_dims", [2, 3, 5])
def test_curvature_is_perpendicular_to_velocity_and_equals_its_formula(n_dims):
    field, coordinates = random_field(n_dims)
    velocity, curvatures = velocity_at(field, coordinates), curvature(field, coordinates)
    np.testing.assert_allclose(np.einsum("pd,pd->p", velocity, curvatures), 0, atol=1e-10)
    for f, a, at_point in zip(velocity, acceleration(field, coordinates), curvatures, strict=True):
        np.testing.assert_allclose(at_point, (a * (f @ f) - f * (f @ a)) / (f @ f) ** 2, rtol=1e-9, atol=1e-12)


def test_curvature_of_a_circle_points_to_its_center_with_length_one_over_radius():
    field, coordinates = interpolate(lambda x: np.column_stack([-x[:, 1], x[:, 0]])), points_in_disc()
    expected = -coordinates / np.sum(coordinates**2, axis=1)[:, None]
    np.testing.assert_allclose(curvature(field, coordinates), expected, atol=0.02)


def test_curvature_is_finite_where_the_field_decays():
    field, _ = random_field(2)
    # speeds from 1e-50, whose fourth power underflows, to zero
    coordinates = np.array([[20.0, 0], [25.0, 0], [30.0, 10], [1e3, 0]])
    speed = np.linalg.norm(velocity_at(field, coordinates), axis=1)
    assert speed[0] < 1e-50
    assert speed[-1] == 0
    curvatures = curvature(field, coordinates)
    assert np.isfinite(curvatures).all()
    assert (curvatures[0] != 0).all()
    assert (curvatures[-1] == 0).all()


def test_sensitivity_is_the_steady_state_response_to_a_sustained_change():
    matrices = 0.3 * np.random.default_rng(0).normal(size=(6, 3, 3))
    for matrix, response in zip(matrices, sensitivity(matrices), strict=True):
        inverse = np.linalg.inv(np.eye(3) - matrix)
        np.testing.assert_allclose(response, inverse @ np.diag(1 / np.diag(inverse)), rtol=1e-12)
        # x_e is fixed at 1, and the others are at steady state: x_d = sum_g J_dg x_g
        for e in range(3):
            others = np.delete(np.arange(3), e)
            np.testing.assert_allclose(response[others, e], matrix[others] @ response[:, e], rtol=1e-10)


def test_sensitivity_is_nan_without_a_steady_state():
    responses = sensitivity(np.array([np.eye(2), np.zeros((2, 2)), [[1, 1], [1, 1]]]))
    assert np.isnan(responses[0]).all()
    np.testing.assert_array_equal(responses[1], np.eye(2))
    assert np.isnan(responses[2]).all()


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_hessian_equals_central_differences_of_the_jacobian(n_dims):
    field, coordinates = random_field(n_dims)
    hessians = hessian(field, coordinates)
    np.testing.assert_allclose(
        hessians, central_differences(lambda x: jacobian(field, x), coordinates), atol=10 * TOLERANCE
    )
    np.testing.assert_allclose(hessians, np.swapaxes(hessians, 2, 3), atol=1e-12)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
def test_laplacian_is_the_trace_of_the_hessian(n_dims):
    field, coordinates = random_field(n_dims)
    expected = np.einsum("pdee->pd", hessian(field, coordinates))
    np.testing.assert_allclose(laplacian(field, coordinates), expected, rtol=1e-10, atol=1e-12)


def test_gene_jacobian_is_the_jacobian_between_the_loadings():
    field, coordinates = random_field(3)
    matrices, loadings = jacobian(field, coordinates), np.random.default_rng(1).normal(size=(8, 3))
    effectors, regulators = np.array([1, 7]), np.array([0, 3, 4])
    between_genes = gene_jacobian(matrices, loadings, effectors=effectors, regulators=regulators)
    assert between_genes.shape == (11, 2, 3)
    for point, matrix in enumerate(matrices):
        expected = (loadings @ matrix @ loadings.T)[np.ix_(effectors, regulators)]
        np.testing.assert_allclose(between_genes[point], expected, rtol=1e-10, atol=1e-12)


def test_mean_jacobians_are_over_the_points_of_each_group():
    field, coordinates = random_field(3)
    codes = np.array([0, 2, -1, 2, 2, 0, -1, 0, 2, 2, 0])
    means, matrices = mean_jacobians(field, coordinates, codes, 4), jacobian(field, coordinates)
    for group in (0, 2):
        np.testing.assert_allclose(means[group], matrices[codes == group].mean(axis=0), rtol=1e-12, atol=1e-14)
    assert np.isnan(means[[1, 3]]).all()


@pytest.mark.parametrize("derivative", [jacobian, divergence, curl, acceleration, curvature, hessian, laplacian])
def test_derivatives_do_not_depend_on_the_origin(derivative):
    # multiples of 2^-20, to which a million can be added without rounding
    field, coordinates = random_field(2)
    control_points, coordinates = (np.round(x * 2**20) / 2**20 for x in (field.control_points, coordinates))
    expected = derivative(field._replace(control_points=control_points), coordinates)
    shifted = derivative(field._replace(control_points=control_points + 1e6), coordinates + 1e6)
    # the shifted center is accurate to 1e-10, with the same error for all points
    np.testing.assert_allclose(shifted, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("derivative", [jacobian, divergence, curl, acceleration, curvature, hessian, laplacian])
def test_derivatives_at_no_points_are_empty(derivative):
    field, coordinates = random_field(2)
    assert derivative(field, coordinates[:0]).shape == (0, *derivative(field, coordinates).shape[1:])
