"""The front door: reads the counts of a dataset, refuses what cannot be used and records what is unusual."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from veloshard import annotations as second_file
from veloshard import readers
from veloshard.errors import InputError, choices
from veloshard.readers.common import LAYERS
from veloshard.samples import combine

log = logging.getLogger(__name__)

CELLS_AT_ONCE = 4096


def ingest(
    source,
    *,
    dataset,
    format=None,
    layers=None,
    join="intersection",
    annotations=None,
    min_matched=0.9,
    pca=None,
    neighbors=False,
    sha256=None,
):
    """Read the counts of a dataset, and what else the user brings.

    Parameters
    ----------
    source : str, or dict of str to str
        Path of the file or folder; of several samples by their names.
    dataset : str
        Name of the dataset, for messages.
    format : str, optional
        One of `readers.READERS`; by default it is found by looking.
    layers : dict of str to str, optional
        The file's own names for the layers ``spliced``, ``unspliced`` and ``ambiguous``.
    join : str
        Of several samples, keep the genes of all (``intersection``) or of any (``union``).
    annotations : dict, optional
        `source`, and further options of `annotations.join`: a second file that describes the cells.
    min_matched : float
        Least share of the cells that must be found there.
    pca : str, optional
        Key of `obsm` with components that the user brings.
    neighbors : bool or str
        Use the neighbour graph of the file: the one of ``uns['neighbors']``, or of the key given.
    sha256 : str, optional
        Hash of what is read, if it is known already.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        `layers` spliced, unspliced, and ambiguous if there are such: CSR, of uint16 or as wide as needed for counts, of
        float32 where numbers are not whole.  `obs`, `var`, `obsm` and the colours in `uns` as they are in the file;
        `obsp` distances, connectivities and ``uns['neighbors']`` only if asked for.  ``uns['ingest']``: `source`,
        `format`, `sha256` of the file, `counts` (``'integer'`` or ``'non-integer'``), `n_cells`, `n_genes`, of a
        second file `annotations`, and `warnings`, which are also logged.

    Raises
    ------
    InputError
        For anything that is missing, misspelt, or cannot be what it is said to be.
    """
    paths = source if isinstance(source, dict) else {None: source}
    where, key = f"dataset {dataset!r}: {', '.join(map(str, paths.values()))}", f"datasets.{dataset}"
    samples = {}
    for name, path in paths.items():
        samples[name] = readers.read(path, dataset=dataset, layers=layers, format=format)
        log.info(
            "%s: read as %s, %d cells, %d genes", path, samples[name].uns["reader"]["format"], *samples[name].shape
        )
    read = combine(samples, join=join, where=f"dataset {dataset!r}") if isinstance(source, dict) else samples[None]
    samples.clear()
    for layer in read.layers:
        _check_counts(read, layer, where=f"{where}: layer {(layers or {}).get(layer, layer)!r}")
    if annotations is not None:
        second, rest = annotations["source"], {name: value for name, value in annotations.items() if name != "source"}
        rest["pattern"] = rest.pop("match", None)
        read = second_file.join(read, second, **rest, min_matched=min_matched, where=f"dataset {dataset!r}", key=key)
    if neighbors and isinstance(source, dict):
        raise InputError(
            f"{where}: neighbour graphs of samples do not join. Remove {key}.neighbors to have one computed."
        )
    if pca is not None:
        check_coordinates(read, "pca", pca, where=where, key=key)
    matrices, graph = _graph(read, neighbors, where=where, key=key)

    are_whole = all(counts.dtype.kind != "f" for counts in read.layers.values())
    stale, duplicates = _stale_sizes(read), _duplicate_cells(read)
    warnings = [
        *read.uns["reader"]["notes"],
        *_unusual_counts(read, are_whole=are_whole, duplicates=duplicates),
        *(f"{column} of the file is below the counts in some cells: not used" for column in stale),
    ]
    log.info("%s: %d cells, %d genes", where, *read.shape)
    for warning in warnings:
        log.warning("%s: %s", where, warning)
    colors = {name: values for name, values in read.uns.items() if name.endswith("_colors")}
    record = {
        "source": ", ".join(map(str, paths.values())),
        "format": read.uns["reader"]["format"],
        "sha256": sha256 or _sha256(*paths.values()),
        "counts": "integer" if are_whole else "non-integer",
        "n_cells": read.n_obs,
        "n_genes": read.n_vars,
        "duplicate_cells": duplicates,
        "warnings": np.array(warnings, dtype=str),
    }
    if "annotations" in read.uns:
        record["annotations"] = read.uns["annotations"]
    return AnnData(
        obs=_writable(read.obs.drop(columns=stale)),
        var=_writable(read.var),
        # of one kind: fractions in one layer are expected counts in all
        layers={
            name: counts if are_whole else counts.astype(np.float32, copy=False) for name, counts in read.layers.items()
        },
        obsm=dict(read.obsm),
        obsp=matrices,
        uns={**colors, **graph, "ingest": record},
    )


def _writable(table):
    """The table with columns of kinds that AnnData's files have: numbers, truth, text and categories, gaps included."""
    columns = {}
    for name in table:
        values = table[name]
        if values.dtype.kind not in "biufO" and not isinstance(values.dtype, pd.CategoricalDtype):
            values = (
                values.astype(object) if pd.api.types.is_extension_array_dtype(values.dtype) else values.astype(str)
            )
        if values.dtype == object:
            kind = pd.api.types.infer_dtype(values, skipna=True)
            if kind == "boolean":
                values = values.astype("boolean")
            elif kind in ("integer", "floating", "mixed-integer-float", "decimal"):
                values = pd.to_numeric(values)
            elif values.isna().any():
                values = values.map(str, na_action="ignore").astype("category")
            else:
                values = values.map(str)
        columns[str(name)] = values
    columns.pop("_index", None)  # what the files call the names themselves
    return pd.DataFrame(columns, index=table.index.rename(None))


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


def _sha256(*paths):
    """Hash of a file, '' for several and for folders: who knows which of their files count must say it."""
    if len(paths) > 1 or Path(paths[0]).is_dir():
        return ""
    with Path(paths[0]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_counts(read, layer, *, where):
    counts = read.layers[layer]
    if counts.dtype.kind == "u":
        faults = ()
    else:
        faults = (("not finite", ~np.isfinite(counts.data)), ("negative", counts.data < 0))
    for fault, is_bad in faults:
        if is_bad.any():
            entry = is_bad.argmax()
            cell = np.searchsorted(counts.indptr, entry, side="right") - 1
            raise InputError(
                f"{where}: {is_bad.sum()} {layer} counts are {fault} (first: {counts.data[entry]:g} in cell "
                f"{read.obs_names[cell]!r}, gene {read.var_names[counts.indices[entry]]!r}). "
                "Give raw counts, neither logged nor scaled."
            )
    if counts.nnz == 0 and layer in LAYERS:
        raise InputError(
            f"{where}: all {layer} counts are zero. Count spliced and unspliced reads separately, "
            "or name the layers that hold them."
        )


def _graph(read, wanted, *, where, key):
    """The neighbour graph that is asked for, under scanpy's own names: items of `obsp` and of `uns`."""
    if not wanted:
        return {}, {}
    name = "neighbors" if wanted is True else wanted
    remedy = f"Run scanpy.pp.neighbors and write the file again, or correct or remove {key}.neighbors."
    graphs = {
        name: value for name, value in read.uns.items() if isinstance(value, dict) and "connectivities_key" in value
    }
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


def _unusual_counts(read, *, are_whole, duplicates):
    sums = [_sums(read.layers[layer]) for layer in LAYERS]
    cells, genes = (int(np.sum(sum(of_layers) == 0)) for of_layers in zip(*sums, strict=True))
    warnings = {
        "counts are not whole numbers: they are used as expected counts": not are_whole,
        "spliced counts add up to the same number in all cells: they are normalised already; give raw counts": (
            _are_even(sums[0][0])
        ),
        "spliced counts look logged: give raw counts": not are_whole and _are_even(_sums_of_logged(read)),
        f"{cells} cells have no counts: left out": cells > 0,
        f"{genes} genes have no counts: left out": genes > 0,
        f"{duplicates} cells have exactly the counts of another: was a sample named twice?": duplicates > 0,
    }
    return [warning for warning, holds in warnings.items() if holds]


def _blocks(counts):
    """The counts, some cells at a time: SciPy makes all of a matrix double before it adds or multiplies."""
    for first in range(0, counts.shape[0], CELLS_AT_ONCE):
        yield counts[first : first + CELLS_AT_ONCE]


def _sums(counts):
    """Sums of the counts of each cell, (n_cells,), and of each gene, (n_genes,)."""
    by_gene, by_cell = np.zeros(counts.shape[1]), []
    for block in _blocks(counts):
        by_cell.append(np.ravel(block.sum(axis=1, dtype=np.float64)))
        by_gene += np.ravel(block.sum(axis=0, dtype=np.float64))
    return np.concatenate(by_cell), by_gene


def _are_even(sums):
    """Whether all cells with counts have the same sum, as after a division by it."""
    sums = sums[sums > 0]
    return len(sums) > 2 and np.ptp(sums) < 1e-3 * sums.mean()


def _sums_of_logged(read):
    """Sums of the cells if log(1 + x) is undone."""
    sums = []
    for block in _blocks(read.layers["spliced"]):
        undone = block.astype(np.float64)
        undone.data = np.expm1(np.minimum(undone.data, 50.0))
        sums.append(np.ravel(undone.sum(axis=1)))
    return np.concatenate(sums)


def _duplicate_cells(read):
    """Number of cells, of more than ten genes, that have exactly the counts of an earlier one."""
    weights = np.random.default_rng(0).random((len(LAYERS), read.n_vars))
    marks = [
        np.concatenate([block @ of_genes for block in _blocks(read.layers[layer])])
        for layer, of_genes in zip(LAYERS, weights, strict=True)
    ]
    rich = np.diff(read.layers["spliced"].indptr) > 10
    return int(rich.sum() - len(np.unique(np.column_stack(marks)[rich], axis=0)))


def _stale_sizes(read):
    """Columns of sizes that cannot be the full depth of these counts: left over from other counts."""
    stale = []
    for layer in LAYERS:
        column = f"initial_size_{layer}"
        # a thousandth for sums in single precision
        if column not in read.obs:
            continue
        brought = pd.to_numeric(read.obs[column], errors="coerce").to_numpy()
        if not np.all(brought >= _sums(read.layers[layer])[0] * 0.999):
            stale.append(column)
    return stale
