"""How far several methods agree about the same cells: velocities, orders, ends, and what neighbours have in common."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from veloshard.time import rank_correlation

# cells of which velocities are ranked; the standard error of a median over them is below a hundredth
RANKED_CELLS = 2000
# velocities of a method that are in memory at once: 16 MB
BLOCK = 2**22
# of all cells, those that count as ends
END_SHARE = 0.05
# orders of the cells that methods may share
ORDERS = ("velocity_pseudotime", "latent_time", "model_time")


class Agreement(NamedTuple):
    """Agreement of two methods about the velocities in the genes that both have; float64, NaN where it cannot be told.

    cosines : (n_cells,), of the two velocities of a cell.
    ranks_of_genes : (n_ranked,), Spearman correlation over the genes in a cell, of every so many cells.
    ranks_of_cells : (n_genes,), the same over those cells in a gene: free of the gene's scale.
    signs : (n_genes,), share of the cells in which both go up or both go down, of those where both move.
    """

    cosines: np.ndarray
    ranks_of_genes: np.ndarray
    ranks_of_cells: np.ndarray
    signs: np.ndarray


def velocity_agreements(read, genes, n_cells):
    """`Agreement` of each pair of methods, by their names in the order of `genes`.

    read : function of a method's name and of rows of genes, ints (n_rows,), that returns their velocities, float32
        (n_rows, n_cells); of rows that a method does not have any.   genes : {name: bool (n_genes,)}, genes that count.

    Genes are read in blocks.  In memory are 24 bytes for each pair of methods and cell, and the velocities of
    `RANKED_CELLS` cells.
    """
    pairs = list(combinations(genes, 2))
    shared = np.flatnonzero(np.sum(list(genes.values()), axis=0) > 1)
    ranked = np.arange(0, n_cells, math.ceil(n_cells / RANKED_CELLS))
    products = {pair: np.zeros((3, n_cells)) for pair in pairs}
    signs = {pair: [np.empty(0)] for pair in pairs}
    sampled = {name: [np.empty((0, len(ranked)), dtype=np.float32)] for name in genes}
    for rows in blocks_of(shared, n_cells):
        velocities = {name: read(name, rows) for name in genes}
        for name in genes:
            sampled[name].append(velocities[name][:, ranked])
        for first, second in pairs:
            both = (genes[first] & genes[second])[rows]
            a, b = velocities[first][both], velocities[second][both]
            for total, (x, y) in zip(products[first, second], ((a, b), (a, a), (b, b)), strict=True):
                total += np.einsum("gc,gc->c", x, y, dtype=np.float64)
            signs[first, second].append(_same_sign(a, b))
    sampled = {name: np.vstack(parts) for name, parts in sampled.items()}
    found = {}
    for first, second in pairs:
        both = (genes[first] & genes[second])[shared]
        a, b = sampled[first][both], sampled[second][both]
        product, *squares = products[first, second]
        lengths = np.sqrt(squares[0] * squares[1])
        found[first, second] = Agreement(
            cosines=np.divide(product, lengths, out=np.full(n_cells, np.nan), where=lengths > 0),
            ranks_of_genes=_row_correlations(a.T, b.T),
            ranks_of_cells=_row_correlations(a, b),
            signs=np.concatenate(signs[first, second]),
        )
    return found


def blocks_of(rows, n_cells):
    """Rows of genes, ints, in parts of which the velocities of one method are some 16 MB; none of no rows."""
    at_once = max(1, BLOCK // n_cells)
    return [rows[first : first + at_once] for first in range(0, len(rows), at_once)]


def cell_agreement(agreements, names):
    """Mean cosine of the velocities of each cell over pairs of methods: NaN where no pair has one.

    agreements : of `velocity_agreements`, some pairs.   names : of methods.
    Returns {name: (n_cells,)}, the mean over the pairs that a method is in.
    """
    return {name: mean_known([found.cosines for pair, found in agreements.items() if name in pair]) for name in names}


def mean_known(rows):
    """Mean over rows, (n_rows, n), of what is not NaN: float64 (n,), NaN where nothing is known."""
    total, known = 0.0, 0
    for row in rows:
        total = total + np.nan_to_num(row)
        known = known + np.isfinite(row)
    return np.divide(total, known, out=np.full(np.shape(total), np.nan), where=known > 0)


def order_agreement(first, second):
    """Agreement of two methods about the order of the cells and about its ends, by name; NaN where one has none.

    first, second : {name: (n_cells,)}, of `ORDERS` and `end_points`, those that a method has.
    Of the orders the Spearman correlation over the cells that have both.  Of the ends, `end_cells`: the cells that
    both count among the `END_SHARE` likeliest ends, over those that either does (Jaccard's index; by chance .03).
    """
    found = {
        name: rank_correlation(first[name], second[name]) if name in first and name in second else math.nan
        for name in ORDERS
    }
    ends = [end_cells(orders["end_points"]) for orders in (first, second) if "end_points" in orders]
    either = np.sum(np.any(ends, axis=0)) if len(ends) == 2 else 0
    return {**found, "end_cells": float(np.sum(ends[0] & ends[1]) / either) if either else math.nan}


def end_cells(scores):
    """The `END_SHARE` of the cells with the highest scores, and what equals them; none with a score of 0."""
    return (scores >= np.quantile(scores, 1 - END_SHARE)) & (scores > 0)


def cluster_coherence(read, genes, distances, codes):
    """Mean cosine between the velocities of a cell and of its neighbours of the same cluster.

    In-cluster coherence (Qiao and Huang 2021), of the velocities in gene space: the mean over the neighbours, then over
    the cells of a cluster, then over the clusters.  It says that velocities are smooth, not that they are right.

    read : function of rows of genes, ints, that returns float32 (n_rows, n_cells).   genes : bool (n_genes,).
    distances : CSR (n_cells, n_cells); what is stored is a neighbour.   codes : (n_cells,) ints, -1 for cells that do
    not count.  Returns a float in [-1, 1], NaN where no neighbours are of one cluster.  Memory: some 40 bytes for each
    pair of neighbours, and a block of genes.
    """
    pairs = distances.tocoo()
    alike = (codes[pairs.row] == codes[pairs.col]) & (codes[pairs.row] >= 0) & (pairs.row != pairs.col)
    cells, others = pairs.row[alike], pairs.col[alike]
    if len(cells) == 0:
        return math.nan
    products, squares = np.zeros(len(cells)), np.zeros(len(codes))
    for rows in blocks_of(np.flatnonzero(genes), len(codes)):
        for velocity in read(rows):
            products += velocity[cells] * velocity[others]
            squares += velocity.astype(np.float64) ** 2
    lengths = np.sqrt(squares[cells] * squares[others])
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    n_neighbors = np.bincount(cells, minlength=len(codes))
    counted = n_neighbors > 0
    of_cells = np.bincount(cells, cosines, minlength=len(codes))[counted] / n_neighbors[counted]
    sizes = np.bincount(codes[counted])
    return float(np.mean(np.bincount(codes[counted], of_cells)[sizes > 0] / sizes[sizes > 0]))


def _same_sign(first, second):
    """Share of the cells in which two velocities, (n_genes, n_cells), have one sign, of those where neither is 0."""
    moving = (first != 0) & (second != 0)
    same = ((first > 0) == (second > 0)) & moving
    n_moving = moving.sum(axis=1)
    return np.divide(same.sum(axis=1), n_moving, out=np.full(len(first), np.nan), where=n_moving > 0)


def _row_correlations(first, second):
    """Spearman correlation of the rows of two matrices of the same shape; NaN where one does not vary."""
    if 0 in first.shape:
        return np.full(len(first), np.nan)
    ranks = (rankdata(part, axis=1) for part in (first, second))
    centred = [of_rows - of_rows.mean(axis=1, keepdims=True) for of_rows in ranks]
    lengths = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    products = np.sum(centred[0] * centred[1], axis=1)
    return np.divide(products, lengths, out=np.full(len(first), np.nan), where=lengths > 0)
