r"""Run another group's model on one dataset, in the Python environment of envs/<model>.yaml.

    run_model.py --model velovi --cells model_input.h5 --options '{...}' \
        --result model_output.h5 --samples posterior_samples.h5 --folder model

The program reads what `veloshard.preprocessing.model_input` wrote, calls `fit` of models/<model>.py, and writes what
that returned. It does not import the library, which needs other versions of packages than the model. docs/models.md
describes the input and the result of a model. If the run fails, the last line of its output gives the reason.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

log = logging.getLogger("run_model")

MODELS = Path(__file__).resolve().parent / "models"
# parts of a model's result; all but the layer `velocity` are optional
PARTS = {"genes", "layers", "var", "obs", "obsm", "samples", "history"}
# entries of an HDF5 chunk of posterior draws: 1 MB in single precision
CHUNK_ENTRIES = 250_000


def main(*, model, cells, options, result, samples, folder):
    """Fit a model to the cells in a file, and write its result and its posterior draws.

    Draws for a negative control are not written, because they are not used. If the model fails on a negative control,
    that is a result, and the output file has the reason.

    Parameters
    ----------
    model : str
        Name of the model.
    cells : path-like
        File `model_input.h5`.
    options : dict
        Options of the model.
    result, samples : path-like
        Files `model_output.h5` and `posterior_samples.h5` to write.
    folder : path-like
        Folder for the files that the model saves. It is also the working directory of the model.
    """
    cells, result, samples, folder = (Path(path).absolute() for path in (cells, result, samples, folder))
    folder.mkdir(parents=True, exist_ok=True)
    # some models write to the working directory
    os.chdir(folder)
    with h5py.File(cells) as file:
        is_control, reason = "control" in file.attrs, file.attrs.get("reason")
    try:
        output = {} if reason else run_fit(model, cells, options, folder)
    except Exception as error:
        if not is_control:
            raise
        log.exception("%s", error)
        output, reason = {}, one_line(error)
    save_samples(samples, {} if is_control else output)
    save_result(result, output, reason)


def run_fit(model, cells, options, folder):
    """Fit a model to the cells in a file, write its training curve, and return its validated result.

    Parameters
    ----------
    model : str
        Name of the model.
    cells : Path
        File `model_input.h5`.
    options : dict
        Options of the model.
    folder : Path
        Folder for the files that the model saves.

    Returns
    -------
    dict
        Result, see `validate`.

    Raises
    ------
    ValueError
        If the result does not follow the contract.
    """
    adata = load_cells(cells)
    output = validate(load_model(model).fit(adata, folder=folder, **options), adata)
    if options.get("n_samples", 0) > 1 and "samples" not in output:
        raise ValueError("the model has an option n_samples, but returned no samples")
    if "history" in output:
        history = {name: pd.Series(values) for name, values in output["history"].items()}
        pd.DataFrame(history).to_csv(folder / "history.csv", index_label="step")
    log.info("%s fitted %d of %d genes", model, len(output["genes"]), adata.n_vars)
    return output


def load_model(name):
    """Return the module of a model."""
    spec = importlib.util.spec_from_file_location(f"models.{name}", MODELS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_cells(path):
    """Return the cells in `model_input.h5`, as an AnnData of this environment's version."""
    with h5py.File(path) as file:
        adata = anndata.AnnData(
            obs=pd.DataFrame(index=read_text(file["cells"])),
            var=pd.DataFrame(index=read_text(file["genes"])),
        )
        for layer in ("spliced", "unspliced", "raw_spliced", "raw_unspliced"):
            adata.layers[layer] = read_csr(file[layer])
        for layer in ("Ms", "Mu"):
            adata.layers[layer] = file[layer][()]
        adata.X = adata.layers["spliced"].copy()
        for graph in ("connectivities", "distances"):
            adata.obsp[graph] = read_csr(file[graph])
        adata.obsm["X_pca"], adata.obsm["X_embedding"] = file["X_pca"][()], file["X_embedding"][()]
        if "PCs" in file:
            adata.varm["PCs"] = file["PCs"][()]
        if "clusters" in file:
            adata.obs["clusters"] = pd.Categorical(read_text(file["clusters"]))
        adata.uns["neighbors"] = {
            "connectivities_key": "connectivities",
            "distances_key": "distances",
            "params": {"n_neighbors": int(file.attrs["n_neighbors"]), "method": "umap"},
        }
    return adata


def validate(output, cells):
    """Return a model's result with all parts present and dense arrays in single precision.

    Parameters
    ----------
    output : dict
        What `fit` of the model returned.
    cells : AnnData, shape (n_cells, n_genes)
        Cells that the model was given.

    Returns
    -------
    dict
        `genes` and `cells`, names; `layers`, `var`, `obs` and `obsm`, arrays by name; `samples` and `history`, if the
        model returned them.

    Raises
    ------
    ValueError
        If the result does not follow the contract.
    """
    unknown_parts = set(output) - PARTS
    if unknown_parts:
        raise ValueError(f"the model returned {sorted(unknown_parts)}; allowed are {sorted(PARTS)}")
    names = np.asarray(output.get("genes", cells.var_names), dtype=str)
    unknown_genes = sorted(set(names) - set(cells.var_names))
    if unknown_genes:
        raise ValueError(f"the model returned genes that it was not given: {', '.join(unknown_genes[:3])}")
    if len(set(names)) < len(names):
        raise ValueError("the model returned some genes twice")
    if not len(names):
        raise ValueError("the model returned no genes")
    shapes = {"layers": (cells.n_obs, len(names)), "var": (len(names),), "obs": (cells.n_obs,), "obsm": (cells.n_obs,)}
    parts = {"genes": names, "cells": np.asarray(cells.obs_names, dtype=str)}
    for part, shape in shapes.items():
        parts[part] = {name: as_array(values) for name, values in output.get(part, {}).items()}
        for name, values in parts[part].items():
            if values.shape[: len(shape)] != shape:
                raise ValueError(f"{part}[{name!r}] has shape {values.shape}, not {shape}")
    if parts["var"].get("velocity_genes", np.array(True)).dtype != bool:
        raise ValueError("var['velocity_genes'] must be boolean")
    if "name" in parts["var"]:
        raise ValueError("no column of var may be called 'name'")
    if "velocity" not in parts["layers"]:
        raise ValueError(f"the model returned no layer 'velocity' (but {sorted(parts['layers'])})")
    if not np.isfinite(parts["layers"]["velocity"]).any(axis=0).any():
        raise ValueError("the model returned no finite velocity")
    return {**parts, **{name: output[name] for name in ("samples", "history") if name in output}}


def as_array(values):
    """Return a dense array: float32 for matrices of floats, float64 for other numbers, bool, or str for text."""
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.dtype.kind in "fiu":
        return values.astype(np.float32 if values.dtype.kind == "f" and values.ndim > 1 else np.float64)
    return values if values.dtype.kind == "b" else values.astype(str)


def save_result(path, output, reason=None):
    """Write a validated result with the versions of all packages, or the reason why there is no result."""
    with h5py.File(path, "w") as file:
        if reason:
            file.attrs["reason"] = reason
            return
        packages = {part.metadata["Name"]: part.version for part in importlib.metadata.distributions()}
        write(file, "versions", np.array([f"{name} {packages[name]}" for name in sorted(packages)]))
        for name in ("cells", "genes"):
            write(file, name, output[name])
        for part in ("layers", "var", "obs", "obsm"):
            group = file.create_group(part)
            for name, values in output[part].items():
                write(group, name, values.astype(np.float32) if part in ("layers", "obsm") else values)


def save_samples(path, output):
    """Write posterior draws of the velocity, one at a time, so that only one is in memory.

    Parameters
    ----------
    path : Path
        File `posterior_samples.h5` to write. It is empty if the model has no draws.
    output : dict
        Validated result.

    Raises
    ------
    ValueError
        If a draw differs in shape from the velocity, or is not finite where the velocity is.
    """
    with h5py.File(path, "w") as file:
        if "samples" not in output:
            return
        write(file, "genes", output["genes"])
        velocity = output["layers"]["velocity"]
        is_finite = np.isfinite(velocity).all(axis=0)
        dataset = file.create_dataset(
            "velocity",
            (0, *velocity.shape),
            "f4",
            maxshape=(None, *velocity.shape),
            chunks=(1, *chunk_shape(velocity.shape)),
        )
        for number, draw in enumerate(output["samples"]):
            if draw.shape != velocity.shape:
                raise ValueError(f"draw {number} has shape {draw.shape}, not {velocity.shape}")
            if not np.isfinite(draw[:, is_finite]).all():
                raise ValueError(f"draw {number} is not finite")
            dataset.resize(number + 1, axis=0)
            dataset[number] = draw


def chunk_shape(shape):
    """Return the numbers of cells and genes that are stored together, at most one megabyte."""
    return (max(1, min(shape[0], CHUNK_ENTRIES // max(shape[1], 1))), shape[1])


def write(group, name, values):
    """Write an array, text as UTF-8."""
    if values.dtype.kind == "U":
        group.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    else:
        group.create_dataset(name, data=values)


def one_line(error):
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def read_text(dataset):
    """Return a dataset of text as an array of str."""
    return np.asarray([value.decode() if isinstance(value, bytes) else value for value in dataset[()]], dtype=object)


def read_csr(group):
    """Return a sparse matrix in CSR format."""
    parts = tuple(group[part][()] for part in ("data", "indices", "indptr"))
    return sparse.csr_matrix(parts, shape=tuple(group.attrs["shape"]))


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    parser = argparse.ArgumentParser()
    for argument in ("model", "cells", "result", "samples", "folder"):
        parser.add_argument(f"--{argument}", required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="as JSON")
    try:
        main(**vars(parser.parse_args()))
    except Exception as error:  # any exception, because the model is another group's code
        log.exception("%s", error)
        # otherwise, what libraries printed would follow the reason
        sys.stdout.flush()
        sys.exit(one_line(error))
