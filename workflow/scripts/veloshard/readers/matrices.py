"""Reader of folders of text matrices: STARsolo, kb-python, alevin-fry, and triples of matrix, barcodes and genes."""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from veloshard.errors import InputError
from veloshard.readers.common import assemble, gene_table, reading
from veloshard.readers.counts import ENTRIES_AT_ONCE, sparse_counts

# where programs put matrices in the folder that users name; what is filtered comes before what is not
PLACES = ("", "Solo.out/Velocyto", "Velocyto", "counts_filtered", "counts_unfiltered", "alevin", "af_quant/alevin",
          "outs", "quant/alevin", "af_quant")  # fmt: skip
DEPTHS = ("", "filtered", "raw")


class Matrix(NamedTuple):
    """Where one layer lies.

    path : of the matrix.   cells, genes : files of names.   is_turned : genes x cells.
    column : of its values, of n_columns.   block, n_blocks : which of several sets of columns, side by side, it is.
    """

    path: Path
    cells: Path
    genes: Path
    is_turned: bool
    column: int = 0
    n_columns: int = 1
    block: int = 0
    n_blocks: int = 1


class Folder(NamedTuple):
    """A folder whose layout is known: its format, where it is, its layers, and perhaps a file of gene names."""

    format: str
    path: Path
    layers: dict
    gene_names: Path | None = None


def find(path, format=None):
    """`Folder` of the matrices in a folder or where programs put them below it; None if there are none.

    format : the only one to look for.
    """
    path = Path(path)
    layouts = [LAYOUTS[format]] if format else LAYOUTS.values()
    for place in PLACES:
        for depth in DEPTHS:
            folder = path / place / depth
            if folder.is_dir():
                for layout in layouts:
                    found = layout(folder)
                    if found:
                        return found
    return None


def near(path):
    """What a folder without a known layout does hold: in the first place that has matrices, else at all."""
    path = Path(path)
    for folder in (path / place / depth for place in PLACES for depth in DEPTHS):
        names = sorted(file.name for file in folder.glob("*")) if folder.is_dir() else []
        if any(".mtx" in name for name in names):
            return f"{folder.relative_to(path)} holds {', '.join(names[:8])}"
    return f"it holds {', '.join(sorted(entry.name for entry in path.iterdir())[:8]) or 'nothing'}"


def _existing(folder, *names):
    """The first of some files that is there, gzipped or not."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists() or path.is_symlink():
                return path
    return None


def _starsolo(folder):
    cells, genes = _existing(folder, "barcodes.tsv"), _existing(folder, "features.tsv", "genes.tsv")
    paths = {layer: _existing(folder, f"{layer}.mtx") for layer in ("spliced", "unspliced", "ambiguous")}
    if cells and genes and paths["spliced"] and paths["unspliced"]:
        layers = {layer: Matrix(path, cells, genes, is_turned=True) for layer, path in paths.items() if path}
        return Folder("starsolo", folder, layers)
    return None


def _old_starsolo(folder):
    cells, genes = _existing(folder, "barcodes.tsv"), _existing(folder, "features.tsv", "genes.tsv")
    path = _existing(folder, "matrix.mtx")
    if not (cells and genes and path) or _columns_of(path) == 3:
        return None
    names = ("spliced", "unspliced", "ambiguous")
    layers = {
        layer: Matrix(path, cells, genes, is_turned=True, column=k, n_columns=len(names))
        for k, layer in enumerate(names)
    }
    return Folder("starsolo_old", folder, layers)


def _columns_of(path):
    """Columns of the first entry of a matrix, 0 if it cannot be read; 3 are those of one kind of counts."""
    try:
        with opened(path) as file:
            lines = (line for line in iter(lambda: file.readline(10_000), b"") if not line.startswith(b"%"))
            next(lines, None)
            return len(next(lines, b"").split())
    except (OSError, EOFError, zlib.error):
        return 0


def _kb_nac(folder):
    for path in sorted(folder.glob("*.mature.mtx*")):
        stem = path.name.split(".mature.mtx")[0]
        cells, genes = _existing(folder, f"{stem}.barcodes.txt"), _existing(folder, f"{stem}.genes.txt")
        if not (cells and genes):
            continue
        names = {"spliced": "mature", "unspliced": "nascent", "ambiguous": "ambiguous"}
        paths = {layer: _existing(folder, f"{stem}.{name}.mtx") for layer, name in names.items()}
        if paths["unspliced"]:
            layers = {layer: Matrix(path, cells, genes, is_turned=False) for layer, path in paths.items() if path}
            return Folder("kb_nac", folder, layers, _existing(folder, f"{stem}.genes.names.txt"))
    return None


def _kb_lamanno(folder):
    layers = {}
    for layer in ("spliced", "unspliced"):
        parts = [_existing(folder, f"{layer}.{end}") for end in ("mtx", "barcodes.txt", "genes.txt")]
        if not all(parts):
            return None
        layers[layer] = Matrix(*parts, is_turned=False)
    return Folder("kb_lamanno", folder, layers, _existing(folder, "spliced.genes.names.txt"))


def _alevin_fry(folder):
    parts = [_existing(folder, f"quants_mat{end}") for end in (".mtx", "_rows.txt", "_cols.txt")]
    if not all(parts):
        return None
    layers = {
        layer: Matrix(*parts, is_turned=False, block=k, n_blocks=3)
        for k, layer in enumerate(("spliced", "unspliced", "ambiguous"))
    }
    return Folder("alevin_fry", folder, layers)


def _triples(folder):
    for prefix in ("", "cellranger_"):
        layers = {}
        for layer in ("spliced", "unspliced", "ambiguous"):
            place = folder / f"{prefix}{layer}"
            parts = [
                _existing(place, "matrix.mtx"),
                _existing(place, "barcodes.tsv"),
                _existing(place, "features.tsv", "genes.tsv"),
            ]
            if all(parts):
                layers[layer] = Matrix(*parts, is_turned=True)
        if {"spliced", "unspliced"} <= layers.keys():
            return Folder("triples", folder, layers)
    return None


LAYOUTS = {
    "starsolo": _starsolo,
    "starsolo_old": _old_starsolo,
    "kb_nac": _kb_nac,
    "kb_lamanno": _kb_lamanno,
    "alevin_fry": _alevin_fry,
    "triples": _triples,
}


def read(path, *, where, key, layers, format=None):
    """Counts of a folder of matrices; arguments and result as of `readers.read`."""
    if layers:
        raise InputError(f"{where}: a folder of matrices has no layers to name. Remove {key}.layers.")
    folder = find(path, format)
    if folder is None:
        raise InputError(
            f"{where}: no matrices of {format or 'STARsolo, kb-python or alevin-fry'} ({near(path)}). "
            f"Give the folder that holds them in {key}.source."
        )
    where = where if folder.path == Path(path) else f"{where}, {folder.path.relative_to(path)}"
    names = {name: read_names(name, where=where) for m in folder.layers.values() for name in (m.cells, m.genes)}
    if folder.format == "alevin_fry":
        names = {name: _one_block(table) for name, table in names.items()}
    cells = {layer: names[matrix.cells]["id"] for layer, matrix in folder.layers.items()}
    genes = {layer: names[matrix.genes]["id"] for layer, matrix in folder.layers.items()}
    for kind, of_layers in (("barcodes", cells), ("genes", genes)):
        for layer, ids in of_layers.items():
            twice = ids[ids.duplicated()].unique()
            if len(twice):
                raise InputError(
                    f"{where}: {len(twice)} {kind} occur more than once among those of the {layer} counts "
                    f"({', '.join(twice[:3])}). Write the files again."
                )
    common_cells, common_genes = _common(cells), _common(genes)
    notes = []
    for kind, common, of_layers in (("cells", common_cells, cells), ("genes", common_genes, genes)):
        lost = max(len(ids) for ids in of_layers.values()) - len(common)
        if lost:
            notes.append(f"{lost} {kind} are not among both the spliced and the unspliced counts: left out")
        if not len(common):
            raise InputError(f"{where}: spliced and unspliced counts have no {kind} in common. Are they of one run?")
    counts = {}
    for layer, matrix in folder.layers.items():
        read_layer = _read_layer(matrix, len(cells[layer]), len(genes[layer]), where=where)
        counts[layer] = _picked(read_layer, cells[layer], common_cells, genes[layer], common_genes)
    table = names[folder.layers["spliced"].genes]
    if folder.gene_names:
        symbols = read_names(folder.gene_names, where=where, may_be_blank=True)["id"]
        if len(symbols) != len(table):
            raise InputError(f"{where}: {len(symbols)} gene names for {len(table)} genes. Write the files again.")
        table = table.assign(name=symbols.to_numpy())
    # kb writes '.' or nothing where a gene has no name
    symbols = table.set_index("id")["name"].reindex(common_genes)
    symbols = symbols.where(~symbols.str.strip().isin(["", ".", "nan"]), symbols.index)
    var, collisions = gene_table(common_genes.to_numpy(), symbols.to_numpy())
    obs = pd.DataFrame(index=common_cells.to_numpy())
    return assemble(obs, var, counts, where=where, notes=[*notes, *collisions], format=folder.format)


def _one_block(table):
    """Names of alevin-fry's genes once, also where it lists them three times, as GENE, GENE-U and GENE-A."""
    n = len(table) // 3
    ids = table["id"].tolist()
    is_thrice = len(table) == 3 * n and ids[n:] == [f"{name}{end}" for end in ("-U", "-A") for name in ids[:n]]
    return table[:n] if n and is_thrice else table


def _common(of_layers):
    """Names that spliced and unspliced counts both have, in the order of the first."""
    spliced, unspliced = pd.Index(of_layers["spliced"]), pd.Index(of_layers["unspliced"])
    return spliced if spliced.equals(unspliced) else spliced[spliced.isin(unspliced)]


def _picked(counts, cells, common_cells, genes, common_genes):
    """Those rows and columns of the counts that all layers have, in common order."""
    if not pd.Index(cells).equals(common_cells):
        counts = counts[_places(cells, common_cells)]
    if not pd.Index(genes).equals(common_genes):
        counts = counts[:, _places(genes, common_genes)]
        counts.sort_indices()
    return counts


def _places(names, wanted):
    places = pd.Index(names).get_indexer(wanted)
    if (places < 0).any():
        raise InputError(f"{wanted[places.argmin()]!r} is not among the names of the ambiguous counts")
    return places


def read_names(path, *, where, may_be_blank=False):
    """Names of cells or genes of a text file, a line each: columns `id` and `name`, the id where there is none."""
    with reading(f"{where}/{path.name}"), opened(path) as file:
        text = file.read().decode("utf-8")
    lines = text.split("\n")
    rows = [line.rstrip("\r").split("\t") for line in (lines[:-1] if lines[-1] == "" else lines)]
    blank = next((k for k, row in enumerate(rows, 1) if not row[0].strip()), None)
    if not rows or (blank and not may_be_blank):
        place = f"line {blank} of {path.name} is empty" if blank else f"{path.name} is empty"
        raise InputError(f"{where}: {place}. It has one name a line; write it again.")
    return pd.DataFrame({"id": [row[0] for row in rows], "name": [row[1] if len(row) > 1 else row[0] for row in rows]})


def opened(path):
    """A file, gzipped or not whatever its name says, open for bytes."""
    with path.open("rb") as file:
        is_zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_zipped else path.open("rb")


def _read_layer(matrix, n_cells, n_genes, *, where):
    with reading(f"{where}/{matrix.path.name}"), opened(matrix.path) as file:
        shape = _shape_line(file, matrix, where=where)
        expected = (n_genes, n_cells) if matrix.is_turned else (n_cells, n_genes * matrix.n_blocks)
        if shape[:2] != expected:
            hint = " (counts of one kind only, not of unspliced, spliced and ambiguous?)" if matrix.n_blocks > 1 else ""
            raise InputError(
                f"{where}: {matrix.path.name} is {shape[0]} x {shape[1]}, but its names say {expected[0]} x "
                f"{expected[1]}{hint}. Matrix, barcodes and genes must be of one run."
            )
        entries = _entries(file, matrix, n_genes, shape[2], where=where)
        return sparse_counts(entries, (n_cells, n_genes), where=f"{where}/{matrix.path.name}")


def _shape_line(file, matrix, *, where):
    """Rows, columns and entries, as the head of a Matrix Market file says."""
    name = f"{where}: {matrix.path.name}"
    first = file.readline(1000).decode("utf-8").lower().split()
    if first[:1] != ["%%matrixmarket"]:
        raise InputError(f"{name} does not begin like a Matrix Market file. Write or download it again.")
    if first[1:3] != ["matrix", "coordinate"] or first[3] not in ("integer", "real") or first[4:] != ["general"]:
        raise InputError(f"{name} is a Matrix Market file of another kind ({' '.join(first[1:])}); it must be sparse.")
    line = "%"
    while line.startswith("%"):
        line = file.readline(100_000).decode("utf-8").strip()
    sizes = [int(part) for part in line.split()]
    if len(sizes) != 3 or min(sizes) < 0:
        raise InputError(f"{name} does not say how large it is. Write or download it again.")
    return tuple(sizes)


def _entries(file, matrix, n_genes, n_entries, *, where):
    """Blocks of a layer's entries: cells, genes (both from 0) and values."""
    values = [f"value{k}" for k in range(matrix.n_columns)]
    columns = ["row", "column", *values]
    kinds = {"row": np.int64, "column": np.int64, **dict.fromkeys(values, np.float64)}
    seen = 0
    if n_entries:
        blocks = pd.read_csv(
            file, sep=r"\s+", header=None, names=columns, index_col=False, dtype=kinds, chunksize=ENTRIES_AT_ONCE,
            engine="c",
        )  # fmt: skip
        for block in blocks:
            if block[values[-1]].isna().any():
                what = "spliced, unspliced and ambiguous counts" if matrix.n_columns > 1 else "one count"
                raise InputError(f"{where}: {matrix.path.name} does not have {what} in each line. Write it again.")
            seen += len(block)
            row, column = block["row"].to_numpy() - 1, block["column"].to_numpy() - 1
            value = block[values[matrix.column]].to_numpy()
            cells, genes = (column, row) if matrix.is_turned else (row, column)
            if matrix.n_blocks > 1:
                if genes.max(initial=0) >= n_genes * matrix.n_blocks or genes.min(initial=0) < 0:
                    raise InputError(f"{where}: {matrix.path.name} holds counts beyond its last gene. Write it again.")
                mine = genes // n_genes == matrix.block
                cells, genes, value = cells[mine], genes[mine] % n_genes, value[mine]
            yield cells, genes, value
    if seen != n_entries:
        raise InputError(
            f"{where}: {matrix.path.name} says that it has {n_entries} entries, but has {seen}: it is not complete. "
            "Write or download it again."
        )
