"""Latent time: the time of each cell that is shared by its genes."""

import math

import numpy as np

from veloshard.analysis.graph_components import unit_range
from veloshard.neighborhood import averaging_weights

# numbers of gene times that are processed at once: some arrays of 32 MB
_BLOCK = 2**22


def compute_latent_time(fit_t, likelihood, root_scores, connectivities, *, min_likelihood=0.1, min_confidence=0.75):
    """Return the latent time of each cell (Bergen et al. 2020).

    For each root cell, the times of every gene are shifted so that the root has time 0. Times before the root are moved
    to the end of the gene's period. The shared time is the mean of two percentiles over the genes. These are the two
    of the 15th, 20th, 25th, 30th and 35th whose values are distributed most evenly over the cells. The latent time is
    the mean over up to four roots. It is then averaged over neighbors, where cells whose time deviates from that of
    their neighbors are left out.

    Two details differ from scVelo 0.3.4: every root starts from the original gene times, not from those that were
    shifted for the root before, and an average is divided by the number of cells in it.

    Parameters
    ----------
    fit_t : ndarray of float32, shape (n_genes, n_cells)
        Gene times after alignment. Genes with a NaN are left out.
    likelihood : ndarray of float, shape (n_genes,)
        Likelihoods. Genes below `min_likelihood` or with NaN are left out.
    root_scores : ndarray of float, shape (n_cells,)
        Scores in [0, 1]. The roots are the cells with a score of 1, or all cells if there is none. The four cells with
        the smallest sum of gene times are used.
    connectivities : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Positive entries are neighbors.
    min_likelihood : float
        Lower bound of the likelihood.
    min_confidence : float
        In [0, 1]. A cell is left out of averages if its time differs from the mean of its neighborhood by more than
        1 - sqrt(min_confidence).

    Returns
    -------
    ndarray of float64, shape (n_cells,)
        From 0 to 1. NaN for all cells if no gene is left, 0 for all cells if the times of no gene vary.
    """
    is_used = np.isfinite(fit_t.sum(axis=1, dtype=np.float64)) & (likelihood >= min_likelihood)
    used_genes = np.flatnonzero(is_used)
    if len(used_genes) == 0:
        return np.full(fit_t.shape[1], np.nan)
    gene_times = fit_t[used_genes]
    weights = averaging_weights(connectivities)
    shared_times = [_shared_time(gene_times, root) for root in _earliest_roots(gene_times, root_scores)]
    return unit_range(_average_confident(unit_range(np.mean(shared_times, axis=0)), weights, min_confidence))


def _earliest_roots(gene_times, root_scores):
    """Return up to four root cells, those with the smallest sum of gene times."""
    by_time = np.argsort(gene_times.sum(axis=0, dtype=np.float64), kind="stable")
    is_root = root_scores[by_time] > 1 - 1e-3
    return (by_time[is_root] if is_root.any() else by_time)[:4]


def _shared_time(gene_times, root):
    n_genes, n_cells = gene_times.shape
    root_times = gene_times[:, [root]].astype(np.float64)
    period = gene_times.max(axis=1, keepdims=True).astype(np.float64)
    percentiles = np.empty((5, n_cells))
    # blocks of cells, because the shifted times are in double precision and twice as large as the gene times
    for block in np.array_split(np.arange(n_cells), math.ceil(n_genes * n_cells / _BLOCK)):
        times = gene_times[:, block]
        shifted = np.where(times >= root_times, times - root_times, times + (period - root_times))
        percentiles[:, block] = np.percentile(shifted, [15, 20, 25, 30, 35], axis=0)
    highest = percentiles.max(axis=1, keepdims=True)
    candidates = percentiles / np.where(highest > 0, highest, 1)
    unevenness = np.sum((np.sort(candidates, axis=1) - np.linspace(0, 1, n_cells)) ** 2, axis=1)
    shared_time = candidates[np.argsort(unevenness, kind="stable")[:2]].sum(axis=0)
    return shared_time / shared_time.max() if shared_time.max() > 0 else shared_time


def _average_confident(time, averaging_weights, min_confidence):
    """Return the mean time of each cell's confident neighbors, or its own time if it has none."""
    mean = averaging_weights @ time
    if not mean.any():
        return time
    slope = (time @ mean) / (mean @ mean)
    is_confident = (1 - np.abs(time - slope * mean)) ** 2 >= min_confidence
    weight = averaging_weights @ is_confident.astype(np.float64)
    total = averaging_weights @ np.where(is_confident, time, 0)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), time)
