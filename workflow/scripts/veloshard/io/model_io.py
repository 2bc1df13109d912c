"""Read the files that other groups' models return. The models run in their own Python environments (`run_model`).

The files are plain HDF5, which every version of h5py reads. The format of AnnData files changes with the version.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from veloshard import contract
from veloshard.errors import InputError
from veloshard.io import FilePath
from veloshard.io.hdf5 import decode_text


class ModelOutput(NamedTuple):
    """Result of another group's model, in the model's order of genes.

    Attributes
    ----------
    cells, genes : ndarray of str, shape (n_cells,) and (n_model_genes,)
        Names of cells and genes.
    layers : dict of str to ndarray of float32, shape (n_cells, n_model_genes)
        Layers, among them `velocity`.
    gene_columns, cell_columns : dict of str to ndarray, shape (n_model_genes,) and (n_cells,)
        Columns of genes and cells.
    embeddings : dict of str to ndarray, shape (n_cells, n_dims)
        Embeddings by key of `obsm`.
    versions : ndarray of str
        Packages in the model's environment, as ``"name version"``.
    """

    cells: NDArray[np.str_]
    genes: NDArray[np.str_]
    layers: Mapping[str, NDArray[np.float32]]
    gene_columns: Mapping[str, NDArray[Any]]
    cell_columns: Mapping[str, NDArray[Any]]
    embeddings: Mapping[str, NDArray[Any]]
    versions: NDArray[np.str_] = np.array([], dtype=str)


def load_model_output(path: FilePath) -> ModelOutput:
    """Return the result of another group's model.

    Parameters
    ----------
    path : path-like
        File `model_output.h5` that `run_model` wrote.

    Returns
    -------
    ModelOutput
        Result in the model's order of genes.
    """
    with h5py.File(path) as file:
        return ModelOutput(
            cells=decode_text(file["cells"]),
            genes=decode_text(file["genes"]),
            layers={name: layer[()] for name, layer in file["layers"].items()},
            gene_columns={name: decode_text(column) for name, column in file["var"].items()},
            cell_columns={name: decode_text(column) for name, column in file["obs"].items()},
            embeddings={name: coordinates[()] for name, coordinates in file["obsm"].items()},
            versions=decode_text(file["versions"]),
        )


def load_failure_reason(path: FilePath) -> str:
    """Return why a model gave no result for a negative control.

    Parameters
    ----------
    path : path-like
        File `model_output.h5` that `run_model` wrote.

    Returns
    -------
    str
        Empty if there is a result.
    """
    with h5py.File(path) as file:
        return str(file.attrs.get("reason", ""))


@contextmanager
def open_posterior_samples(
    path: FilePath, genes: Sequence[str] | NDArray[np.str_]
) -> Iterator[tuple[Callable[[int], NDArray[np.float32]], int]]:
    """Open `posterior_samples.h5` and yield a function that reads draws of the velocity.

    Parameters
    ----------
    path : path-like
        File that `run_model` wrote. It is open as long as the context.
    genes : sequence of str
        Names of the genes to read. The file holds all of them.

    Yields
    ------
    read : callable
        Function that takes the number of a draw and returns its velocity, float32 with shape (n_cells, len(genes)).
    n_draws : int
        Number of draws.
    """
    with h5py.File(path) as file:
        column = {name: number for number, name in enumerate(decode_text(file["genes"]))}
        columns = np.array([column[name] for name in genes])
        velocity = file["velocity"]
        yield (lambda number: np.ascontiguousarray(velocity[number][:, columns])), len(velocity)


def as_fit(
    output: ModelOutput, *, cells: Sequence[str] | NDArray[np.str_], genes: Sequence[str] | NDArray[np.str_]
) -> contract.Fit:
    """Return the result of another group's model as a `Fit`.

    Parameters
    ----------
    output : ModelOutput
        Result of the model.
    cells, genes : sequence of str
        Names of the dataset's cells and genes, in their order.

    Returns
    -------
    Fit
        Genes in the order of the dataset. Genes that the model left out have the status ``"not_fitted"`` and a reason.
        All fitted genes are velocity genes, unless the model has a column `velocity_genes`.

    Raises
    ------
    InputError
        If the cells are not those of the dataset, if the model has genes that the dataset lacks, or if it has no genes.
    """
    if not np.array_equal(output.cells, cells):
        raise InputError(f"the {len(output.cells)} cells of the model are not the {len(cells)} cells of the dataset")
    row_of_gene = {name: number for number, name in enumerate(genes)}
    unknown = [name for name in output.genes if name not in row_of_gene]
    if unknown or not len(output.genes):
        raise InputError(
            f"the model returned {len(output.genes)} genes, {len(unknown)} of them not in the dataset: {unknown[:3]}"
        )
    rows = np.array([row_of_gene[name] for name in output.genes])
    velocity = output.layers["velocity"]
    is_finite = np.isfinite(velocity).all(axis=0)
    layers = {
        name: _fill_rows(values.T, rows, len(genes), np.float32(np.nan)) for name, values in output.layers.items()
    }
    layers["velocity"][rows[~is_finite]] = np.nan
    is_fitted, in_model = np.zeros(len(genes), dtype=bool), np.zeros(len(genes), dtype=bool)
    in_model[rows], is_fitted[rows[is_finite]] = True, True
    status, reason = contract.status_of(
        (~in_model, "left out by the model"), (~is_fitted, "velocities that are not finite")
    )
    columns = {
        name: _fill_rows(values, rows, len(genes), _missing_value(values))
        for name, values in output.gene_columns.items()
    }
    columns["velocity_genes"] = is_fitted & columns.get("velocity_genes", True)
    return contract.Fit(genes={**columns, "status": status, "reason": reason}, layers=layers)


def _fill_rows(values: NDArray[Any], rows: NDArray[np.int64], n_rows: int, missing: Any) -> NDArray[Any]:
    """Return an array of `n_rows` rows that holds the values in some rows, and `missing` in the others."""
    filled = np.full((n_rows, *values.shape[1:]), missing, dtype=values.dtype)
    filled[rows] = values
    return filled


def _missing_value(column: NDArray[Any]) -> Any:
    """Return the value of genes without a value: NaN, False or an empty string."""
    return {"f": np.nan, "b": False, "U": ""}[column.dtype.kind]
