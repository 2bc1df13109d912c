"""Reader of AnnData files (.h5ad)."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from veloshard.errors import InputError, choices
from veloshard.readers import assemble


def read(path, *, dataset, layers):
    """Counts, annotations, embeddings and neighbour graphs of an AnnData file; nothing else is loaded.

    Parameters
    ----------
    path : str or pathlib.Path
        The file.
    dataset : str
        Name of the dataset, for messages.
    layers : dict of str to str
        Names of the file's layers that hold the ``spliced`` and ``unspliced`` counts.

    Returns
    -------
    anndata.AnnData, (n_cells, n_genes)
        As `readers.assemble` returns it: `obs`, `var`, `obsm` as far as numeric, `obsp` as far as sparse,
        and of `uns` the colours of annotations and the descriptions of neighbour graphs.

    Raises
    ------
    InputError
        If the file is missing, no AnnData, damaged, or lacks a layer, or if shapes do not match.
    """
    where = f"dataset {dataset!r}: {path}"
    remedy = f"Correct datasets.{dataset}.source."
    if not Path(path).is_file():
        raise InputError(f"{where}: no such file. {remedy}")
    if not h5py.is_hdf5(path):
        raise InputError(f"{where}: not an HDF5 file, so no .h5ad. {remedy}")
    try:
        with h5py.File(path) as file:
            _check_is_anndata(file, where=where, remedy=remedy)
            return _read(file, where=where, dataset=dataset, layers=layers)
    except InputError:
        raise
    except Exception as error:  # on a damaged file h5py and anndata raise whatever comes to hand
        raise InputError(f"{where}: damaged, cannot be read ({error}). Write or download it again.") from error


def _check_is_anndata(file, *, where, remedy):
    missing = {"obs", "var", "layers"} - file.keys()
    if missing:
        raise InputError(
            f"{where}: not an AnnData file with layers, as it has no {', '.join(sorted(missing))} "
            f"({choices(file)}). {remedy}"
        )
    if isinstance(file["obs"], h5py.Dataset):
        raise InputError(
            f"{where}: written by AnnData 0.6 or older. Read it with anndata.read_h5ad and write it again."
        )


def _read(file, *, where, dataset, layers):
    for layer, name in layers.items():
        if name not in file["layers"]:
            raise InputError(
                f"{where}: no layer {name!r} for the {layer} counts ({choices(file['layers'])}). "
                f"Set datasets.{dataset}.layers.{layer}."
            )
    obs = read_elem(file["obs"])
    uns = file.get("uns", {})
    return assemble(
        obs,
        read_elem(file["var"]),
        {layer: read_elem(file["layers"][name]) for layer, name in layers.items()},
        where=where,
        obsm=dict(_numeric(file.get("obsm", {}))),
        obsp=dict(_sparse(file.get("obsp", {}))),
        uns={key: read_elem(uns[key]) for key in uns if _is_wanted(key, uns[key], obs)},
    )


def _is_wanted(key, element, obs):
    is_colors = key.endswith("_colors") and key.removesuffix("_colors") in obs
    return is_colors or (isinstance(element, h5py.Group) and "connectivities_key" in element)


def _numeric(group):
    for key in group:
        values = read_elem(group[key])
        values = values.to_numpy() if isinstance(values, pd.DataFrame) else values
        if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iuf":
            yield key, values


def _sparse(group):
    for key in group:
        values = read_elem(group[key])
        if sparse.issparse(values):
            yield key, sparse.csr_matrix(values)
