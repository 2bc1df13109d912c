"""Read the counts of a dataset, check that they can be used, and record what is outside the expected range."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from veloshard.errors import InputError, choices, full_name
from veloshard.io import FilePath, readers
from veloshard.io.readers.common import LAYERS
from veloshard.preprocessing.annotations import join_annotations
from veloshard.preprocessing.samples import combine_samples

log = logging.getLogger(__name__)


CELLS_AT_ONCE = 4096


def ingest_counts(
    source: FilePath | Mapping[str, FilePath],
    *,
    dataset: str,
    format: str | None = None,
    layers: Mapping[str, str] | None = None,
    join: str = "intersection",
    annotations: Mapping[str, Any] | None = None,
    min_matched: float = 0.9,
    pca: str | None = None,
    neighbors: bool | str = False,
    sha256: str | None = None,
    key: str = "",
) -> AnnData:
    """Return the counts of a dataset with their annotations.

    Parameters
    ----------
    source : path-like, or dict of str to path-like
        File or folder, or files and folders by the names of samples.
    dataset : str
        Name of the dataset, for messages.
    format : str, optional
        One of `readers.READERS`. By default the format is detected.
    layers : dict of str to str, optional
        Names of the layers in the file, by `spliced`, `unspliced` and `ambiguous`.
    join : str
        Genes to keep of several samples: those of all samples (``"intersection"``) or of any (``"union"``).
    annotations : dict, optional
        Second file that describes the cells: `source`, and the options `columns`, `match` (a pattern) and `unmatched`
        of `join_annotations`.
    min_matched : float
        Minimum fraction of the cells that must be in that file.
    pca : str, optional
        Key of `obsm` with components that are used later.
    neighbors : bool or str
        Keep the neighbor graph of the file: that of ``uns["neighbors"]`` for True, or of another key of `uns`.
    sha256 : str, optional
        Hash of the source. By default it is computed.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas"``.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        `layers`: spliced, unspliced and, if the source has it, ambiguous, as CSR. They are unsigned integers of 16 or
        more bits, or float32 if counts are not whole numbers. `obs`, `var`, `obsm` and the colors in
        `uns` are those of the source. `obsp` holds distances and connectivities, described in ``uns["neighbors"]``, if
        `neighbors` is set. ``uns["ingest"]``: `source`, `format`, `sha256`, `counts` (``"integer"`` or
        ``"non-integer"``), `n_cells`, `n_genes`, `duplicate_cells`, `annotations` if there is a second file, and
        `warnings`, which are also logged.

    Raises
    ------
    InputError
        If something is missing or cannot be used.
    """
    sources: dict[str, FilePath] = dict(source) if isinstance(source, Mapping) else {"": source}
    paths = [str(path) for path in sources.values()]
    where = f"dataset {dataset!r}: {', '.join(paths)}"
    samples = {}
    for name, path in sources.items():
        samples[name] = readers.read(path, dataset=dataset, layers=layers, format=format, key=key)
        log.info(
            "%s: read as %s, %d cells, %d genes", path, samples[name].uns["reader"]["format"], *samples[name].shape
        )
    if isinstance(source, Mapping):
        counts = combine_samples(samples, join=join, where=f"dataset {dataset!r}")
    else:
        counts = samples[""]
    samples.clear()
    for layer in counts.layers:
        _check_counts(counts, layer, where=f"{where}: layer {(layers or {}).get(layer, layer)!r}")
    if annotations is not None:
        options = {name: value for name, value in annotations.items() if name not in ("source", "match")}
        counts = join_annotations(
            counts,
            annotations["source"],
            **options,
            pattern=annotations.get("match"),
            min_matched=min_matched,
            where=f"dataset {dataset!r}",
            key=full_name("annotations", key),
        )
    if neighbors and isinstance(source, Mapping):
        raise InputError(
            f"{where}: neighbor graphs of samples cannot be combined. Remove {full_name('neighbors', key)} to compute "
            "a neighbor graph."
        )
    if pca is not None:
        check_coordinates(counts, "pca", pca, where=where, key=key)
    matrices, description = _neighbor_graph(counts, neighbors, where=where, key=key)

    is_integer = all(matrix.dtype.kind != "f" for matrix in counts.layers.values())
    stale, n_duplicates = _stale_sizes(counts), _count_duplicate_cells(counts)
    warnings = [
        *counts.uns["reader"]["notes"],
        *_count_warnings(counts, is_integer=is_integer, n_duplicates=n_duplicates),
        *(f"{column} of the file is smaller than the counts in some cells: not used" for column in stale),
    ]
    log.info("%s: %d cells, %d genes", where, *counts.shape)
    for warning in warnings:
        log.warning("%s: %s", where, warning)
    colors = {name: values for name, values in counts.uns.items() if name.endswith("_colors")}
    record = {
        "source": ", ".join(paths),
        "format": counts.uns["reader"]["format"],
        "sha256": sha256 or _sha256(paths),
        "counts": "integer" if is_integer else "non-integer",
        "n_cells": counts.n_obs,
        "n_genes": counts.n_vars,
        "duplicate_cells": n_duplicates,
        "warnings": np.array(warnings, dtype=str),
    }
    if "annotations" in counts.uns:
        record["annotations"] = counts.uns["annotations"]
    return AnnData(
        obs=_as_writable(counts.obs.drop(columns=stale)),
        var=_as_writable(counts.var),
        # all layers have one kind of type: if one has fractions, all are expected counts
        layers={
            name: matrix if is_integer else matrix.astype(np.float32, copy=False)
            for name, matrix in counts.layers.items()
        },
        obsm=dict(counts.obsm),
        obsp=matrices,
        uns={**colors, **description, "ingest": record},
    )


def _as_writable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with types that AnnData files can have: numbers, booleans, text and categories."""
    columns = {}
    for name in table:
        values = table[name]
        if isinstance(values.dtype, pd.StringDtype):  # of pandas 3, or nullable text
            values = values.astype(object)
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
    columns.pop("_index", None)  # AnnData files reserve this name for the index
    return pd.DataFrame(columns, index=table.index.rename(None))


def check_coordinates(counts: AnnData, option: str, name: str, *, where: str, key: str = "") -> None:
    """Check that an array of `obsm` has at least two columns and is finite.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Dataset.
    option : str
        Name of the argument that names the array, such as ``"pca"``.
    name : str
        Key of `obsm`.
    where : str
        Dataset and file, for messages.
    key : str
        Prefix of the argument's name in messages.

    Raises
    ------
    InputError
        If the array does not exist or cannot be used.
    """
    advice = f"Correct {full_name(option, key)}, or remove it to have it computed."
    if name not in counts.obsm:
        raise InputError(f"{where}: no {option} {name!r} in obsm ({choices(counts.obsm, name)}). {advice}")
    coordinates = counts.obsm[name]
    if coordinates.shape[1] < 2:
        raise InputError(f"{where}: {option} {name!r} has one column, at least 2 are needed. {advice}")
    is_bad = ~np.isfinite(coordinates).all(axis=1)
    if is_bad.any():
        raise InputError(
            f"{where}: {option} {name!r} is not finite in {is_bad.sum()} cells (first: "
            f"{counts.obs_names[is_bad.argmax()]!r}). {advice}"
        )


def _sha256(paths: list[str]) -> str:
    """Return the hash of a file, empty for several files and for folders."""
    if len(paths) > 1 or Path(paths[0]).is_dir():
        return ""
    with Path(paths[0]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_counts(counts: AnnData, layer: str, *, where: str) -> None:
    """Raise InputError for counts that are negative, not finite or all zero."""
    matrix = counts.layers[layer]
    faults: tuple[tuple[str, NDArray[np.bool_]], ...] = ()
    if matrix.dtype.kind != "u":
        faults = (("not finite", ~np.isfinite(matrix.data)), ("negative", matrix.data < 0))
    for fault, is_bad in faults:
        if is_bad.any():
            entry = is_bad.argmax()
            cell = np.searchsorted(matrix.indptr, entry, side="right") - 1
            raise InputError(
                f"{where}: {is_bad.sum()} {layer} counts are {fault} (first: {matrix.data[entry]:g} in cell "
                f"{counts.obs_names[cell]!r}, gene {counts.var_names[matrix.indices[entry]]!r}). "
                "Give raw counts, neither logarithms nor scaled values."
            )
    if matrix.nnz == 0 and layer in LAYERS:
        raise InputError(
            f"{where}: all {layer} counts are zero. Count spliced and unspliced reads separately, "
            "or name the layers that hold them."
        )


def _neighbor_graph(
    counts: AnnData, neighbors: bool | str, *, where: str, key: str
) -> tuple[dict[str, sparse.csr_matrix], dict[str, Any]]:
    """Return the neighbor graph of a file, as items of `obsp` and of `uns` under scanpy's usual names."""
    if not neighbors:
        return {}, {}
    name = "neighbors" if neighbors is True else neighbors
    option = full_name("neighbors", key)
    advice = f"Run scanpy.pp.neighbors and write the file again, or correct or remove {option}."
    graphs = {
        name: value for name, value in counts.uns.items() if isinstance(value, dict) and "connectivities_key" in value
    }
    if name not in graphs:
        raise InputError(f"{where}: no neighbor graph {name!r} in uns ({choices(graphs, name)}). {advice}")
    matrices = {}
    for role in ("distances", "connectivities"):
        stored = graphs[name].get(f"{role}_key", role)
        if stored not in counts.obsp:
            raise InputError(
                f"{where}: neighbor graph {name!r} has no sparse obsp {stored!r} "
                f"({choices(counts.obsp, stored)}). {advice}"
            )
        edges = counts.obsp[stored]
        if edges.nnz == 0 or not np.all(np.isfinite(edges.data) & (edges.data >= 0)):
            raise InputError(
                f"{where}: obsp {stored!r} is empty, or has values that are negative or not finite. {advice}"
            )
        matrices[role] = edges
    params = graphs[name].get("params", {})
    typical = 1 + int(np.median(np.diff(matrices["distances"].indptr)))
    # other parameters may name parts of the file that are not loaded
    params = {"n_neighbors": int(params.get("n_neighbors", typical)), "method": params.get("method", "umap")}
    description = {"distances_key": "distances", "connectivities_key": "connectivities", "params": params}
    return matrices, {"neighbors": description}


def _count_warnings(counts: AnnData, *, is_integer: bool, n_duplicates: int) -> list[str]:
    """Return warnings about counts that are unusual but can be used."""
    sums = [_sums(counts.layers[layer]) for layer in LAYERS]
    n_cells, n_genes = (int(np.sum(sum(sums_of_layers) == 0)) for sums_of_layers in zip(*sums, strict=True))
    warnings = {
        "counts are not whole numbers: they are used as expected counts": not is_integer,
        "spliced counts have the same sum in all cells: they are normalized already; give raw counts": (
            _are_equal(sums[0][0])
        ),
        "spliced counts look like logarithms: give raw counts": not is_integer and _are_equal(_sums_of_expm1(counts)),
        f"{n_cells} cells have no counts: left out": n_cells > 0,
        f"{n_genes} genes have no counts: left out": n_genes > 0,
        f"{n_duplicates} cells have exactly the counts of another cell; check that no sample is named twice": (
            n_duplicates > 0
        ),
    }
    return [warning for warning, applies in warnings.items() if applies]


def _blocks(matrix: sparse.csr_matrix) -> Iterator[sparse.csr_matrix]:
    """Yield blocks of cells, because SciPy converts a whole matrix to float64 before it adds or multiplies."""
    for first in range(0, matrix.shape[0], CELLS_AT_ONCE):
        yield matrix[first : first + CELLS_AT_ONCE]


def _sums(matrix: sparse.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of counts per cell and per gene."""
    by_gene, by_cell = np.zeros(matrix.shape[1]), []
    for block in _blocks(matrix):
        by_cell.append(np.ravel(block.sum(axis=1, dtype=np.float64)))
        by_gene += np.ravel(block.sum(axis=0, dtype=np.float64))
    return np.concatenate(by_cell), by_gene


def _are_equal(sums: NDArray[np.float64]) -> bool:
    """Return whether all cells with counts have the same sum, as after normalization."""
    sums = sums[sums > 0]
    return len(sums) > 2 and bool(np.ptp(sums) < 1e-3 * sums.mean())


def _sums_of_expm1(counts: AnnData) -> NDArray[np.float64]:
    """Return the sums of exp(x) - 1 of the spliced layer per cell."""
    sums = []
    for block in _blocks(counts.layers["spliced"]):
        exponentials = block.astype(np.float64)
        exponentials.data = np.expm1(np.minimum(exponentials.data, 50.0))
        sums.append(np.ravel(exponentials.sum(axis=1)))
    return np.concatenate(sums)


def _count_duplicate_cells(counts: AnnData) -> int:
    """Return the number of cells with more than ten genes that have exactly the counts of an earlier cell."""
    # cells with the same random projections have the same counts
    weights = np.random.default_rng(0).random((len(LAYERS), counts.n_vars))
    projections = [
        np.concatenate([block @ gene_weights for block in _blocks(counts.layers[layer])])
        for layer, gene_weights in zip(LAYERS, weights, strict=True)
    ]
    has_many_genes = np.diff(counts.layers["spliced"].indptr) > 10
    return int(has_many_genes.sum() - len(np.unique(np.column_stack(projections)[has_many_genes], axis=0)))


def _stale_sizes(counts: AnnData) -> list[str]:
    """Return the columns of cell sizes that are smaller than the counts, so that they belong to other counts."""
    stale = []
    for layer in LAYERS:
        column = f"initial_size_{layer}"
        if column not in counts.obs:
            continue
        sizes = pd.to_numeric(counts.obs[column], errors="coerce").to_numpy()
        # tolerance of a thousandth for sums in single precision
        if not np.all(sizes >= _sums(counts.layers[layer])[0] * 0.999):
            stale.append(column)
    return stale
