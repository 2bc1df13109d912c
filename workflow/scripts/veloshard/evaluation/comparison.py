"""Comparison of the results of several methods for one dataset with each other and with the truth."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from veloshard.evaluation.agreement import (
    PSEUDOTIMES,
    cell_agreement,
    cluster_coherence,
    mean_of_finite,
    time_agreement,
    velocity_agreements,
)
from veloshard.graph.velocity_embedding import direction_score
from veloshard.io.fits import load_fit_cells, load_fit_genes, load_fit_layer
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_annotations, load_prepared, load_true_velocity
from veloshard.io.text_files import load_json
from veloshard.labels import cluster_codes, in_cluster

# names of the truth among the methods, and of the mean over all pairs of methods; no method can have such a name
TRUTH, ALL = "(truth)", "(all)"

# column of `obs` with the true time of each cell
TRUE_TIME = "true_time"

# column with the names of the cells; no method can have such a name
CELL = "(cell)"


class ResultFiles(NamedTuple):
    """Paths of the result files of a method.

    Attributes
    ----------
    fit, velocity_embedding, confidence, trust : str
        Merged fit, velocities on the embedding, confidence and verdict.
    """

    fit: str
    velocity_embedding: str
    confidence: str
    trust: str


class Comparison(NamedTuple):
    """Data of the figures of a comparison.

    Attributes
    ----------
    pairs : DataFrame
        Table `pairs` of `compare_methods`.
    obs : DataFrame
        Table `cells` of `compare_methods`, with the names of the cells as index.
    obsm, uns : dict
        Embedding and `velocity_params` of the dataset, as in a result file.
    """

    pairs: pd.DataFrame
    obs: pd.DataFrame
    obsm: dict
    uns: dict


def compare_methods(fits, pseudotimes, *, prepared, truth=()):
    """Return the agreement of each pair of methods, and of each method with the truth if it is known.

    Parameters
    ----------
    fits, pseudotimes : dict of str to path
        Merged fit and pseudotimes of each method. At least two methods are required.
    prepared : path
        File of the prepared dataset. Its column `true_time`, if there is one, holds the true time.
    truth : path, optional
        File that may hold true velocities (see `load_true_velocity`).

    Returns
    -------
    dict of str to DataFrame
        `pairs` has one row per pair of methods, and one row per method and the truth, if it is available (`pair_row`).
        `cells` has one row per cell, with the mean cosine of its velocities over all pairs of methods (`ALL`) and over
        the pairs of each method (its name), and its cosine with the truth (``"<name> (truth)"``).
    """
    dataset, obs = load_prepared(prepared), load_annotations(prepared).obs
    genes = {name: load_fit_genes(fit)["velocity_genes"] for name, fit in fits.items()}
    readers = {name: _velocity_reader(fit) for name, fit in fits.items()}
    times = {name: _load_pseudotimes(fits[name], pseudotimes[name]) for name in fits}
    true_velocity = load_true_velocity(truth, dataset) if truth else None
    if true_velocity:
        genes[TRUTH], readers[TRUTH] = true_velocity
    if TRUE_TIME in obs:
        # all pseudotimes of a method are compared with the true time
        true_time = pd.to_numeric(obs[TRUE_TIME], errors="coerce").to_numpy(np.float64)
        times[TRUTH] = dict.fromkeys(PSEUDOTIMES, true_time)

    agreements = velocity_agreements(lambda name, rows: readers[name](rows), genes, len(obs))
    names = [*fits, TRUTH] if TRUTH in genes | times else fits
    pairs = [
        pair_row(first, second, agreements.get((first, second)), times.get(first, {}), times.get(second, {}))
        for first, second in combinations(names, 2)
    ]
    cells = pd.DataFrame({CELL: dataset.cells, **_cell_columns(agreements, fits)})
    return {"pairs": pd.DataFrame(pairs), "cells": cells}


def summarize_methods(methods, *, prepared, embedding, cells, clusters="", root=""):
    """Return a table with the verdict of each method and what it depends on.

    Parameters
    ----------
    methods : dict of str to ResultFiles
        Result files of each method.
    prepared : path
        File of the prepared dataset.
    embedding : path
        File with the embedding.
    cells : path
        CSV file with the table `cells` of `compare_methods`.
    clusters : str
        Column of `obs` with the clusters, empty for none.
    root : str
        Label of the root cluster, empty for none.

    Returns
    -------
    DataFrame
        One row per method (`method_row`).
    """
    dataset, obs = load_prepared(prepared), load_annotations(prepared).obs
    # text to float64 by Python, because pandas before 3.1 loses digits by default
    agreement = pd.read_csv(cells, index_col=CELL, dtype=str, keep_default_na=False)
    # without clusters, all cells are in one cluster
    codes = cluster_codes(obs, clusters)[1] if clusters else np.zeros(len(obs), dtype=np.int64)
    of_dataset = {
        "distances": dataset.distances,
        "embedding": next(iter(load_arrays(embedding).values())),
        "codes": codes,
        "in_root_cluster": in_cluster(obs, clusters, root),
    }
    rows = [
        method_row(name, files, np.array([float(text or "nan") for text in agreement[name]]), **of_dataset)
        for name, files in methods.items()
    ]
    return pd.DataFrame(rows)


def pair_row(first, second, agreement, first_times, second_times):
    """Return the row of a pair of methods.

    Parameters
    ----------
    first, second : str
        Names of the methods.
    agreement : Agreement or None
        Agreement of their velocities, None if one of them has no velocities.
    first_times, second_times : dict of str to ndarray of float, shape (n_cells,)
        Pseudotimes and end points of each method, as for `time_agreement`.

    Returns
    -------
    dict
        `genes` is the number of velocity genes of both. `cosine` with its quartiles and `rank_of_genes` are medians
        over cells, `rank_of_cells` and `sign` are medians over genes. The pseudotimes and `end_cells` are those of
        `time_agreement`. NaN where a value is not defined.
    """
    velocities = {"genes": 0} | dict.fromkeys(
        ("cosine", "cosine_lower_quartile", "cosine_upper_quartile", "rank_of_genes", "rank_of_cells", "sign"), math.nan
    )
    if agreement is not None:
        velocities = {
            "genes": len(agreement.signs),
            "cosine": _quantile(agreement.cosines),
            "cosine_lower_quartile": _quantile(agreement.cosines, 0.25),
            "cosine_upper_quartile": _quantile(agreement.cosines, 0.75),
            "rank_of_genes": _quantile(agreement.ranks_of_genes),
            "rank_of_cells": _quantile(agreement.ranks_of_cells),
            "sign": _quantile(agreement.signs),
        }
    return {"method": first, "other": second, **velocities, **time_agreement(first_times, second_times)}


def method_row(name, files, cosine_with_others, *, distances, embedding, codes, in_root_cluster):
    """Return the row of a method.

    Parameters
    ----------
    name : str
        Name of the method.
    files : ResultFiles
        Its result files.
    cosine_with_others : ndarray of float, shape (n_cells,)
        Mean cosine of its velocities with those of the other methods.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    embedding : ndarray of float, shape (n_cells, n_dims)
        Coordinates of the cells.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label.
    in_root_cluster : ndarray of bool, shape (n_cells,), or None
        Cells of the root cluster, None if there is none.

    Returns
    -------
    dict
        `verdict`, `fitted_genes` and `velocity_genes`; the medians over cells of `cosine_with_others` and `confidence`;
        `coherence_in_clusters` (`cluster_coherence`); `direction_from_root`, the `direction_score` from the root
        cluster to all other cells; `direction`, the mean score of the expected transitions, and the score of each of
        them in a column such as ``"A > B"``. NaN where a value is not defined.
    """
    genes, verdict = load_fit_genes(files.fit), load_json(files.trust)
    velocity_embedding = load_arrays(files.velocity_embedding)["velocity_embedding"]
    directions = {f"{row['from']} > {row['to']}": _or_nan(row["direction"]) for row in verdict["transitions"]}
    direction_from_root = math.nan
    if in_root_cluster is not None:
        direction_from_root = direction_score(velocity_embedding, embedding, distances, in_root_cluster, True, False)
    return {
        "method": name,
        "verdict": verdict["verdict"],
        "fitted_genes": int(np.sum(genes["status"] == "ok")),
        "velocity_genes": int(np.sum(genes["velocity_genes"])),
        "cosine_with_others": _quantile(cosine_with_others),
        "confidence": _quantile(load_arrays(files.confidence)["velocity_confidence"]),
        "coherence_in_clusters": cluster_coherence(
            _velocity_reader(files.fit), genes["velocity_genes"], distances, codes
        ),
        "direction_from_root": direction_from_root,
        "direction": float(mean_of_finite(np.array([*directions.values()])[:, None])[0]) if directions else math.nan,
        **directions,
    }


def load_comparison(*, pairs, cells, embedding, dataset):
    """Return the data of the figures of a comparison from its files.

    Parameters
    ----------
    pairs, cells : path
        CSV files with the tables `pairs` and `cells` of `compare_methods`.
    embedding : path
        File with the embedding.
    dataset : str
        Name of the dataset.

    Returns
    -------
    Comparison
        Tables and embedding.
    """
    ((key, coordinates),) = load_arrays(embedding).items()
    return Comparison(
        # names of methods stay text, also "NA" or "007"
        pairs=pd.read_csv(pairs, dtype={"method": str, "other": str}, keep_default_na=False, na_values=[""]),
        obs=pd.read_csv(cells, index_col=CELL),
        obsm={key: coordinates},
        uns={"velocity_params": {"dataset": dataset, "embedding": key.removeprefix("X_")}},
    )


def _cell_columns(agreements, methods):
    """Return the columns of the table `cells` of `compare_methods`."""
    among_methods = {pair: agreement for pair, agreement in agreements.items() if TRUTH not in pair}
    with_truth = {first: agreement for (first, second), agreement in agreements.items() if second == TRUTH}
    return {
        ALL: mean_of_finite([agreement.cosines for agreement in among_methods.values()]),
        **cell_agreement(among_methods, methods),
        **{f"{name} {TRUTH}": agreement.cosines for name, agreement in with_truth.items()},
    }


def _velocity_reader(path):
    """Return a function of row indices of genes that reads their velocities in a merged fit."""
    return lambda rows: load_fit_layer(path, "velocity", genes=rows)


def _load_pseudotimes(fit, pseudotimes):
    """Return the pseudotimes and end points of a method, and its own time of the cells as `model_time`."""
    cell_columns, _ = load_fit_cells(fit)
    return load_arrays(pseudotimes) | ({"model_time": cell_columns["time"]} if "time" in cell_columns else {})


def _quantile(values, share=0.5):
    """Return a quantile of the finite values, by default the median, or NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else math.nan


def _or_nan(value):
    return math.nan if value is None else value
