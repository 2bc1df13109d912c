import json

import numpy as np
import pytest
from scipy import sparse
from veloshard.errors import InputError
from veloshard.evaluation.verdict import (
    CHECKS,
    compute_check_values,
    compute_verdict,
    require_verdict,
    score_expected_transitions,
)

QUALITY = {"dataset": {"cells": 400, "unspliced_fraction": 0.2}}
CONTROLS = {
    "observed": {"velocity_genes": 300, "likelihood": 0.3, "confidence": 0.8, "split_half_coherence": 0.6},
    "permuted": {
        "velocity_genes": 250, "likelihood": 0.2, "confidence": 0.7, "split_half_coherence": 0.1, "variation": 0.5,
    },
    "thinned": {"cosine": 0.8},
    "samples": {"samples": 0, "split_half_coherence": None},
    "methods": {"steady_state": 0.5, "stochastic": 0.6},
}  # fmt: skip


def verdict_on(**changes):
    controls = {**CONTROLS, "observed": {**CONTROLS["observed"], **changes}}
    return compute_verdict(compute_check_values(QUALITY, controls))


def test_a_result_with_expected_values_is_trusted():
    assert verdict_on()["verdict"] == "trust"
    assert verdict_on()["words"] == "all available checks are as expected."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"split_half_coherence": 0.15}, "doubtful"),
        ({"split_half_coherence": 0.05}, "do not trust"),
        ({"split_half_coherence": None}, "do not trust"),
        ({"velocity_genes": 5}, "do not trust"),
        ({"likelihood": 0.05}, "doubtful"),
        ({"likelihood": None}, "trust"),
        ({"split_half_coherence": np.float64(0.05)}, "do not trust"),
    ],
)
def test_decisive_checks_decide_over_the_others(changes, expected):
    assert verdict_on(**changes)["verdict"] == expected


def test_words_name_the_failed_check_and_its_meaning():
    words = verdict_on(likelihood=0.05)["words"]
    assert words == "median likelihood is 0.05, expected is at least 0.1: the fitted curves describe the genes poorly."


def test_a_verdict_can_be_written_as_json_and_has_one_row_per_check():
    verdict = json.loads(json.dumps(verdict_on()))
    assert [check["name"] for check in verdict["checks"]] == [check.name for check in CHECKS]
    # the last two have no value, because there is no root cluster and no expected transition
    assert [check["holds"] for check in verdict["checks"]] == [True] * 9 + [None] * 2


def test_detected_roots_outside_the_root_cluster_are_doubtful():
    in_root_cluster = np.array([True, True, False, False])
    detected_roots = np.array([0, 0.1, 1, 0.9])
    values = compute_check_values(QUALITY, CONTROLS, in_root_cluster=in_root_cluster, detected_roots=detected_roots)
    assert values["detected roots in the root's cluster"] == pytest.approx(0.1)
    assert compute_verdict(values)["verdict"] == "doubtful"


def test_a_reversed_expected_transition_is_doubtful():
    embedding = np.column_stack([np.arange(6.0), np.zeros(6)])
    labels = np.array(list("aaabbb"))
    neighbors = sparse.csr_matrix(np.abs(np.subtract.outer(range(6), range(6))) == 1)
    velocity_embedding = np.tile([1.0, 0.0], (6, 1))
    forward, backward, not_neighbors = (
        score_expected_transitions([pair], velocity_embedding, embedding, neighbors, labels)
        for pair in (("a", "b"), ("b", "a"), ("a", "c"))
    )
    assert forward == [{"from": "a", "to": "b", "direction": 1.0}]
    assert backward[0]["direction"] == -1
    assert not_neighbors[0]["direction"] is None
    for transitions, verdict in ((forward + not_neighbors, "trust"), (forward + backward, "doubtful")):
        values = compute_check_values(QUALITY, CONTROLS, transitions=transitions)
        assert compute_verdict(values)["verdict"] == verdict


def test_a_verdict_worse_than_required_raises_an_error_with_the_reason():
    verdicts = {"a/trust.json": verdict_on(), "b/trust.json": verdict_on(likelihood=0.05)}
    require_verdict(verdicts, "doubtful")
    with pytest.raises(
        InputError, match="trust.fail_below is 'trust', and 1 of 2 results are worse. b/trust.json: doub"
    ):
        require_verdict(verdicts, "trust", key="trust.fail_below")


def test_coherence_within_samples_replaces_that_across_samples():
    controls = {**CONTROLS, "samples": {"samples": 2, "split_half_coherence": 0.02}}
    assert compute_verdict(compute_check_values(QUALITY, controls))["verdict"] == "do not trust"


def test_the_expected_range_of_the_unspliced_fraction_is_an_option():
    nuclei = compute_check_values({"dataset": {"cells": 400, "unspliced_fraction": 0.7}}, CONTROLS)
    verdict = compute_verdict(nuclei, key="quality.max_unspliced_fraction")
    assert verdict["verdict"] == "doubtful"
    assert "raise quality.max_unspliced_fraction" in verdict["words"]
    assert compute_verdict(nuclei, unspliced=(0.05, 0.9))["verdict"] == "trust"
