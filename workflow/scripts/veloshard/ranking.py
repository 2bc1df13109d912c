"""Genes whose velocity sets a cluster apart, and genes whose fitted kinetics its cells follow."""

import logging
import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse, stats

from veloshard import store
from veloshard.methods.dynamical.assign import OFF, ON, STEADY_OFF, branch_distances, likeliest_states, switching_state
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, describe_gene
from veloshard.methods.dynamical.loss import signed_variance
from veloshard.moments import first_moments
from veloshard.neighbors import connectivity_weights
from veloshard.progress import reported
from veloshard.selection import cluster_codes
from veloshard.splicing import spliced_at

log = logging.getLogger(__name__)

PARAMETERS = {
    ALPHA: "fit_alpha",
    BETA: "fit_beta",
    GAMMA: "fit_gamma",
    SWITCHING_TIME: "fit_t_",
    SCALING: "fit_scaling",
}
IN, OUT = range(2)
# Genes that are tested at once: some copies of 32 MB.
_BLOCK = 2**22
# Rows of the product of weights, about 700 entries each, that are made at once: 100 MB.
_ROWS = 2**13
# Genes that an AnnData lists of each cluster: scVelo's number.
N_LISTED = 100


class Sharing(NamedTuple):
    """What the means over clusters (first row) and over all other labelled cells (second row) rest on.

    effective : (2, n_clusters), the number of independent cells that would give as exact a mean, from the variance
        between the cells.
    freedom : (2, n_clusters), degrees of freedom of that variance.
    correlation : (n_clusters,), of the two means, by the counts that cells on the border share.
    reason : (n_clusters,) str, why a cluster cannot be tested; empty where it can.
    """

    effective: np.ndarray
    freedom: np.ndarray
    correlation: np.ndarray
    reason: np.ndarray


class Comparison(NamedTuple):
    """Clusters against all other labelled cells: float64 (n_clusters, n_genes) each.

    score : Welch's t.   difference : of the means, in the unit of the velocity.   p_value : two-sided.
    q_value : by Benjamini and Hochberg (1995) within the cluster.
    """

    score: np.ndarray
    difference: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray


def rank_genes(prepared_path, fit_path, *, clusters):
    """Table of all velocity genes in all clusters, and of the dynamically fitted genes' likelihoods.

    prepared_path, fit_path : files of a dataset and of a merged fit, read some genes at a time.
    clusters : column of `obs`; '' for none, which leaves the table empty.
    Returns the DataFrame of `table`.
    """
    genes = store.load_fit_genes(fit_path)
    labels, codes = cluster_codes(store.load_annotations(prepared_path).obs, clusters)
    weights = connectivity_weights(store.load_prepared(prepared_path).connectivities)
    sharing = shared_counts(weights, codes, len(labels))
    for label, reason in zip(labels, sharing.reason, strict=True):
        if reason:
            log.info("cluster %s is not compared with the others: %s", label, reason)
    welch = np.full((3, len(labels), len(genes["name"])), np.nan)
    dynamical = "fit_tau" in store.fit_layer_names(fit_path)
    likelihood = np.full(welch.shape[1:], np.nan) if dynamical else None
    block = store.load_block(prepared_path)[0] if dynamical else None
    at_once = max(_BLOCK // len(codes), 1)
    starts = range(0, len(genes["name"]), at_once) if len(labels) else ()
    for first in reported(starts, len(starts), "blocks of genes"):
        some = slice(first, first + at_once)
        velocity = store.load_fit_layer(fit_path, "velocity", genes=some)
        welch[:, :, some] = welch_test(velocity, codes, sharing)
        if dynamical:
            likelihood[:, some] = cluster_likelihoods(
                {name: values[some] for name, values in genes.items()},
                unspliced=first_moments(block.unspliced[:, some], block.around),
                spliced=first_moments(block.spliced[:, some], block.around),
                tau=np.stack([store.load_fit_layer(fit_path, name, genes=some) for name in ("fit_tau_", "fit_tau")]),
                codes=codes,
                n_clusters=len(labels),
                around=block.around,
            )
    welch[:, :, ~genes["velocity_genes"]] = np.nan
    score, difference, p_value = welch
    compared = Comparison(score, difference, p_value, false_discovery_rates(p_value))
    return table(labels, genes["name"], compared, likelihood)


def rank_velocity_genes(velocity, codes, n_clusters, weights):
    """`Comparison` of the velocities in each cluster with those of all other labelled cells.

    velocity : (n_genes, n_cells) float32.   codes : (n_cells,) int, the cluster of a cell, -1 for none.
    weights : CSR (n_cells, n_cells), of the moments that the velocities are made from.
    See `welch_test` and `shared_counts`.
    """
    score, difference, p_value = welch_test(velocity, codes, shared_counts(weights, codes, n_clusters))
    return Comparison(score, difference, p_value, false_discovery_rates(p_value))


def welch_test(velocity, codes, sharing):
    """Scores, differences of the means and p-values, three arrays (n_clusters, n_genes).

    Welch's t-test with as many cells and degrees of freedom as `Sharing` says, and with its correlation r:

        t = (m_in - m_out) / sqrt(a + b - 2 r sqrt(a b)),   a, b = variance / effective number, inside and outside,

    degrees of freedom as of Welch (1947).  scVelo instead sets the number of cells outside to that inside.
    NaN for genes with a velocity that is not finite, and for clusters that cannot be tested.  A gene that is the
    same in all cells has t = 0 and p = 1.
    """
    n_genes, n_clusters = len(velocity), len(sharing.reason)
    labelled = np.flatnonzero(codes >= 0)
    members = _members(codes[labelled], n_clusters)
    size = np.ravel(members.sum(axis=1))
    sizes = np.stack([size, len(labelled) - size])[:, :, None]
    results = np.full((3, n_clusters, n_genes), np.nan)
    at_once = max(_BLOCK // max(len(labelled), 1), 1)
    testable = sharing.reason == ""
    for first in range(0, n_genes, at_once) if testable.any() else ():
        some = slice(first, first + at_once)
        values = velocity[some][:, labelled].astype(np.float64).T
        # from one of the values, not from the mean: constant ones are then exactly 0
        values -= values[0]
        sums, squares = (members @ np.ascontiguousarray(moment) for moment in (values, values**2))
        sums, squares = (np.stack([part, part.sum(axis=0) - part]) for part in (sums, squares))
        with np.errstate(divide="ignore", invalid="ignore"):
            means = sums / sizes
            variances = np.maximum(squares - sums * means, 0) / (sizes - 1) / sharing.effective[:, :, None]
            results[:, :, some] = _welch(means[IN] - means[OUT], *variances, sharing)
    results[:, ~testable] = np.nan
    return results


def _welch(difference, inside, outside, sharing):
    """Score, difference and p-value from variances of the two means, (n_clusters, n_genes) each."""
    variance = inside + outside - 2 * sharing.correlation[:, None] * np.sqrt(inside * outside)
    score = np.where((difference == 0) & (variance == 0), 0.0, difference / np.sqrt(variance))
    freedom_in, freedom_out = sharing.freedom[:, :, None]
    freedom = (inside + outside) ** 2 / (inside**2 / freedom_in + outside**2 / freedom_out)
    # no variance on either side: any number of degrees of freedom gives p = 0 or 1
    freedom = np.where(inside + outside > 0, freedom, 1.0)
    return score, difference, 2 * stats.t.sf(np.abs(score), freedom)


def shared_counts(weights, codes, n_clusters):
    """`Sharing` of clusters of cells whose velocities are averages over neighbours.

    weights : CSR (n_cells, n_cells), rows sum to 1: those of the moments (`neighbors.connectivity_weights`).
    codes : (n_cells,) int, -1 for cells without a label, which are on neither side.

    Moments of neighbours share counts, so that n cells are far fewer observations.  Let velocities be v = W e for the
    weights W and cells' own contributions e that are independent of each other and of one variance sigma^2.  For n
    cells, with 1 their indicator, R their rows of W and r = R' 1 (what each cell's counts weigh in their sum),

        var(mean)               = sigma^2 r'r / n^2
        E[sum of (v - mean)^2]  = sigma^2 q,   q = |R|^2 - r'r / n
        degrees of freedom      = q^2 / |C R R' C|^2,   C = 1 - 1 1' / n  (Satterthwaite 1946)
        correlation of means    = r_in'r_out / sqrt(r_in'r_in r_out'r_out)

    with |.| Frobenius' norm; and the effective number is (mean squared deviation) / var(mean), q n^2 / ((n - 1) r'r).
    Without averaging it is n with n - 1 degrees of freedom; where neighbourhoods of k cells lie within the cluster it
    is about n / k.

    Steady-state and stochastic velocities are such averages, and p-values of genes whose cells were shuffled are
    uniform; those of `supported` velocities nearly so.  Velocities of the fitted curve alone (`velocity: fitted`) are
    smoothed once more, which this does not see: their p-values are too small.  So are all where clusters were found on
    the same counts that are tested.
    """
    members = _members(codes, n_clusters)
    weights = weights.astype(np.float64)
    indicator = members.toarray()
    indicator = np.stack([indicator, indicator.sum(axis=0) - indicator])
    size = indicator.sum(axis=-1)
    reach, met = np.empty_like(indicator), np.empty_like(indicator)
    for side in (IN, OUT):
        reach[side] = (weights.T @ indicator[side].T).T
        met[side] = (weights @ reach[side].T).T
    overlap = np.einsum("skc,tkc->stk", reach, reach)
    own = indicator @ np.ravel(weights.multiply(weights).sum(axis=1))
    between = _squared_products(weights, members)
    inside = np.diagonal(between)
    products = np.stack([inside, between.sum() - 2 * between.sum(axis=1) + inside])
    square = np.stack([overlap[IN, IN], overlap[OUT, OUT]])
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = own - square / size
        # |C R R' C|^2 = |R R'|^2 - 2 |R r|^2 / n + (r'r / n)^2
        spread = products - 2 * np.sum(indicator * met**2, axis=-1) / size + (square / size) ** 2
        effective = deviation * size**2 / ((size - 1) * square)
        freedom = deviation**2 / spread
        correlation = overlap[IN, OUT] / np.sqrt(square[IN] * square[OUT])
        # in exact numbers nothing is left of the deviation where all cells have the same neighbours
        alike = deviation <= 1e-9 * own
    reason = np.select(
        [size[IN] == 0, size[IN] == 1, size[OUT] == 0, size[OUT] == 1, alike.any(axis=0)],
        [
            "it has no cells",
            "it has one cell",
            "there are no others",
            "there is one other cell",
            "cells share all counts",
        ],
        default="",
    )
    return Sharing(effective, freedom, correlation, reason)


def _squared_products(weights, members):
    """Sums over pairs of cells, by their clusters, of (W W')^2: (n_clusters, n_clusters)."""
    n_clusters, n_cells = members.shape
    sums = np.zeros((n_clusters, n_clusters))
    transposed = weights.T.tocsr()
    for first in range(0, n_cells, _ROWS):
        products = weights[first : first + _ROWS] @ transposed
        products.data **= 2
        sums += (members[:, first : first + _ROWS] @ (products @ members.T)).toarray()
    return sums


def _members(codes, n_clusters):
    """Indicator of the cells of each cluster, CSR (n_clusters, n_cells)."""
    labelled = np.flatnonzero(codes >= 0)
    ones = np.ones(len(labelled))
    return sparse.csr_matrix((ones, (codes[labelled], labelled)), shape=(n_clusters, len(codes)))


def false_discovery_rates(p_values):
    """q-values of each row on its own (Benjamini and Hochberg 1995); NaN are left out and stay."""
    q_values = np.full_like(p_values, np.nan)
    for p_row, q_row in zip(p_values, q_values, strict=True):
        known = np.isfinite(p_row)
        if known.any():
            q_row[known] = stats.false_discovery_control(p_row[known])
    return q_values


def cluster_likelihoods(genes, *, unspliced, spliced, tau, codes, n_clusters, around):
    """Likelihood of each gene's fitted kinetics within the cells of each cluster: float64 (n_clusters, n_genes).

    exp(-d / 2) / sqrt(2 pi variance), d the mean over the cluster of the squared distance to the curve, over the
    variance of these distances in all cells; in cells above a fifth of the gene's maximum of both counts, as scVelo
    ranks by.  The branch of a cell is the likeliest of its neighbourhood.

    genes : columns fit_* of a dynamical fit, (n_genes,).   unspliced, spliced : moments, (n_genes, n_cells) float32.
    tau : (2, n_genes, n_cells), times since the switch off and since the switch on.   around : `Neighborhood`.
    codes : (n_cells,) int, -1 for cells without a label, which only count in the variance.
    NaN for genes that were not fitted, and where fewer than a fifth of the cluster's cells are above those bounds
    (where scVelo puts the worst of all genes' distances).
    """
    likelihoods = np.full((n_clusters, len(spliced)), np.nan)
    size = np.bincount(codes[codes >= 0], minlength=n_clusters)
    parameters = np.empty((len(spliced), len(PARAMETERS)))
    parameters[:, list(PARAMETERS)] = np.stack([genes[column] for column in PARAMETERS.values()], axis=1)
    # scVelo reports the beta of unspliced counts as they are
    parameters[:, BETA] *= parameters[:, SCALING]
    for k in np.flatnonzero(np.isfinite(parameters).all(axis=1)):
        gene = describe_gene(unspliced[k], spliced[k], around)
        squares, residuals = _from_curve(gene, parameters[k], tau[:, k].astype(np.float64), around)
        high = (gene.unspliced > gene.unspliced.max() / 5) & (gene.spliced > gene.spliced.max() / 5)
        variance = signed_variance(squares[high], residuals[high]) if high.any() else 0.0
        if variance == 0:
            continue
        counted = np.flatnonzero(high & (codes >= 0))
        number = np.bincount(codes[counted], minlength=n_clusters)
        total = np.bincount(codes[counted], weights=squares[counted], minlength=n_clusters)
        # one in a hundred cells counts as given away to the parameters
        effective = np.maximum(number - 0.01 * size, 2)
        likelihood = np.exp(-0.5 * total / effective / variance) / math.sqrt(2 * math.pi * variance)
        likelihoods[:, k] = np.where((number > 0) & (effective >= 0.99 * size / 5), likelihood, np.nan)
    return likelihoods


def _from_curve(gene, parameters, tau, around):
    """Squared standardised distances of cells to their branch, and the residual of s there: two arrays (n_cells,)."""
    alpha, beta, gamma = parameters[[ALPHA, BETA, GAMMA]]
    distances = branch_distances(gene, parameters, tau)
    states, _ = likeliest_states(gene, around, parameters, distances)
    u0, s0 = switching_state(parameters)
    # the way up starts at the steady state without transcription, the way down near that with it
    up = (states == ON) | (states == STEADY_OFF)
    curve = np.where(
        up, spliced_at(tau[ON], 0.0, 0.0, alpha, beta, gamma), spliced_at(tau[OFF], s0, u0, 0.0, beta, gamma)
    )
    return np.where(up, distances[ON], distances[OFF]), gene.spliced - curve


def table(labels, genes, compared, likelihood=None):
    """One row a cluster and gene, ordered by the clusters and within each by the score: DataFrame.

    Columns: cluster, gene, rank, those of `Comparison`, likelihood.

    labels : names of the clusters.   genes : names, (n_genes,).   compared : `Comparison`.
    likelihood : (n_clusters, n_genes), or None, which leaves the column out.
    Genes that have neither score nor likelihood in any cluster are left out; where there is no score there is no rank.
    """
    values = compared._asdict() | ({} if likelihood is None else {"likelihood": likelihood})
    known = np.flatnonzero(~np.isnan(list(values.values())).all(axis=(0, 1)))
    parts = [pd.DataFrame(columns=["cluster", "gene", "rank", *values])]
    for cluster, label in enumerate(labels):
        # sorts NaN to the end, and equal scores by the dataset's order
        order = known[np.argsort(-compared.score[cluster, known], kind="stable")]
        ranks = pd.array(np.arange(1, len(order) + 1), dtype="Int64")
        ranks[np.isnan(compared.score[cluster, order])] = pd.NA
        columns = {name: numbers[cluster, order] for name, numbers in values.items()}
        parts.append(pd.DataFrame({"cluster": label, "gene": genes[order], "rank": ranks, **columns}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def load_table(path):
    """Table that was written to a CSV file, with the same values."""
    numbers = [*Comparison._fields, "likelihood"]
    return pd.read_csv(
        path,
        # names stay text, also those that look like numbers or like nothing
        dtype={"cluster": str, "gene": str, "rank": "Int64"} | dict.fromkeys(numbers, np.float64),
        keep_default_na=False,
        na_values={name: [""] for name in ["rank", *numbers]},
        float_precision="round_trip",
    )


def rankings_for_anndata(ranked, *, clusters):
    """Entries of `uns` as scVelo writes them, with p-values as scanpy does, from a `table`; none where that is empty.

    `rank_velocity_genes` : record arrays with a field a tested cluster, of the genes with the highest scores: names,
        scores, pvals, pvals_adj.
    `rank_dynamical_genes` : names, scores, by likelihood, 0 where there is none.
    clusters : column of `obs` that holds them.
    """
    entries = {}
    compared = ranked[ranked["rank"].notna()]
    if len(compared):
        columns = {"names": "gene", "scores": "score", "pvals": "p_value", "pvals_adj": "q_value"}
        entries["rank_velocity_genes"] = _records(compared, columns)
    if "likelihood" in ranked and ranked["likelihood"].notna().any():
        fitted = ranked[ranked.groupby("gene")["likelihood"].transform("count") > 0].fillna({"likelihood": 0.0})
        entries["rank_dynamical_genes"] = _records(fitted, {"names": "gene", "scores": "likelihood"})
    for entry in entries.values():
        entry["params"] = {"groupby": clusters}
    return entries


def _records(ranked, columns):
    """Record arrays of the rows with the highest scores of each cluster, a field a cluster."""
    parts = {
        label: rows.sort_values(columns["scores"], ascending=False, kind="stable").head(N_LISTED)
        for label, rows in ranked.groupby("cluster", sort=False)
    }
    kinds = {"gene": object, "p_value": np.float64, "q_value": np.float64}
    return {
        name: np.rec.fromarrays(
            [rows[column].to_numpy() for rows in parts.values()],
            dtype=[(label, kinds.get(column, np.float32)) for label in parts],
        )
        for name, column in columns.items()
    }
