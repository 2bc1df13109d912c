"""The closed-form solution against numerical integration, its limits and the formula in `naive`."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support import naive
from veloshard.kinetics.splicing import spliced_at, unspliced_at

RATES = [(2.0, 0.5, 0.2), (2.0, 0.2, 0.5), (0.0, 0.7, 0.3), (5.0, 0.4, 0.4), (1.0, 3.0, 0.01)]


@pytest.mark.parametrize(("alpha", "beta", "gamma"), RATES)
def test_closed_form_solves_the_splicing_equations(alpha, beta, gamma):
    times = np.linspace(0, 15, 40)
    solution = solve_ivp(
        lambda _, state: (alpha - beta * state[0], beta * state[0] - gamma * state[1]),
        (0, 15),
        (1.5, 0.7),
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    )
    abundances = unspliced_at(times, 1.5, alpha, beta), spliced_at(times, 0.7, 1.5, alpha, beta, gamma)
    np.testing.assert_allclose(abundances, solution.y, rtol=1e-7)


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [rates for rates in RATES if rates[1] != rates[2]])
def test_closed_form_equals_naive_formula(alpha, beta, gamma):
    times = np.linspace(0, 30, 100)
    abundances = unspliced_at(times, 1.5, alpha, beta), spliced_at(times, 0.7, 1.5, alpha, beta, gamma)
    np.testing.assert_allclose(abundances, naive.curve(times, 1.5, 0.7, alpha, beta, gamma), rtol=1e-11)


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-9, -1e-12, -1e-9])
def test_closed_form_is_continuous_at_equal_beta_and_gamma(gap):
    times = np.linspace(0, 20, 50)
    at_limit = (
        0.7 * np.exp(-0.4 * times) + 5 * (1 - np.exp(-0.4 * times)) - (2 - 0.4 * 1.5) * times * np.exp(-0.4 * times)
    )
    # to first order in the gap
    np.testing.assert_allclose(spliced_at(times, 0.7, 1.5, 2.0, 0.4, 0.4 + gap), at_limit, rtol=1e-7)
    if abs(gap) <= 1e-12:
        np.testing.assert_allclose(spliced_at(times, 0.7, 1.5, 2.0, 0.4, 0.4 + gap), at_limit, rtol=1e-10)


def test_closed_form_starts_at_the_initial_state_and_ends_in_the_steady_state():
    assert unspliced_at(0.0, 1.5, 2.0, 0.5) == 1.5
    assert spliced_at(0.0, 0.7, 1.5, 2.0, 0.5, 0.2) == 0.7
    assert unspliced_at(1e4, 1.5, 2.0, 0.5) == pytest.approx(2.0 / 0.5)
    assert spliced_at(1e4, 0.7, 1.5, 2.0, 0.5, 0.2) == pytest.approx(2.0 / 0.2)


def test_arguments_broadcast_and_nan_propagates():
    times = np.array([[0.0], [1.0], [np.nan]])
    with np.errstate(invalid="ignore"):
        spliced = spliced_at(times, 0.0, 0.0, np.array([1.0, 2.0]), 0.5, 0.2)
    assert spliced.shape == (3, 2)
    assert np.isnan(spliced).tolist() == [[False] * 2, [False] * 2, [True] * 2]
    np.testing.assert_allclose(spliced[1, 1], 2 * spliced[1, 0])
