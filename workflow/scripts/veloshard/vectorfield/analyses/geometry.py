"""Geometry of a vector field at the cells: speed, divergence, acceleration, curvature and curl, by cell and by gene."""

import logging

import numpy as np
import pandas as pd

from veloshard.vectorfield import geometry
from veloshard.vectorfield.dataset import cluster_names, descending_magnitude, tabulate_by_gene
from veloshard.vectorfield.sparsevfc import velocity_at

log = logging.getLogger(__name__)


def compute_cell_geometry(dataset, pca_field, embedding_field):
    """Return geometric quantities of the vector fields at each cell.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    pca_field : VectorField
        Vector field on the principal components.
    embedding_field : VectorField
        Vector field on the embedding.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_cells,)
        On the principal components `speed`, `divergence`, and the lengths of `acceleration` and `curvature`; on the
        embedding `divergence_embedding` and `curl_embedding`, NaN for cells without an embedding.
    """
    pcs, embedded = dataset.pcs, np.isfinite(dataset.embedding).all(axis=1)
    arrays = {
        "speed": np.linalg.norm(velocity_at(pca_field, pcs), axis=1),
        "divergence": geometry.divergence(pca_field, pcs),
        "acceleration": np.linalg.norm(geometry.acceleration(pca_field, pcs), axis=1),
        "curvature": np.linalg.norm(geometry.curvature(pca_field, pcs), axis=1),
    }
    for name, derivative in (("divergence", geometry.divergence), ("curl", geometry.curl)):
        values = arrays[f"{name}_embedding"] = np.full(len(pcs), np.nan)
        values[embedded] = derivative(embedding_field, dataset.embedding[embedded])
    return arrays


def tabulate_cells(dataset, arrays):
    """Return a table with one row per cell.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    arrays : dict of str to ndarray, shape (n_cells,)
        Values of the cells, such as those of `compute_cell_geometry`.

    Returns
    -------
    pandas.DataFrame
        Columns `cell`, `cluster` and one column per array.
    """
    return pd.DataFrame({"cell": dataset.cells, "cluster": cluster_names(dataset, dataset.codes), **arrays})


def tabulate_genes(dataset, field):
    """Return a table of the mean velocity, acceleration and curvature of each gene in each cluster.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    field : VectorField
        Vector field on the principal components.

    Returns
    -------
    pandas.DataFrame
        One row per cluster and gene, by decreasing absolute acceleration in each cluster. Without PCA loadings, the
        table is empty and a warning is logged.
    """
    vectors = {
        "velocity": velocity_at(field, dataset.pcs),
        "acceleration": geometry.acceleration(field, dataset.pcs),
        "curvature": geometry.curvature(field, dataset.pcs),
    }
    if dataset.pca is None:
        log.warning("the table of genes is empty, because the imported principal components have no loadings")
        return pd.DataFrame(columns=["cluster", "gene", *vectors])
    return tabulate_by_gene(dataset, vectors).sort_values(
        ["cluster", "acceleration"], key=descending_magnitude, kind="stable", ignore_index=True
    )
