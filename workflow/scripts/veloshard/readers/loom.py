"""Reader of loom files, as velocyto writes them: genes x cells, dense on disk."""

import re

import h5py
import numpy as np
import pandas as pd

from veloshard.errors import InputError, choices
from veloshard.readers.common import assemble, chosen_layers, gene_table
from veloshard.readers.counts import dense_blocks, sparse_counts

CELL_NAMES = ("CellID", "obs_names", "cell_names", "index", "barcode")
GENE_NAMES = ("Gene", "var_names", "gene_names", "index", "Accession")
GENE_IDS = ("Accession", "gene_ids", "GeneID", "ensembl")


def read(path, *, where, key, layers):
    """Counts and annotations of a loom file; arguments and result as of `readers.read`."""
    with h5py.File(path) as file:
        if "layers" not in file or not {"row_attrs", "col_attrs"} <= file.keys():
            raise InputError(f"{where}: not a loom file with layers ({choices(file)}). Correct {key}.source.")
        cells, genes = _attributes(file["col_attrs"]), _attributes(file["row_attrs"])
        names = barcodes(_first(cells, CELL_NAMES, where=where, what="cell"))
        symbols = _first(genes, GENE_NAMES, where=where, what="gene")
        ids = next((genes[name] for name in GENE_IDS if name in genes), symbols)
        shape = (len(names), len(symbols))
        counts = {}
        for layer, name in chosen_layers(list(file["layers"]), layers, where=where, key=key).items():
            stored = file["layers"][name]
            if stored.shape != shape[::-1]:
                raise InputError(
                    f"{where}: layer {name!r} is {' x '.join(map(str, stored.shape))}, but there are "
                    f"{shape[1]} genes and {shape[0]} cells. A loom file has genes x cells."
                )
            counts[layer] = sparse_counts(_entries(stored), shape, where=where)
        var, notes = gene_table(ids, symbols)
        own = {name: values for name, values in cells.items() if name not in CELL_NAMES}
        return assemble(pd.DataFrame(own, index=names), var, counts, where=where, format="loom", notes=notes)


def _entries(layer):
    for first, block in dense_blocks(layer):
        genes, cells = block.nonzero()
        yield cells, genes + first, block[genes, cells]


def _attributes(group):
    """Attributes of cells or genes that are one value each, texts as str."""
    found = {}
    for name, item in group.items():
        if isinstance(item, h5py.Dataset) and item.ndim == 1:
            values = item[()]
            if values.dtype.kind in "SO":
                values = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values])
            if values.dtype.kind in "biufU":
                found[name] = values
    return found


def _first(attributes, names, *, where, what):
    for name in names:
        if name in attributes:
            return attributes[name].astype(str)
    raise InputError(f"{where}: no {what} names ({choices(attributes)}). A loom file has them as {names[0]!r}.")


def barcodes(names):
    """Barcodes of velocyto's names of cells, SAMPLE:BARCODEx, where that leaves them unique; else the names."""
    bare = [re.sub(r"^.*:|x$", "", name) for name in names]
    return np.array(bare if len(set(bare)) == len(bare) else names, dtype=str)
