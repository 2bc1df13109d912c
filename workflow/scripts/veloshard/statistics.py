"""Statistics that several stages use."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def false_discovery_rates(p_values: NDArray[np.float64], *, axis: int | None = None) -> NDArray[np.float64]:
    """Return the false discovery rate at which each test is significant (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p_values : ndarray of float
        P-values of any shape. NaN marks a test that was not done.
    axis : int, optional
        Axis along which tests form one family. By default all tests form one family.

    Returns
    -------
    ndarray of float
        In the shape of `p_values`; NaN where the p-value is NaN.
    """
    if axis is not None and p_values.size:
        return np.apply_along_axis(false_discovery_rates, axis, p_values)
    q_values = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        q_values[tested] = stats.false_discovery_control(p_values[tested])
    return q_values


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the Spearman correlation over the cells where both values are finite.

    Parameters
    ----------
    first, second : ndarray of float, shape (n_cells,)
        Values such as two pseudotimes.

    Returns
    -------
    float
        NaN where fewer than two cells have both values, or where one of them does not vary.
    """
    both_finite = np.isfinite(first) & np.isfinite(second)
    ranks = np.array([stats.rankdata(values[both_finite]) for values in (first, second)])
    if both_finite.sum() < 2 or np.ptp(ranks, axis=1).min() == 0:
        return np.nan
    return float(np.corrcoef(ranks)[0, 1])
