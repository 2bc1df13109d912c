import json

import numpy as np
import pytest
from scipy import sparse
from veloshard import trust
from veloshard.errors import InputError

QUALITY = {"dataset": {"cells": 400, "unspliced_fraction": 0.2}}
CONTROLS = {
    "observed": {"velocity_genes": 300, "likelihood": 0.3, "confidence": 0.8, "coherence": 0.6},
    "permuted": {"velocity_genes": 250, "likelihood": 0.2, "confidence": 0.7, "coherence": 0.1, "variation": 0.5},
    "thinned": {"cosine": 0.8},
    "samples": {"samples": 0, "coherence": None},
    "methods": {"steady_state": 0.5, "stochastic": 0.6},
}


def verdict(**changes):
    controls = {**CONTROLS, "observed": {**CONTROLS["observed"], **changes}}
    return trust.judge(trust.measured(QUALITY, controls))


def test_what_is_usual_is_trusted():
    assert verdict()["verdict"] == "trust"
    assert verdict()["words"] == "all that could be checked is usual."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"coherence": 0.15}, "doubtful"),
        ({"coherence": 0.05}, "do not trust"),
        ({"coherence": None}, "do not trust"),
        ({"velocity_genes": 5}, "do not trust"),
        ({"likelihood": 0.05}, "doubtful"),
        ({"likelihood": None}, "trust"),
        ({"coherence": np.float64(0.05)}, "do not trust"),
    ],
)
def test_a_decisive_check_counts_more_than_another(changes, expected):
    assert verdict(**changes)["verdict"] == expected


def test_words_say_what_is_unusual_and_what_it_means():
    words = verdict(likelihood=0.05)["words"]
    assert words == "median likelihood is 0.05, usual is at least 0.1: the fitted curves hardly describe the genes."


def test_a_verdict_is_fit_for_json_and_has_a_row_for_each_check():
    found = json.loads(json.dumps(verdict()))
    assert [check["name"] for check in found["checks"]] == [check.name for check in trust.CHECKS]
    # no root and no transition is named, likelihood and the others are known
    assert [check["holds"] for check in found["checks"]] == [True] * 9 + [None] * 2


def test_detected_roots_elsewhere_than_the_named_one_raise_doubt():
    members = np.array([True, True, False, False])
    values = trust.measured(QUALITY, CONTROLS, in_root_cluster=members, detected_roots=np.array([0, 0.1, 1, 0.9]))
    assert values["detected roots in the root's cluster"] == pytest.approx(0.1)
    assert trust.judge(values)["verdict"] == "doubtful"


def test_an_expected_transition_that_runs_backwards_raises_doubt():
    places = np.column_stack([np.arange(6.0), np.zeros(6)])
    labels = np.array(list("aaabbb"))
    neighbors = sparse.csr_matrix(np.abs(np.subtract.outer(range(6), range(6))) == 1)
    forward = np.tile([1.0, 0.0], (6, 1))
    there, back, apart = (
        trust.expected_transitions([pair], forward, places, neighbors, labels)
        for pair in (("a", "b"), ("b", "a"), ("a", "c"))
    )
    assert there == [{"from": "a", "to": "b", "direction": 1.0}]
    assert back[0]["direction"] == -1
    assert apart[0]["direction"] is None
    assert trust.judge(trust.measured(QUALITY, CONTROLS, transitions=there + apart))["verdict"] == "trust"
    assert trust.judge(trust.measured(QUALITY, CONTROLS, transitions=there + back))["verdict"] == "doubtful"


def test_a_run_that_asks_for_more_than_the_verdicts_fails_in_words():
    verdicts = {"a/trust.json": verdict(), "b/trust.json": verdict(likelihood=0.05)}
    trust.require(verdicts, "doubtful")
    with pytest.raises(InputError, match="1 of 2 results are worse. b/trust.json: doubtful, median likelihood is 0.05"):
        trust.require(verdicts, "trust")


def test_coherence_within_samples_counts_more_than_across_them():
    controls = {**CONTROLS, "samples": {"samples": 2, "coherence": 0.02}}
    assert trust.judge(trust.measured(QUALITY, controls))["verdict"] == "do not trust"


def test_what_is_usual_of_unspliced_counts_follows_the_config():
    nuclei = trust.measured({"dataset": {"cells": 400, "unspliced_fraction": 0.7}}, CONTROLS)
    assert trust.judge(nuclei)["verdict"] == "doubtful"
    assert trust.judge(nuclei, unspliced=(0.05, 0.9))["verdict"] == "trust"
