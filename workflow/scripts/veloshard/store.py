"""Files between the rules: HDF5 that a job can read in parts, without AnnData's memory and start-up time.

Strings are UTF-8; a table is a group with one dataset a column; a sparse matrix is a group with data, indices and
indptr, as in AnnData's files, so that parts of those are read with the same functions.
"""

import csv
import hashlib
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from scipy import sparse

from veloshard import contract
from veloshard.errors import InputError
from veloshard.moments import first_moments, neighborhood
from veloshard.neighbors import connectivity_weights

GENES_AT_A_TIME = 64  # that are read, transposed and written together
TRUE_VELOCITY = "true_velocity"
CELLS_AT_ONCE = 1 << 14  # rows of a neighbour graph that are read together: some 10 MB


class Prepared(NamedTuple):
    """What `prepared.h5ad` holds beside its counts.

    fingerprint : str, of the counts and the graph.   genes, cells : names, (n_genes,) and (n_cells,).
    distances, connectivities : CSR (n_cells, n_cells).
    """

    fingerprint: str
    genes: np.ndarray
    cells: np.ndarray
    distances: sparse.csr_matrix
    connectivities: sparse.csr_matrix


def shard_bounds(item, n_elements):
    """First and one-past-last element of a shard named like '2-of-4': contiguous, sizes differ by one at most."""
    number, of = (int(part) for part in item.split("-of-"))
    return (number - 1) * n_elements // of, number * n_elements // of


def load_prepared(path):
    """`Prepared` of a file written by `prepare`."""
    with h5py.File(path) as file:
        return Prepared(
            fingerprint=text(file["uns/prepare/fingerprint"]),
            genes=_names(file["var"]),
            cells=_names(file["obs"]),
            distances=_read_sparse(file["obsp/distances"]),
            connectivities=_read_sparse(file["obsp/connectivities"]),
        )


def load_block(path, item="1-of-1", *, cells_at_once=CELLS_AT_ONCE):
    """`contract.GeneBlock` of one gene shard of `prepared.h5ad`, and the file's fingerprint.

    The neighbour graph is read a block of cells at a time; of how many changes the memory and nothing else.
    """
    with h5py.File(path) as file:
        names = _names(file["var"])
        start, stop = shard_bounds(item, len(names))
        graph = file["obsp/connectivities"]
        n_cells = graph.attrs["shape"][0]
        block = contract.GeneBlock(
            names[start:stop],
            _read_columns(file["layers/spliced"], start, stop),
            _read_columns(file["layers/unspliced"], start, stop),
            neighborhood(
                *(
                    connectivity_weights(_read_rows(graph, first, min(first + cells_at_once, n_cells)), first)
                    for first in range(0, n_cells, cells_at_once)
                )
            ),
        )
        return block, text(file["uns/prepare/fingerprint"])


def save_prepared(path, prepared):
    """Write the AnnData that `preprocess.prepare` made, with the fingerprint that its shards will be known by."""
    prepared.uns["prepare"]["fingerprint"] = _fingerprint(prepared)
    prepared.write_h5ad(path)


def load_components(path):
    """Components of the cells of `prepared.h5ad`, and what they are of genes: X_pca = (X - means) loadings.

    Returns float64 (n_cells, n_dims), (n_genes, n_dims) and (n_genes,); the latter two are None where the user brought
    the components.
    """
    with h5py.File(path) as file:
        components = file["obsm/X_pca"][()].astype(np.float64)
        if "PCs" not in file["varm"]:
            return components, None, None
        n_cells, n_genes = file["X"].attrs["shape"]
        sums = np.zeros(n_genes)
        for first in range(0, n_cells, CELLS_AT_ONCE):
            rows = _read_rows(file["X"], first, min(first + CELLS_AT_ONCE, n_cells))
            sums += np.ravel(rows.sum(axis=0, dtype=np.float64))
        return components, file["varm/PCs"][()].astype(np.float64), sums / n_cells


def load_annotations(path):
    """AnnData of a file without its matrices: `obs`, `var`, `obsm` and `uns`."""
    from anndata import AnnData  # its memory and start-up time are for those who need it: shards do not
    from anndata.io import read_elem

    with h5py.File(path) as file:
        parts = {name: read_elem(file[name]) for name in ("obs", "var", "obsm", "uns")}
    return AnnData(**parts)


def load_counts(path, cells):
    """AnnData of some cells of `counts.h5ad`, with their annotations: other cells are never in memory.

    cells : names, in the order in which the result is to hold them.
    """
    from anndata import AnnData  # as above
    from anndata.io import read_elem
    from pandas import DataFrame

    with h5py.File(path) as file:
        obs = read_elem(file["obs"])
        rows = obs.index.get_indexer(cells)
        in_file, back = np.unique(rows, return_inverse=True)
        layers = {}
        for layer in ("spliced", "unspliced"):
            group, blocks = file["layers"][layer], []
            for first in range(0, len(obs), CELLS_AT_ONCE):
                stop = min(first + CELLS_AT_ONCE, len(obs))
                wanted = in_file[(in_file >= first) & (in_file < stop)] - first
                blocks.append(_read_rows(group, first, stop)[wanted])
            layers[layer] = sparse.vstack(blocks, format="csr")[back]
        return AnnData(obs=obs.iloc[rows], var=DataFrame(index=_names(file["var"])), layers=layers)


def _fingerprint(prepared):
    """Hash of all that a fit depends on: names, counts and neighbours."""
    digest = hashlib.sha256("\n".join([*prepared.obs_names, *prepared.var_names]).encode())
    layers, graphs = prepared.layers, prepared.obsp
    for matrix in (layers["spliced"], layers["unspliced"], graphs["connectivities"], graphs["distances"]):
        for part in (matrix.data, matrix.indices, matrix.indptr):
            digest.update(np.ascontiguousarray(part))
    return digest.hexdigest()


def sizes(dataset):
    """How large a dataset is, with the edges of its graph if it has one: the memory of later jobs follows from it."""
    found = {
        "n_cells": dataset.n_obs,
        "n_genes": dataset.n_vars,
        "n_counts": dataset.layers["spliced"].nnz + dataset.layers["unspliced"].nnz,
    }
    if "connectivities" in dataset.obsp:
        found["n_edges"] = dataset.obsp["connectivities"].nnz + dataset.n_obs
    return found


def load_moments(path, mask, layer="spliced"):
    """First moments of the genes of `prepared.h5ad` for which `mask` is true, float32 (n_cells, n_genes)."""
    block, _ = load_block(path)
    return np.ascontiguousarray(first_moments(getattr(block, layer)[:, np.flatnonzero(mask)], block.around).T)


def load_velocity(path, cells=slice(None)):
    """Velocities in the velocity genes of a merged fit, float32 (n_cells, n_velocity_genes), and the mask of those.

    cells : slice of the cells to read.
    """
    mask = load_fit_genes(path)["velocity_genes"]
    return np.ascontiguousarray(load_fit_layer(path, "velocity", genes=mask, cells=cells).T), mask


def save_shard(path, fit, names, *, item, fingerprint):
    """Write the `contract.Fit` of one gene shard, with what a merge needs to tell whether it belongs there."""
    with h5py.File(path, "w") as file:
        file.attrs["item"], file.attrs["fingerprint"] = item, fingerprint
        _write_table(file.create_group("genes"), {"name": names, **fit.genes})
        for name, layer in fit.layers.items():
            file.create_dataset(f"layers/{name}", data=layer)


def merge_shards(path, shards, *, prepared, select):
    """Put the gene shards of a fit together, in the dataset's order, and add the column `velocity_genes`.

    shards : paths in any order.   prepared : `Prepared` that they were fitted on.
    select : function of the columns of all genes that returns the mask of velocity genes.
    Returns the columns.  Raises InputError where shards are lost, doubled, of another split or of other data.
    """
    ordered = _checked_shards(shards, prepared)
    tables = [_load_table(shard, "genes") for shard in ordered]
    genes = {column: np.concatenate([table[column] for table in tables]) for column in tables[0]}
    names = genes.pop("name")
    if not np.array_equal(names, prepared.genes):
        raise InputError(f"the shards hold {len(names)} genes that are not the {len(prepared.genes)} prepared ones")
    genes["velocity_genes"] = select(genes)
    n_cells = len(prepared.cells)
    with h5py.File(path, "w") as file:
        _write_table(file.create_group("genes"), {"name": names, **genes})
        with h5py.File(ordered[0]) as first:
            for layer in first["layers"]:
                # not in chunks: those would lie in the order in which shards are written
                file.create_dataset(f"layers/{layer}", (len(names), n_cells), "f4")
        row = 0
        for shard, table in zip(ordered, tables, strict=True):
            with h5py.File(shard) as part:
                fit = contract.Fit(
                    {column: values for column, values in table.items() if column != "name"},
                    {name: part["layers"][name][()] for name in part["layers"]},
                )
            n_rows = len(table["name"])
            contract.check(fit, n_rows, n_cells)
            for name, values in fit.layers.items():
                file["layers"][name][row : row + n_rows] = values
            row += n_rows
    return genes


def save_fit(path, fit, names, *, of_cells, places, versions=()):
    """Write the `contract.Fit` of a whole dataset, with the column `velocity_genes`, as `merge_shards` would.

    names : (n_genes,).   of_cells : columns (n_cells,) by name.   versions : of the packages that made it.
    places : (n_cells, n_dims) by key of `obsm`.  Both are what `load_fit_cells` returns.
    """
    contract.check(fit, len(names), fit.layers["velocity"].shape[1])
    with h5py.File(path, "w") as file:
        _write_table(file.create_group("genes"), {"name": names, **fit.genes})
        _write_table(file.create_group("layers"), fit.layers)
        _write_table(file.create_group("cells"), of_cells)
        _write_table(file.create_group("places"), places)
        _write_array(file, "versions", np.array(versions, dtype=object))


def load_fit(path, *, cells):
    """`contract.Fit` of some cells of a merged fit, its velocities only, with the column `velocity_genes`.

    cells : bool (n_cells,).
    """
    genes = load_fit_genes(path)
    genes.pop("name")
    with h5py.File(path) as file:
        # the velocities are all that is asked of such a fit
        layers = {"velocity": file["layers/velocity"][()][:, cells]}
    return contract.Fit(genes, layers)


def load_fit_cells(path):
    """What a fit says of the cells: columns (n_cells,), and (n_cells, n_dims) by key of `obsm`; both may be empty."""
    with h5py.File(path) as file:
        return tuple(
            {name: text(values) for name, values in file[group].items()} if group in file else {}
            for group in ("cells", "places")
        )


def load_fit_versions(path):
    """Versions of the packages in the environment that a fit was made in, `name version`; none of our own."""
    with h5py.File(path) as file:
        return text(file["versions"]).tolist() if "versions" in file else []


def save_replaced(path, fit_path, fit, *, genes, select):
    """Write a merged fit with the rows of some genes replaced by those of a `contract.Fit` that are sound.

    genes : bool (n_genes,), those that `fit` holds, in their order.   select : as for `merge_shards`.
    """
    shutil.copyfile(fit_path, path)
    sound = fit.genes["status"] == "ok"
    rows = np.flatnonzero(genes)[sound]
    with h5py.File(path, "r+") as file:
        columns = {name: text(column) for name, column in file["genes"].items()}
        for name in fit.genes.keys() - {"status", "reason"}:  # which were 'ok' and stay so
            columns[name][rows] = fit.genes[name][sound]
            file["genes"][name][...] = columns[name]
        file["genes"]["velocity_genes"][...] = select(columns)
        for name, values in fit.layers.items():
            for row, of_gene in zip(rows, values[sound], strict=True):
                file["layers"][name][row] = of_gene


def save_kinetics(path, tested):
    """Write what a `differential_kinetics.Tested` holds but for its table of pairs."""
    with h5py.File(path, "w") as file:
        _write_table(file.create_group("genes"), tested.genes)
        for name in ("p_values", "differs"):
            file.create_dataset(name, data=getattr(tested, name))


def load_kinetics(path):
    """Columns of the genes, p-values and what differs, as `save_kinetics` wrote them."""
    with h5py.File(path) as file:
        return _load_table(path, "genes"), file["p_values"][()], file["differs"][()]


def _checked_shards(shards, prepared):
    """Paths of a complete and consistent set of shards, in the order of their numbers."""
    by_item = {}
    for shard in shards:
        with h5py.File(shard) as file:
            item, fingerprint = file.attrs["item"], file.attrs["fingerprint"]
        if fingerprint != prepared.fingerprint:
            raise InputError(f"{shard} was fitted on other counts or neighbours than the prepared ones; delete it")
        if item in by_item:
            raise InputError(f"{shard} and {by_item[item]} both hold shard {item}; delete one of them")
        by_item[item] = shard
    n_shards = int(next(iter(by_item)).split("-of-")[1])
    wanted = [f"{number}-of-{n_shards}" for number in range(1, n_shards + 1)]
    if set(by_item) != set(wanted):
        lost, strange = sorted(set(wanted) - set(by_item)), sorted(set(by_item) - set(wanted))
        raise InputError(
            f"not a complete set of {n_shards} shards: lost {lost or 'none'}, of another split {strange or 'none'}"
        )
    return [by_item[item] for item in wanted]


def merge_graph_shards(paths):
    """The whole graph, CSR (n_cells, n_cells), from its shards of rows in any order.

    Raises InputError where rows are lost or doubled.
    """
    blocks = {}
    for path in paths:
        with h5py.File(path) as file:
            blocks[int(file.attrs["first_cell"])] = _read_sparse(file["graph"])
    row = 0
    for first_cell, block in sorted(blocks.items()):
        if first_cell != row:
            raise InputError(f"the graph shards do not join: the one after cell {row} starts at {first_cell}")
        row += block.shape[0]
    if row != block.shape[1] or len(blocks) != len(paths):
        raise InputError(f"{len(paths)} graph shards hold {row} rows of {block.shape[1]} cells")
    return sparse.vstack([blocks[first_cell] for first_cell in sorted(blocks)], format="csr")


def load_fit_genes(path):
    """Columns of a merged fit: dict of arrays (n_genes,), with `name`."""
    return _load_table(path, "genes")


def load_fit_layer(path, name, *, genes=slice(None), cells=slice(None)):
    """Some genes and cells of one layer of a merged fit, float32 (n_genes, n_cells); None where there is none.

    genes : slice or bool mask.   cells : slice.
    """
    with h5py.File(path) as file:
        return file["layers"][name][genes, cells] if name in file["layers"] else None


def load_times(path):
    """Gene-wise times of a merged fit and the likelihoods of their genes, by the names that `time` takes; or none."""
    fit_t, likelihood = load_fit_layer(path, "fit_t"), load_fit_genes(path).get("fit_likelihood")
    return {} if fit_t is None or likelihood is None else {"fit_t": fit_t, "likelihood": likelihood}


def fit_layer_names(path):
    """Names of the layers of a merged fit."""
    with h5py.File(path) as file:
        return list(file["layers"])


def add_layers(path, prepared_path, fit_path, *, names=None, missing=np.nan):
    """Append dense layers of a result to an AnnData file of its cells and genes: Ms, Mu and those of the fit.

    names : {name in the file: Ms, Mu or a layer of the fit}, by default all by their own names.   missing : what genes
    without a fit have.   All are float32 (n_cells, n_genes).  Genes are moved in blocks: no whole layer is ever in
    memory.
    """
    block, _ = load_block(prepared_path)
    names = names or {name: name for name in ("Ms", "Mu", *fit_layer_names(fit_path))}
    with h5py.File(path, "r+") as file:
        n_cells, n_genes = len(block.around.indptr) - 1, len(block.names)
        chunks = (min(n_cells, 4096), min(n_genes, GENES_AT_A_TIME))
        for name in names:
            layer = file["layers"].create_dataset(name, (n_cells, n_genes), "f4", chunks=chunks)
            layer.attrs["encoding-type"], layer.attrs["encoding-version"] = "array", "0.2.0"
        for first in range(0, n_genes, GENES_AT_A_TIME):
            genes = slice(first, min(first + GENES_AT_A_TIME, n_genes))
            for name, ours in names.items():
                if ours in ("Ms", "Mu"):
                    counts = block.spliced if ours == "Ms" else block.unspliced
                    values = first_moments(counts[:, genes], block.around)
                else:
                    values = load_fit_layer(fit_path, ours, genes=genes)
                    values[np.isnan(values)] = missing
                file["layers"][name][:, genes] = values.T


def load_truth(path, prepared):
    """True velocities of the cells and genes of a `Prepared`, from a file with the dense layer `true_velocity`.

    Returns the genes that have one, bool (n_genes,), and a function of rows of genes, ints, that reads them: float32
    (n_rows, n_cells); None where the file has no such layer.  Raises InputError where it lacks some of the cells.
    """
    with h5py.File(path) as file:
        if not isinstance(file.get(f"layers/{TRUE_VELOCITY}"), h5py.Dataset):
            return None
        cells, columns = (
            _positions(_names(file[table]), wanted)
            for table, wanted in (("obs", prepared.cells), ("var", prepared.genes))
        )
    if np.any(cells < 0):
        raise InputError(f"{path}: layer {TRUE_VELOCITY} lacks {np.sum(cells < 0)} of {len(cells)} cells; rename it")

    def read(rows):
        wanted = columns[rows]
        if len(wanted) == 0:
            return np.empty((0, len(cells)), dtype=np.float32)
        known = wanted >= 0
        found = np.full((len(wanted), len(cells)), np.nan, dtype=np.float32)
        if known.any():
            first, last = wanted[known].min(), wanted[known].max()
            with h5py.File(path) as file:
                values = file["layers"][TRUE_VELOCITY][:, first : last + 1]
            found[known] = values[np.ix_(cells, wanted[known] - first)].T
        return found

    return columns >= 0, read


class Result(NamedTuple):
    """A velocity result as AnnData would give it, with its layers left on disk."""

    obs: object
    var: object
    obsm: dict
    uns: dict
    layers: h5py.Group


@contextmanager
def open_result(path):
    """`Result` of a `velocity.h5ad`, for as long as the file is open; of `uns` all but the velocity graphs."""
    from anndata.io import read_elem  # as above

    with h5py.File(path) as file:
        uns = {name: read_elem(item) for name, item in file["uns"].items() if not name.startswith("velocity_graph")}
        yield Result(
            obs=read_elem(file["obs"]),
            var=read_elem(file["var"]),
            obsm={name: item[()] for name, item in file["obsm"].items()},
            uns=uns,
            layers=file["layers"],
        )


def save_arrays(path, arrays, **attributes):
    """Write named arrays and CSR matrices, and attributes of the file."""
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, values in arrays.items():
            if sparse.issparse(values):
                _write_sparse(file.create_group(name), values)
            else:
                _write_array(file, name, values)


def load_arrays(path):
    """Arrays and CSR matrices written by `save_arrays`."""
    with h5py.File(path) as file:
        return {name: _read_sparse(item) if isinstance(item, h5py.Group) else text(item) for name, item in file.items()}


def save_table(path, columns):
    """Write columns, sequences of the same length by name, as csv."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))


def save_json(path, values):
    """Write a nest of plain values as JSON."""
    Path(path).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_json(path):
    """Nest of plain values written by `save_json`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _read_columns(group, start, stop):
    """Columns start to stop of a CSC matrix on disk."""
    return sparse.csc_matrix(_read_slices(group, "csc_matrix", start, stop), (group.attrs["shape"][0], stop - start))


def _read_rows(group, start, stop):
    """Rows start to stop of a CSR matrix on disk."""
    return sparse.csr_matrix(_read_slices(group, "csr_matrix", start, stop), (stop - start, group.attrs["shape"][1]))


def _read_slices(group, encoding, start, stop):
    """Data, indices and indptr of some of a matrix's columns or rows, whichever it is compressed by."""
    if group.attrs["encoding-type"] != encoding:
        raise ValueError(
            f"{group.name} is a {group.attrs['encoding-type']}, not a {encoding}, and cannot be read in parts"
        )
    indptr = group["indptr"][start : stop + 1].astype(np.int64)
    first, last = (indptr[0], indptr[-1]) if len(indptr) else (0, 0)
    return group["data"][first:last], group["indices"][first:last], indptr - first


def _read_sparse(group):
    part = (group["data"][()], group["indices"][()], group["indptr"][()])
    return sparse.csr_matrix(part, shape=tuple(group.attrs["shape"]))


def _write_sparse(group, matrix):
    group.attrs["shape"] = matrix.shape
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(matrix, part))


def _write_table(group, columns):
    for name, values in columns.items():
        _write_array(group, name, values)


def _write_array(group, name, values):
    values = np.asarray(values)
    if values.dtype.kind in "UO":
        group.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    else:
        group.create_dataset(name, data=values)


def _load_table(path, group):
    with h5py.File(path) as file:
        return {name: text(column) for name, column in file[group].items()}


def _positions(names, wanted):
    """Place of each of the wanted names among some names, -1 where it is not there."""
    place = {name: number for number, name in enumerate(names)}
    return np.array([place.get(name, -1) for name in wanted])


def _names(group):
    return text(group[group.attrs["_index"]])


def text(dataset):
    """A dataset's values, as str where they are text."""
    values = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
    return values.astype(str) if isinstance(values, np.ndarray) and values.dtype == object else values
