"""Compute first and second moments: means of counts over each cell's neighborhood."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse

from veloshard.io import FilePath
from veloshard.io.prepared import load_gene_block
from veloshard.neighborhood import Neighborhood


def first_moments(counts: sparse.csc_matrix, neighborhood: Neighborhood) -> NDArray[np.float32]:
    """Return the means of counts over the neighborhood of each cell (La Manno et al. 2018).

    Each mean is summed in the order of the neighbors and in single precision. Results are therefore bitwise identical
    to SciPy's sparse product, from which published fits start.

    Parameters
    ----------
    counts : csc_matrix of float32, shape (n_cells, n_genes)
        Normalized counts.
    neighborhood : Neighborhood
        Averaging weights of the cells.

    Returns
    -------
    ndarray of float32, shape (n_genes, n_cells)
        First moments.
    """
    moments: NDArray[np.float32] = _average(counts.indptr, counts.indices, counts.data, counts.shape[1], *neighborhood)
    return moments


def second_moments(
    spliced: sparse.csc_matrix, unspliced: sparse.csc_matrix, neighborhood: Neighborhood
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the means of s * s and s * u over the neighborhood of each cell (Bergen et al. 2020).

    Parameters
    ----------
    spliced, unspliced : csc_matrix of float32, shape (n_cells, n_genes)
        Normalized counts.
    neighborhood : Neighborhood
        Averaging weights of the cells.

    Returns
    -------
    second_ss, second_us : ndarray of float32, shape (n_genes, n_cells)
        Second moments, not centered.
    """
    squares = spliced.multiply(spliced).tocsc()
    products = spliced.multiply(unspliced).tocsc()
    return first_moments(squares, neighborhood), first_moments(products, neighborhood)


def sampling_variances(
    counts: sparse.csc_matrix, means: NDArray[np.floating], neighborhood: Neighborhood
) -> NDArray[np.float64]:
    """Return the sampling variances of first moments, averaged over the cells.

    The sampling variance of a first moment is the variance of the counts within the neighborhood, divided by the size
    of the neighborhood.

    Parameters
    ----------
    counts : csc_matrix of float32, shape (n_cells, n_genes)
        Normalized counts.
    means : ndarray, shape (n_genes, n_cells)
        First moments of the counts.
    neighborhood : Neighborhood
        Averaging weights of the cells.

    Returns
    -------
    ndarray of float64, shape (n_genes,)
        Mean sampling variance of each gene.
    """
    n_cells = len(neighborhood.indptr) - 1
    # sum of squared weights of each cell over all neighborhoods that contain it
    weight = np.bincount(neighborhood.indices, weights=neighborhood.weights.astype(np.float64) ** 2, minlength=n_cells)
    squares = sparse.csc_matrix((counts.data.astype(np.float64) ** 2, counts.indices, counts.indptr), counts.shape)
    size = np.diff(neighborhood.indptr)
    within = squares.T @ weight - np.einsum("gc,gc,c->g", means, means, 1.0 / size)
    variances: NDArray[np.float64] = np.maximum(within / n_cells, 0.0)
    return variances


@njit(cache=True, parallel=True)
def _average(column_starts, rows, data, n_genes, indptr, indices, weights):  # type: ignore[no-untyped-def]
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


def load_moments(path: FilePath, genes: NDArray[np.bool_], layer: str = "spliced") -> NDArray[np.float32]:
    """Return the first moments of some genes of a prepared dataset.

    Parameters
    ----------
    path : path-like
        File `prepared.h5ad`.
    genes : ndarray of bool, shape (n_genes,)
        Genes to load.
    layer : str
        ``"spliced"`` or ``"unspliced"``.

    Returns
    -------
    ndarray of float32, shape (n_cells, n_loaded_genes)
        C-contiguous.
    """
    block, _ = load_gene_block(path)
    counts = getattr(block, layer)[:, np.flatnonzero(genes)]
    return np.ascontiguousarray(first_moments(counts, block.neighborhood).T)
