"""Compute or select the embedding that figures show."""

from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray

from veloshard.errors import InputError, choices

COMPUTED_EMBEDDING = "X_umap"


def compute_embedding(
    prepared: AnnData, *, embedding: str | None = None, random_state: int = 0
) -> tuple[str, NDArray[np.floating[Any]]]:
    """Return the embedding that figures show.

    Parameters
    ----------
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset as `prepare_data` returns it.
    embedding : str, optional
        Key of `obsm`. The default is ``"X_umap"``, which is computed if the dataset does not have it.
    random_state : int
        Seed of UMAP.

    Returns
    -------
    name : str
        Key of `obsm`.
    coordinates : ndarray, shape (n_cells, n_dims)
        Coordinates of the cells.

    Raises
    ------
    InputError
        If the dataset does not have the embedding and it is not ``"X_umap"``.
    """
    name = embedding or COMPUTED_EMBEDDING
    if name in prepared.obsm:
        return name, prepared.obsm[name]
    if name != COMPUTED_EMBEDDING:
        raise InputError(f"no embedding {name!r} in obsm ({choices(prepared.obsm, name)})")
    # spectral initialization computes three eigenvectors, for which there must be four cells
    initialization = "spectral" if prepared.n_obs > 3 else "random"
    with_umap = sc.tl.umap(prepared, init_pos=initialization, random_state=random_state, copy=True)
    return name, with_umap.obsm["X_umap"]
