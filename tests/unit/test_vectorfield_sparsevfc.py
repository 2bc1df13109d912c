import naive
import numpy as np
import pytest
from veloshard.vectorfield import sparsevfc
from veloshard.vectorfield.sparsevfc import fit_field, kernel, learn, velocity_at

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

NOISE = 0.1


def turning(places):
    """A field that goes round and inwards in the first two dimensions, and inwards in all others."""
    turned = np.zeros_like(places)
    if places.shape[1] > 1:
        turned[:, 0], turned[:, 1] = -places[:, 1], places[:, 0]
    return turned - 0.3 * places


def noisy(n_cells=600, n_dims=2, outliers=0.2, seed=0):
    """Places of cells, arrows of `turning` with noise, and which cells have arrows that point anywhere."""
    rng = np.random.default_rng(seed)
    # multiples of 2^-20, to which large whole numbers can be added without rounding
    places = np.round(rng.uniform(-1, 1, size=(n_cells, n_dims)) * 2**20) / 2**20
    arrows = turning(places) + rng.normal(scale=NOISE, size=places.shape)
    lost = rng.random(n_cells) < outliers
    arrows[lost] = rng.uniform(-2, 2, size=(lost.sum(), n_dims))
    return places, arrows, lost


def learned(places, arrows, *, seed=0, **options):
    return learn(places, arrows, rng=np.random.default_rng(seed), **options)


def same_bits(one, other):
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one[0], other[0], strict=True)) and (
        all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one[1:], other[1:], strict=True))
    )


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_fit_equals_the_slow_twin(n_dims):
    places, arrows, _ = noisy(150, n_dims)
    controls = places[:12]
    found = fit_field(places, arrows, controls)
    coefficients, probability, variance, energies = naive.sparse_vector_field(places, arrows, controls)
    assert len(found.energies) == len(energies) > 2
    # the condition of the kernel, below 1e6, times the rounding of the normal equations, times some iterations
    assert np.linalg.cond(kernel(controls, controls, found.field.width)) < 1e6
    scale = np.abs(coefficients).max()
    np.testing.assert_allclose(found.field.coefficients, coefficients, atol=1e-8 * scale)
    np.testing.assert_allclose(found.inlier_probability, probability, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose([found.variance, *found.energies], [variance, *energies], rtol=1e-8)
    np.testing.assert_allclose(found.field.width, naive.kernel_width(controls), rtol=1e-12)


def test_a_smooth_field_comes_out_of_noise_and_outliers():
    places, arrows, _ = noisy(1000)
    found = learned(places, arrows)
    inside = np.random.default_rng(1).uniform(-0.8, 0.8, size=(500, 2))
    missed = velocity_at(found.field, inside) - turning(inside)
    # 51 coefficients a dimension from 800 cells leave sqrt(51 / 800) = 0.25 of the noise, gaps between the control
    # points as much again
    assert np.sqrt(np.mean(missed**2)) < 0.6 * NOISE
    # the noise itself comes out to 1 / sqrt(2 * 1600) = 0.02, less what the coefficients follow, more by the gaps
    assert np.sqrt(found.variance) == pytest.approx(NOISE, rel=0.15)
    assert found.cosine > 0.7
    assert found.attempts == 1


@pytest.mark.parametrize("n_dims", [2, 10])
def test_probabilities_tell_outliers(n_dims):
    places, arrows, lost = noisy(n_dims=n_dims)
    probability = learned(places, arrows, n_controls=40).inlier_probability
    # in the volume 4^2, a disc of 3 sigma holds 2 % of the outliers of two dimensions: those look like any cell
    assert probability[~lost].mean() > 0.9
    assert probability[lost].mean() < 0.1
    ranks = np.argsort(np.argsort(probability))
    n_lost, n_kept = lost.sum(), (~lost).sum()
    area = (ranks[~lost].sum() - n_kept * (n_kept - 1) / 2) / (n_lost * n_kept)
    assert area > 0.95


def test_result_has_the_same_bits_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(sparsevfc, "ROWS_AT_ONCE", 64)
    places, arrows, _ = noisy()
    one, two, five = (learned(places, arrows, n_threads=n) for n in (1, 2, 5))
    assert same_bits(one, two)
    assert same_bits(one, five)


def test_features_that_are_computed_anew_change_no_more_than_roundings(monkeypatch):
    monkeypatch.setattr(sparsevfc, "ROWS_AT_ONCE", 64)
    places, arrows, _ = noisy()
    kept = learned(places, arrows)
    monkeypatch.setattr(sparsevfc, "KEPT_FEATURES", 100)
    anew = learned(places, arrows)
    np.testing.assert_allclose(anew.energies, kept.energies, rtol=1e-9)
    np.testing.assert_allclose(anew.inlier_probability, kept.inlier_probability, atol=1e-7)


def test_blocks_of_cells_change_no_more_than_roundings(monkeypatch):
    places, arrows, _ = noisy()
    whole = learned(places, arrows)
    monkeypatch.setattr(sparsevfc, "ROWS_AT_ONCE", 7)
    parts = learned(places, arrows)
    assert len(parts.energies) == len(whole.energies)
    # features are known to about 1e-8 where whitening enlarges them most, and such directions count least
    np.testing.assert_allclose(
        velocity_at(parts.field, places), velocity_at(whole.field, places), atol=1e-9 * np.abs(arrows).max()
    )
    np.testing.assert_allclose(parts.energies, whole.energies, rtol=1e-9)


def test_cells_without_place_or_arrow_are_left_out():
    places, arrows, _ = noisy(300)
    without_place, without_arrow = [3, 50], [50, 120, 299]
    places[without_place, 1], arrows[without_arrow, 0] = np.nan, np.nan
    there = np.setdiff1d(np.arange(300), without_place + without_arrow)
    whole, part = learned(places, arrows), learned(places[there], arrows[there])
    assert same_bits([whole.field], [part.field])
    np.testing.assert_array_equal(whole.control_cells, there[part.control_cells])
    np.testing.assert_array_equal(whole.inlier_probability[there], part.inlier_probability)
    assert np.isnan(whole.inlier_probability[without_place + without_arrow]).all()


def test_control_points_are_places_of_cells_that_move():
    places, arrows, _ = noisy(300)
    arrows[:100] = 0
    found = learned(places, arrows, n_controls=60)
    np.testing.assert_array_equal(found.field.control_points, places[found.control_cells])
    assert found.control_cells.min() >= 100


def test_cells_in_one_place_are_one_control_point_if_any_of_them_moves():
    places, arrows, _ = noisy(300)
    places[100:200] = places[:100]
    arrows[:50] = arrows[190:200] = arrows[90:100] = 0
    found = learned(places, arrows, n_controls=300)
    assert len(found.control_cells) == len(np.unique(found.field.control_points, axis=0)) == 190


def test_cells_with_longer_arrows_become_control_points_more_often():
    places, _, _ = noisy(1000, outliers=0)
    arrows = np.where(np.arange(1000) < 500, 1.0, 3.0)[:, None] * np.ones((1, 2))
    found = learned(places, arrows, n_controls=100, max_iterations=1)
    # 75 of 100 on average, with a standard deviation of 4.3
    assert 58 < np.sum(found.control_cells >= 500) < 92


@pytest.mark.parametrize(("n_cells", "expected"), [(30, 30), (400, 100), (1999, 100)])
def test_one_control_point_stands_for_twenty_cells_and_there_are_at_least_a_hundred(n_cells, expected):
    places, arrows, _ = noisy(n_cells)
    assert len(learned(places, arrows, max_iterations=1).control_cells) == expected


def test_there_are_never_more_control_points_than_places():
    places, arrows, _ = noisy(40)
    assert len(learned(places, arrows, n_controls=500).control_cells) == 40


def test_attempts_have_other_control_points_and_the_best_is_returned(monkeypatch):
    places, arrows, _ = noisy(300)
    attempts = []

    def recorded(*arguments, **options):
        attempts.append(fit_field(*arguments, **options))
        return attempts[-1]

    monkeypatch.setattr(sparsevfc, "fit_field", recorded)
    # no cosine is above 1: all attempts are made
    found = learned(places, arrows, n_controls=20, min_cosine=2, max_attempts=4)
    assert found.attempts == len(attempts) == 4
    assert len({attempt.field.control_points.tobytes() for attempt in attempts}) == 4
    cosines = [attempt.cosine for attempt in attempts]
    assert found.cosine == max(cosines) > min(cosines)
    np.testing.assert_array_equal(found.field.control_points, attempts[np.argmax(cosines)].field.control_points)


def test_one_attempt_is_enough_where_field_and_arrows_agree():
    places, arrows, _ = noisy(300, outliers=0)
    assert learned(places, arrows, max_attempts=5).attempts == 1


def test_a_field_that_disagrees_with_the_arrows_is_told(caplog):
    rng = np.random.default_rng(0)
    with caplog.at_level("WARNING"):
        learned(rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), max_attempts=2)
    assert "after 2 sets of control points" in caplog.text


def test_the_same_seed_gives_the_same_bits_and_another_other_control_points():
    places, arrows, _ = noisy(300)
    one, same, other = (learned(places, arrows, seed=seed, n_controls=30) for seed in (1, 1, 2))
    assert same_bits(one, same)
    assert set(one.control_cells) != set(other.control_cells)


def test_arguments_stay_as_they_are():
    places, arrows, _ = noisy(100)
    before = places.copy(), arrows.copy()
    learned(places, arrows)
    np.testing.assert_array_equal(places, before[0])
    np.testing.assert_array_equal(arrows, before[1])


@pytest.mark.parametrize("arrow", [0, np.nan])
def test_cells_without_arrows_have_no_field(arrow):
    with pytest.raises(ValueError, match="no cell has an arrow"):
        learned(np.random.default_rng(0).normal(size=(20, 2)), np.full((20, 2), arrow))


def test_cells_in_one_place_have_no_field():
    with pytest.raises(ValueError, match="no distances"):
        learned(np.ones((20, 2)), np.ones((20, 2)))
    with pytest.raises(ValueError, match="no distances"):
        fit_field(np.ones((20, 2)), np.ones((20, 2)), np.full((5, 2), 0.1))


@pytest.mark.parametrize("n_dims", [2, 20])
def test_result_does_not_depend_on_where_the_middle_is(n_dims):
    places, arrows, _ = noisy(300, n_dims)
    here, far = learned(places, arrows), learned(places + 1e6, arrows)
    np.testing.assert_array_equal(here.control_cells, far.control_cells)
    np.testing.assert_allclose(far.field.width, here.field.width, rtol=1e-12)
    # the places are exact there, their differences too: what is left are roundings
    np.testing.assert_allclose(
        velocity_at(far.field, places + 1e6), velocity_at(here.field, places), atol=1e-9 * np.abs(arrows).max()
    )


def test_velocity_of_one_place_is_that_among_many():
    places, arrows, _ = noisy(100)
    field = learned(places, arrows).field
    many = velocity_at(field, places)
    assert many.shape == places.shape
    np.testing.assert_allclose(velocity_at(field, places[7]), many[7], atol=1e-12 * np.abs(field.coefficients).sum())
    assert velocity_at(field, places[:0]).shape == (0, 2)


def test_velocity_has_the_same_bits_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(sparsevfc, "ROWS_AT_ONCE", 7)
    places, arrows, _ = noisy(100)
    field = learned(places, arrows).field
    assert velocity_at(field, places).tobytes() == velocity_at(field, places, n_threads=2).tobytes()


def test_velocity_is_the_sum_over_the_control_points():
    rng = np.random.default_rng(0)
    field = sparsevfc.VectorField(rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), 0.7)
    places = rng.normal(size=(11, 3))
    expected = naive.gaussian_kernel(places, field.control_points, field.width) @ field.coefficients
    np.testing.assert_allclose(velocity_at(field, places), expected, rtol=1e-12, atol=1e-13)


def test_a_place_that_is_none_has_no_velocity():
    places, arrows, _ = noisy(100)
    field = learned(places, arrows).field
    found = velocity_at(field, np.array([[0.1, np.nan], [0.1, 0.2]]))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_control_points_that_nearly_coincide_do_no_harm():
    places, arrows, _ = noisy(outliers=0)
    once, twice = places[:100], np.vstack([places[:100], places[:100] + 1e-9])
    missed = [
        np.sqrt(np.mean((velocity_at(fit_field(places, arrows, controls).field, places) - turning(places)) ** 2))
        for controls in (once, twice)
    ]
    # 100 coefficients a dimension from 600 cells leave sqrt(100 / 600) = 0.4 of the noise
    assert max(missed) < 0.5 * NOISE
    # the width is that of other nearest points
    assert missed[1] == pytest.approx(missed[0], rel=0.1)


def test_features_have_the_energy_of_the_kernels():
    controls = np.random.default_rng(0).normal(size=(40, 2))
    gram = kernel(controls, controls, 0.3)
    whitened = sparsevfc.whitening(gram)
    assert whitened.shape[1] <= 40
    # the smallest eigenvalue that is kept is 40 eps, known to an eps
    np.testing.assert_allclose(whitened.T @ gram @ whitened, np.eye(whitened.shape[1]), atol=0.1)


def test_cosine_of_a_cell_without_arrow_is_zero():
    arrows, predicted = np.array([[1.0, 0], [0, 0], [0, 3]]), np.array([[2.0, 0], [1, 1], [0, -1]])
    assert sparsevfc.mean_cosine(arrows, predicted) == pytest.approx((1 + 0 - 1) / 3)


@pytest.mark.parametrize("length", [3, 30])
def test_an_arrow_far_beyond_the_noise_is_an_outlier(length):
    places, arrows, _ = noisy(1000, outliers=0)
    arrows[::100] = [length, -length]
    found = learned(places, arrows)
    # exp(-length^2 / noise^2), and what is not a number is as little
    assert found.inlier_probability[::100].max() < 1e-3
    assert np.median(found.inlier_probability) > 0.9


def test_a_great_variance_in_many_dimensions_is_a_number():
    places, arrows, _ = noisy(100, 30)
    # (2 pi 1e24)^15 is none
    found = fit_field(places, 1e12 * arrows, places[:20])
    assert np.isfinite(found.inlier_probability).all()
    assert np.isfinite(found.energies).all()


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_field_does_not_depend_on_the_unit_of_the_arrows(unit):
    places, arrows, _ = noisy(300)
    one, other = learned(places, arrows), learned(places, unit * arrows)
    np.testing.assert_array_equal(other.inlier_probability, one.inlier_probability)
    # by powers of two nothing is rounded
    np.testing.assert_array_equal(other.field.coefficients, unit * one.field.coefficients)
    assert other.variance == unit**2 * one.variance


@pytest.mark.parametrize("n_dims", [2, 10, 30])
def test_cells_hold_to_the_field_in_any_number_of_dimensions(n_dims):
    places, arrows, _ = noisy(n_dims=n_dims)
    found = learned(places, arrows)
    # four fifths do
    assert 0.7 < np.mean(found.inlier_probability > 0.5) < 0.85
    assert found.cosine > 0.7
