"""Read and write `prepared.h5ad`: normalized counts, principal components and the neighbor graph of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from veloshard import contract
from veloshard.errors import InputError
from veloshard.io import FilePath
from veloshard.io.hdf5 import decode_text, read_columns, read_names, read_rows, read_sparse, save_anndata
from veloshard.neighborhood import Neighborhood, as_neighborhood, averaging_weights

if TYPE_CHECKING:
    from anndata import AnnData

TRUE_VELOCITY = "true_velocity"


# Rows of a sparse matrix that are read at a time: about 10 MB of a neighbor graph.
CELLS_AT_ONCE = 1 << 14


class Prepared(NamedTuple):
    """Content of `prepared.h5ad` without the counts.

    Attributes
    ----------
    fingerprint : str
        Hash of names, counts and neighbor graph.
    genes, cells : ndarray of str, shape (n_genes,) and (n_cells,)
        Names of genes and cells.
    distances, connectivities : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph.
    """

    fingerprint: str
    genes: NDArray[np.str_]
    cells: NDArray[np.str_]
    distances: sparse.csr_matrix
    connectivities: sparse.csr_matrix


def shard_bounds(shard: str, n_elements: int) -> tuple[int, int]:
    """Return the first element of a shard and the first element after it.

    Shards are contiguous. Their sizes differ by at most one.

    Parameters
    ----------
    shard : str
        Name of the shard, such as ``"2-of-4"``.
    n_elements : int
        Number of genes or cells that are split.

    Returns
    -------
    start : int
        First element of the shard.
    stop : int
        First element after the shard.
    """
    number, n_shards = (int(part) for part in shard.split("-of-"))
    return (number - 1) * n_elements // n_shards, number * n_elements // n_shards


def load_prepared(path: FilePath) -> Prepared:
    """Return the content of `prepared.h5ad` without the counts.

    Parameters
    ----------
    path : path-like
        File that `save_prepared` wrote.

    Returns
    -------
    Prepared
        Names, neighbor graph and fingerprint.
    """
    with h5py.File(path) as file:
        return Prepared(
            fingerprint=decode_text(file["uns/prepare/fingerprint"]),
            genes=read_names(file["var"]),
            cells=read_names(file["obs"]),
            distances=read_sparse(file["obsp/distances"]),
            connectivities=read_sparse(file["obsp/connectivities"]),
        )


def load_gene_block(
    path: FilePath, shard: str = "1-of-1", *, cells_at_once: int = CELLS_AT_ONCE
) -> tuple[contract.GeneBlock, str]:
    """Return the input of a velocity method for one gene shard.

    Parameters
    ----------
    path : path-like
        File `prepared.h5ad`.
    shard : str
        Name of the gene shard, such as ``"2-of-5"``.
    cells_at_once : int
        Rows of the neighbor graph that are read at a time. This changes the memory, not the result.

    Returns
    -------
    block : GeneBlock
        Normalized counts of the genes, and averaging weights of all cells.
    fingerprint : str
        Fingerprint of the file.
    """
    with h5py.File(path) as file:
        names = read_names(file["var"])
        start, stop = shard_bounds(shard, len(names))
        block = contract.GeneBlock(
            names[start:stop],
            read_columns(file["layers/spliced"], start, stop),
            read_columns(file["layers/unspliced"], start, stop),
            _read_neighborhood(file, cells_at_once),
        )
        return block, decode_text(file["uns/prepare/fingerprint"])


def load_neighborhood(path: FilePath) -> Neighborhood:
    """Return the averaging weights of all cells.

    Parameters
    ----------
    path : path-like
        File `prepared.h5ad`.

    Returns
    -------
    Neighborhood
        Averaging weights.
    """
    with h5py.File(path) as file:
        return _read_neighborhood(file, CELLS_AT_ONCE)


def _read_neighborhood(file: h5py.File, cells_at_once: int) -> Neighborhood:
    graph = file["obsp/connectivities"]
    n_cells = graph.attrs["shape"][0]
    return as_neighborhood(
        *(
            averaging_weights(read_rows(graph, first, min(first + cells_at_once, n_cells)), first)
            for first in range(0, n_cells, cells_at_once)
        )
    )


def load_gene_counts(path: FilePath, layer: str, gene: int) -> sparse.csc_matrix:
    """Return the normalized counts of one gene.

    Parameters
    ----------
    path : path-like
        File `prepared.h5ad`.
    layer : str
        ``"spliced"`` or ``"unspliced"``.
    gene : int
        Index of the gene.

    Returns
    -------
    csc_matrix of float32, shape (n_cells, 1)
        Counts.
    """
    with h5py.File(path) as file:
        return read_columns(file["layers"][layer], gene, gene + 1)


def save_prepared(path: FilePath, prepared: AnnData) -> None:
    """Write a prepared dataset with its fingerprint.

    Parameters
    ----------
    path : path-like
        File to write.
    prepared : AnnData, shape (n_cells, n_genes)
        Dataset as `prepare_data` returns it. Its ``uns["prepare"]["fingerprint"]`` is set.
    """
    prepared.uns["prepare"]["fingerprint"] = _fingerprint(prepared)
    save_anndata(path, prepared)


def _fingerprint(prepared: AnnData) -> str:
    """Return a hash of all that a fit depends on: names, counts and neighbor graph."""
    digest = hashlib.sha256("\n".join([*prepared.obs_names, *prepared.var_names]).encode())
    layers, graphs = prepared.layers, prepared.obsp
    for matrix in (layers["spliced"], layers["unspliced"], graphs["connectivities"], graphs["distances"]):
        for part in (matrix.data, matrix.indices, matrix.indptr):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def load_pcs(
    path: FilePath,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return principal components, loadings and gene means, with pcs = (X - means) @ loadings.

    Parameters
    ----------
    path : path-like
        File `prepared.h5ad`.

    Returns
    -------
    pcs : ndarray of float64, shape (n_cells, n_pcs)
        Principal components of the cells.
    loadings : ndarray of float64, shape (n_genes, n_pcs), or None
        None if the components came with the input file.
    means : ndarray of float64, shape (n_genes,), or None
        Means of X over the cells. None if the components came with the input file.
    """
    with h5py.File(path) as file:
        pcs = file["obsm/X_pca"][()].astype(np.float64)
        if "PCs" not in file["varm"]:
            return pcs, None, None
        n_cells, n_genes = file["X"].attrs["shape"]
        sums = np.zeros(n_genes)
        for first in range(0, n_cells, CELLS_AT_ONCE):
            rows = read_rows(file["X"], first, min(first + CELLS_AT_ONCE, n_cells))
            sums += np.ravel(rows.sum(axis=0, dtype=np.float64))
        return pcs, file["varm/PCs"][()].astype(np.float64), sums / n_cells


def load_annotations(path: FilePath) -> AnnData:
    """Return a dataset without its matrices.

    Parameters
    ----------
    path : path-like
        File `counts.h5ad` or `prepared.h5ad`.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        With `obs`, `var`, `obsm` and `uns`.
    """
    from anndata import AnnData  # here, because shards do not need it and it is slow to import and takes memory
    from anndata.io import read_elem

    with h5py.File(path) as file:
        parts = {name: read_elem(file[name]) for name in ("obs", "var", "obsm", "uns")}
    return AnnData(**parts)


def load_counts(path: FilePath, cells: Sequence[str] | NDArray[np.str_]) -> AnnData:
    """Return the counts of some cells, without loading the counts of all cells.

    Parameters
    ----------
    path : path-like
        File `counts.h5ad`.
    cells : sequence of str
        Names of the cells.

    Returns
    -------
    AnnData, shape (len(cells), n_genes)
        Layers spliced and unspliced, and `obs`, in the order of `cells`.
    """
    from anndata import AnnData  # here for the same reason as above
    from anndata.io import read_elem
    from pandas import DataFrame

    with h5py.File(path) as file:
        obs = read_elem(file["obs"])
        rows = obs.index.get_indexer(cells)
        sorted_rows, order = np.unique(rows, return_inverse=True)
        layers = {}
        for layer in ("spliced", "unspliced"):
            group, blocks = file["layers"][layer], []
            for first in range(0, len(obs), CELLS_AT_ONCE):
                stop = min(first + CELLS_AT_ONCE, len(obs))
                rows_in_block = sorted_rows[(sorted_rows >= first) & (sorted_rows < stop)] - first
                blocks.append(read_rows(group, first, stop)[rows_in_block])
            layers[layer] = sparse.vstack(blocks, format="csr")[order]
        return AnnData(obs=obs.iloc[rows], var=DataFrame(index=read_names(file["var"])), layers=layers)


def dataset_sizes(dataset: AnnData) -> dict[str, int]:
    """Return the sizes of a dataset from which the requested memory of later jobs is computed.

    Parameters
    ----------
    dataset : AnnData, shape (n_cells, n_genes)
        Counts or prepared dataset.

    Returns
    -------
    dict of str to int
        `n_cells`, `n_genes`, `n_counts` (stored entries) and, if there is a neighbor graph, `n_edges`.
    """
    sizes = {
        "n_cells": dataset.n_obs,
        "n_genes": dataset.n_vars,
        "n_counts": dataset.layers["spliced"].nnz + dataset.layers["unspliced"].nnz,
    }
    if "connectivities" in dataset.obsp:
        sizes["n_edges"] = dataset.obsp["connectivities"].nnz + dataset.n_obs
    return sizes


def load_true_velocity(
    path: FilePath, prepared: Prepared
) -> tuple[NDArray[np.bool_], Callable[[NDArray[np.int64]], NDArray[np.float32]]] | None:
    """Return which genes have a true velocity, and a function that reads it.

    The result is None if the file has no layer `true_velocity`.

    Parameters
    ----------
    path : path-like
        AnnData file, perhaps with the dense layer `true_velocity`.
    prepared : Prepared
        Dataset whose cells and genes are read.

    Returns
    -------
    has_velocity : ndarray of bool, shape (n_genes,)
        Genes of the dataset that have a true velocity.
    read : callable
        Function that takes indices of genes, shape (n_rows,), and returns their true velocity, float32 with shape
        (n_rows, n_cells). Genes without one are NaN.

    Raises
    ------
    InputError
        If the layer lacks some of the cells.
    """
    with h5py.File(path) as file:
        if not isinstance(file.get(f"layers/{TRUE_VELOCITY}"), h5py.Dataset):
            return None
        cells = _indices_of(prepared.cells, read_names(file["obs"]))
        columns = _indices_of(prepared.genes, read_names(file["var"]))
    if np.any(cells < 0):
        raise InputError(
            f"{path}: layer {TRUE_VELOCITY!r} lacks {np.sum(cells < 0)} of {len(cells)} cells of the dataset. "
            "Rename the layer if it is not the true velocity."
        )

    def read(genes: NDArray[np.int64]) -> NDArray[np.float32]:
        gene_columns = columns[genes]
        if len(gene_columns) == 0:
            return np.empty((0, len(cells)), dtype=np.float32)
        in_file = gene_columns >= 0
        velocity = np.full((len(gene_columns), len(cells)), np.nan, dtype=np.float32)
        if in_file.any():
            first, last = gene_columns[in_file].min(), gene_columns[in_file].max()
            with h5py.File(path) as file:
                values = file["layers"][TRUE_VELOCITY][:, first : last + 1]
            velocity[in_file] = values[np.ix_(cells, gene_columns[in_file] - first)].T
        return velocity

    return columns >= 0, read


def _indices_of(names: NDArray[np.str_], names_in_file: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the index of each name among the names of a file, -1 for a name that is not there."""
    index = {name: number for number, name in enumerate(names_in_file)}
    return np.array([index.get(name, -1) for name in names])
