import numpy as np
import pytest
from support import naive
from veloshard.vectorfield import sparsevfc
from veloshard.vectorfield.sparsevfc import fit_field, kernel, learn_vector_field, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

NOISE = 0.1


def spiral_field(coordinates):
    """A field that spirals inwards in the first two dimensions, and points inwards in all others."""
    rotation = np.zeros_like(coordinates)
    if coordinates.shape[1] > 1:
        rotation[:, 0], rotation[:, 1] = -coordinates[:, 1], coordinates[:, 0]
    return rotation - 0.3 * coordinates


def simulated_velocity(n_cells=600, n_dims=2, outliers=0.2, seed=0):
    """Coordinates of cells, velocities of `spiral_field` with noise, and a mask of outliers with random velocities."""
    rng = np.random.default_rng(seed)
    # multiples of 2^-20, to which large whole numbers can be added without rounding
    coordinates = np.round(rng.uniform(-1, 1, size=(n_cells, n_dims)) * 2**20) / 2**20
    velocity = spiral_field(coordinates) + rng.normal(scale=NOISE, size=coordinates.shape)
    is_outlier = rng.random(n_cells) < outliers
    velocity[is_outlier] = rng.uniform(-2, 2, size=(is_outlier.sum(), n_dims))
    return coordinates, velocity, is_outlier


def learn(coordinates, velocity, *, seed=0, **options):
    return learn_vector_field(coordinates, velocity, rng=np.random.default_rng(seed), **options)


def bitwise_identical(first, second):
    """Whether two learned fields are equal in every bit."""
    pairs = [*zip(first[0], second[0], strict=True), *zip(first[1:], second[1:], strict=True)]
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_fit_equals_the_naive_implementation(n_dims):
    coordinates, velocity, _ = simulated_velocity(150, n_dims)
    control_points = coordinates[:12]
    learned_field = fit_field(coordinates, velocity, control_points)
    coefficients, probability, variance, energies = naive.sparse_vector_field(coordinates, velocity, control_points)
    assert len(learned_field.energies) == len(energies) > 2
    # tolerance: condition of the kernel, below 1e6, times rounding of the normal equations, times some iterations
    assert np.linalg.cond(kernel(control_points, control_points, learned_field.field.width)) < 1e6
    scale = np.abs(coefficients).max()
    np.testing.assert_allclose(learned_field.field.coefficients, coefficients, atol=1e-8 * scale)
    np.testing.assert_allclose(learned_field.inlier_probability, probability, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose([learned_field.variance, *learned_field.energies], [variance, *energies], rtol=1e-8)
    np.testing.assert_allclose(learned_field.field.width, naive.kernel_width(control_points), rtol=1e-12)


def test_a_smooth_field_is_recovered_from_noise_and_outliers():
    coordinates, velocity, _ = simulated_velocity(1000)
    learned_field = learn(coordinates, velocity)
    test_points = np.random.default_rng(1).uniform(-0.8, 0.8, size=(500, 2))
    error = velocity_at(learned_field.field, test_points) - spiral_field(test_points)
    # 51 coefficients per dimension from 800 cells leave sqrt(51 / 800) = 0.25 of the noise; gaps between the control
    # points add about as much
    assert np.sqrt(np.mean(error**2)) < 0.6 * NOISE
    # the standard error of the noise is 1 / sqrt(2 * 1600) = 0.02; fitted coefficients decrease the estimate, and gaps
    # increase it
    assert np.sqrt(learned_field.variance) == pytest.approx(NOISE, rel=0.15)
    assert learned_field.cosine > 0.7
    assert learned_field.attempts == 1


@pytest.mark.parametrize("n_dims", [2, 10])
def test_inlier_probabilities_distinguish_outliers(n_dims):
    coordinates, velocity, is_outlier = simulated_velocity(n_dims=n_dims)
    probability = learn(coordinates, velocity, n_control_points=40).inlier_probability
    # in two dimensions, 2 % of the outliers are within 3 sigma of the field (a disc in the area 4^2)
    assert probability[~is_outlier].mean() > 0.9
    assert probability[is_outlier].mean() < 0.1
    ranks = np.argsort(np.argsort(probability))
    n_outliers, n_inliers = is_outlier.sum(), (~is_outlier).sum()
    area_under_curve = (ranks[~is_outlier].sum() - n_inliers * (n_inliers - 1) / 2) / (n_outliers * n_inliers)
    assert area_under_curve > 0.95


def test_result_is_bitwise_identical_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("veloshard.vectorfield.sparsevfc.ROWS_PER_BLOCK", 64)
    coordinates, velocity, _ = simulated_velocity()
    one, two, five = (learn(coordinates, velocity, n_threads=n) for n in (1, 2, 5))
    assert bitwise_identical(one, two)
    assert bitwise_identical(one, five)


def test_recomputed_features_change_the_result_by_rounding_only(monkeypatch):
    monkeypatch.setattr("veloshard.vectorfield.sparsevfc.ROWS_PER_BLOCK", 64)
    coordinates, velocity, _ = simulated_velocity()
    cached = learn(coordinates, velocity)
    monkeypatch.setattr("veloshard.vectorfield.sparsevfc.MAX_CACHED_FEATURES", 100)
    recomputed = learn(coordinates, velocity)
    np.testing.assert_allclose(recomputed.energies, cached.energies, rtol=1e-9)
    np.testing.assert_allclose(recomputed.inlier_probability, cached.inlier_probability, atol=1e-7)


def test_the_block_size_changes_the_result_by_rounding_only(monkeypatch):
    coordinates, velocity, _ = simulated_velocity()
    one_block = learn(coordinates, velocity)
    monkeypatch.setattr("veloshard.vectorfield.sparsevfc.ROWS_PER_BLOCK", 7)
    many_blocks = learn(coordinates, velocity)
    assert len(many_blocks.energies) == len(one_block.energies)
    # features are accurate to about 1e-8 where whitening amplifies them most, but these contribute least
    np.testing.assert_allclose(
        velocity_at(many_blocks.field, coordinates),
        velocity_at(one_block.field, coordinates),
        atol=1e-9 * np.abs(velocity).max(),
    )
    np.testing.assert_allclose(many_blocks.energies, one_block.energies, rtol=1e-9)


def test_cells_without_coordinates_or_velocity_are_left_out():
    coordinates, velocity, _ = simulated_velocity(300)
    without_coordinates, without_velocity = [3, 50], [50, 120, 299]
    coordinates[without_coordinates, 1], velocity[without_velocity, 0] = np.nan, np.nan
    complete = np.setdiff1d(np.arange(300), without_coordinates + without_velocity)
    from_all, from_complete = learn(coordinates, velocity), learn(coordinates[complete], velocity[complete])
    assert bitwise_identical([from_all.field], [from_complete.field])
    np.testing.assert_array_equal(from_all.control_cells, complete[from_complete.control_cells])
    np.testing.assert_array_equal(from_all.inlier_probability[complete], from_complete.inlier_probability)
    assert np.isnan(from_all.inlier_probability[without_coordinates + without_velocity]).all()


def test_control_points_are_coordinates_of_moving_cells():
    coordinates, velocity, _ = simulated_velocity(300)
    velocity[:100] = 0
    learned_field = learn(coordinates, velocity, n_control_points=60)
    np.testing.assert_array_equal(learned_field.field.control_points, coordinates[learned_field.control_cells])
    assert learned_field.control_cells.min() >= 100


def test_cells_with_the_same_coordinates_are_one_control_point_if_any_of_them_moves():
    coordinates, velocity, _ = simulated_velocity(300)
    coordinates[100:200] = coordinates[:100]
    velocity[:50] = velocity[190:200] = velocity[90:100] = 0
    learned_field = learn(coordinates, velocity, n_control_points=300)
    n_different = len(np.unique(learned_field.field.control_points, axis=0))
    assert len(learned_field.control_cells) == n_different == 190


def test_faster_cells_become_control_points_more_often():
    coordinates, _, _ = simulated_velocity(1000, outliers=0)
    velocity = np.where(np.arange(1000) < 500, 1.0, 3.0)[:, None] * np.ones((1, 2))
    learned_field = learn(coordinates, velocity, n_control_points=100, max_iterations=1)
    # 75 of 100 on average, with a standard deviation of 4.3
    assert 58 < np.sum(learned_field.control_cells >= 500) < 92


@pytest.mark.parametrize(("n_cells", "expected"), [(30, 30), (400, 100), (1999, 100)])
def test_the_default_is_one_control_point_per_20_cells_and_at_least_100(n_cells, expected):
    coordinates, velocity, _ = simulated_velocity(n_cells)
    assert len(learn(coordinates, velocity, max_iterations=1).control_cells) == expected


def test_there_are_at_most_as_many_control_points_as_cells():
    coordinates, velocity, _ = simulated_velocity(40)
    assert len(learn(coordinates, velocity, n_control_points=500).control_cells) == 40


def test_attempts_have_different_control_points_and_the_best_is_returned(monkeypatch):
    coordinates, velocity, _ = simulated_velocity(300)
    attempts = []

    def recorded(*arguments, **options):
        attempts.append(fit_field(*arguments, **options))
        return attempts[-1]

    monkeypatch.setattr("veloshard.vectorfield.sparsevfc.fit_field", recorded)
    # no cosine is above 1, so that all attempts are used
    best = learn(coordinates, velocity, n_control_points=20, min_cosine=2, max_attempts=4)
    assert best.attempts == len(attempts) == 4
    assert len({attempt.field.control_points.tobytes() for attempt in attempts}) == 4
    cosines = [attempt.cosine for attempt in attempts]
    assert best.cosine == max(cosines) > min(cosines)
    np.testing.assert_array_equal(best.field.control_points, attempts[np.argmax(cosines)].field.control_points)


def test_there_is_one_attempt_if_field_and_velocities_agree():
    coordinates, velocity, _ = simulated_velocity(300, outliers=0)
    assert learn(coordinates, velocity, max_attempts=5).attempts == 1


def test_a_field_that_disagrees_with_the_velocities_gives_a_warning(caplog):
    rng = np.random.default_rng(0)
    with caplog.at_level("WARNING"):
        learn(rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), max_attempts=2)
    assert "after 2 sets of control points" in caplog.text


def test_the_seed_determines_the_result_and_the_control_points():
    coordinates, velocity, _ = simulated_velocity(300)
    first, repeated, other = (learn(coordinates, velocity, seed=seed, n_control_points=30) for seed in (1, 1, 2))
    assert bitwise_identical(first, repeated)
    assert set(first.control_cells) != set(other.control_cells)


def test_arguments_are_not_changed():
    coordinates, velocity, _ = simulated_velocity(100)
    before = coordinates.copy(), velocity.copy()
    learn(coordinates, velocity)
    np.testing.assert_array_equal(coordinates, before[0])
    np.testing.assert_array_equal(velocity, before[1])


@pytest.mark.parametrize("value", [0, np.nan])
def test_cells_without_velocities_raise_an_error(value):
    with pytest.raises(ValueError, match="no cell has a velocity"):
        learn(np.random.default_rng(0).normal(size=(20, 2)), np.full((20, 2), value))


def test_control_points_without_distances_raise_an_error():
    with pytest.raises(ValueError, match="no distances"):
        learn(np.ones((20, 2)), np.ones((20, 2)))
    with pytest.raises(ValueError, match="no distances"):
        fit_field(np.ones((20, 2)), np.ones((20, 2)), np.full((5, 2), 0.1))


@pytest.mark.parametrize("n_dims", [2, 20])
def test_result_does_not_depend_on_the_origin(n_dims):
    coordinates, velocity, _ = simulated_velocity(300, n_dims)
    near, far = learn(coordinates, velocity), learn(coordinates + 1e6, velocity)
    np.testing.assert_array_equal(near.control_cells, far.control_cells)
    np.testing.assert_allclose(far.field.width, near.field.width, rtol=1e-12)
    # the shifted coordinates and their differences are exact, so that rounding is the only error
    np.testing.assert_allclose(
        velocity_at(far.field, coordinates + 1e6),
        velocity_at(near.field, coordinates),
        atol=1e-9 * np.abs(velocity).max(),
    )


def test_velocity_at_one_point_equals_that_among_many():
    coordinates, velocity, _ = simulated_velocity(100)
    field = learn(coordinates, velocity).field
    velocities = velocity_at(field, coordinates)
    assert velocities.shape == coordinates.shape
    np.testing.assert_allclose(
        velocity_at(field, coordinates[7]), velocities[7], atol=1e-12 * np.abs(field.coefficients).sum()
    )
    assert velocity_at(field, coordinates[:0]).shape == (0, 2)


def test_velocity_is_bitwise_identical_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("veloshard.vectorfield.sparsevfc.ROWS_PER_BLOCK", 7)
    coordinates, velocity, _ = simulated_velocity(100)
    field = learn(coordinates, velocity).field
    assert velocity_at(field, coordinates).tobytes() == velocity_at(field, coordinates, n_threads=2).tobytes()


def test_velocity_is_the_sum_over_the_control_points():
    rng = np.random.default_rng(0)
    field = sparsevfc.VectorField(rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), 0.7)
    coordinates = rng.normal(size=(11, 3))
    expected = naive.gaussian_kernel(coordinates, field.control_points, field.width) @ field.coefficients
    np.testing.assert_allclose(velocity_at(field, coordinates), expected, rtol=1e-12, atol=1e-13)


def test_velocity_is_nan_where_a_coordinate_is_nan():
    coordinates, velocity, _ = simulated_velocity(100)
    field = learn(coordinates, velocity).field
    velocities = velocity_at(field, np.array([[0.1, np.nan], [0.1, 0.2]]))
    assert np.isnan(velocities[0]).all()
    assert np.isfinite(velocities[1]).all()


def test_nearly_coincident_control_points_do_not_increase_the_error():
    coordinates, velocity, _ = simulated_velocity(outliers=0)
    once, twice = coordinates[:100], np.vstack([coordinates[:100], coordinates[:100] + 1e-9])
    fields = [fit_field(coordinates, velocity, control_points).field for control_points in (once, twice)]
    errors = [np.sqrt(np.mean((velocity_at(field, coordinates) - spiral_field(coordinates)) ** 2)) for field in fields]
    # 100 coefficients per dimension from 600 cells leave sqrt(100 / 600) = 0.4 of the noise
    assert max(errors) < 0.5 * NOISE
    # the kernel width differs, because it is computed from different nearest points
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_whitened_kernel_is_the_identity():
    control_points = np.random.default_rng(0).normal(size=(40, 2))
    gram = kernel(control_points, control_points, 0.3)
    whitening_matrix = sparsevfc.whitening(gram)
    n_features = whitening_matrix.shape[1]
    assert n_features <= 40
    # the smallest eigenvalue is 40 eps of the largest, and is accurate to an eps
    np.testing.assert_allclose(whitening_matrix.T @ gram @ whitening_matrix, np.eye(n_features), atol=0.1)


def test_cosine_of_a_cell_without_velocity_is_zero():
    velocity, predicted = np.array([[1.0, 0], [0, 0], [0, 3]]), np.array([[2.0, 0], [1, 1], [0, -1]])
    assert sparsevfc.mean_cosine(velocity, predicted) == pytest.approx((1 + 0 - 1) / 3)


@pytest.mark.parametrize("length", [3, 30])
def test_a_velocity_far_beyond_the_noise_is_an_outlier(length):
    coordinates, velocity, _ = simulated_velocity(1000, outliers=0)
    velocity[::100] = [length, -length]
    inlier_probability = learn(coordinates, velocity).inlier_probability
    # exp(-length^2 / noise^2) underflows for the longer one
    assert inlier_probability[::100].max() < 1e-3
    assert np.median(inlier_probability) > 0.9


def test_a_large_variance_in_many_dimensions_does_not_overflow():
    coordinates, velocity, _ = simulated_velocity(100, 30)
    # (2 pi 1e24)^15 overflows
    learned_field = fit_field(coordinates, 1e12 * velocity, coordinates[:20])
    assert np.isfinite(learned_field.inlier_probability).all()
    assert np.isfinite(learned_field.energies).all()


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_field_does_not_depend_on_the_unit_of_the_velocities(unit):
    coordinates, velocity, _ = simulated_velocity(300)
    reference, scaled = learn(coordinates, velocity), learn(coordinates, unit * velocity)
    np.testing.assert_array_equal(scaled.inlier_probability, reference.inlier_probability)
    # multiplication by powers of two is exact
    np.testing.assert_array_equal(scaled.field.coefficients, unit * reference.field.coefficients)
    assert scaled.variance == unit**2 * reference.variance


@pytest.mark.parametrize("n_dims", [2, 10, 30])
def test_the_share_of_inliers_is_correct_in_any_number_of_dimensions(n_dims):
    coordinates, velocity, _ = simulated_velocity(n_dims=n_dims)
    learned_field = learn(coordinates, velocity)
    # 80 % of the cells are inliers
    assert 0.7 < np.mean(learned_field.inlier_probability > 0.5) < 0.85
    assert learned_field.cosine > 0.7
