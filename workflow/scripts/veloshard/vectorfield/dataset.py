"""Inputs of the vector field analyses of a dataset, files of vector fields, and conversions that analyses share."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from veloshard.errors import InputError, choices
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_annotations, load_pcs, load_prepared
from veloshard.labels import as_label, cluster_codes
from veloshard.vectorfield import perturbation
from veloshard.vectorfield.sparsevfc import VectorField

ALL_CELLS = "(all cells)"

# number of nearest cells whose mean embedding is the embedding of a point in PCA space
N_NEAREST_CELLS = 10


class Dataset(NamedTuple):
    """Arrays of a dataset that its vector field analyses use.

    Attributes
    ----------
    cells : ndarray of str, shape (n_cells,)
        Names of the cells.
    genes : ndarray of str, shape (n_genes,)
        Names of the genes.
    pcs : ndarray of float64, shape (n_cells, n_dims)
        PCA coordinates of the cells.
    embedding : ndarray of float64, shape (n_cells, 2)
        Embedding of the cells; NaN for cells without coordinates.
    pca : PCALoadings or None
        Loadings and means of the genes; None if the principal components were imported without loadings.
    clusters : list of str
        Names of the clusters.
    codes : ndarray of int, shape (n_cells,)
        Index of each cell's cluster in `clusters`, -1 for none.
    distances : scipy.sparse.csr_matrix, shape (n_cells, n_cells)
        Distances of the neighbors.
    """

    cells: np.ndarray
    genes: np.ndarray
    pcs: np.ndarray
    embedding: np.ndarray
    pca: perturbation.PCALoadings | None
    clusters: list
    codes: np.ndarray
    distances: sparse.csr_matrix


def load_dataset(prepared, embedding, *, clusters):
    """Return the inputs of the vector field analyses.

    Parameters
    ----------
    prepared : str or path-like
        The file prepared.h5ad.
    embedding : str or path-like
        The file embedding.h5.
    clusters : str
        Column of the annotations with the clusters, "" for none.

    Returns
    -------
    Dataset
        Arrays of the dataset.
    """
    data = load_prepared(prepared)
    names, codes = cluster_codes(load_annotations(prepared).obs, clusters)
    pcs, loadings, means = load_pcs(prepared)
    return Dataset(
        cells=data.cells,
        genes=data.genes,
        pcs=pcs,
        embedding=load_coordinates(embedding, "embedding"),
        pca=None if loadings is None else perturbation.PCALoadings(loadings, means),
        clusters=names,
        codes=codes,
        distances=data.distances,
    )


def load_coordinates(path, basis):
    """Return the coordinates of the cells in the space of a vector field.

    Parameters
    ----------
    path : str or path-like
        The file prepared.h5ad for principal components, or embedding.h5.
    basis : str
        "pca", or anything else for the first two dimensions of the embedding.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_dims)
        PCA coordinates or embedding; NaN for cells without coordinates.
    """
    if basis == "pca":
        return load_pcs(path)[0]
    (coordinates,) = load_arrays(path).values()
    return np.asarray(coordinates[:, :2], dtype=np.float64)


def vector_field_arrays(learned):
    """Return the arrays of a learned vector field by name, for `save_arrays`.

    Parameters
    ----------
    learned : LearnedField
        The learned vector field.

    Returns
    -------
    dict of str to ndarray
        Arrays of the field and its diagnostics.
    """
    arrays = learned._asdict()
    return {**arrays.pop("field")._asdict(), **arrays}


def load_vector_field(path):
    """Return a vector field and its inlier probabilities from a file.

    Parameters
    ----------
    path : str or path-like
        File with the arrays of `vector_field_arrays`.

    Returns
    -------
    field : VectorField
        The vector field.
    inlier_probability : ndarray of float64, shape (n_cells,)
        Inlier probability of each cell; NaN for cells without a velocity.
    """
    arrays = load_arrays(path)
    return VectorField(*(arrays[name] for name in VectorField._fields)), arrays["inlier_probability"]


def gene_rows(dataset, genes, *, key):
    """Return the rows of genes.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    genes : iterable of str
        Names of the genes.
    key : str
        Argument or option that names the genes, for error messages.

    Returns
    -------
    ndarray of int
        Row of each gene in `dataset.genes`.

    Raises
    ------
    InputError
        If a gene is missing, or the loadings of the genes are unknown.
    """
    if dataset.pca is None:
        raise InputError(
            f"{key} needs the PCA loadings of the genes, and the imported principal components have none. Compute the "
            f"principal components from the counts instead of importing them, or remove {key}."
        )
    row_of = {gene: row for row, gene in enumerate(dataset.genes)}
    missing = [gene for gene in genes if gene not in row_of]
    if missing:
        raise InputError(
            f"{key}: {missing[0]!r} is not among the {len(row_of)} genes of the prepared data "
            f"({choices(dataset.genes, missing[0])}). Name another gene, or prepare the data with a larger n_top_genes."
        )
    return np.array([row_of[gene] for gene in genes])


def tabulate_by_gene(dataset, vectors):
    """Return a table of mean vectors in gene space, over all cells and over each cluster.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset, with PCA loadings.
    vectors : dict of str to ndarray of float64, shape (n_cells, n_dims)
        Vectors of the cells in PCA space, by the name of their column.

    Returns
    -------
    pandas.DataFrame
        One row per cluster and gene, with columns `cluster`, `gene` and one column per item of `vectors`.
    """
    groups = [ALL_CELLS, *dataset.clusters]
    columns = {"cluster": np.repeat(groups, len(dataset.genes)), "gene": np.tile(dataset.genes, len(groups))}
    one_group = np.zeros(len(dataset.cells), dtype=int)
    for name, values in vectors.items():
        means = [
            perturbation.gene_effects(values, dataset.pca, codes, n_groups)
            for codes, n_groups in ((one_group, 1), (dataset.codes, len(dataset.clusters)))
        ]
        columns[name] = np.concatenate(means, axis=1).T.ravel()
    table = pd.DataFrame(columns)
    table["cluster"] = pd.Categorical(table["cluster"], groups)
    return table


def descending_magnitude(column):
    """Return a sort key: numbers by decreasing absolute value, other columns unchanged."""
    return -column.abs() if pd.api.types.is_float_dtype(column) else column


def map_to_embedding(dataset, pcs):
    """Return the embedding of points in PCA space: the mean embedding of their nearest cells.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    pcs : ndarray of float64, shape (n_points, n_dims)
        PCA coordinates of the points.

    Returns
    -------
    embedding : ndarray of float64, shape (n_points, 2)
        Mean embedding of the 10 nearest cells.
    nearest_cell : ndarray of int, shape (n_points,)
        Index of the nearest cell among those with an embedding.
    """
    embedded = np.flatnonzero(np.isfinite(dataset.embedding).all(axis=1))
    nearest = NearestNeighbors(n_neighbors=min(N_NEAREST_CELLS, len(embedded))).fit(dataset.pcs[embedded])
    neighbors = embedded[nearest.kneighbors(pcs, return_distance=False)]
    return dataset.embedding[neighbors].mean(axis=1), neighbors[:, 0]


def cluster_code(dataset, label, *, key):
    """Return the index of a cluster.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    label : str or number
        Label of the cluster.
    key : str
        Argument or option that names the cluster, for error messages.

    Returns
    -------
    int
        Index in `dataset.clusters`.

    Raises
    ------
    InputError
        If there is no such cluster.
    """
    if as_label(label) not in dataset.clusters:
        raise InputError(f"{key}: no cluster is labeled {label!r} ({choices(dataset.clusters, label)}). Correct {key}.")
    return dataset.clusters.index(as_label(label))


def central_cell(dataset, label, *, key):
    """Return the cell of a cluster that is nearest to the mean of its cells in PCA space.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    label : str or number
        Label of the cluster.
    key : str
        Argument or option that names the cluster, for error messages.

    Returns
    -------
    int
        Index of the cell.
    """
    members = np.flatnonzero(dataset.codes == cluster_code(dataset, label, key=key))
    pcs = dataset.pcs[members]
    return members[np.argmin(np.linalg.norm(pcs - pcs.mean(axis=0), axis=1))]


def cluster_names(dataset, codes):
    """Return the names of clusters from their indices, "" for -1.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    codes : ndarray of int
        Indices in `dataset.clusters`, -1 for none.

    Returns
    -------
    ndarray of str, shape of `codes`
        Names of the clusters.
    """
    return np.array([*dataset.clusters, ""], dtype=object)[codes]
