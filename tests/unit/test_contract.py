"""Incomplete results of a velocity method are refused with the fault."""

import numpy as np
import pytest
from veloshard.contract import Fit, check, status_of


def complete_fit():
    """Return a fit of three genes in four cells; the last gene has no fit."""
    velocity = np.ones((3, 4), np.float32)
    velocity[2] = np.nan
    genes = {"status": np.array(["ok", "ok", "not_fitted"]), "reason": np.array(["", "", "no spliced counts"])}
    return Fit(genes | {"gamma": np.ones(3)}, {"velocity": velocity})


def without(mapping, name):
    """Return a copy of a dict without one key."""
    return {key: value for key, value in mapping.items() if key != name}


def test_complete_fit_is_accepted():
    check(complete_fit(), 3, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fit: fit._replace(genes=without(fit.genes, "reason")), "needs the column 'reason' .found: status"),
        (lambda fit: fit._replace(layers={}), "needs the layer 'velocity'"),
        (lambda fit: fit._replace(genes=fit.genes | {"gamma": np.ones(2)}), r"column 'gamma' has shape \(2,\)"),
        (lambda fit: fit._replace(layers={"velocity": np.ones((3, 4))}), "float64"),
        (lambda fit: fit._replace(layers={"velocity": np.ones((4, 3), np.float32)}), r"\(4, 3\)"),
        (lambda fit: fit._replace(layers=fit.layers | {"fit_t": np.ones((3, 1), np.float32)}), "'fit_t'"),
        (lambda fit: fit._replace(genes=fit.genes | {"status": np.array(["ok"] * 3)}), "1 genes .*first row: 2"),
    ],
)  # fmt: skip
def test_incomplete_fit_is_refused_with_the_fault(change, message):
    with pytest.raises(ValueError, match=message):
        check(change(complete_fit()), 3, 4)


def test_first_failure_gives_the_reason():
    status, reason = status_of((np.array([True, False, False]), "a"), (np.array([True, True, False]), "b"))
    assert status.tolist() == ["not_fitted", "not_fitted", "ok"]
    assert reason.tolist() == ["a", "b", ""]
