"""The results of several methods for one dataset, held against each other and the truth: from files to tables."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from veloshard import store
from veloshard.agreement import (
    ORDERS,
    cell_agreement,
    cluster_coherence,
    mean_known,
    order_agreement,
    velocity_agreements,
)
from veloshard.projection import direction_score
from veloshard.selection import cluster_codes, in_cluster

# the truth among the methods, and all methods together among the columns of each: no method can be called so
TRUTH, ALL = "(truth)", "(all)"
TRUE_TIME = "true_time"
# column of the names of the cells: no method can be called so
CELL = "(cell)"


class Files(NamedTuple):
    """Paths of what a method found: its fit, times, arrows, confidence and verdict."""

    fit: str
    time: str
    projection: str
    confidence: str
    trust: str


class Compared(NamedTuple):
    """What figures of a comparison draw: `pairs` of `compare`, and `obs`, `obsm` and `uns` as of a `store.Result`.

    obs : the table `cells` of `compare`.
    """

    pairs: pd.DataFrame
    obs: pd.DataFrame
    obsm: dict
    uns: dict


def compare(methods, *, prepared, embedding, truth=(), clusters="", root=""):
    """Tables of how far methods agree, by name.

    methods : {name: Files}, two or more.   prepared, embedding : paths.   truth : path of a file that may hold true
    velocities (`store.load_truth`), or none; true times are the column `true_time` of the cells.
    clusters : column of `obs`, '' for none.   root : one of its labels, or ''.

    Returns `pairs`, a row a pair of methods, and one of each method with the truth where there is one, as `pair_row`
    says; `methods`, a row a method, as `method_row` says; `cells`, a row a cell with the mean cosine of its velocities
    over all pairs of methods (`ALL`), over those of each method (its name), and with the truth (`<name> (truth)`).
    """
    dataset, obs = store.load_prepared(prepared), store.load_annotations(prepared).obs
    genes = {name: store.load_fit_genes(files.fit)["velocity_genes"] for name, files in methods.items()}
    readers = {name: _velocity_reader(files.fit) for name, files in methods.items()}
    orders = {name: _orders(files) for name, files in methods.items()}
    true_velocity = store.load_truth(truth, dataset) if truth else None
    if true_velocity:
        genes[TRUTH], readers[TRUTH] = true_velocity
    if TRUE_TIME in obs:
        # against which all times that a method has are held
        orders[TRUTH] = dict.fromkeys(ORDERS, pd.to_numeric(obs[TRUE_TIME], errors="coerce").to_numpy(np.float64))

    agreements = velocity_agreements(lambda name, rows: readers[name](rows), genes, len(obs))
    names = [*methods, TRUTH] if TRUTH in genes | orders else methods
    pairs = [
        pair_row(first, second, agreements.get((first, second)), orders.get(first, {}), orders.get(second, {}))
        for first, second in combinations(names, 2)
    ]
    cells = _cell_columns(agreements, methods)
    # without clusters all cells are one
    codes = cluster_codes(obs, clusters)[1] if clusters else np.zeros(len(obs), dtype=np.int64)
    of_dataset = {
        "distances": dataset.distances,
        "places": next(iter(store.load_arrays(embedding).values())),
        "codes": codes,
        "in_root": in_cluster(obs, clusters, root),
    }
    rows = [method_row(name, files, cells[name], **of_dataset) for name, files in methods.items()]
    return {
        "pairs": pd.DataFrame(pairs),
        "methods": pd.DataFrame(rows),
        "cells": pd.DataFrame({CELL: dataset.cells, **cells}),
    }


def pair_row(first, second, agreement, orders_of_first, orders_of_second):
    """Agreement of two methods in numbers: medians of an `Agreement`, or None; NaN where one cannot be told.

    `genes` that both have; `cosine` with its quartiles and `rank_of_genes` over cells, `rank_of_cells` and `sign` over
    genes; Spearman correlations of the orders, and `end_cells`, as `agreement.order_agreement` has them.
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
    return {"method": first, "other": second, **velocities, **order_agreement(orders_of_first, orders_of_second)}


def method_row(name, files, with_others, *, distances, places, codes, in_root):
    """What a method found, in numbers that can be compared.

    with_others : (n_cells,), its agreement with the other methods.   The others as `compare` has them.
    `verdict`; `fitted_genes`, `velocity_genes`; medians over cells of `cosine_with_others` and `confidence`;
    `coherence_in_clusters` (`agreement.cluster_coherence`); `direction_from_root`, that of the arrows at the border of
    the root's cluster across it (`projection.direction_score`); `direction`, the mean over the transitions that are
    expected, and that of each, called `A > B`.
    """
    fitted, judged = store.load_fit_genes(files.fit), store.load_json(files.trust)
    arrows = store.load_arrays(files.projection)["arrows"]
    directions = {f"{row['from']} > {row['to']}": _or_nan(row["direction"]) for row in judged["transitions"]}
    from_root = math.nan
    if in_root is not None:
        from_root = direction_score(arrows, places, distances, in_root, True, False)
    return {
        "method": name,
        "verdict": judged["verdict"],
        "fitted_genes": int(np.sum(fitted["status"] == "ok")),
        "velocity_genes": int(np.sum(fitted["velocity_genes"])),
        "cosine_with_others": _quantile(with_others),
        "confidence": _quantile(store.load_arrays(files.confidence)["velocity_confidence"]),
        "coherence_in_clusters": cluster_coherence(
            _velocity_reader(files.fit), fitted["velocity_genes"], distances, codes
        ),
        "direction_from_root": from_root,
        "direction": float(mean_known(np.array([*directions.values()])[:, None])[0]) if directions else math.nan,
        **directions,
    }


def load_compared(*, pairs, cells, embedding, dataset):
    """`Compared` of the tables of `compare`, as csv files, and of the file with the embedding."""
    ((key, places),) = store.load_arrays(embedding).items()
    return Compared(
        # a method may be called NA, or 007
        pairs=pd.read_csv(pairs, dtype={"method": str, "other": str}, keep_default_na=False, na_values=[""]),
        obs=pd.read_csv(cells, index_col=CELL),
        obsm={key: places},
        uns={"velocity_params": {"dataset": dataset, "embedding": key.removeprefix("X_")}},
    )


def _cell_columns(agreements, methods):
    """Agreement of each cell by the names of its columns, as `compare` says."""
    among = {pair: found for pair, found in agreements.items() if TRUTH not in pair}
    return {
        ALL: mean_known([found.cosines for found in among.values()]),
        **cell_agreement(among, methods),
        **{f"{first} {TRUTH}": found.cosines for (first, second), found in agreements.items() if second == TRUTH},
    }


def _velocity_reader(path):
    """Function of rows of genes, ints, that reads their velocities in a merged fit."""
    return lambda rows: store.load_fit_layer(path, "velocity", genes=rows)


def _orders(files):
    """Orders of the cells and scores of their ends that a method has, by the names of `agreement.order_agreement`."""
    of_cells, _ = store.load_fit_cells(files.fit)
    return store.load_arrays(files.time) | ({"model_time": of_cells["time"]} if "time" in of_cells else {})


def _quantile(values, share=0.5):
    """A quantile of what is not NaN, by default the median; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else math.nan


def _or_nan(value):
    return math.nan if value is None else value
