"""Write small counts in the layouts of all quantifiers, without code of the library."""

import gzip
import warnings
from pathlib import Path

import h5py
import numpy as np
from anndata import AnnData
from scipy import sparse

BARCODES = ["GTGTAGTGATTTCC", "ATTACCACCGTTAG", "TAGCCCTGACGGGA", "GGAACACTCATTTC", "ACCCGTTGCTGAGT", "TTTGCATGAACTGC"]
IDS = [f"ENSMUSG0000000000{k}" for k in range(8)]
NAMES = ["Rpl37a", "Ptma", "Rpl7", "Atp1b1", "Chchd10", "Sst", "Ins1", "Gcg"]


def random_layers(seed=0):
    """Return the counts of each layer, 6 cells x 8 genes."""
    rng = np.random.default_rng(seed)
    return {
        layer: rng.poisson(mean, (6, 8)) for layer, mean in (("spliced", 4), ("unspliced", 1.5), ("ambiguous", 0.5))
    }


def _matrix(path, counts, kind="integer", zeros=False):
    rows, columns = np.nonzero(np.ones_like(counts) if zeros else counts)
    order = np.lexsort((rows, columns))
    lines = [f"{rows[k] + 1} {columns[k] + 1} {counts[rows[k], columns[k]]}" for k in order]
    head = [
        f"%%MatrixMarket matrix coordinate {kind} general",
        "%",
        f"{counts.shape[0]} {counts.shape[1]} {len(lines)}",
    ]
    _text(path, [*head, *lines])


def _text(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _names(folder, end=""):
    _text(folder / f"barcodes.tsv{end}", BARCODES)
    _text(folder / f"features.tsv{end}", [f"{i}\t{n}\tGene Expression" for i, n in zip(IDS, NAMES, strict=True)])


def starsolo(path, counts, end=""):
    folder = path / "Solo.out/Velocyto/raw"
    _names(folder, end)
    for layer, values in counts.items():
        _matrix(folder / f"{layer}.mtx{end}", values.T, zeros=True)
    return path


def starsolo_gz(path, counts):
    return starsolo(path, counts, ".gz")


def starsolo_old(path, counts):
    folder = path / "Solo.out/Velocyto/filtered"
    _names(folder)
    genes, cells = np.nonzero(sum(counts.values()).T)
    rows = [
        f"{gene + 1} {cell + 1} {' '.join(str(values[cell, gene]) for values in counts.values())}"
        for gene, cell in zip(genes, cells, strict=True)
    ]
    _text(folder / "matrix.mtx", ["%%MatrixMarket matrix coordinate integer general", "%", f"8 6 {len(rows)}", *rows])
    return path


def kb_nac(path, counts):
    folder = path / "counts_unfiltered"
    for layer, name in (("spliced", "mature"), ("unspliced", "nascent"), ("ambiguous", "ambiguous")):
        _matrix(folder / f"cells_x_genes.{name}.mtx", counts[layer], "real")
    _text(folder / "cells_x_genes.barcodes.txt", BARCODES)
    _text(folder / "cells_x_genes.genes.txt", IDS)
    _text(folder / "cells_x_genes.genes.names.txt", NAMES)
    return path


def kb_lamanno(path, counts):
    # each layer has its own order of cells
    folder = path / "counts_unfiltered"
    for layer, cells in (("spliced", [0, 1, 2, 3, 4, 5]), ("unspliced", [5, 3, 0, 1, 2, 4])):
        _matrix(folder / f"{layer}.mtx", counts[layer][cells], "real")
        _text(folder / f"{layer}.barcodes.txt", [BARCODES[k] for k in cells])
        _text(folder / f"{layer}.genes.txt", IDS)
    return path


def alevin_fry(path, counts):
    folder = path / "alevin"
    _matrix(folder / "quants_mat.mtx", np.hstack(list(counts.values())), "real")
    _text(folder / "quants_mat_rows.txt", BARCODES)
    _text(folder / "quants_mat_cols.txt", IDS)
    _text(path / "quant.json", ['{"num_genes": 24, "usa_mode": true}'])
    return path


def triples(path, counts):
    for layer in ("spliced", "unspliced"):
        _names(path / layer, ".gz")
        _matrix(path / layer / "matrix.mtx.gz", counts[layer].T)
    return path


def loom(path, counts):
    path.mkdir(parents=True)
    with h5py.File(path / "SAMPLE.loom", "w") as file:
        file["matrix"] = counts["spliced"].T.astype(np.float32)
        for layer, values in counts.items():
            file.create_dataset(f"layers/{layer}", data=values.T.astype(np.uint32), chunks=True, compression="gzip")
        file["col_attrs/CellID"] = np.array([f"SAMPLE:{name}x" for name in BARCODES], dtype=object)
        file["row_attrs/Gene"], file["row_attrs/Accession"] = np.array(NAMES, object), np.array(IDS, object)
    return path / "SAMPLE.loom"


def _annotated(counts):
    adata = AnnData(layers={layer: sparse.csr_matrix(values.astype(np.float32)) for layer, values in counts.items()})
    adata.obs_names, adata.var_names, adata.var["gene_ids"] = BARCODES, NAMES, IDS
    return adata


def h5ad(path, counts):
    path.mkdir(parents=True)
    _annotated(counts).write_h5ad(path / "counts.h5ad")
    return path / "counts.h5ad"


def zarr(path, counts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the next version of the zarr format
        _annotated(counts).write_zarr(path)
    return path


LAYOUTS = (starsolo, starsolo_gz, starsolo_old, kb_nac, kb_lamanno, alevin_fry, triples, loom, h5ad, zarr)


def write(layout, path):
    """Write random counts in a layout, and return their path and the counts."""
    counts = random_layers()
    return Path(layout(Path(path), counts)), counts
