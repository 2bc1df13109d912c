"""Normalize counts to the median cell size."""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from veloshard.io.readers.common import LAYERS
from veloshard.preprocessing.gene_selection import highly_variable_genes
from veloshard.preprocessing.quality import cell_metrics


def cell_sizes(adata: AnnData, layer: str) -> NDArray[np.float32]:
    """Return the size of each cell: its counts over all genes, including genes that are left out later.

    Parameters
    ----------
    adata : AnnData, shape (n_cells, n_genes)
        Counts of all genes.
    layer : str
        ``"spliced"`` or ``"unspliced"``.

    Returns
    -------
    ndarray of float32, shape (n_cells,)
        Column ``initial_size_<layer>`` of `obs`, in which scVelo keeps sizes from before genes were filtered. Without
        this column, the sum of the layer.
    """
    column = f"initial_size_{layer}"
    if column in adata.obs:
        sizes: NDArray[np.float32] = adata.obs[column].to_numpy(dtype=np.float32)
        return sizes
    return np.ravel(adata.layers[layer].sum(axis=1, dtype=np.float64)).astype(np.float32)


def normalize_dataset(adata: AnnData, genes: NDArray[np.bool_], *, n_top_genes: int) -> AnnData:
    """Return a dataset with counts normalized to the median cell size, logarithms and highly variable genes.

    Parameters
    ----------
    adata : AnnData, shape (n_cells, n_genes)
        Counts of all genes, from which cell sizes are computed.
    genes : ndarray of bool, shape (n_genes,)
        Genes to keep.
    n_top_genes : int
        Number of highly variable genes to keep of these, see `highly_variable_genes`.

    Returns
    -------
    AnnData, shape (n_cells, n_kept_genes)
        `X`, `layers` and `obs` as `prepare_data` returns them; other parts as in `adata`.
    """
    counts = [adata.layers[layer] for layer in LAYERS]
    sizes = [cell_sizes(adata, layer) for layer in LAYERS]
    scaled = [normalize_counts(layer[:, genes], size) for layer, size in zip(counts, sizes, strict=True)]
    logged = scaled[0].log1p()
    is_variable = highly_variable_genes(logged, n_top_genes=n_top_genes)
    return AnnData(
        X=logged[:, is_variable],
        obs=adata.obs.assign(
            initial_size=sizes[0],
            initial_size_spliced=sizes[0],
            initial_size_unspliced=sizes[1],
            **cell_metrics(*counts, *sizes),
        ),
        var=adata.var[genes][is_variable],
        # by column, so that a job can read a few genes
        layers={layer: values[:, is_variable].tocsc() for layer, values in zip(LAYERS, scaled, strict=True)},
        obsm=dict(adata.obsm),
        obsp=dict(adata.obsp),
        uns=dict(adata.uns),
    )


def normalize_counts(counts: sparse.csr_matrix, sizes: NDArray[np.float32]) -> sparse.csr_matrix:
    """Return counts scaled to the median cell size.

    Parameters
    ----------
    counts : csr_matrix, shape (n_cells, n_genes)
        Counts of a layer.
    sizes : ndarray of float32, shape (n_cells,)
        Sizes of the cells in that layer, see `cell_sizes`.

    Returns
    -------
    csr_matrix of float32, shape (n_cells, n_genes)
        x_i median(size) / size_i. Cells of size 0 are not scaled. If the median is 0, counts are divided by the size.
    """
    # single precision and this order of operations give the values from which published scVelo results start
    relative = sizes / (np.median(sizes) or np.float32(1))
    factor = np.float32(1) / np.where(relative == 0, np.float32(1), relative)
    scaled = counts.astype(np.float32)
    scaled.data *= np.repeat(factor, np.diff(scaled.indptr))
    return scaled
