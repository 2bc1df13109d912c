"""Agreement of methods about the same cells: velocities, pseudotimes, end points, and coherence within clusters."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from veloshard.statistics import rank_correlation

# number of cells whose velocities are ranked: the standard error of a median over them is below 0.01
RANKED_CELLS = 2000


# number of velocities of a method that are read at once: 16 MB
BLOCK = 2**22


# fraction of the cells that are end cells
END_SHARE = 0.05


# pseudotimes that are compared between methods
PSEUDOTIMES = ("velocity_pseudotime", "latent_time", "model_time")


class Agreement(NamedTuple):
    """Agreement of the velocities of two methods in the velocity genes of both, NaN where it is not defined.

    Attributes
    ----------
    cosines : ndarray of float64, shape (n_cells,)
        Cosine of the two velocities of each cell.
    ranks_of_genes : ndarray of float64, shape (n_ranked,)
        Spearman correlation over the genes in each of the ranked cells.
    ranks_of_cells : ndarray of float64, shape (n_genes,)
        Spearman correlation over the ranked cells in each gene. It does not depend on the scale of the gene.
    signs : ndarray of float64, shape (n_genes,)
        Fraction of cells with equal signs, of those where both velocities differ from 0.
    """

    cosines: np.ndarray
    ranks_of_genes: np.ndarray
    ranks_of_cells: np.ndarray
    signs: np.ndarray


def velocity_agreements(read, genes, n_cells):
    """Return the agreement of the velocities of each pair of methods.

    Genes are read in blocks. Memory is 24 bytes per pair of methods and cell, plus the velocities of `RANKED_CELLS`
    cells.

    Parameters
    ----------
    read : callable
        Function of a method's name and of row indices of genes, shape (n_rows,). It returns the velocities, float32
        with shape (n_rows, n_cells). Rows of genes that the method lacks may have any value.
    genes : dict of str to ndarray of bool, shape (n_genes,)
        Velocity genes of each method.
    n_cells : int
        Number of cells.

    Returns
    -------
    dict of (str, str) to Agreement
        Agreement of each pair of methods, in the order of `genes`.
    """
    pairs = list(combinations(genes, 2))
    shared_genes = np.flatnonzero(np.sum(list(genes.values()), axis=0) > 1)
    ranked_cells = np.arange(0, n_cells, math.ceil(n_cells / RANKED_CELLS))
    products = {pair: np.zeros((3, n_cells)) for pair in pairs}
    signs = {pair: [np.empty(0)] for pair in pairs}
    to_rank = {name: [np.empty((0, len(ranked_cells)), dtype=np.float32)] for name in genes}
    for rows in _gene_blocks(shared_genes, n_cells):
        velocities = {name: read(name, rows) for name in genes}
        for name in genes:
            to_rank[name].append(velocities[name][:, ranked_cells])
        for first, second in pairs:
            in_both = (genes[first] & genes[second])[rows]
            a, b = velocities[first][in_both], velocities[second][in_both]
            for total, (x, y) in zip(products[first, second], ((a, b), (a, a), (b, b)), strict=True):
                total += np.einsum("gc,gc->c", x, y, dtype=np.float64)
            signs[first, second].append(_same_sign(a, b))
    to_rank = {name: np.vstack(blocks) for name, blocks in to_rank.items()}
    agreements = {}
    for first, second in pairs:
        in_both = (genes[first] & genes[second])[shared_genes]
        a, b = to_rank[first][in_both], to_rank[second][in_both]
        product, *squares = products[first, second]
        lengths = np.sqrt(squares[0] * squares[1])
        agreements[first, second] = Agreement(
            cosines=np.divide(product, lengths, out=np.full(n_cells, np.nan), where=lengths > 0),
            ranks_of_genes=_row_correlations(a.T, b.T),
            ranks_of_cells=_row_correlations(a, b),
            signs=np.concatenate(signs[first, second]),
        )
    return agreements


def cell_agreement(agreements, names):
    """Return the mean cosine of each cell's velocities over the pairs of methods that include a method.

    Parameters
    ----------
    agreements : dict of (str, str) to Agreement
        Agreements of `velocity_agreements`.
    names : iterable of str
        Names of the methods.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_cells,)
        Mean for each method, NaN where no pair has a cosine.
    """
    return {
        name: mean_of_finite([agreement.cosines for pair, agreement in agreements.items() if name in pair])
        for name in names
    }


def mean_of_finite(rows):
    """Return the mean over rows of the values that are finite.

    Parameters
    ----------
    rows : iterable of ndarray of float, shape (n,)
        Rows.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where no row has a finite value.
    """
    total, n_finite = 0.0, 0
    for row in rows:
        total = total + np.nan_to_num(row)
        n_finite = n_finite + np.isfinite(row)
    return np.divide(total, n_finite, out=np.full(np.shape(total), np.nan), where=n_finite > 0)


def time_agreement(first, second):
    """Return the agreement of the pseudotimes and the end cells of two methods.

    Parameters
    ----------
    first, second : dict of str to ndarray of float, shape (n_cells,)
        `PSEUDOTIMES` and `end_points` that a method has.

    Returns
    -------
    dict of str to float
        For each of `PSEUDOTIMES` the Spearman correlation over the cells that have both. For `end_cells` the Jaccard
        index of the end cells of both methods, which is 0.03 by chance. NaN where a method has no such values.
    """
    agreement = {
        name: rank_correlation(first[name], second[name]) if name in first and name in second else math.nan
        for name in PSEUDOTIMES
    }
    ends = [end_cells(times["end_points"]) for times in (first, second) if "end_points" in times]
    n_either = np.sum(np.any(ends, axis=0)) if len(ends) == 2 else 0
    return {**agreement, "end_cells": float(np.sum(ends[0] & ends[1]) / n_either) if n_either else math.nan}


def end_cells(scores):
    """Return the cells with the highest scores as end points.

    Parameters
    ----------
    scores : ndarray of float, shape (n_cells,)
        Scores as end points, at least 0.

    Returns
    -------
    ndarray of bool, shape (n_cells,)
        True for the fraction `END_SHARE` of the cells with the highest scores, and for ties. Cells with a score of 0
        are never end cells.
    """
    return (scores >= np.quantile(scores, 1 - END_SHARE)) & (scores > 0)


def cluster_coherence(read, genes, distances, codes):
    """Return the in-cluster coherence of the velocities (Qiao and Huang 2021).

    It is the mean cosine between the velocities of a cell and of its neighbors in the same cluster, in gene space. The
    mean is over the neighbors, then over the cells of a cluster, then over the clusters. A high value says that
    velocities are smooth. It does not say that they are correct. Memory is about 40 bytes per pair of neighbors, plus a
    block of genes.

    Parameters
    ----------
    read : callable
        Function of row indices of genes, shape (n_rows,). It returns the velocities, float32 with shape
        (n_rows, n_cells).
    genes : ndarray of bool, shape (n_genes,)
        Velocity genes.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells that are ignored.

    Returns
    -------
    float
        In [-1, 1]. NaN if no cell has a neighbor in its cluster.
    """
    pairs = distances.tocoo()
    in_same_cluster = (codes[pairs.row] == codes[pairs.col]) & (codes[pairs.row] >= 0) & (pairs.row != pairs.col)
    cells, neighbors = pairs.row[in_same_cluster], pairs.col[in_same_cluster]
    if len(cells) == 0:
        return math.nan
    products, squares = np.zeros(len(cells)), np.zeros(len(codes))
    for rows in _gene_blocks(np.flatnonzero(genes), len(codes)):
        for velocity in read(rows):
            products += velocity[cells] * velocity[neighbors]
            squares += velocity.astype(np.float64) ** 2
    lengths = np.sqrt(squares[cells] * squares[neighbors])
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    n_neighbors = np.bincount(cells, minlength=len(codes))
    has_neighbors = n_neighbors > 0
    mean_cosines = np.bincount(cells, cosines, minlength=len(codes))[has_neighbors] / n_neighbors[has_neighbors]
    sizes = np.bincount(codes[has_neighbors])
    sums = np.bincount(codes[has_neighbors], mean_cosines)
    return float(np.mean(sums[sizes > 0] / sizes[sizes > 0]))


def _gene_blocks(rows, n_cells):
    """Return row indices of genes in blocks of at most `BLOCK` velocities."""
    block_size = max(1, BLOCK // n_cells)
    return [rows[first : first + block_size] for first in range(0, len(rows), block_size)]


def _same_sign(first, second):
    """Return the fraction of cells with equal signs for each gene, of those where both velocities differ from 0."""
    is_moving = (first != 0) & (second != 0)
    is_same = ((first > 0) == (second > 0)) & is_moving
    n_moving = is_moving.sum(axis=1)
    return np.divide(is_same.sum(axis=1), n_moving, out=np.full(len(first), np.nan), where=n_moving > 0)


def _row_correlations(first, second):
    """Return the Spearman correlation of the rows of two matrices, NaN where a row does not vary."""
    if 0 in first.shape:
        return np.full(len(first), np.nan)
    ranks = (rankdata(values, axis=1) for values in (first, second))
    centered = [row_ranks - row_ranks.mean(axis=1, keepdims=True) for row_ranks in ranks]
    lengths = np.linalg.norm(centered[0], axis=1) * np.linalg.norm(centered[1], axis=1)
    products = np.sum(centered[0] * centered[1], axis=1)
    return np.divide(products, lengths, out=np.full(len(first), np.nan), where=lengths > 0)
