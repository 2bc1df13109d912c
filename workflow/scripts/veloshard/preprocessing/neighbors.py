"""Compute principal components and the exact neighbor graph."""

import numpy as np
import scanpy as sc
from anndata import AnnData


def add_pcs(prepared: AnnData, *, n_pcs: int, pca: str | None = None, random_state: int = 0) -> None:
    """Set ``obsm["X_pca"]`` of a dataset to its principal components.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset with log-normalized counts in `X`. It is changed.
    n_pcs : int
        Number of components. It is lowered if there are too few cells or genes.
    pca : str, optional
        Key of `obsm` with components to use. By default components of `X` are computed, together with ``varm["PCs"]``
        and ``uns["pca"]``.
    random_state : int
        Seed of the starting vector.
    """
    if pca is not None:
        prepared.obsm["X_pca"] = prepared.obsm[pca][:, :n_pcs].astype(np.float32)
        return
    scores, loadings, ratio, variance = sc.pp.pca(
        prepared.X,
        n_comps=min(n_pcs, min(prepared.shape) - 1),
        svd_solver="arpack",  # exact, and needs no dense copy of X
        random_state=random_state,
        return_info=True,
    )
    prepared.obsm["X_pca"], prepared.varm["PCs"] = scores, loadings.T
    prepared.uns["pca"] = {"variance": variance, "variance_ratio": ratio}


def add_neighbors(prepared: AnnData, *, n_neighbors: int, random_state: int = 0) -> None:
    """Set the neighbor graph of a dataset, computed exactly on ``obsm["X_pca"]``.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset with ``obsm["X_pca"]``. It is changed.
    n_neighbors : int
        Number of neighbors per cell, the cell itself included. It is lowered if there are too few cells.
    random_state : int
        Seed of scanpy.
    """
    # If each cell were a neighbor of all others, all moments would be the mean of the dataset. Half of the cells is
    # scanpy's choice for small datasets.
    possible = n_neighbors if n_neighbors < prepared.n_obs else 1 + prepared.n_obs // 2
    sc.pp.neighbors(
        prepared,
        n_neighbors=possible,
        use_rep="X_pca",
        transformer="sklearn",  # exact, unlike the default
        random_state=random_state,
    )
