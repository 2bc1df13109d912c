"""Reader of AnnData files: .h5ad, and folders of zarr."""

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem
from scipy import sparse

from veloshard.errors import InputError, choices
from veloshard.readers.common import assemble, chosen_layers
from veloshard.readers.counts import shape_of, sparse_counts, stored_entries


def read(path, *, where, key, layers):
    """Counts, annotations, embeddings and neighbour graphs of an .h5ad file; nothing else is loaded.

    Arguments and errors as of `readers.read`; of `obsm` what is numeric, of `obsp` what is sparse, and of `uns` the
    colours of annotations and the descriptions of neighbour graphs.
    """
    with h5py.File(path) as file:
        return _read(file, "h5ad", where=where, key=key, layers=layers)


def read_zarr(path, *, where, key, layers):
    """The same of a folder of zarr."""
    return _read(zarr.open_group(path, mode="r"), "zarr", where=where, key=key, layers=layers)


def _read(file, format, *, where, key, layers):
    missing = {"obs", "var", "layers"} - set(file.keys())
    if missing:
        raise InputError(
            f"{where}: not an AnnData file with layers, as it has no {', '.join(sorted(missing))} "
            f"({choices(file)}). Correct {key}.source."
        )
    if not hasattr(file["obs"], "keys"):
        raise InputError(
            f"{where}: written by AnnData 0.6 or older. Read it with anndata.read_h5ad and write it again."
        )
    chosen = chosen_layers(list(file["layers"].keys()), layers, where=where, key=key)
    obs, var = read_elem(file["obs"]), read_elem(file["var"])
    shape, counts = (len(obs), len(var)), {}
    for layer, name in chosen.items():
        stored = file["layers"][name]
        found = shape_of(stored)
        if found != shape:
            raise InputError(
                f"{where}: the layer of {layer} counts is {' x '.join(map(str, found))}, but there "
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
        obsm=dict(_numeric(file.get("obsm", {}))),
        obsp=dict(_sparse(file.get("obsp", {}))),
        uns={name: read_elem(uns[name]) for name in uns if _is_wanted(name, uns, obs)},
    )


def _is_wanted(name, uns, obs):
    if name.endswith("_colors") and name.removesuffix("_colors") in obs:
        return True
    element = uns[name]
    return hasattr(element, "keys") and "connectivities_key" in element


def _numeric(group):
    for name in group:
        values = read_elem(group[name])
        values = values.to_numpy() if isinstance(values, pd.DataFrame) else values
        if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iuf":
            yield name, values


def _sparse(group):
    for name in group:
        values = read_elem(group[name])
        if sparse.issparse(values):
            yield name, sparse.csr_matrix(values)
