"""Read and write fits: gene shards, merged fits, refits and the test of differential kinetics."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from veloshard import contract
from veloshard.errors import InputError
from veloshard.io import FilePath
from veloshard.io.hdf5 import decode_text, load_table, write_array, write_table
from veloshard.io.prepared import Prepared

Columns: TypeAlias = dict[str, NDArray[Any]]


def save_fit_shard(path: FilePath, fit: contract.Fit, names: NDArray[np.str_], *, shard: str, fingerprint: str) -> None:
    """Write the fit of one gene shard.

    Parameters
    ----------
    path : path-like
        File to write.
    fit : Fit
        Fit of the genes of the shard.
    names : ndarray of str, shape (n_genes,)
        Names of the genes.
    shard : str
        Name of the shard, such as ``"2-of-5"``.
    fingerprint : str
        Fingerprint of the prepared dataset, by which `merge_fit_shards` recognizes shards of other data.
    """
    with h5py.File(path, "w") as file:
        file.attrs["shard"], file.attrs["fingerprint"] = shard, fingerprint
        write_table(file.create_group("genes"), {"name": names, **fit.genes})
        for name, layer in fit.layers.items():
            file.create_dataset(f"layers/{name}", data=layer)


def merge_fit_shards(
    path: FilePath,
    shards: Iterable[FilePath],
    *,
    prepared: Prepared,
    select: Callable[[Columns], NDArray[np.bool_]],
) -> Columns:
    """Merge the gene shards of a fit and add the column `velocity_genes`.

    Parameters
    ----------
    path : path-like
        File to write. Genes are in the order of the dataset.
    shards : iterable of path-like
        Files of the shards, in any order.
    prepared : Prepared
        Dataset that the shards were fitted on.
    select : callable
        Function that takes the columns of all genes and returns the mask of velocity genes.

    Returns
    -------
    dict of str to ndarray, shape (n_genes,)
        Columns of the genes.

    Raises
    ------
    InputError
        If shards are missing, occur twice, or belong to another split or other data.
    """
    ordered = _ordered_shards(shards, prepared)
    tables = [load_table(shard, "genes") for shard in ordered]
    genes = {column: np.concatenate([table[column] for table in tables]) for column in tables[0]}
    names = genes.pop("name")
    if not np.array_equal(names, prepared.genes):
        raise InputError(
            f"the {len(names)} genes of the shards are not the {len(prepared.genes)} genes of the prepared data"
        )
    genes["velocity_genes"] = select(genes)
    n_cells = len(prepared.cells)
    with h5py.File(path, "w") as file:
        write_table(file.create_group("genes"), {"name": names, **genes})
        with h5py.File(ordered[0]) as first:
            for layer in first["layers"]:
                # not chunked: chunks would lie in the file in the order in which shards are written
                file.create_dataset(f"layers/{layer}", (len(names), n_cells), "f4")
        row = 0
        for shard, table in zip(ordered, tables, strict=True):
            with h5py.File(shard) as shard_file:
                fit = contract.Fit(
                    {column: values for column, values in table.items() if column != "name"},
                    {name: shard_file["layers"][name][()] for name in shard_file["layers"]},
                )
            n_rows = len(table["name"])
            contract.check(fit, n_rows, n_cells)
            for name, values in fit.layers.items():
                file["layers"][name][row : row + n_rows] = values
            row += n_rows
    return genes


def _ordered_shards(shards: Iterable[FilePath], prepared: Prepared) -> list[FilePath]:
    """Return the paths of a complete and consistent set of shards, in the order of their numbers."""
    path_of_shard: dict[str, FilePath] = {}
    for path in shards:
        with h5py.File(path) as file:
            shard, fingerprint = file.attrs["shard"], file.attrs["fingerprint"]
        if fingerprint != prepared.fingerprint:
            raise InputError(f"{path} was fitted on other counts or neighbors than the prepared ones; delete it")
        if shard in path_of_shard:
            raise InputError(f"{path} and {path_of_shard[shard]} both hold shard {shard}; delete one of them")
        path_of_shard[shard] = path
    n_shards = int(next(iter(path_of_shard)).split("-of-")[1])
    expected = [f"{number}-of-{n_shards}" for number in range(1, n_shards + 1)]
    if set(path_of_shard) != set(expected):
        missing = sorted(set(expected) - set(path_of_shard))
        of_other_split = sorted(set(path_of_shard) - set(expected))
        raise InputError(
            f"not a complete set of {n_shards} shards: missing {missing or 'none'}, "
            f"of another split {of_other_split or 'none'}"
        )
    return [path_of_shard[shard] for shard in expected]


def save_fit(
    path: FilePath,
    fit: contract.Fit,
    names: NDArray[np.str_],
    *,
    cell_columns: Mapping[str, ArrayLike],
    embeddings: Mapping[str, ArrayLike],
    versions: Sequence[str] | NDArray[np.str_] = (),
) -> None:
    """Write the fit of a whole dataset, in the format of `merge_fit_shards`.

    Parameters
    ----------
    path : path-like
        File to write.
    fit : Fit
        Fit with the column `velocity_genes`.
    names : ndarray of str, shape (n_genes,)
        Names of the genes.
    cell_columns : dict of str to array_like, shape (n_cells,)
        Columns of the cells that the method returned.
    embeddings : dict of str to array_like, shape (n_cells, n_dims)
        Embeddings that the method returned, by key of `obsm`.
    versions : sequence of str
        Packages in the environment of the method, as ``"name version"``.
    """
    contract.check(fit, len(names), fit.layers["velocity"].shape[1])
    with h5py.File(path, "w") as file:
        write_table(file.create_group("genes"), {"name": names, **fit.genes})
        write_table(file.create_group("layers"), fit.layers)
        write_table(file.create_group("cells"), cell_columns)
        write_table(file.create_group("embeddings"), embeddings)
        write_array(file, "versions", np.array(versions, dtype=object))


def save_refit(
    path: FilePath,
    fit_path: FilePath,
    fit: contract.Fit,
    *,
    genes: NDArray[np.bool_],
    select: Callable[[Columns], NDArray[np.bool_]],
) -> None:
    """Write a merged fit in which some genes are replaced by a refit.

    Parameters
    ----------
    path : path-like
        File to write.
    fit_path : path-like
        Merged fit.
    fit : Fit
        Refit of some genes. Genes that could not be refitted keep their rows of the merged fit.
    genes : ndarray of bool, shape (n_genes,)
        Genes of `fit`, in their order.
    select : callable
        Function that takes the columns of all genes and returns the mask of velocity genes.
    """
    shutil.copyfile(fit_path, path)
    is_fitted = fit.genes["status"] == "ok"
    rows = np.flatnonzero(genes)[is_fitted]
    with h5py.File(path, "r+") as file:
        columns = {name: decode_text(column) for name, column in file["genes"].items()}
        for name in fit.genes.keys() - {"status", "reason"}:  # both are those of fitted genes before and after
            columns[name][rows] = fit.genes[name][is_fitted]
            file["genes"][name][...] = columns[name]
        file["genes"]["velocity_genes"][...] = select(columns)
        for name, values in fit.layers.items():
            for row, gene_values in zip(rows, values[is_fitted], strict=True):
                file["layers"][name][row] = gene_values


def load_fit(path: FilePath, *, cells: NDArray[np.bool_]) -> contract.Fit:
    """Return the genes and the velocity of a merged fit in some cells.

    Parameters
    ----------
    path : path-like
        Merged fit.
    cells : ndarray of bool, shape (n_cells,)
        Cells to load.

    Returns
    -------
    Fit
        With the column `velocity_genes`. `velocity` is the only layer.
    """
    genes = load_fit_genes(path)
    genes.pop("name")
    with h5py.File(path) as file:
        layers = {"velocity": file["layers/velocity"][()][:, cells]}
    return contract.Fit(genes, layers)


def load_fit_genes(path: FilePath) -> Columns:
    """Return the columns of the genes of a merged fit.

    Parameters
    ----------
    path : path-like
        Merged fit.

    Returns
    -------
    dict of str to ndarray, shape (n_genes,)
        Columns, among them `name`, `status`, `reason` and `velocity_genes`.
    """
    return load_table(path, "genes")


def load_fit_layer(
    path: FilePath,
    name: str,
    *,
    genes: slice | NDArray[np.bool_] = slice(None),
    cells: slice = slice(None),
) -> NDArray[np.float32] | None:
    """Return one layer of a merged fit.

    Parameters
    ----------
    path : path-like
        Merged fit.
    name : str
        Name of the layer.
    genes : slice or ndarray of bool, shape (n_genes,)
        Genes to load.
    cells : slice
        Cells to load.

    Returns
    -------
    ndarray of float32, shape (n_loaded_genes, n_loaded_cells), or None
        None if the fit has no such layer.
    """
    with h5py.File(path) as file:
        if name not in file["layers"]:
            return None
        values: NDArray[np.float32] = file["layers"][name][genes, cells]
        return values


def load_velocity(path: FilePath, cells: slice = slice(None)) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the velocity of the velocity genes of a merged fit.

    Parameters
    ----------
    path : path-like
        Merged fit.
    cells : slice
        Cells to load.

    Returns
    -------
    velocity : ndarray of float32, shape (n_loaded_cells, n_velocity_genes)
        C-contiguous.
    velocity_genes : ndarray of bool, shape (n_genes,)
        Mask of the velocity genes.
    """
    mask = load_fit_genes(path)["velocity_genes"]
    with h5py.File(path) as file:
        velocity = file["layers/velocity"][mask, cells]
    return np.ascontiguousarray(velocity.T), mask


def load_fit_cells(path: FilePath) -> tuple[Columns, Columns]:
    """Return what a fit holds about the cells.

    Parameters
    ----------
    path : path-like
        Merged fit.

    Returns
    -------
    columns : dict of str to ndarray, shape (n_cells,)
        Columns of the cells; may be empty.
    embeddings : dict of str to ndarray, shape (n_cells, n_dims)
        Embeddings by key of `obsm`; may be empty.
    """
    with h5py.File(path) as file:
        columns, embeddings = (
            {name: decode_text(values) for name, values in file[group].items()} if group in file else {}
            for group in ("cells", "embeddings")
        )
    return columns, embeddings


def load_fit_versions(path: FilePath) -> list[str]:
    """Return the packages in the environment of another group's model.

    Parameters
    ----------
    path : path-like
        Merged fit.

    Returns
    -------
    list of str
        As ``"name version"``. Empty for the workflow's own methods.
    """
    with h5py.File(path) as file:
        versions: list[str] = decode_text(file["versions"]).tolist() if "versions" in file else []
    return versions


def load_gene_times(path: FilePath) -> dict[str, NDArray[Any]]:
    """Return the gene times of a merged fit and the likelihoods of the genes.

    Parameters
    ----------
    path : path-like
        Merged fit.

    Returns
    -------
    dict of str to ndarray
        `fit_t`, shape (n_genes, n_cells), and `likelihood`, shape (n_genes,). Empty for methods without gene times.
    """
    fit_t, likelihood = load_fit_layer(path, "fit_t"), load_fit_genes(path).get("fit_likelihood")
    return {} if fit_t is None or likelihood is None else {"fit_t": fit_t, "likelihood": likelihood}


def fit_layer_names(path: FilePath) -> list[str]:
    """Return the names of the layers of a merged fit."""
    with h5py.File(path) as file:
        return list(file["layers"])


def save_differential_kinetics(path: FilePath, tested: Any) -> None:
    """Write a test of differential kinetics, without its table of pairs.

    Parameters
    ----------
    path : path-like
        File to write.
    tested : DifferentialKinetics
        Result of `find_differential_kinetics`.
    """
    with h5py.File(path, "w") as file:
        write_table(file.create_group("genes"), tested.genes)
        for name in ("p_values", "differs"):
            file.create_dataset(name, data=getattr(tested, name))


def load_differential_kinetics(path: FilePath) -> tuple[Columns, NDArray[np.float64], NDArray[np.bool_]]:
    """Return what `save_differential_kinetics` wrote.

    Parameters
    ----------
    path : path-like
        File to read.

    Returns
    -------
    genes : dict of str to ndarray, shape (n_genes,)
        Columns of the genes.
    p_values : ndarray, shape (n_genes, n_clusters)
        P-values of the clusters.
    differs : ndarray of bool, shape (n_genes, n_clusters)
        Clusters whose kinetics differ.
    """
    with h5py.File(path) as file:
        return load_table(path, "genes"), file["p_values"][()], file["differs"][()]
