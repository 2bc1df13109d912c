"""Should a result be believed?  Checks of a result, and a verdict in words."""

from typing import NamedTuple

import numpy as np

from veloshard.errors import InputError
from veloshard.projection import direction_score

VERDICTS = ("do not trust", "doubtful", "trust")


# checks for which a method must be run again, which not all can be
CONTROLLED = ("variation that survives the null control", "cosine with half of the counts")


class Check(NamedTuple):
    """What is usual of a number, and what it means if it is not."""

    name: str
    meaning: str
    least: float | None = None
    most: float | None = None
    decisive: bool = False
    """Where it fails, or cannot be told, nothing else counts."""


# The bounds are those that part simulated data with a trajectory from such without any, and real data: docs/trust.md.
CHECKS = (
    Check("velocity genes", "so few genes cannot tell where a cell goes", least=20, decisive=True),
    Check(
        "coherence",
        "independent halves of the genes do not send cells the same way, as where nothing moves",
        least=0.08,
        decisive=True,
    ),
    Check("cells", "so few cells tell noise from motion by chance", least=300),
    Check("clear coherence", "halves of the genes hardly agree on the way of a cell", least=0.2),
    Check(
        "unspliced fraction",
        "introns were perhaps not counted, or the layers are swapped (of nuclei raise quality.max_unspliced_fraction)",
    ),
    Check("median likelihood", "the fitted curves hardly describe the genes", least=0.1),
    Check(
        "variation that survives the null control",
        "counts permuted within clusters give velocities that vary as much",
        most=0.95,
    ),
    Check("cosine with half of the counts", "with fewer counts the velocities would be others", least=0.4),
    Check("least cosine with another method", "methods disagree about the velocities", least=0.2),
    Check(
        "detected roots in the root's cluster",
        "the velocities lead from elsewhere than from the root that the config names (1: as from anywhere)",
        least=1.0,
    ),
    Check("least direction of an expected transition", "an expected transition runs backwards", least=0.0),
)


def measured(quality, controls, *, in_root_cluster=None, detected_roots=None, transitions=()):
    """Values for `judge`.

    quality : of `quality.quality_control`.   controls : of `controls.run_controls`.
    in_root_cluster : (n_cells,) bool, the cluster that the config names as root, or None.
    detected_roots : (n_cells,) >= 0, scores of the roots by the velocities alone.
    transitions : of `expected_transitions`.
    """
    others = [cosine for cosine in controls["methods"].values() if cosine is not None]
    within = controls["samples"]["coherence"]
    coherence = controls["observed"]["coherence"] if within is None else within
    directions = [row["direction"] for row in transitions if row["direction"] is not None]
    return {
        "cells": quality["dataset"]["cells"],
        "unspliced fraction": quality["dataset"]["unspliced_fraction"],
        "velocity genes": controls["observed"]["velocity_genes"],
        "median likelihood": controls["observed"]["likelihood"],
        "coherence": coherence,
        "clear coherence": coherence,
        "variation that survives the null control": controls["permuted"].get("variation"),
        "cosine with half of the counts": controls["thinned"].get("cosine"),
        "least cosine with another method": min(others, default=None),
        "detected roots in the root's cluster": _enrichment(detected_roots, in_root_cluster),
        "least direction of an expected transition": min(directions, default=None),
    }


def expected_transitions(pairs, arrows, embedding, neighbors, labels):
    """How well the arrows follow transitions that are known: `from`, `to` and `direction` of each.

    pairs : of labels.   The others as `projection.direction_score` takes them; its value is None where cells of the two
    clusters are no neighbors.
    """
    rows = []
    for source, target in pairs:
        score = direction_score(arrows, embedding, neighbors, labels, source, target)
        rows.append({"from": source, "to": target, "direction": score if np.isfinite(score) else None})
    return rows


def judge(values, *, unspliced=(0.05, 0.5)):
    """Verdict on a result from what was measured of it.

    values : number by the name of a check; None or left out where it cannot be told.
    unspliced : least and largest usual fraction.
    Returns a dict fit for JSON: `verdict`, one of `VERDICTS`; `words`, why; `checks`: `name`, `value`, what is `usual`,
    whether it `holds` (None where the value is None), whether it is `decisive`.
    The verdict is `do not trust` where a decisive check fails or cannot be told, `doubtful` where another fails.
    """
    checks, reasons = [], {"do not trust": [], "doubtful": []}
    for name, meaning, least, most, decisive in CHECKS:
        value, holds = values.get(name), None
        if name == "unspliced fraction":
            least, most = unspliced
        ends = [f"at least {least:g}" if least is not None else "", f"at most {most:g}" if most is not None else ""]
        if value is not None:
            holds = bool((least is None or value >= least) and (most is None or value <= most))
        usual = ", ".join(filter(None, ends))
        checks.append({"name": name, "value": value, "usual": usual, "holds": holds, "decisive": decisive})
        if holds is False or (decisive and holds is None):
            told = "cannot be told" if value is None else f"is {value:.3g}, usual is {usual}"
            reasons["do not trust" if decisive else "doubtful"].append(f"{name} {told}: {meaning}")
    verdict = next((name for name in VERDICTS if reasons.get(name)), "trust")
    untried = [name for name in CONTROLLED if values.get(name) is None]
    because = "; ".join([*reasons["do not trust"], *reasons["doubtful"]]) or "all that could be checked is usual"
    caveat = f" Not tried: {', '.join(untried)}." if untried else ""
    return {"verdict": verdict, "words": f"{because}.{caveat}", "checks": checks}


def require(verdicts, least):
    """Raise InputError that names all results whose verdict is worse than `least`.

    verdicts : of `judge`, by the names of the results.
    """
    worse = {
        name: judged for name, judged in verdicts.items() if VERDICTS.index(judged["verdict"]) < VERDICTS.index(least)
    }
    if worse:
        listed = " ".join(f"{name}: {judged['verdict']}, {judged['words']}" for name, judged in worse.items())
        raise InputError(
            f"trust.fail_below is {least!r}, and {len(worse)} of {len(verdicts)} results are worse. {listed}"
        )


def _enrichment(scores, members):
    """Mean score of some cells over that of all, None where there are none of either."""
    if members is None or not np.any(scores > 0):
        return None
    return float(np.mean(scores[members]) / np.mean(scores))
