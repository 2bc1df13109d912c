"""Reader of loom files as velocyto writes them: genes x cells, dense on disk."""

import re
from collections.abc import Iterator, Mapping, Sequence

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from veloshard.errors import InputError, choices, full_name
from veloshard.io import FilePath
from veloshard.io.readers.common import assemble, choose_layers, gene_table
from veloshard.io.readers.sparse_blocks import Entries, dense_blocks, sparse_counts

CELL_NAMES = ("CellID", "obs_names", "cell_names", "index", "barcode")


GENE_NAMES = ("Gene", "var_names", "gene_names", "index", "Accession")


GENE_IDS = ("Accession", "gene_ids", "GeneID", "ensembl")


def read(path: FilePath, *, where: str, key: str, layers: Mapping[str, str]) -> AnnData:
    """Return counts and annotations of a loom file.

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
        if "layers" not in file or not {"row_attrs", "col_attrs"} <= file.keys():
            raise InputError(
                f"{where}: not a loom file with layers ({choices(file)}). Correct {full_name('source', key)}."
            )
        cells, genes = _read_attributes(file["col_attrs"]), _read_attributes(file["row_attrs"])
        names = barcodes(_first_present(cells, CELL_NAMES, where=where, kind="cell"))
        symbols = _first_present(genes, GENE_NAMES, where=where, kind="gene")
        ids = next((genes[name] for name in GENE_IDS if name in genes), symbols)
        shape = (len(names), len(symbols))
        counts = {}
        for layer, name in choose_layers(list(file["layers"]), layers, where=where, key=key).items():
            stored = file["layers"][name]
            if stored.shape != shape[::-1]:
                raise InputError(
                    f"{where}: layer {name!r} is {' x '.join(map(str, stored.shape))}, but there are "
                    f"{shape[1]} genes and {shape[0]} cells. A loom file has genes x cells."
                )
            counts[layer] = sparse_counts(_entries(stored), shape, where=where)
        var, notes = gene_table(ids, symbols)
        annotations = {name: values for name, values in cells.items() if name not in CELL_NAMES}
        obs = pd.DataFrame(annotations, index=names)
        return assemble(obs, var, counts, where=where, format="loom", notes=notes)


def _entries(layer: h5py.Dataset) -> Iterator[Entries]:
    """Yield blocks of entries: cells, genes and values."""
    for first, block in dense_blocks(layer):
        genes, cells = block.nonzero()
        yield cells, genes + first, block[genes, cells]


def _read_attributes(group: h5py.Group) -> dict[str, NDArray[np.generic]]:
    """Return the one-dimensional attributes of cells or genes, text as str."""
    attributes = {}
    for name, item in group.items():
        if isinstance(item, h5py.Dataset) and item.ndim == 1:
            values = item[()]
            if values.dtype.kind in "SO":
                values = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values])
            if values.dtype.kind in "biufU":
                attributes[name] = values
    return attributes


def _first_present(
    attributes: Mapping[str, NDArray[np.generic]], names: Sequence[str], *, where: str, kind: str
) -> NDArray[np.str_]:
    """Return the first attribute that the file has, as str."""
    for name in names:
        if name in attributes:
            return attributes[name].astype(str)
    raise InputError(f"{where}: no {kind} names ({choices(attributes)}). A loom file has them as {names[0]!r}.")


def barcodes(names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the barcodes in velocyto's cell names, which are SAMPLE:BARCODEx; the names if barcodes are not unique."""
    bare = [re.sub(r"^.*:|x$", "", name) for name in names]
    return np.array(bare if len(set(bare)) == len(bare) else names, dtype=str)
