"""Ranking of genes by cluster: by the difference of their velocities, and by the likelihood of their kinetics."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from veloshard.analysis.cluster_likelihoods import cluster_likelihoods
from veloshard.analysis.effective_cells import IN, OUT, cluster_members, effective_cells
from veloshard.io.fits import fit_layer_names, load_fit_genes, load_fit_layer
from veloshard.io.prepared import load_annotations, load_gene_block, load_prepared
from veloshard.labels import cluster_codes
from veloshard.neighborhood import averaging_weights
from veloshard.preprocessing.moments import first_moments
from veloshard.progress import report_progress
from veloshard.statistics import false_discovery_rates

log = logging.getLogger(__name__)


# number of values (genes times cells) that are tested at once: some arrays of 32 MB
_BLOCK = 2**22


# number of genes per cluster in an AnnData, scVelo's default
N_LISTED = 100


class ClusterComparison(NamedTuple):
    """Comparison of the velocities in each cluster with those of all other labeled cells.

    Attributes
    ----------
    score : ndarray of float64, shape (n_clusters, n_genes)
        Welch's t.
    difference : ndarray of float64, shape (n_clusters, n_genes)
        Difference of the means, in the unit of the velocity.
    p_value : ndarray of float64, shape (n_clusters, n_genes)
        Two-sided p-value.
    q_value : ndarray of float64, shape (n_clusters, n_genes)
        False discovery rate over the genes of a cluster (Benjamini and Hochberg 1995).
    """

    score: np.ndarray
    difference: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray


def rank_genes(prepared_path, fit_path, *, clusters):
    """Return the table of the velocity genes ranked in each cluster.

    Genes are read in blocks, so that memory does not grow with their number.

    Parameters
    ----------
    prepared_path : path
        File of the prepared dataset.
    fit_path : path
        File of the merged fit.
    clusters : str
        Column of `obs` with the clusters. An empty string gives an empty table.

    Returns
    -------
    DataFrame
        Table of `ranking_table`, with likelihoods for a dynamical fit.
    """
    genes = load_fit_genes(fit_path)
    labels, codes = cluster_codes(load_annotations(prepared_path).obs, clusters)
    weights = averaging_weights(load_prepared(prepared_path).connectivities)
    effective = effective_cells(weights, codes, len(labels))
    for label, reason in zip(labels, effective.reason, strict=True):
        if reason:
            log.info("cluster %s is not compared with the others: %s", label, reason)
    welch = np.full((3, len(labels), len(genes["name"])), np.nan)
    is_dynamical = "fit_tau" in fit_layer_names(fit_path)
    likelihood = np.full(welch.shape[1:], np.nan) if is_dynamical else None
    counts = load_gene_block(prepared_path)[0] if is_dynamical else None
    block_size = max(_BLOCK // len(codes), 1)
    starts = range(0, len(genes["name"]), block_size) if len(labels) else ()
    for first in report_progress(starts, len(starts), "blocks of genes"):
        block = slice(first, first + block_size)
        velocity = load_fit_layer(fit_path, "velocity", genes=block)
        welch[:, :, block] = welch_test(velocity, codes, effective)
        if is_dynamical:
            likelihood[:, block] = cluster_likelihoods(
                {name: values[block] for name, values in genes.items()},
                unspliced=first_moments(counts.unspliced[:, block], counts.neighborhood),
                spliced=first_moments(counts.spliced[:, block], counts.neighborhood),
                tau=np.stack([load_fit_layer(fit_path, name, genes=block) for name in ("fit_tau_", "fit_tau")]),
                codes=codes,
                n_clusters=len(labels),
                neighborhood=counts.neighborhood,
            )
    welch[:, :, ~genes["velocity_genes"]] = np.nan
    score, difference, p_value = welch
    comparison = ClusterComparison(score, difference, p_value, false_discovery_rates(p_value, axis=1))
    return ranking_table(labels, genes["name"], comparison, likelihood)


def rank_velocity_genes(velocity, codes, n_clusters, weights):
    """Return the comparison of the velocities in each cluster with those of all other labeled cells.

    See `welch_test` and `effective_cells`.

    Parameters
    ----------
    velocity : ndarray of float32, shape (n_genes, n_cells)
        Velocities.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label.
    n_clusters : int
        Number of clusters.
    weights : csr_matrix, shape (n_cells, n_cells)
        Averaging weights of the moments that the velocities are computed from.

    Returns
    -------
    ClusterComparison
        Scores, differences, p-values and false discovery rates.
    """
    score, difference, p_value = welch_test(velocity, codes, effective_cells(weights, codes, n_clusters))
    return ClusterComparison(score, difference, p_value, false_discovery_rates(p_value, axis=1))


def welch_test(velocity, codes, effective):
    """Return scores, differences of the means and p-values of Welch's t-test for each cluster and gene.

    The test uses effective numbers of cells and degrees of freedom, and the correlation r of the means:

        t = (m_in - m_out) / sqrt(a + b - 2 r sqrt(a b)),   a, b = variance / effective number, inside and outside

    The degrees of freedom are those of Welch (1947). scVelo sets the number of cells outside to that inside.

    Parameters
    ----------
    velocity : ndarray of float32, shape (n_genes, n_cells)
        Velocities.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label.
    effective : EffectiveCells
        Effective numbers of cells.

    Returns
    -------
    ndarray of float64, shape (3, n_clusters, n_genes)
        Scores, differences and p-values. NaN for genes with a velocity that is not finite, and for clusters that cannot
        be tested. A gene with the same velocity in all cells has t = 0 and p = 1.
    """
    n_genes, n_clusters = len(velocity), len(effective.reason)
    labeled = np.flatnonzero(codes >= 0)
    members = cluster_members(codes[labeled], n_clusters)
    size = np.ravel(members.sum(axis=1))
    sizes = np.stack([size, len(labeled) - size])[:, :, None]
    results = np.full((3, n_clusters, n_genes), np.nan)
    block_size = max(_BLOCK // max(len(labeled), 1), 1)
    is_testable = effective.reason == ""
    for first in range(0, n_genes, block_size) if is_testable.any() else ():
        block = slice(first, first + block_size)
        values = velocity[block][:, labeled].astype(np.float64).T
        # differences from one of the values, not from the mean: a constant gene is then exactly 0
        values -= values[0]
        sums, squares = (members @ np.ascontiguousarray(power) for power in (values, values**2))
        sums, squares = (np.stack([inside, inside.sum(axis=0) - inside]) for inside in (sums, squares))
        with np.errstate(divide="ignore", invalid="ignore"):
            means = sums / sizes
            variances = np.maximum(squares - sums * means, 0) / (sizes - 1) / effective.effective[:, :, None]
            results[:, :, block] = _welch(means[IN] - means[OUT], *variances, effective)
    results[:, ~is_testable] = np.nan
    return results


def _welch(difference, variance_in, variance_out, effective):
    """Return score, difference and p-value from the variances of the two means, (n_clusters, n_genes) each."""
    variance = variance_in + variance_out - 2 * effective.correlation[:, None] * np.sqrt(variance_in * variance_out)
    score = np.where((difference == 0) & (variance == 0), 0.0, difference / np.sqrt(variance))
    freedom_in, freedom_out = effective.freedom[:, :, None]
    freedom = (variance_in + variance_out) ** 2 / (variance_in**2 / freedom_in + variance_out**2 / freedom_out)
    # if both variances are 0, any number of degrees of freedom gives p = 0 or p = 1
    freedom = np.where(variance_in + variance_out > 0, freedom, 1.0)
    return score, difference, 2 * stats.t.sf(np.abs(score), freedom)


def ranking_table(labels, genes, comparison, likelihood=None):
    """Return the table of genes ranked by score in each cluster.

    Parameters
    ----------
    labels : list of str
        Names of the clusters.
    genes : ndarray of str, shape (n_genes,)
        Names of the genes.
    comparison : ClusterComparison
        Scores, differences, p-values and false discovery rates.
    likelihood : ndarray of float64, shape (n_clusters, n_genes), optional
        Likelihoods of the fitted kinetics. By default there is no column of likelihoods.

    Returns
    -------
    DataFrame
        One row per cluster and gene, ordered by cluster and score. The columns are `cluster`, `gene`, `rank`, those of
        `ClusterComparison` and `likelihood`. Genes without a score and a likelihood in all clusters are left out. The
        rank is missing where there is no score.
    """
    columns = comparison._asdict() | ({} if likelihood is None else {"likelihood": likelihood})
    has_values = np.flatnonzero(~np.isnan(list(columns.values())).all(axis=(0, 1)))
    tables = [pd.DataFrame(columns=["cluster", "gene", "rank", *columns])]
    for cluster, label in enumerate(labels):
        # a stable sort puts NaN at the end and keeps the order of genes with equal scores
        order = has_values[np.argsort(-comparison.score[cluster, has_values], kind="stable")]
        ranks = pd.array(np.arange(1, len(order) + 1), dtype="Int64")
        ranks[np.isnan(comparison.score[cluster, order])] = pd.NA
        values_of_cluster = {name: values[cluster, order] for name, values in columns.items()}
        tables.append(pd.DataFrame({"cluster": label, "gene": genes[order], "rank": ranks, **values_of_cluster}))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def load_ranking(path):
    """Return the table of `ranking_table` from a CSV file.

    Parameters
    ----------
    path : path
        CSV file. Its numbers are read without loss.

    Returns
    -------
    DataFrame
        Table with the types of `ranking_table`.
    """
    numbers = [*ClusterComparison._fields, "likelihood"]
    table = pd.read_csv(
        path,
        # names stay text, also if they look like numbers or missing values
        dtype={"cluster": str, "gene": str, "rank": "Int64"} | dict.fromkeys(numbers, str),
        keep_default_na=False,
        na_values={"rank": [""]},
    )
    for name in table.columns.intersection(numbers):
        # pandas before 3.1 loses digits by default
        table[name] = np.array([float(text or "nan") for text in table[name]], dtype=np.float64)
    return table


def rankings_for_anndata(ranking, *, clusters):
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
    entries = {}
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


def _record_arrays(ranking, columns):
    """Return record arrays of the rows with the highest scores, with one field per cluster."""
    rows_of_cluster = {
        label: rows.sort_values(columns["scores"], ascending=False, kind="stable").head(N_LISTED)
        for label, rows in ranking.groupby("cluster", sort=False)
    }
    types = {"gene": object, "p_value": np.float64, "q_value": np.float64}
    return {
        name: np.rec.fromarrays(
            [rows[column].to_numpy() for rows in rows_of_cluster.values()],
            dtype=[(label, types.get(column, np.float32)) for label in rows_of_cluster],
        )
        for name, column in columns.items()
    }
