"""Checks of a result, and the verdict on it."""

from typing import NamedTuple

import numpy as np

from veloshard.errors import InputError
from veloshard.graph.velocity_embedding import direction_score

VERDICTS = ("do not trust", "doubtful", "trust")


# checks that require a refit of the method, which is not always possible
REFIT_CHECKS = ("variation that survives the null control", "cosine with half of the counts")


class Check(NamedTuple):
    """Check of a number.

    Attributes
    ----------
    name : str
        Name of the number.
    meaning : str
        What a number outside the expected range means.
    least, most : float, optional
        Expected range.
    decisive : bool
        Whether the verdict is `do not trust` if the number is outside the expected range or not available.
    """

    name: str
    meaning: str
    least: float | None = None
    most: float | None = None
    decisive: bool = False


# The bounds separate data with a trajectory from data without one, simulated and real: docs/trust.md.
CHECKS = (
    Check("velocity genes", "too few genes for a direction", least=20, decisive=True),
    Check(
        "split-half coherence",
        "random halves of the genes give different directions, as in data without motion",
        least=0.08,
        decisive=True,
    ),
    Check("cells", "too few cells to tell motion from noise", least=300),
    Check(
        "clear split-half coherence", "random halves of the genes agree poorly on the direction of a cell", least=0.2
    ),
    Check(
        "unspliced fraction",
        "introns were perhaps not counted, or the layers are swapped (nuclei have a higher fraction: raise {key})",
    ),
    Check("median likelihood", "the fitted curves describe the genes poorly", least=0.1),
    Check(
        "variation that survives the null control",
        "counts permuted within clusters give velocities that vary as much",
        most=0.95,
    ),
    Check("cosine with half of the counts", "fewer counts give different velocities", least=0.4),
    Check("least cosine with another method", "methods disagree about the velocities", least=0.2),
    Check(
        "detected roots in the root's cluster",
        "the velocities do not start in the root cluster (1: no more than in other clusters)",
        least=1.0,
    ),
    Check("least direction of an expected transition", "an expected transition is reversed", least=0.0),
)


def compute_check_values(quality, negative_controls, *, in_root_cluster=None, detected_roots=None, transitions=()):
    """Return the values of all checks of a result.

    Parameters
    ----------
    quality : dict
        Result of `summarize_quality`.
    negative_controls : dict
        Result of `run_negative_controls`.
    in_root_cluster : ndarray of bool, shape (n_cells,), optional
        Cells of the chosen root cluster.
    detected_roots : ndarray of float, shape (n_cells,), optional
        Root scores of at least 0 that the velocities give, required with `in_root_cluster`.
    transitions : list of dict
        Result of `score_expected_transitions`.

    Returns
    -------
    dict of str to float or None
        Value by the name of the check, None if it is not available.
    """
    cosines = [cosine for cosine in negative_controls["methods"].values() if cosine is not None]
    within_samples = negative_controls["samples"]["split_half_coherence"]
    # of several samples, because differences between samples raise the coherence across them
    coherence = negative_controls["observed"]["split_half_coherence"] if within_samples is None else within_samples
    directions = [row["direction"] for row in transitions if row["direction"] is not None]
    return {
        "cells": quality["dataset"]["cells"],
        "unspliced fraction": quality["dataset"]["unspliced_fraction"],
        "velocity genes": negative_controls["observed"]["velocity_genes"],
        "median likelihood": negative_controls["observed"]["likelihood"],
        "split-half coherence": coherence,
        "clear split-half coherence": coherence,
        "variation that survives the null control": negative_controls["permuted"].get("variation"),
        "cosine with half of the counts": negative_controls["thinned"].get("cosine"),
        "least cosine with another method": min(cosines, default=None),
        "detected roots in the root's cluster": _enrichment(detected_roots, in_root_cluster),
        "least direction of an expected transition": min(directions, default=None),
    }


def score_expected_transitions(pairs, velocity_embedding, embedding, neighbors, labels):
    """Return the direction scores of the expected transitions.

    Parameters
    ----------
    pairs : list of (str, str)
        Labels of the clusters where each transition starts and ends.
    velocity_embedding, embedding : ndarray of float, shape (n_cells, 2)
        Velocities and coordinates of the cells.
    neighbors : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    labels : ndarray, shape (n_cells,)
        Cluster of each cell.

    Returns
    -------
    list of dict
        `from`, `to` and `direction` of each transition. The direction is None if the clusters are not neighbors.
    """
    rows = []
    for source, target in pairs:
        score = direction_score(velocity_embedding, embedding, neighbors, labels, source, target)
        rows.append({"from": source, "to": target, "direction": score if np.isfinite(score) else None})
    return rows


def compute_verdict(values, *, unspliced=(0.05, 0.5), key="unspliced"):
    """Return the verdict on a result.

    The verdict is `do not trust` if a decisive check fails or has no value, and `doubtful` if another check fails.

    Parameters
    ----------
    values : dict of str to float or None
        Values of `compute_check_values`. Missing names are like None.
    unspliced : (float, float)
        Expected range of the unspliced fraction.
    key : str
        Name of the upper bound of the unspliced fraction in messages.

    Returns
    -------
    dict
        `verdict`, one of `VERDICTS`; `words`, the reasons; `checks`, with `name`, `value`, expected range (`usual`),
        `holds` (None without a value) and `decisive` of each. All can be written as JSON.
    """
    checks, reasons = [], {"do not trust": [], "doubtful": []}
    for name, meaning, least, most, decisive in CHECKS:
        value, holds = values.get(name), None
        if name == "unspliced fraction":
            (least, most), meaning = unspliced, meaning.format(key=key)
        bounds = [f"at least {least:g}" if least is not None else "", f"at most {most:g}" if most is not None else ""]
        if value is not None:
            holds = bool((least is None or value >= least) and (most is None or value <= most))
        expected = ", ".join(filter(None, bounds))
        checks.append({"name": name, "value": value, "usual": expected, "holds": holds, "decisive": decisive})
        if holds is False or (decisive and holds is None):
            status = "is not available" if value is None else f"is {value:.3g}, expected is {expected}"
            reasons["do not trust" if decisive else "doubtful"].append(f"{name} {status}: {meaning}")
    verdict = next((name for name in VERDICTS if reasons.get(name)), "trust")
    missing = [name for name in REFIT_CHECKS if values.get(name) is None]
    explanation = "; ".join([*reasons["do not trust"], *reasons["doubtful"]]) or "all available checks are as expected"
    caveat = f" Not tried: {', '.join(missing)}." if missing else ""
    return {"verdict": verdict, "words": f"{explanation}.{caveat}", "checks": checks}


def require_verdict(verdicts, least, *, key="least"):
    """Check that all verdicts are good enough.

    Parameters
    ----------
    verdicts : dict of str to dict
        Results of `compute_verdict` by name.
    least : str
        One of `VERDICTS`, the worst that is accepted.
    key : str
        Name of `least` in the message.

    Raises
    ------
    InputError
        If a verdict is worse than `least`. The message lists all such results with their reasons.
    """
    worse = {
        name: result for name, result in verdicts.items() if VERDICTS.index(result["verdict"]) < VERDICTS.index(least)
    }
    if worse:
        listed = " ".join(f"{name}: {result['verdict']}, {result['words']}" for name, result in worse.items())
        raise InputError(f"{key} is {least!r}, and {len(worse)} of {len(verdicts)} results are worse. {listed}")


def _enrichment(scores, mask):
    """Return the mean score of some cells divided by that of all cells, None without such cells or positive scores."""
    if mask is None or not np.any(scores > 0):
        return None
    return float(np.mean(scores[mask]) / np.mean(scores))
