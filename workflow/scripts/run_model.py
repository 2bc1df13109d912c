"""One of other people's models on one dataset: a program of its own, for the Python of envs/<model>.yaml.

    run_model.py --model velovi --cells cells.h5 --options '{...}' --result model.h5 --samples samples.h5 --folder model

It reads what `veloshard.exchange` wrote, calls `fit` of models/<model>.py, and writes what that returned.  The library
is not imported here: it is held to other versions than the model's environment has.  docs/models.md says what a model
is given and must return.  The last line that a run which fails writes says why.
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
# what a model may return beside the velocities
PARTS = {"genes", "layers", "var", "obs", "obsm", "samples", "history"}


def main(*, model, cells, options, result, samples, folder):
    """Fit a model to the cells in a file; write the result, posterior samples of the velocity and what it keeps.

    On a control nobody asks for samples, and that a model finds nothing there is a result: the file then holds why.
    """
    cells, result, samples, folder = (Path(path).absolute() for path in (cells, result, samples, folder))
    folder.mkdir(parents=True, exist_ok=True)
    # some write wherever they are started from
    os.chdir(folder)
    with h5py.File(cells) as file:
        is_control, reason = "control" in file.attrs, file.attrs.get("reason")
    try:
        found = {} if reason else fitted(model, cells, options, folder)
    except Exception as error:
        if not is_control:
            raise
        log.exception("%s", error)
        found, reason = {}, in_words(error)
    save_samples(samples, {} if is_control else found)
    save_result(result, found, reason)


def fitted(model, cells, options, folder):
    """What a model returns of the cells in a file, checked; its training curve is written."""
    given = load_cells(cells)
    found = checked(load_model(model).fit(given, folder=folder, **options), given)
    if options.get("n_samples", 0) > 1 and "samples" not in found:
        raise ValueError("the model has an option n_samples, but returned no samples")
    if "history" in found:
        history = {name: pd.Series(values) for name, values in found["history"].items()}
        pd.DataFrame(history).to_csv(folder / "history.csv", index_label="step")
    log.info("%s fitted %d of %d genes", model, len(found["genes"]), given.n_vars)
    return found


def load_model(name):
    """The module of a model."""
    spec = importlib.util.spec_from_file_location(f"models.{name}", MODELS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_cells(path):
    """AnnData of what `exchange.save_cells` wrote, by the anndata of this environment."""
    with h5py.File(path) as file:
        cells = anndata.AnnData(
            obs=pd.DataFrame(index=text(file["cells"])),
            var=pd.DataFrame(index=text(file["genes"])),
        )
        for layer in ("spliced", "unspliced", "raw_spliced", "raw_unspliced"):
            cells.layers[layer] = csr(file[layer])
        for layer in ("Ms", "Mu"):
            cells.layers[layer] = file[layer][()]
        cells.X = cells.layers["spliced"].copy()
        for graph in ("connectivities", "distances"):
            cells.obsp[graph] = csr(file[graph])
        cells.obsm["X_pca"], cells.obsm["X_embedding"] = file["X_pca"][()], file["X_embedding"][()]
        if "PCs" in file:
            cells.varm["PCs"] = file["PCs"][()]
        if "clusters" in file:
            cells.obs["clusters"] = pd.Categorical(text(file["clusters"]))
        cells.uns["neighbors"] = {
            "connectivities_key": "connectivities",
            "distances_key": "distances",
            "params": {"n_neighbors": int(file.attrs["n_neighbors"]), "method": "umap"},
        }
    return cells


def checked(found, cells):
    """What a model returned, complete and in single precision; ValueError for what breaks the contract."""
    unknown = set(found) - PARTS
    if unknown:
        raise ValueError(f"the model returned {sorted(unknown)}, known are {sorted(PARTS)}")
    names = np.asarray(found.get("genes", cells.var_names), dtype=str)
    strange = sorted(set(names) - set(cells.var_names))
    if strange or len(set(names)) < len(names) or not len(names):
        raise ValueError(f"the model returned {len(names)} genes; strange {strange[:3]}, or some twice")
    shapes = {"layers": (cells.n_obs, len(names)), "var": (len(names),), "obs": (cells.n_obs,), "obsm": (cells.n_obs,)}
    parts = {"genes": names, "cells": np.asarray(cells.obs_names, dtype=str)}
    for part, shape in shapes.items():
        parts[part] = {name: as_array(values) for name, values in found.get(part, {}).items()}
        for name, values in parts[part].items():
            if values.shape[: len(shape)] != shape:
                raise ValueError(f"{part}[{name!r}] has shape {values.shape}, not {shape}")
    if parts["var"].get("velocity_genes", np.array(True)).dtype != bool or "name" in parts["var"]:
        raise ValueError("var['velocity_genes'] must be true or false, and no column may be called 'name'")
    if "velocity" not in parts["layers"]:
        raise ValueError(f"the model returned no layer 'velocity' (but {sorted(parts['layers'])})")
    if not np.isfinite(parts["layers"]["velocity"]).any(axis=0).any():
        raise ValueError("the model returned no finite velocity")
    return {**parts, **{name: found[name] for name in ("samples", "history") if name in found}}


def as_array(values):
    """A dense array: single precision for floats, floats for integers, str for text."""
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.dtype.kind in "fiu":
        return values.astype(np.float32 if values.dtype.kind == "f" and values.ndim > 1 else np.float64)
    return values if values.dtype.kind == "b" else values.astype(str)


def save_result(path, found, reason=None):
    """Write a checked result with the versions of all packages, or why there is none."""
    with h5py.File(path, "w") as file:
        if reason:
            file.attrs["reason"] = reason
            return
        packages = {part.metadata["Name"]: part.version for part in importlib.metadata.distributions()}
        write(file, "versions", np.array([f"{name} {packages[name]}" for name in sorted(packages)]))
        for name in ("cells", "genes"):
            write(file, name, found[name])
        for part in ("layers", "var", "obs", "obsm"):
            group = file.create_group(part)
            for name, values in found[part].items():
                write(group, name, values.astype(np.float32) if part in ("layers", "obsm") else values)


def save_samples(path, found):
    """Write posterior samples of the velocity one at a time: only one is ever in memory.  None is an empty file."""
    with h5py.File(path, "w") as file:
        if "samples" not in found:
            return
        write(file, "genes", found["genes"])
        velocity = found["layers"]["velocity"]
        sound = np.isfinite(velocity).all(axis=0)
        stored = file.create_dataset(
            "velocity", (0, *velocity.shape), "f4", maxshape=(None, *velocity.shape), chunks=(1, *chunk(velocity.shape))
        )
        for number, sample in enumerate(found["samples"]):
            if sample.shape != velocity.shape or not np.isfinite(sample[:, sound]).all():
                raise ValueError(
                    f"sample {number} has shape {sample.shape}, not {velocity.shape}, or no finite numbers"
                )
            stored.resize(number + 1, axis=0)
            stored[number] = sample


def chunk(shape):
    """Cells and genes that are stored together: at most a megabyte."""
    return (max(1, min(shape[0], 250_000 // max(shape[1], 1))), shape[1])


def write(group, name, values):
    """Write an array, text as UTF-8."""
    if values.dtype.kind == "U":
        group.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    else:
        group.create_dataset(name, data=values)


def in_words(error):
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def text(dataset):
    """A dataset of text as an array of str."""
    return np.asarray([value.decode() if isinstance(value, bytes) else value for value in dataset[()]], dtype=object)


def csr(group):
    """A sparse matrix, CSR."""
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
    except Exception as error:  # of any kind: it is another's code
        log.exception("%s", error)
        # what libraries printed would otherwise come after the last word
        sys.stdout.flush()
        sys.exit(in_words(error))
