"""Read the table of ranked genes, and convert it to the entries of `uns` that scVelo and scanpy read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from veloshard.io import FilePath

# columns of the table with numbers; `likelihood` only for methods that fit curves
NUMBERS = ("score", "difference", "p_value", "q_value", "likelihood")


# number of genes per cluster in an AnnData, scVelo's default
N_LISTED = 100


def load_ranking(path: FilePath) -> pd.DataFrame:
    """Return the table of `ranking_table` from a CSV file.

    Parameters
    ----------
    path : path-like
        CSV file. Its numbers are read without loss.

    Returns
    -------
    DataFrame
        Table with the types of `ranking_table`.
    """
    table = pd.read_csv(
        path,
        # names stay text, also if they look like numbers or missing values
        dtype={"cluster": str, "gene": str, "rank": "Int64"} | dict.fromkeys(NUMBERS, str),
        keep_default_na=False,
        na_values={"rank": [""]},
    )
    for name in table.columns.intersection(NUMBERS):
        # pandas before 3.1 loses digits by default
        table[name] = np.array([float(text or "nan") for text in table[name]], dtype=np.float64)
    return table


def rankings_for_anndata(ranking: pd.DataFrame, *, clusters: str) -> dict[str, dict[str, Any]]:
    """Return the rankings as entries of `uns`, as scVelo writes them, with p-values as in scanpy.

    Parameters
    ----------
    ranking : DataFrame
        Table of `ranking_table`.
    clusters : str
        Column of `obs` with the clusters.

    Returns
    -------
    dict of str to dict
        `rank_velocity_genes` has the record arrays `names`, `scores`, `pvals` and `pvals_adj` with one field per tested
        cluster, for the genes with the highest scores. `rank_dynamical_genes` has `names` and `scores`, by likelihood,
        with 0 for missing likelihoods. An entry without any gene is left out.
    """
    entries: dict[str, dict[str, Any]] = {}
    ranked = ranking[ranking["rank"].notna()]
    if len(ranked):
        columns = {"names": "gene", "scores": "score", "pvals": "p_value", "pvals_adj": "q_value"}
        entries["rank_velocity_genes"] = _record_arrays(ranked, columns)
    if "likelihood" in ranking and ranking["likelihood"].notna().any():
        has_likelihood = ranking.groupby("gene")["likelihood"].transform("count") > 0
        fitted = ranking[has_likelihood].fillna({"likelihood": 0.0})
        entries["rank_dynamical_genes"] = _record_arrays(fitted, {"names": "gene", "scores": "likelihood"})
    for entry in entries.values():
        entry["params"] = {"groupby": clusters}
    return entries


def _record_arrays(ranking: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return record arrays of the rows with the highest scores, with one field per cluster."""
    rows_of_cluster = {
        label: rows.sort_values(columns["scores"], ascending=False, kind="stable").head(N_LISTED)
        for label, rows in ranking.groupby("cluster", sort=False)
    }
    types: dict[str, type] = {"gene": object, "p_value": np.float64, "q_value": np.float64}
    return {
        name: np.rec.fromarrays(
            [rows[column].to_numpy() for rows in rows_of_cluster.values()],
            dtype=[(label, types.get(column, np.float32)) for label in rows_of_cluster],
        )
        for name, column in columns.items()
    }
