"""Reader of AnnData files: .h5ad files and zarr folders."""

from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from veloshard.errors import InputError, choices, full_name
from veloshard.io import FilePath
from veloshard.io.readers.common import assemble, choose_layers
from veloshard.io.readers.sparse_blocks import shape_of, sparse_counts, stored_entries


def read(path: FilePath, *, where: str, key: str, layers: Mapping[str, str]) -> AnnData:
    """Return counts, annotations, embeddings and neighbor graphs of an .h5ad file.

    Only these parts are loaded: numeric arrays of `obsm`, sparse matrices of `obsp`, and of `uns` the colors of
    annotations and the descriptions of neighbor graphs.

    Parameters
    ----------
    path : path-like
        File to read.
    where : str
        Dataset and file, for messages.
    key : str
        Prefix of the arguments' names in messages.
    layers : dict of str to str
        Names of the layers in the file, by `spliced`, `unspliced` and `ambiguous`.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As `common.assemble` builds it.
    """
    with h5py.File(path) as file:
        return _read(file, "h5ad", where=where, key=key, layers=layers)


def read_zarr(path: FilePath, *, where: str, key: str, layers: Mapping[str, str]) -> AnnData:
    """Return counts, annotations, embeddings and neighbor graphs of a zarr folder.

    Parameters
    ----------
    path : path-like
        Folder to read.
    where : str
        Dataset and folder, for messages.
    key : str
        Prefix of the arguments' names in messages.
    layers : dict of str to str
        Names of the layers in the folder, by `spliced`, `unspliced` and `ambiguous`.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As `common.assemble` builds it.
    """
    return _read(zarr.open_group(path, mode="r"), "zarr", where=where, key=key, layers=layers)


def _read(file: Any, format: str, *, where: str, key: str, layers: Mapping[str, str]) -> AnnData:
    missing = {"obs", "var", "layers"} - set(file.keys())
    if missing:
        raise InputError(
            f"{where}: not an AnnData file with layers, as it has no {', '.join(sorted(missing))} "
            f"({choices(file)}). Correct {full_name('source', key)}."
        )
    if not hasattr(file["obs"], "keys"):
        raise InputError(
            f"{where}: written by AnnData 0.6 or older. Read it with anndata.read_h5ad and write it again."
        )
    chosen = choose_layers(list(file["layers"].keys()), layers, where=where, key=key)
    obs, var = read_elem(file["obs"]), read_elem(file["var"])
    shape, counts = (len(obs), len(var)), {}
    for layer, name in chosen.items():
        stored = file["layers"][name]
        stored_shape = shape_of(stored)
        if stored_shape != shape:
            raise InputError(
                f"{where}: the layer of {layer} counts is {' x '.join(map(str, stored_shape))}, but there "
                f"are {shape[0]} cells and {shape[1]} genes. Write it again as cells x genes."
            )
        counts[layer] = sparse_counts(stored_entries(stored, shape), shape, where=f"{where}, layer {name!r}")
    uns = file.get("uns", {})
    return assemble(
        obs,
        var,
        counts,
        where=where,
        format=format,
        obsm=dict(_numeric_arrays(file.get("obsm", {}))),
        obsp=dict(_sparse_matrices(file.get("obsp", {}))),
        uns={name: read_elem(uns[name]) for name in uns if _is_loaded(name, uns, obs)},
    )


def _is_loaded(name: str, uns: Any, obs: pd.DataFrame) -> bool:
    """Return True for colors of a column of `obs` and for the description of a neighbor graph."""
    if name.endswith("_colors") and name.removesuffix("_colors") in obs:
        return True
    element = uns[name]
    return hasattr(element, "keys") and "connectivities_key" in element


def _numeric_arrays(group: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in group:
        values = read_elem(group[name])
        values = values.to_numpy() if isinstance(values, pd.DataFrame) else values
        if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iuf":
            yield name, values


def _sparse_matrices(group: Any) -> Iterator[tuple[str, sparse.csr_matrix]]:
    for name in group:
        values = read_elem(group[name])
        if sparse.issparse(values):
            yield name, sparse.csr_matrix(values)
