"""Import of precomputed velocities: read a file, match its cells and genes to the dataset, and return a fit."""

import logging
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from veloshard.errors import InputError, choices, full_name
from veloshard.io.model_io import ModelOutput, as_fit
from veloshard.io.readers.common import reading
from veloshard.kinetics.units import check_scaling
from veloshard.preprocessing.annotations import TABLES, match_names, read_table
from veloshard.preprocessing.moments import first_moments

log = logging.getLogger(__name__)


FORMATS = (*TABLES, ".npz")


class PrecomputedVelocity(NamedTuple):
    """Contents of a file, in its own order of cells and genes.

    Attributes
    ----------
    cells, genes : ndarray of str, shape (n_file_cells,) and (n_file_genes,)
        Names of cells and genes.
    velocity : ndarray or scipy.sparse matrix, shape (n_file_cells, n_file_genes)
        Velocities.
    velocity_genes : ndarray of bool, shape (n_file_genes,), or None
        Mask of genes for the velocity graph, if the file has one.
    time : ndarray, shape (n_file_cells,), or None
        Times of the cells, if requested.
    """

    cells: np.ndarray
    genes: np.ndarray
    velocity: object
    velocity_genes: np.ndarray | None
    time: np.ndarray | None


def import_precomputed(
    source, *, block, obs, layer="velocity", units="counts", min_coverage=0.1, time=None, where, key=""
):
    """Import velocities from a file.

    Parameters
    ----------
    source : str
        An h5ad file; table of cells x genes (csv, tsv, parquet) with the names of the cells in the first column; or npz
        file with the arrays `cells`, `genes` and `layer`.
    block : veloshard.contract.GeneBlock
        Normalized counts of all genes of the dataset.
    obs : pandas.DataFrame
        Annotation of the dataset's cells.
    layer : str
        Name of the velocities in an h5ad or npz file.
    units : str
        Units of the velocities: `counts`, those of Ms per time; `minmax`, of Ms over its range in the gene per time; or
        `standardized`, of Ms over its standard deviation in the gene per time.
    min_coverage : float
        Minimum share of the dataset's genes that must have velocities.
    time : str, optional
        Name of the cells' times: column of `obs` in an h5ad file, column of a table, or array of an npz file.
    where : str
        Method, dataset and file, for messages.
    key : str
        Section in which the caller's users set these arguments, such as ``"methods.scvelo_web"``, for messages.

    Returns
    -------
    fit : veloshard.contract.Fit
        Velocities in the units of Ms, with the column `velocity_genes`. Genes without velocities have a reason.
    cell_columns : dict of ndarray, shape (n_cells,)
        Column `time`, if requested.

    Raises
    ------
    InputError
        If the file cannot be read, lacks cells of the dataset, or has velocities for too few genes, or if the
        velocities cannot be in the units `units`.
    """
    precomputed = read_precomputed(source, layer=layer, time=time, where=where, key=key)
    cells = obs.index.to_numpy(dtype=str)
    rows = match_cells(cells, precomputed, samples=sample_names(obs), where=where, key=key)
    columns = match_genes(block.names, precomputed, where=where, key=key)
    velocity = precomputed.velocity[rows][:, columns]
    velocity = np.asarray(velocity.toarray() if sparse.issparse(velocity) else velocity, dtype=np.float32)
    # other software writes zeros or NaN for genes that it left out
    has_velocity = (np.nan_to_num(velocity, nan=0.0) != 0).any(axis=0)
    genes, velocity = precomputed.genes[columns[has_velocity]], velocity[:, has_velocity]
    columns = columns[has_velocity]
    if not len(genes) or len(genes) < min_coverage * len(block.names):
        option = full_name("min_coverage", key)
        raise InputError(
            f"{where}: velocities of {len(genes)} of the dataset's {len(block.names)} genes, fewer than {option} "
            f"({min_coverage:g}) requires.\n  genes of the dataset: {_shown(block.names)}\n"
            f"  genes of the file: {_shown(precomputed.genes)}\nCheck that both have the same kind of gene names. "
            f"Lower {option}, or provide velocities of more genes."
        )
    velocity_genes, cell_times = precomputed.velocity_genes, precomputed.time
    gene_columns = {} if velocity_genes is None else {"velocity_genes": velocity_genes[columns]}
    cell_columns = {} if cell_times is None else {"time": cell_times[rows].astype(np.float64)}
    output = ModelOutput(cells, genes, {"velocity": velocity}, gene_columns, cell_columns, embeddings={})
    fit = as_fit(output, cells=cells, genes=block.names)
    fit.layers["velocity"] *= gene_scales(units, block)[:, None]
    check_units(fit.layers["velocity"], block, units=units, where=where, key=key)
    return fit, cell_columns


def gene_scales(units, block):
    """Return the factors that convert velocities from `units` to those of Ms, float32 (n_genes,)."""
    if units == "counts":
        return np.ones(len(block.names), dtype=np.float32)
    moments = first_moments(block.spliced, block.neighborhood)
    return np.ptp(moments, axis=1) if units == "minmax" else moments.std(axis=1)


def check_units(velocity, block, *, units, where, key=""):
    """Check if velocities are in the units of Ms after their conversion from `units`.

    Parameters
    ----------
    velocity : ndarray of float32, shape (n_genes, n_cells)
        Converted velocities.
    block : veloshard.contract.GeneBlock
        Normalized counts of these genes.
    units : str
        Units before the conversion, for the message.
    where, key : str
        As in `import_precomputed`.

    Raises
    ------
    InputError
        If the velocities cannot be in the units of Ms. Doubtful velocities are logged as a warning.
    """
    check = check_scaling(velocity, block)
    option = full_name("units", key)
    if units == "counts":
        advice = (
            f"If the model was fitted to expression between 0 and 1, set {option}: minmax. If it was fitted to "
            f"expression of standard deviation 1, set {option}: standardized. Velocities of log expression cannot "
            "be used."
        )
    else:
        advice = f"If these velocities are not in the units {units!r} but in those of counts, set {option}: counts."
    message = f"{where}: {check.message}. {advice}"
    if check.wrong:
        raise InputError(message)
    if check.doubtful:
        log.warning("%s", message)
    else:
        log.info("%s: %s", where, check.message)


def match_cells(cells, precomputed, *, samples=None, where, key=""):
    """Match the cells of a file to those of the dataset by the rules for annotations.

    Parameters
    ----------
    cells : ndarray of str, shape (n_cells,)
        Names of the dataset's cells.
    precomputed : PrecomputedVelocity
        Contents of the file.
    samples : ndarray of str, shape (n_cells,), optional
        Samples of cells with names SAMPLE:NAME.
    where, key : str
        As in `import_precomputed`.

    Returns
    -------
    ndarray of int, shape (n_cells,)
        Row of the file for each cell.

    Raises
    ------
    InputError
        If the file lacks cells of the dataset.
    """
    matched = match_names(cells, precomputed.cells, samples=samples)
    missing = cells[matched.rows < 0]
    if len(missing):
        is_transposed = np.isin(cells, precomputed.genes).mean() > 0.5
        remedy = (
            "They are among its columns: the file is genes x cells. Transpose it."
            if is_transposed
            else "Compute velocities of all cells of the dataset (prepared.h5ad has their names), or leave the others "
            "out by the dataset's option cells."
        )
        raise InputError(
            f"{where}: {len(missing)} of {len(cells)} cells are not in it, such as {_shown(missing)}. It has "
            f"{len(precomputed.cells)} cells, such as {_shown(precomputed.cells)}. {remedy} "
            f"Or correct {full_name('source', key)}."
        )
    log.info(
        "%s: all %d cells found by the rule %r; %d others left out",
        *(where, len(cells), matched.rule, len(precomputed.cells) - len(cells)),
    )
    return matched.rows


def match_genes(genes, precomputed, *, where, key=""):
    """Match the genes of a file to those of the dataset by their names.

    Parameters
    ----------
    genes : ndarray of str, shape (n_genes,)
        Names of the dataset's genes.
    precomputed : PrecomputedVelocity
        Contents of the file.
    where, key : str
        As in `import_precomputed`.

    Returns
    -------
    ndarray of int, shape (n_matched,)
        Columns of the file for the genes of the dataset that it has, in the order of the dataset.

    Raises
    ------
    InputError
        If the file has a gene of the dataset more than once.
    """
    names = pd.Index(precomputed.genes)
    duplicates = names[names.duplicated()].intersection(genes)
    if len(duplicates):
        raise InputError(
            f"{where}: {len(duplicates)} genes are in it more than once, such as {_shown(duplicates)}. Make the names "
            f"of its genes unique, or correct {full_name('source', key)}."
        )
    column_of_gene = pd.Series(np.arange(len(names)), index=names)[~names.duplicated(keep=False)]
    return column_of_gene[[gene for gene in genes if gene in column_of_gene.index]].to_numpy()


def sample_names(obs):
    """Return the sample of each cell, (n_cells,), if all cells have names SAMPLE:NAME, else None."""
    if "sample" not in obs:
        return None
    samples = obs["sample"].astype(str).to_numpy()
    has_prefixes = all(cell.startswith(f"{sample}:") for cell, sample in zip(obs.index, samples, strict=True))
    return samples if has_prefixes else None


def read_precomputed(source, *, layer, time, where, key=""):
    """Read precomputed velocities.

    Parameters
    ----------
    source, layer, time, where, key : str
        As in `import_precomputed`.

    Returns
    -------
    PrecomputedVelocity
        Contents of the file.

    Raises
    ------
    InputError
        If the file cannot be read, lacks the layer or the times, has arrays of different sizes, or has values that
        are not numbers.
    """
    option = full_name("source", key)
    if not Path(source).name.endswith(FORMATS):
        raise InputError(f"{where}: unknown format, expected one of {', '.join(FORMATS)}. Correct {option}.")
    with reading(where):
        if source.endswith(".h5ad"):
            precomputed = _read_h5ad(source, layer=layer, time=time, where=where, key=key)
        elif source.endswith(".npz"):
            precomputed = _read_npz(source, layer=layer, time=time, where=where, key=key)
        else:
            precomputed = _read_table(source, time=time, where=where, key=key)
    n_cells, n_genes = len(precomputed.cells), len(precomputed.genes)
    if precomputed.velocity.shape != (n_cells, n_genes):
        shape = " x ".join(map(str, precomputed.velocity.shape))
        raise InputError(
            f"{where}: velocities are {shape}, expected {n_cells} cells x {n_genes} genes. Correct {option}."
        )
    for name, values in (("velocities", precomputed.velocity), (f"{time!r}", precomputed.time)):
        if values is not None and values.dtype.kind not in "iuf":
            raise InputError(f"{where}: {name} are not numbers, but {values.dtype}. Correct the file.")
    return precomputed


def _read_h5ad(source, *, layer, time, where, key):
    with h5py.File(source) as file:
        obs, var, layers = read_elem(file["obs"]), read_elem(file["var"]), file.get("layers", {})
        _require(layer, layers, where=where, option=full_name("layer", key))
        velocity = read_elem(layers[layer])
    # scVelo writes the mask of the layer `velocity` as `velocity_genes`
    masks = [var[name] for name in (f"{layer}_genes", "velocity_genes") if name in var and var[name].dtype == bool]
    return PrecomputedVelocity(
        obs.index.to_numpy(dtype=str),
        var.index.to_numpy(dtype=str),
        velocity.tocsr() if sparse.issparse(velocity) else velocity,
        masks[0].to_numpy() if masks else None,
        _column(obs, time, where=where, key=key),
    )


def _read_npz(source, *, layer, time, where, key):
    option_of_array = {"cells": "source", "genes": "source", layer: "layer"} | ({time: "time"} if time else {})
    with np.load(source, allow_pickle=False) as arrays:
        for name, option in option_of_array.items():
            _require(name, arrays, where=where, option=full_name(option, key))
        return PrecomputedVelocity(
            arrays["cells"].astype(str),
            arrays["genes"].astype(str),
            arrays[layer],
            None,
            arrays[time] if time else None,
        )


def _read_table(source, *, time, where, key):
    table = read_table(source)
    times = _column(table, time, where=where, key=key)
    table = table.drop(columns=[time] if time else [])
    return PrecomputedVelocity(
        table.index.to_numpy(dtype=str), table.columns.to_numpy(dtype=str), table.to_numpy(), None, times
    )


def _column(table, name, *, where, key):
    """Return the values of a column, or None without a name."""
    if name is None:
        return None
    _require(name, table, where=where, option=full_name("time", key))
    return table[name].to_numpy()


def _require(name, names, *, where, option):
    """Raise InputError for a name that is not among `names`."""
    if name not in names:
        raise InputError(f"{where}: no {name!r} ({choices(names, name)}). Correct {option}.")


def _shown(names):
    return ", ".join(map(str, names[:3])) or "none"
