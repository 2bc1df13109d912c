"""Velocities that were made elsewhere: read from a file, held against the dataset, and given the form of a fit."""

import logging
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from veloshard import annotations, exchange
from veloshard.errors import InputError, choices
from veloshard.moments import first_moments
from veloshard.readers.common import reading
from veloshard.units import judge

log = logging.getLogger(__name__)

FORMS = (*annotations.TABLES, ".npz")


class Found(NamedTuple):
    """What a file holds.

    cells, genes : names.   velocity : dense or sparse (n_cells, n_genes).   velocity_genes : bool (n_genes,), or None.
    time : (n_cells,), or None.
    """

    cells: np.ndarray
    genes: np.ndarray
    velocity: object
    velocity_genes: np.ndarray | None
    time: np.ndarray | None


def import_velocity(path, *, block, obs, layer="velocity", units="counts", min_coverage=0.1, time=None, where, key):
    """`contract.Fit` of velocities in a file, with `velocity_genes`, and columns (n_cells,) that it has of the cells.

    Parameters
    ----------
    path : str
        h5ad, a table of cells x genes (csv, tsv, parquet; names of the cells in the first column) or npz (arrays of the
        velocities, `cells` and `genes`).
    block : contract.GeneBlock
        All genes of the dataset.
    obs : pandas.DataFrame
        Its cells.
    layer : str
        Name of the velocities in an h5ad or npz.
    units : str
        ``counts``: those of Ms per time; ``minmax``: of Ms over its range in the gene; ``standardized``: over its
        standard deviation.
    min_coverage : float
        Least share of the dataset's genes that must have velocities.
    time : str, optional
        Column of `obs` or of the table, or array of an npz, with the cells' time.
    where, key : str
        Method, dataset and file, and the option that names the method, for messages.

    Raises
    ------
    InputError
        If the file cannot be read, lacks cells or has too few genes, or if its units are not those that it is said to
        have.
    """
    found = read_velocity(path, layer=layer, time=time, where=where, key=key)
    cells = obs.index.to_numpy(dtype=str)
    rows = rows_of(cells, found, samples=samples_of(obs), where=where, key=key)
    columns = columns_of(block.names, found, where=where, key=key)
    velocity = found.velocity[rows][:, columns]
    velocity = np.asarray(velocity.toarray() if sparse.issparse(velocity) else velocity, dtype=np.float32)
    # programs write zeros or NaN for genes that they left out
    given = (np.nan_to_num(velocity, nan=0.0) != 0).any(axis=0)
    genes, velocity, columns = found.genes[columns[given]], velocity[:, given], columns[given]
    if not len(genes) or len(genes) < min_coverage * len(block.names):
        raise InputError(
            f"{where}: velocities of {len(genes)} of the dataset's {len(block.names)} genes, fewer than "
            f"{key}.min_coverage ({min_coverage:g}) asks for.\n  genes of the dataset: {_shown(block.names)}\n"
            f"  genes of the file: {_shown(found.genes)}\nAre names of the same kind on both sides? Lower "
            f"{key}.min_coverage, or give a result with more of the genes."
        )
    of_genes = {} if found.velocity_genes is None else {"velocity_genes": found.velocity_genes[columns]}
    of_cells = {} if found.time is None else {"time": found.time[rows].astype(np.float64)}
    modelled = exchange.Modelled(cells, genes, {"velocity": velocity}, of_genes, of_cells, places={})
    fit = exchange.as_fit(modelled, cells=cells, genes=block.names)
    fit.layers["velocity"] *= unit_of(units, block)[:, None]
    check_units(fit.layers["velocity"], block, said_to_be=units, where=where, key=key)
    return fit, of_cells


def unit_of(units, block):
    """What a velocity in some units is multiplied by to be in those of Ms, float32 (n_genes,)."""
    if units == "counts":
        return np.ones(len(block.names), dtype=np.float32)
    moments = first_moments(block.spliced, block.around)
    return np.ptp(moments, axis=1) if units == "minmax" else moments.std(axis=1)


def check_units(velocity, block, *, said_to_be, where, key):
    """Raise InputError for velocities, in the units of Ms as is said, that cannot have these; warn where in doubt."""
    judged = judge(velocity, block)
    advice = {
        "counts": "If the model was given expression between 0 and 1 set {key}.units: minmax, if of standard "
        "deviation 1 set standardized; velocities of logarithms cannot be used",
    }.get(said_to_be, "Are these velocities not {said_to_be} but counts? Correct {key}.units")
    said = f"{where}: {judged.said}. {advice.format(key=key, said_to_be=said_to_be)}."
    if judged.wrong:
        raise InputError(said)
    if judged.doubted:
        log.warning("%s", said)
    else:
        log.info("%s: %s", where, judged.said)


def rows_of(cells, found, *, samples=None, where, key):
    """Row of the file for each cell of the dataset, (n_cells,); InputError where some are not in it.

    Names are matched as those of annotations are.   samples : (n_cells,) of cells named SAMPLE:NAME.
    """
    matched = annotations.match(cells, found.cells, samples=samples)
    lost = cells[matched.rows < 0]
    if len(lost):
        turned = np.isin(cells, found.genes).mean() > 0.5
        remedy = (
            "They are among its columns: the file is genes x cells, turn it round."
            if turned
            else "Compute velocities of all cells that stay here (prepared.h5ad names them), or leave the others out "
            "by the dataset's option cells."
        )
        raise InputError(
            f"{where}: {len(lost)} of {len(cells)} cells are not in it, such as {_shown(lost)}; it has "
            f"{len(found.cells)}, such as {_shown(found.cells)}. {remedy} Correct {key}.source."
        )
    log.info(
        "%s: all %d cells found by the rule %r; %d others left out",
        *(where, len(cells), matched.rule, len(found.cells) - len(cells)),
    )
    return matched.rows


def columns_of(genes, found, *, where, key):
    """Columns of the file that hold genes of the dataset, in its order; InputError for one that is there twice."""
    names = pd.Index(found.genes)
    twice = names[names.duplicated()].intersection(genes)
    if len(twice):
        raise InputError(f"{where}: {len(twice)} genes are there twice, such as {_shown(twice)}. Correct {key}.source.")
    single = pd.Series(np.arange(len(names)), index=names)[~names.duplicated(keep=False)]
    return single[[gene for gene in genes if gene in single.index]].to_numpy()


def samples_of(obs):
    """Sample of each cell, (n_cells,), where cells are named SAMPLE:NAME, else None."""
    if "sample" not in obs:
        return None
    samples = obs["sample"].astype(str).to_numpy()
    named = all(cell.startswith(f"{sample}:") for cell, sample in zip(obs.index, samples, strict=True))
    return samples if named else None


def read_velocity(path, *, layer, time, where, key):
    """`Found` of a file; InputError for what is not there, or no numbers."""
    if not Path(path).name.endswith(FORMS):
        raise InputError(f"{where}: none of {', '.join(FORMS)}. Correct {key}.source.")
    with reading(where):
        if path.endswith(".h5ad"):
            found = _read_h5ad(path, layer=layer, time=time, where=where, key=key)
        elif path.endswith(".npz"):
            found = _read_npz(path, layer=layer, time=time, where=where, key=key)
        else:
            found = _read_table(path, time=time, where=where, key=key)
    n_cells, n_genes = len(found.cells), len(found.genes)
    if found.velocity.shape != (n_cells, n_genes):
        raise InputError(
            f"{where}: velocities are {' x '.join(map(str, found.velocity.shape))}, not {n_cells} cells x {n_genes} "
            f"genes. Correct {key}.source."
        )
    for name, values in (("velocities", found.velocity), (f"{time!r}", found.time)):
        if values is not None and values.dtype.kind not in "iuf":
            raise InputError(f"{where}: {name} are no numbers, but {values.dtype}. Correct the file.")
    return found


def _read_h5ad(path, *, layer, time, where, key):
    with h5py.File(path) as file:
        obs, var, layers = read_elem(file["obs"]), read_elem(file["var"]), file.get("layers", {})
        _require(layer, layers, where=where, key=f"{key}.layer")
        velocity = read_elem(layers[layer])
    # what scVelo calls the mask of a layer
    masks = [var[name] for name in (f"{layer}_genes", "velocity_genes") if name in var and var[name].dtype == bool]
    return Found(
        obs.index.to_numpy(dtype=str),
        var.index.to_numpy(dtype=str),
        velocity.tocsr() if sparse.issparse(velocity) else velocity,
        masks[0].to_numpy() if masks else None,
        _column(obs, time, where=where, key=key),
    )


def _read_npz(path, *, layer, time, where, key):
    with np.load(path, allow_pickle=False) as arrays:
        wanted = {"cells": key, "genes": key, layer: f"{key}.layer"} | ({time: f"{key}.time"} if time else {})
        for name, option in wanted.items():
            _require(name, arrays, where=where, key=option)
        return Found(
            arrays["cells"].astype(str),
            arrays["genes"].astype(str),
            arrays[layer],
            None,
            arrays[time] if time else None,
        )


def _read_table(path, *, time, where, key):
    table = annotations.read_table(path)
    times = _column(table, time, where=where, key=key)
    table = table.drop(columns=[time] if time else [])
    return Found(table.index.to_numpy(dtype=str), table.columns.to_numpy(dtype=str), table.to_numpy(), None, times)


def _column(table, name, *, where, key):
    """Values of a column that is asked for, None if none is."""
    if name is None:
        return None
    _require(name, table, where=where, key=f"{key}.time")
    return table[name].to_numpy()


def _require(name, names, *, where, key):
    """Raise InputError for a name that is not among others."""
    if name not in names:
        raise InputError(f"{where}: no {name!r} ({choices(names, name)}). Correct {key}.")


def _shown(names):
    return ", ".join(map(str, names[:3])) or "none"
