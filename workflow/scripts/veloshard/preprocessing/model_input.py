"""Write the file that another group's model takes as input (`run_model`).

The file is plain HDF5, which every version of h5py reads. The format of AnnData files changes with the version.
"""

from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from veloshard.io import FilePath
from veloshard.io.hdf5 import save_arrays
from veloshard.io.readers.common import LAYERS
from veloshard.labels import as_labels
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.moments import first_moments

# Label of cells without a cluster, for models that need a label for each cell.
UNLABELED = "unknown"


def save_model_input(
    path: FilePath,
    prepared: AnnData,
    raw: AnnData,
    *,
    embedding: NDArray[np.floating[Any]],
    clusters: str = "",
    **attributes: Any,
) -> None:
    """Write cells and genes of a dataset with counts, moments, neighbor graph and embedding.

    Parameters
    ----------
    path : path-like
        File `model_input.h5` to write.
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset as `prepare_data` returns it.
    raw : AnnData
        Raw counts of the same cells. It has these genes and may have others.
    embedding : ndarray, shape (n_cells, n_dims)
        Embedding, of which the first two dimensions are written.
    clusters : str
        Column of `obs` with the clusters, ``""`` for no clusters.
    **attributes
        Attributes of the file. `control` is the name of a negative control.
    """
    neighborhood = as_neighborhood(averaging_weights(prepared.obsp["connectivities"]))
    raw = raw[prepared.obs_names, prepared.var_names]
    arrays = {
        "cells": prepared.obs_names.to_numpy(dtype=str),
        "genes": prepared.var_names.to_numpy(dtype=str),
        "X_pca": prepared.obsm["X_pca"],
        "X_embedding": embedding[:, :2],
        "connectivities": sparse.csr_matrix(prepared.obsp["connectivities"]),
        "distances": sparse.csr_matrix(prepared.obsp["distances"]),
    }
    if "PCs" in prepared.varm:
        arrays["PCs"] = prepared.varm["PCs"]
    if clusters:
        arrays["clusters"] = as_labels(prepared.obs[clusters]).astype(object).fillna(UNLABELED).to_numpy(dtype=str)
    for layer, moments in zip(LAYERS, ("Ms", "Mu"), strict=True):
        counts = sparse.csc_matrix(prepared.layers[layer], dtype=np.float32)
        arrays[layer] = counts.tocsr()
        arrays[moments] = first_moments(counts, neighborhood).T
        arrays[f"raw_{layer}"] = sparse.csr_matrix(raw.layers[layer], dtype=np.float32)
    save_arrays(path, arrays, n_neighbors=int(prepared.uns["prepare"]["n_neighbors"]), **attributes)
