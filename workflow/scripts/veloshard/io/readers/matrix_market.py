"""Reader of folders of text matrices: STARsolo, kb-python, alevin-fry, and folders of matrix, barcodes and genes."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from veloshard.errors import InputError, full_name
from veloshard.io import FilePath
from veloshard.io.readers.common import assemble, gene_table, reading
from veloshard.io.readers.sparse_blocks import ENTRIES_AT_ONCE, Entries, sparse_counts

# Folders of matrices below the folder that users name. Filtered matrices come before raw ones.
SUBFOLDERS = ("", "Solo.out/Velocyto", "Velocyto", "counts_filtered", "counts_unfiltered", "alevin", "af_quant/alevin",
              "outs", "quant/alevin", "af_quant")  # fmt: skip


FILTERINGS = ("", "filtered", "raw")


class Matrix(NamedTuple):
    """Files of one layer, and where its counts are in the matrix file.

    Attributes
    ----------
    path : Path
        Matrix file.
    cells, genes : Path
        Files of names.
    is_transposed : bool
        True for genes x cells.
    column, n_columns : int
        Column of the layer among the value columns of each line, and their number.
    block, n_blocks : int
        Block of genes of the layer among blocks side by side in the matrix, and their number.
    """

    path: Path
    cells: Path
    genes: Path
    is_transposed: bool
    column: int = 0
    n_columns: int = 1
    block: int = 0
    n_blocks: int = 1


class Folder(NamedTuple):
    """Folder of matrices in a known layout.

    Attributes
    ----------
    format : str
        Name of the layout.
    path : Path
        Folder of the files.
    layers : dict of str to Matrix
        Files of each layer.
    gene_names : Path, optional
        File of gene names, if these are apart from the ids.
    """

    format: str
    path: Path
    layers: dict[str, Matrix]
    gene_names: Path | None = None


def find(path: FilePath, format: str | None = None) -> Folder | None:
    """Return the matrices in a folder, or in the subfolders that programs write.

    Parameters
    ----------
    path : path-like
        Folder to search.
    format : str, optional
        One of `LAYOUTS`. By default all layouts are tried.

    Returns
    -------
    Folder or None
        None if there are no matrices in a known layout.
    """
    layouts = [LAYOUTS[format]] if format else LAYOUTS.values()
    for folder in _subfolders(path):
        if folder.is_dir():
            for layout in layouts:
                matrices = layout(folder)
                if matrices:
                    return matrices
    return None


def _subfolders(path: FilePath) -> list[Path]:
    return [Path(path) / subfolder / filtering for subfolder in SUBFOLDERS for filtering in FILTERINGS]


def describe_content(path: FilePath) -> str:
    """Return the files in a folder without a known layout, or in its first subfolder that has matrices."""
    path = Path(path)
    for folder in _subfolders(path):
        names = sorted(file.name for file in folder.glob("*")) if folder.is_dir() else []
        if any(".mtx" in name for name in names):
            return f"{folder.relative_to(path)} holds {', '.join(names[:8])}"
    return f"it holds {', '.join(sorted(entry.name for entry in path.iterdir())[:8]) or 'nothing'}"


def _first_existing(folder: Path, *names: str) -> Path | None:
    """Return the path of the first file that exists, gzipped or not."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists() or path.is_symlink():
                return path
    return None


def _starsolo(folder: Path) -> Folder | None:
    cells, genes = _first_existing(folder, "barcodes.tsv"), _first_existing(folder, "features.tsv", "genes.tsv")
    paths = {layer: _first_existing(folder, f"{layer}.mtx") for layer in ("spliced", "unspliced", "ambiguous")}
    if cells and genes and paths["spliced"] and paths["unspliced"]:
        layers = {layer: Matrix(path, cells, genes, is_transposed=True) for layer, path in paths.items() if path}
        return Folder("starsolo", folder, layers)
    return None


def _old_starsolo(folder: Path) -> Folder | None:
    cells, genes = _first_existing(folder, "barcodes.tsv"), _first_existing(folder, "features.tsv", "genes.tsv")
    path = _first_existing(folder, "matrix.mtx")
    if not (cells and genes and path) or _n_columns(path) == 3:
        return None
    names = ("spliced", "unspliced", "ambiguous")
    layers = {
        layer: Matrix(path, cells, genes, is_transposed=True, column=k, n_columns=len(names))
        for k, layer in enumerate(names)
    }
    return Folder("starsolo_old", folder, layers)


def _n_columns(path: Path) -> int:
    """Return the number of columns of a matrix file's entries, 0 if it cannot be read. Plain matrices have 3."""
    try:
        with open_text_or_gzip(path) as file:
            lines = (line for line in iter(lambda: file.readline(10_000), b"") if not line.startswith(b"%"))
            next(lines, None)
            return len(next(lines, b"").split())
    except (OSError, EOFError, zlib.error):
        return 0


def _kb_nac(folder: Path) -> Folder | None:
    for path in sorted(folder.glob("*.mature.mtx*")):
        stem = path.name.split(".mature.mtx")[0]
        cells, genes = _first_existing(folder, f"{stem}.barcodes.txt"), _first_existing(folder, f"{stem}.genes.txt")
        if not (cells and genes):
            continue
        names = {"spliced": "mature", "unspliced": "nascent", "ambiguous": "ambiguous"}
        paths = {layer: _first_existing(folder, f"{stem}.{name}.mtx") for layer, name in names.items()}
        if paths["unspliced"]:
            layers = {layer: Matrix(path, cells, genes, is_transposed=False) for layer, path in paths.items() if path}
            return Folder("kb_nac", folder, layers, _first_existing(folder, f"{stem}.genes.names.txt"))
    return None


def _kb_lamanno(folder: Path) -> Folder | None:
    layers = {}
    for layer in ("spliced", "unspliced"):
        path, cells, genes = (_first_existing(folder, f"{layer}.{end}") for end in ("mtx", "barcodes.txt", "genes.txt"))
        if not (path and cells and genes):
            return None
        layers[layer] = Matrix(path, cells, genes, is_transposed=False)
    return Folder("kb_lamanno", folder, layers, _first_existing(folder, "spliced.genes.names.txt"))


def _alevin_fry(folder: Path) -> Folder | None:
    path, cells, genes = (_first_existing(folder, f"quants_mat{end}") for end in (".mtx", "_rows.txt", "_cols.txt"))
    if not (path and cells and genes):
        return None
    layers = {
        layer: Matrix(path, cells, genes, is_transposed=False, block=k, n_blocks=3)
        for k, layer in enumerate(("spliced", "unspliced", "ambiguous"))
    }
    return Folder("alevin_fry", folder, layers)


def _triples(folder: Path) -> Folder | None:
    for prefix in ("", "cellranger_"):
        layers = {}
        for layer in ("spliced", "unspliced", "ambiguous"):
            layer_folder = folder / f"{prefix}{layer}"
            path, cells = _first_existing(layer_folder, "matrix.mtx"), _first_existing(layer_folder, "barcodes.tsv")
            genes = _first_existing(layer_folder, "features.tsv", "genes.tsv")
            if path and cells and genes:
                layers[layer] = Matrix(path, cells, genes, is_transposed=True)
        if {"spliced", "unspliced"} <= layers.keys():
            return Folder("triples", folder, layers)
    return None


LAYOUTS: dict[str, Callable[[Path], Folder | None]] = {
    "starsolo": _starsolo,
    "starsolo_old": _old_starsolo,
    "kb_nac": _kb_nac,
    "kb_lamanno": _kb_lamanno,
    "alevin_fry": _alevin_fry,
    "triples": _triples,
}


def read(path: FilePath, *, where: str, key: str, layers: Mapping[str, str], format: str | None = None) -> AnnData:
    """Return counts of a folder of matrices.

    Parameters
    ----------
    path : path-like
        Folder to read.
    where : str
        Dataset and folder, for messages.
    key : str
        Prefix of the arguments' names in messages.
    layers : dict of str to str
        Must be empty, because the layers of these formats have fixed names.
    format : str, optional
        One of `LAYOUTS`. By default all layouts are tried.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        As `common.assemble` builds it. Cells and genes that not all layers have are left out.

    Raises
    ------
    InputError
        If there are no matrices, or if names and matrices do not match.
    """
    if layers:
        raise InputError(
            f"{where}: layers of a folder of matrices have fixed names. Remove {full_name('layers', key)}."
        )
    folder = find(path, format)
    if folder is None:
        raise InputError(
            f"{where}: no matrices of {format or 'STARsolo, kb-python or alevin-fry'} ({describe_content(path)}). "
            f"Set {full_name('source', key)} to the folder that holds them."
        )
    where = where if folder.path == Path(path) else f"{where}, {folder.path.relative_to(path)}"
    files = dict.fromkeys(file for matrix in folder.layers.values() for file in (matrix.cells, matrix.genes))
    names = {file: read_names(file, where=where) for file in files}
    if folder.format == "alevin_fry":
        names = {file: _first_block(table) for file, table in names.items()}
    cells = {layer: names[matrix.cells]["id"] for layer, matrix in folder.layers.items()}
    genes = {layer: names[matrix.genes]["id"] for layer, matrix in folder.layers.items()}
    for kind, ids_of_layer in (("barcodes", cells), ("genes", genes)):
        for layer, ids in ids_of_layer.items():
            repeated = ids[ids.duplicated()].unique()
            if len(repeated):
                raise InputError(
                    f"{where}: {len(repeated)} {kind} of the {layer} counts occur more than once "
                    f"({', '.join(repeated[:3])}). Write the files again."
                )
    common_cells, common_genes = _common_names(cells), _common_names(genes)
    notes = []
    for kind, common, ids_of_layer in (("cells", common_cells, cells), ("genes", common_genes, genes)):
        n_left_out = max(len(ids) for ids in ids_of_layer.values()) - len(common)
        if n_left_out:
            notes.append(f"{n_left_out} {kind} do not have both spliced and unspliced counts: left out")
        if not len(common):
            raise InputError(
                f"{where}: spliced and unspliced counts have no {kind} in common. Give counts of the same run."
            )
    counts = {}
    for layer, matrix in folder.layers.items():
        layer_counts = _read_layer(matrix, len(cells[layer]), len(genes[layer]), where=where)
        counts[layer] = _select(layer_counts, cells[layer], common_cells, genes[layer], common_genes, where=where)
    table = names[folder.layers["spliced"].genes]
    if folder.gene_names:
        symbols = read_names(folder.gene_names, where=where, may_be_blank=True)["id"]
        if len(symbols) != len(table):
            raise InputError(f"{where}: {len(symbols)} gene names for {len(table)} genes. Write the files again.")
        table = table.assign(name=symbols.to_numpy())
    # kb-python writes '.' or nothing for a gene without a name
    symbols = table.set_index("id")["name"].reindex(common_genes)
    symbols = symbols.where(~symbols.str.strip().isin(["", ".", "nan"]), symbols.index)
    var, notes_on_names = gene_table(common_genes.to_numpy(), symbols.to_numpy())
    obs = pd.DataFrame(index=common_cells.to_numpy())
    return assemble(obs, var, counts, where=where, notes=[*notes, *notes_on_names], format=folder.format)


def _first_block(table: pd.DataFrame) -> pd.DataFrame:
    """Return alevin-fry's genes once, also if they are listed three times as GENE, GENE-U and GENE-A."""
    n_genes = len(table) // 3
    ids = table["id"].tolist()
    is_listed_thrice = len(table) == 3 * n_genes and ids[n_genes:] == [
        f"{name}{end}" for end in ("-U", "-A") for name in ids[:n_genes]
    ]
    return table[:n_genes] if n_genes and is_listed_thrice else table


def _common_names(names_of_layer: Mapping[str, pd.Series]) -> pd.Index:
    """Return the names that spliced and unspliced counts have in common, in the order of the spliced ones."""
    spliced, unspliced = pd.Index(names_of_layer["spliced"]), pd.Index(names_of_layer["unspliced"])
    return spliced if spliced.equals(unspliced) else spliced[spliced.isin(unspliced)]


def _select(
    counts: sparse.csr_matrix,
    cells: pd.Series,
    common_cells: pd.Index,
    genes: pd.Series,
    common_genes: pd.Index,
    *,
    where: str,
) -> sparse.csr_matrix:
    """Return the rows and columns of the common cells and genes."""
    if not pd.Index(cells).equals(common_cells):
        counts = counts[_indices_of(common_cells, cells, where=where)]
    if not pd.Index(genes).equals(common_genes):
        counts = counts[:, _indices_of(common_genes, genes, where=where)]
        counts.sort_indices()
    return counts


def _indices_of(names: pd.Index, layer_names: pd.Series, *, where: str) -> NDArray[np.intp]:
    """Return the index of each common name among the names of a layer."""
    indices: NDArray[np.intp] = pd.Index(layer_names).get_indexer(names)
    if (indices < 0).any():
        raise InputError(f"{where}: the ambiguous counts lack {names[indices.argmin()]!r}. Write the files again.")
    return indices


def read_names(path: Path, *, where: str, may_be_blank: bool = False) -> pd.DataFrame:
    """Return the names of cells or genes in a text file with one name per line.

    Parameters
    ----------
    path : Path
        Text file, perhaps gzipped. Columns are separated by tabs.
    where : str
        Dataset and folder, for messages.
    may_be_blank : bool
        Accept lines without a name.

    Returns
    -------
    DataFrame
        Columns `id` and `name`: the first two columns of the file. If there is only one, `name` is the id.

    Raises
    ------
    InputError
        If the file is empty, or if a line has no name.
    """
    with reading(f"{where}/{path.name}"), open_text_or_gzip(path) as file:
        text = file.read().decode("utf-8")
    lines = text.split("\n")
    rows = [line.rstrip("\r").split("\t") for line in (lines[:-1] if lines[-1] == "" else lines)]
    blank = next((k for k, row in enumerate(rows, 1) if not row[0].strip()), None)
    if not rows or (blank and not may_be_blank):
        fault = f"line {blank} of {path.name} is empty" if blank else f"{path.name} is empty"
        raise InputError(f"{where}: {fault}. The file must have one name per line; write it again.")
    return pd.DataFrame({"id": [row[0] for row in rows], "name": [row[1] if len(row) > 1 else row[0] for row in rows]})


def open_text_or_gzip(path: Path) -> BinaryIO:
    """Open a file for reading bytes. It may be gzipped, whatever its name."""
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if is_gzipped else path.open("rb")


def _read_layer(matrix: Matrix, n_cells: int, n_genes: int, *, where: str) -> sparse.csr_matrix:
    name = f"{where}/{matrix.path.name}"
    with reading(name), open_text_or_gzip(matrix.path) as file:
        n_rows, n_columns, n_entries = _read_header(file, matrix, where=where)
        expected = (n_genes, n_cells) if matrix.is_transposed else (n_cells, n_genes * matrix.n_blocks)
        if (n_rows, n_columns) != expected:
            hint = " (perhaps it has one kind of counts, not unspliced, spliced and ambiguous)"
            raise InputError(
                f"{where}: {matrix.path.name} is {n_rows} x {n_columns}, but the names of cells and genes need "
                f"{expected[0]} x {expected[1]}{hint if matrix.n_blocks > 1 else ''}. Give matrix, barcodes and genes "
                "of the same run."
            )
        entries = _entries(file, matrix, n_genes, n_entries, where=where)
        return sparse_counts(entries, (n_cells, n_genes), where=name)


def _read_header(file: BinaryIO, matrix: Matrix, *, where: str) -> tuple[int, int, int]:
    """Return the numbers of rows, columns and entries in the header of a Matrix Market file."""
    name = f"{where}: {matrix.path.name}"
    banner = file.readline(1000).decode("utf-8").lower().split()
    if banner[:1] != ["%%matrixmarket"]:
        raise InputError(f"{name} does not begin like a Matrix Market file. Write or download it again.")
    if banner[1:3] != ["matrix", "coordinate"] or banner[3] not in ("integer", "real") or banner[4:] != ["general"]:
        raise InputError(
            f"{name} is a Matrix Market file of another kind ({' '.join(banner[1:])}). Write it as a sparse matrix "
            "(coordinate, integer or real, general)."
        )
    line = "%"
    while line.startswith("%"):
        line = file.readline(100_000).decode("utf-8").strip()
    sizes = [int(part) for part in line.split()]
    if len(sizes) != 3 or min(sizes) < 0:
        raise InputError(f"{name} has no line with its size. Write or download it again.")
    n_rows, n_columns, n_entries = sizes
    return n_rows, n_columns, n_entries


def _entries(file: BinaryIO, matrix: Matrix, n_genes: int, n_entries: int, *, where: str) -> Iterator[Entries]:
    """Yield blocks of a layer's entries: cells and genes (both from 0) and values."""
    values = [f"value{k}" for k in range(matrix.n_columns)]
    columns = ["row", "column", *values]
    dtypes: dict[str, Any] = {"row": np.int64, "column": np.int64, **dict.fromkeys(values, np.float64)}
    n_read = 0
    if n_entries:
        blocks = pd.read_csv(
            file, sep=r"\s+", header=None, names=columns, index_col=False, dtype=dtypes, chunksize=ENTRIES_AT_ONCE,
            engine="c",
        )  # fmt: skip
        for block in blocks:
            if block[values[-1]].isna().any():
                content = "spliced, unspliced and ambiguous counts" if matrix.n_columns > 1 else "one count"
                raise InputError(f"{where}: {matrix.path.name} does not have {content} in each line. Write it again.")
            n_read += len(block)
            row, column = block["row"].to_numpy() - 1, block["column"].to_numpy() - 1
            value = block[values[matrix.column]].to_numpy()
            cells, genes = (column, row) if matrix.is_transposed else (row, column)
            if matrix.n_blocks > 1:
                if genes.max(initial=0) >= n_genes * matrix.n_blocks or genes.min(initial=0) < 0:
                    raise InputError(
                        f"{where}: {matrix.path.name} has counts for more genes than there are names. Write it again."
                    )
                in_block = genes // n_genes == matrix.block
                cells, genes, value = cells[in_block], genes[in_block] % n_genes, value[in_block]
            yield cells, genes, value
    if n_read != n_entries:
        raise InputError(
            f"{where}: {matrix.path.name} is incomplete: its header gives {n_entries} entries, but it has {n_read}. "
            "Write or download it again."
        )
