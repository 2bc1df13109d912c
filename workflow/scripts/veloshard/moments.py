"""First and second moments: means of counts over each cell's neighbourhood (models of La Manno 2018, Bergen 2020)."""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from scipy import sparse


class Neighborhood(NamedTuple):
    """Averaging weights over each cell's neighbourhood, a row-normalised CSR matrix of cells x cells.

    indptr : (n_cells + 1,) and indices : (n_edges,), uint32.  Unsigned, because a signed index costs a
        check for wrap-around at every one of millions of look-ups.
    weights : (n_edges,) float32, 1 / size of the neighbourhood (the cell itself included).
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray


def neighborhood(*blocks):
    """`Neighborhood` of SciPy CSR matrices whose rows each sum to one, and follow each other from matrix to matrix."""
    sizes = np.concatenate([np.diff(block.indptr) for block in blocks])
    return Neighborhood(
        np.append(0, np.cumsum(sizes)).astype(np.uint32),
        np.concatenate([block.indices for block in blocks], dtype=np.uint32, casting="unsafe"),
        np.concatenate([block.data for block in blocks], dtype=np.float32),
    )


def first_moments(counts, around):
    """Mean over the neighbourhood of each cell, gene by gene.

    counts : CSC matrix (n_cells, n_genes), float32.   around : `Neighborhood` of n_cells cells.
    Returns float32 (n_genes, n_cells).  Each entry is summed in the order of the neighbours, in single
    precision, as the sparse product of SciPy does it: published fits start from exactly these bits.
    """
    return _average(counts.indptr, counts.indices, counts.data, counts.shape[1], *around)


def second_moments(spliced, unspliced, around):
    """Means over the neighbourhood of s*s and s*u: two float32 arrays (n_genes, n_cells).

    spliced, unspliced : CSC matrices (n_cells, n_genes), float32, same shape.
    """
    squares = spliced.multiply(spliced).tocsc()
    products = spliced.multiply(unspliced).tocsc()
    return first_moments(squares, around), first_moments(products, around)


def sampling_variances(counts, means, around):
    """Variance of a cell's first moment by the chance of which neighbors were drawn, mean over the cells: (n_genes,).

    That is the variance of the counts within a neighborhood over its size.
    counts : CSC matrix (n_cells, n_genes), float32.   means : (n_genes, n_cells), their first moments.
    """
    n_cells = len(around.indptr) - 1
    # what a count weighs in all the neighborhoods that it is in
    weight = np.bincount(around.indices, weights=around.weights.astype(np.float64) ** 2, minlength=n_cells)
    squares = sparse.csc_matrix((counts.data.astype(np.float64) ** 2, counts.indices, counts.indptr), counts.shape)
    size = np.diff(around.indptr)
    within = squares.T @ weight - np.einsum("gc,gc,c->g", means, means, 1.0 / size)
    return np.maximum(within / n_cells, 0.0)


@njit(cache=True, parallel=True)
def _average(column_starts, rows, data, n_genes, indptr, indices, weights):
    n_cells = len(indptr) - 1
    means = np.empty((n_genes, n_cells), dtype=np.float32)
    for gene in prange(n_genes):
        values = np.zeros(n_cells, dtype=np.float32)
        for k in range(column_starts[gene], column_starts[gene + 1]):
            values[rows[k]] = data[k]
        for cell in range(n_cells):
            total = np.float32(0.0)
            for k in range(indptr[cell], indptr[cell + 1]):
                total += weights[k] * values[indices[k]]
            means[gene, cell] = total
    return means
