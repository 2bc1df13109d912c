"""The exp and log of compiled loops agree with those of the standard library."""

import math

import numpy as np
import pytest
from numba import njit
from veloshard.numba_support import vector_math


@njit(error_model="numpy")
def exps(x):
    return np.array([vector_math.exp(value) for value in x])


@njit(error_model="numpy")
def logs(x):
    return np.array([vector_math.log(value) for value in x])


def test_exp_is_accurate_to_two_units_in_the_last_place():
    x = -np.concatenate([[0.0], np.geomspace(1e-300, 700, 20_000)])
    expected = np.array([math.exp(value) for value in x])
    assert np.max(np.abs(exps(x) - expected) / np.spacing(expected)) <= 2


def test_log_is_accurate_to_two_units_in_the_last_place():
    x = np.concatenate([np.geomspace(1e-300, 1e300, 20_000), 1 + np.linspace(-1e-3, 1e-3, 2001)])
    expected = np.array([math.log(value) for value in x])
    assert np.max(np.abs(logs(x) - expected) / np.spacing(np.abs(expected))) <= 2


@pytest.mark.parametrize("x", [-708.0, -1e3, -1e300, -math.inf])
def test_exp_of_very_negative_numbers_is_tiny_and_positive(x):
    assert 0 < exps(np.array([x]))[0] < 1e-307


def test_nan_gives_nan():
    assert np.isnan(exps(np.array([math.nan]))).all()
    assert np.isnan(logs(np.array([math.nan]))).all()
