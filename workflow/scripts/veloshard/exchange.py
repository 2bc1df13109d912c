"""Files between the workflow and other people's models, which run in a Python of their own (`run_model`).

Plain HDF5 that every version of h5py reads: no file of AnnData's, whose format changes with its version.
"""

from contextlib import contextmanager
from typing import NamedTuple

import h5py
import numpy as np
from scipy import sparse

from veloshard import contract, store
from veloshard.errors import InputError
from veloshard.moments import first_moments, neighborhood
from veloshard.neighbors import connectivity_weights
from veloshard.readers.common import LAYERS
from veloshard.selection import as_labels

# what cells without a cluster are called where models want one of each cell
UNLABELLED = "unknown"


class Modelled(NamedTuple):
    """What a model returned, in its own order of genes.

    cells, genes : names, (n_cells,) and (n_fitted,).   layers : float32 (n_cells, n_fitted) by name, among them
    `velocity`.   of_genes, of_cells : columns (n_fitted,) and (n_cells,).   places : (n_cells, n_dims) by key of
    `obsm`.   versions : of the packages in its environment, `name version`.
    """

    cells: np.ndarray
    genes: np.ndarray
    layers: dict
    of_genes: dict
    of_cells: dict
    places: dict
    versions: np.ndarray = np.array([], dtype=str)


def save_cells(path, prepared, raw, *, embedding, clusters="", **attributes):
    """Write what a model is given: cells and genes of a dataset, with their counts, moments, neighbours and places.

    prepared : AnnData, as `preprocess.prepare` returns it.   raw : AnnData of the same cells, with the counts of these
    genes and perhaps others as they were read.   embedding : (n_cells, n_dims).   clusters : column of `obs`, or ''.
    attributes : of the file; `control` says that it is one.
    """
    around = neighborhood(connectivity_weights(prepared.obsp["connectivities"]))
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
        arrays["clusters"] = as_labels(prepared.obs[clusters]).astype(object).fillna(UNLABELLED).to_numpy(dtype=str)
    for layer, moments in zip(LAYERS, ("Ms", "Mu"), strict=True):
        counts = sparse.csc_matrix(prepared.layers[layer], dtype=np.float32)
        arrays[layer] = counts.tocsr()
        arrays[moments] = first_moments(counts, around).T
        arrays[f"raw_{layer}"] = sparse.csr_matrix(raw.layers[layer], dtype=np.float32)
    store.save_arrays(path, arrays, n_neighbors=int(prepared.uns["prepare"]["n_neighbors"]), **attributes)


def load_modelled(path):
    """`Modelled` of a file that `run_model` wrote."""
    with h5py.File(path) as file:
        return Modelled(
            cells=store.text(file["cells"]),
            genes=store.text(file["genes"]),
            layers={name: layer[()] for name, layer in file["layers"].items()},
            of_genes={name: store.text(column) for name, column in file["var"].items()},
            of_cells={name: store.text(column) for name, column in file["obs"].items()},
            places={name: places[()] for name, places in file["obsm"].items()},
            versions=store.text(file["versions"]),
        )


def load_reason(path):
    """Why a model made nothing of a control, '' where it did."""
    with h5py.File(path) as file:
        return file.attrs.get("reason", "")


@contextmanager
def open_samples(path, genes):
    """Function that reads the posterior samples that `run_model` wrote, and how many there are; while the file is open.

    genes : names of those wanted, all there.   The function takes a sample's number, and returns its velocities,
    float32 (n_cells, n_genes).
    """
    with h5py.File(path) as file:
        column = {name: number for number, name in enumerate(store.text(file["genes"]))}
        columns = np.array([column[name] for name in genes])
        stored = file["velocity"]
        yield (lambda number: np.ascontiguousarray(stored[number][:, columns])), len(stored)


def as_fit(modelled, *, cells, genes):
    """`contract.Fit` of a `Modelled`, in the order of a dataset's cells and genes, (n_cells,) and (n_genes,) names.

    Genes that the model left out are rows with a reason.  Raises InputError where cells are not the dataset's, where
    genes are there that it does not have, or where nothing was fitted.
    """
    if not np.array_equal(modelled.cells, cells):
        raise InputError(f"the model returned {len(modelled.cells)} cells that are not the dataset's {len(cells)}")
    row = {name: number for number, name in enumerate(genes)}
    strange = [name for name in modelled.genes if name not in row]
    if strange or not len(modelled.genes):
        raise InputError(f"the model returned {len(modelled.genes)} genes, not of the dataset: {strange[:3]}")
    rows = np.array([row[name] for name in modelled.genes])
    velocity = modelled.layers["velocity"]
    sound = np.isfinite(velocity).all(axis=0)
    layers = {name: _rows(values.T, rows, len(genes), np.float32(np.nan)) for name, values in modelled.layers.items()}
    layers["velocity"][rows[~sound]] = np.nan
    fitted, given = np.zeros(len(genes), dtype=bool), np.zeros(len(genes), dtype=bool)
    given[rows], fitted[rows[sound]] = True, True
    status, reason = contract.status_of(
        (~given, "left out by the model"), (~fitted, "velocities that are no finite numbers")
    )
    columns = {name: _rows(values, rows, len(genes), _missing(values)) for name, values in modelled.of_genes.items()}
    # which of them enter the graph: all, unless the model says otherwise
    columns["velocity_genes"] = fitted & columns.get("velocity_genes", True)
    return contract.Fit(genes={**columns, "status": status, "reason": reason}, layers=layers)


def _rows(values, rows, n_rows, missing):
    """Values put into some rows of an array of n_rows, the others `missing`."""
    whole = np.full((n_rows, *values.shape[1:]), missing, dtype=values.dtype)
    whole[rows] = values
    return whole


def _missing(column):
    """What a gene without a value has in a column: NaN, false or an empty text; columns of integers become floats."""
    return {"f": np.nan, "b": False, "U": ""}[column.dtype.kind]
