"""The front door: reads the counts of a dataset, refuses what cannot be used and records what is unusual."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from veloshard.errors import InputError, choices
from veloshard.readers import LAYERS, h5ad

log = logging.getLogger(__name__)


def ingest(source, *, dataset, layers=None, pca=None, neighbors=False):
    """Read the counts of a dataset, and what else the user brings.

    Parameters
    ----------
    source : str
        Path of the file.
    dataset : str
        Name of the dataset, for messages.
    layers : dict of str to str, optional
        The file's own names for the layers ``spliced`` and ``unspliced``.
    pca : str, optional
        Key of `obsm` with components that the user brings.
    neighbors : bool or str
        Use the neighbour graph of the file: the one of ``uns['neighbors']``, or of the key given.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        `layers` spliced, unspliced: CSR, of uint16 or as wide as needed for counts, of float32 where
        numbers are not whole.  `obs`, `var`, `obsm` and the colours in `uns` as they are in the file; `obsp`
        distances, connectivities and ``uns['neighbors']`` only if asked for.  ``uns['ingest']``: `source`,
        `format`, `sha256` of the file, `counts` (``'integer'`` or ``'non-integer'``), `n_cells`, `n_genes` and
        `warnings`, which are also logged.

    Raises
    ------
    InputError
        For anything that is missing, misspelt, or cannot be what it is said to be.
    """
    own_names = {layer: (layers or {}).get(layer, layer) for layer in LAYERS}
    if len(set(own_names.values())) < len(LAYERS):
        raise InputError(
            f"dataset {dataset!r}: the spliced and the unspliced counts cannot both be layer "
            f"{own_names['spliced']!r}. Correct datasets.{dataset}.layers."
        )
    read = h5ad.read(source, dataset=dataset, layers=own_names)
    where = f"dataset {dataset!r}: {source}"
    for layer, name in own_names.items():
        _check_counts(read, layer, where=f"{where}: layer {name!r}")
    if pca is not None:
        check_coordinates(read, "pca", pca, where=where, key=f"datasets.{dataset}")
    matrices, graph = _graph(read, neighbors, where=where, key=f"datasets.{dataset}")

    are_whole = all(_are_whole(read.layers[layer]) for layer in LAYERS)
    stale = _stale_sizes(read)
    warnings = [
        *_unusual_counts(read, are_whole=are_whole),
        *(f"{column} of the file is below the counts in some cells: not used" for column in stale),
    ]
    log.info("%s: %d cells, %d genes", where, *read.shape)
    for warning in warnings:
        log.warning("%s: %s", where, warning)
    colors = {name: values for name, values in read.uns.items() if name.endswith("_colors")}
    record = {
        "source": str(source),
        "format": "h5ad",
        "sha256": _sha256(source),
        "counts": "integer" if are_whole else "non-integer",
        "n_cells": read.n_obs,
        "n_genes": read.n_vars,
        "warnings": np.array(warnings, dtype=str),
    }
    return AnnData(
        obs=read.obs.drop(columns=stale),
        var=read.var,
        layers={layer: _as_counts(read.layers[layer], are_whole=are_whole) for layer in LAYERS},
        obsm=dict(read.obsm),
        obsp=matrices,
        uns={**colors, **graph, "ingest": record},
    )


def check_coordinates(read, option, name, *, where, key):
    """Raise InputError unless ``obsm[name]`` can serve for `option`: at least two columns, all finite."""
    remedy = f"Correct {key}.{option}, or remove it to have it computed."
    if name not in read.obsm:
        raise InputError(f"{where}: no {option} {name!r} in obsm ({choices(read.obsm, name)}). {remedy}")
    values = read.obsm[name]
    if values.shape[1] < 2:
        raise InputError(f"{where}: {option} {name!r} has one column, at least 2 are needed. {remedy}")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"{where}: {option} {name!r} is not finite in {bad.sum()} cells (first: "
            f"{read.obs_names[bad.argmax()]!r}). {remedy}"
        )


def _sha256(path):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_counts(read, layer, *, where):
    counts = read.layers[layer]
    for fault, is_bad in (("not finite", ~np.isfinite(counts.data)), ("negative", counts.data < 0)):
        if is_bad.any():
            entry = is_bad.argmax()
            cell = np.searchsorted(counts.indptr, entry, side="right") - 1
            raise InputError(
                f"{where}: {is_bad.sum()} {layer} counts are {fault} (first: {counts.data[entry]:g} in cell "
                f"{read.obs_names[cell]!r}, gene {read.var_names[counts.indices[entry]]!r}). "
                "Give raw counts, neither logged nor scaled."
            )
    if counts.nnz == 0:
        raise InputError(
            f"{where}: all {layer} counts are zero. Count spliced and unspliced reads separately, "
            "or name the layers that hold them."
        )


def _are_whole(counts):
    return counts.dtype.kind in "biu" or bool((counts.data == np.floor(counts.data)).all())


def _as_counts(counts, *, are_whole):
    if not are_whole:
        return counts.astype(np.float32)
    # 16 bits at least: nothing is gained by less, as indices take 32
    return counts.astype(np.promote_types(np.uint16, np.min_scalar_type(int(counts.data.max()))))


def _graph(read, wanted, *, where, key):
    """The neighbour graph that is asked for, under scanpy's own names: items of `obsp` and of `uns`."""
    if not wanted:
        return {}, {}
    name = "neighbors" if wanted is True else wanted
    remedy = f"Run scanpy.pp.neighbors and write the file again, or correct or remove {key}.neighbors."
    graphs = {name: value for name, value in read.uns.items() if isinstance(value, dict)}
    if name not in graphs:
        raise InputError(f"{where}: no neighbour graph {name!r} in uns ({choices(graphs, name)}). {remedy}")
    matrices = {}
    for role in ("distances", "connectivities"):
        stored = graphs[name].get(f"{role}_key", role)
        if stored not in read.obsp:
            raise InputError(
                f"{where}: neighbour graph {name!r} has no sparse obsp {stored!r} "
                f"({choices(read.obsp, stored)}). {remedy}"
            )
        edges = read.obsp[stored]
        if edges.nnz == 0 or not np.all(np.isfinite(edges.data) & (edges.data >= 0)):
            raise InputError(f"{where}: obsp {stored!r} is empty, or negative or not finite somewhere. {remedy}")
        matrices[role] = edges
    stated = graphs[name].get("params", {})
    typical = 1 + int(np.median(np.diff(matrices["distances"].indptr)))
    # further settings speak of parts of the file that need not be there
    params = {"n_neighbors": int(stated.get("n_neighbors", typical)), "method": stated.get("method", "umap")}
    graph = {"distances_key": "distances", "connectivities_key": "connectivities", "params": params}
    return matrices, {"neighbors": graph}


def _unusual_counts(read, *, are_whole):
    held = sum((read.layers[layer] > 0).astype(np.int32) for layer in LAYERS)
    cells, genes = np.sum(held.sum(axis=1) == 0), np.sum(held.sum(axis=0) == 0)
    warnings = {
        "counts are not whole numbers: they are used as expected counts": not are_whole,
        f"{cells} cells have no counts: left out": cells > 0,
        f"{genes} genes have no counts: left out": genes > 0,
    }
    return [warning for warning, holds in warnings.items() if holds]


def _stale_sizes(read):
    """Columns of sizes that cannot be the full depth of these counts: left over from other counts."""
    stale = []
    for layer in LAYERS:
        column, counts = f"initial_size_{layer}", read.layers[layer].sum(axis=1, dtype=np.float64)
        # a thousandth for sums in single precision
        if column not in read.obs:
            continue
        brought = pd.to_numeric(read.obs[column], errors="coerce").to_numpy()
        if not np.all(brought >= np.ravel(counts) * 0.999):
            stale.append(column)
    return stale
