"""Join annotations and embeddings from a second file, whose names of cells are matched by a rule."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray

from veloshard.errors import InputError, choices, full_name
from veloshard.io import FilePath
from veloshard.io.readers.common import reading

log = logging.getLogger(__name__)


TABLES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet", ".h5ad")


# Part of a name by which cells are matched. The first rule with the most matches is used.
RULES = {
    "exact names": r"^(?P<name>.*)$",
    "names without the suffix -1": r"^(?P<name>.*?)(-\d+)?$",
    "names without the suffix x": r"^(?P<name>.*?)x?$",
    "names without the prefix before the last colon": r"^(.*:)?(?P<name>.*)$",
    "names without the prefix before the last colon or underscore, and without the suffix -1 or x": (
        r"^(.*[:_])?(?P<name>.*?)(-\d+|x)?$"
    ),
    "barcodes only": r"(?P<name>[ACGTN]{6,})",
}


BY_SAMPLE = "sample and barcode"


class Matches(NamedTuple):
    """Rows of a table that belong to cells.

    Attributes
    ----------
    rows : ndarray of int64, shape (n_cells,)
        Row of each cell, -1 for none.
    rule : str
        Rule by which names were matched.
    """

    rows: NDArray[np.int64]
    rule: str


def join_annotations(
    counts: AnnData,
    path: FilePath,
    *,
    columns: Sequence[str] | None = None,
    pattern: str | None = None,
    unmatched: str = "drop",
    min_matched: float = 0.9,
    where: str,
    key: str = "",
) -> AnnData:
    """Return counts with the annotations and embeddings of a second file.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Counts. Annotations of the file replace annotations with the same name.
    path : path-like
        File: h5ad (all of obs, and embeddings), or csv, tsv or parquet with the names of cells in the first column or
        the index.
    columns : sequence of str, optional
        Columns and embeddings to use. By default all are used.
    pattern : str, optional
        Regular expression with a group `barcode`, and optionally a group `sample`. It turns a name of the file into the
        name of a cell, BARCODE or SAMPLE:BARCODE. By default the rules of `RULES` are tried.
    unmatched : str
        ``"drop"`` leaves out cells without a row, ``"keep"`` keeps them without labels.
    min_matched : float
        Minimum fraction of matches, relative to the number of cells or of rows, whichever is smaller.
    where : str
        Dataset, for messages.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas.annotations"``. There, `path` is called
        `source` and `pattern` is called `match`.

    Returns
    -------
    AnnData, shape (n_kept_cells, n_genes)
        With notes in ``uns["reader"]["notes"]``. ``uns["annotations"]`` holds `source`, `rule`, `cells`, `rows` and
        `matched`.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or if too few cells match.
    """
    where = f"{where}, annotations {path}"
    table, embeddings = read_annotations(path, where=where, key=key)
    if columns is None:
        # cell sizes of other counts must not replace those of these counts
        table = table.drop(columns=[name for name in table if str(name).startswith("initial_size")])
    else:
        missing = [name for name in columns if name not in table and name not in embeddings]
        if missing:
            available = choices([*table, *embeddings], missing[0])
            raise InputError(f"{where}: no {missing[0]!r} ({available}). Correct {full_name('columns', key)}.")
        table = table[[name for name in columns if name in table]]
        embeddings = {name: embeddings[name] for name in columns if name in embeddings}
    cells, rows = counts.obs_names.to_numpy(), table.index.to_numpy()
    samples = counts.obs["sample"].astype(str).to_numpy() if "samples" in counts.uns["reader"] else None
    matches = match_names(cells, rows, pattern, samples=samples, where=where, key=key)
    has_row = matches.rows >= 0
    n_matched, n_possible = int(has_row.sum()), min(len(cells), len(rows))
    summary = f"{n_matched} of {len(cells)} cells matched, with {len(rows)} rows, by the rule {matches.rule!r}"
    log.info("%s: %s", where, summary)
    if n_matched < min_matched * n_possible:
        raise InputError(
            f"{where}: only {summary}.\n  cells without a row: {_first_names(cells[~has_row])}\n"
            f"  rows without a cell: {_first_names(np.delete(rows, matches.rows[has_row]))}\n"
            f"{_advice(cells, rows, key)}"
        )
    consequence = "left out" if unmatched == "drop" else "unlabeled"
    notes = [] if has_row.all() else [f"{(~has_row).sum()} cells have no row in {path}: {consequence}"]
    if unmatched == "drop":
        counts, matches = counts[has_row].copy(), matches._replace(rows=matches.rows[has_row])
        has_row = has_row[has_row]
    row = np.where(has_row, matches.rows, 0)
    kept = counts.obs.drop(columns=[name for name in counts.obs if name in table])
    joined = table.iloc[row].set_axis(counts.obs_names)
    if not has_row.all():
        joined = joined.astype({name: object for name in joined if joined[name].dtype.kind in "biu"})
        joined.loc[~has_row] = np.nan
    counts.obs = pd.concat([kept, joined], axis=1)
    for name in table:
        counts.uns.pop(f"{name}_colors", None)  # colors of the column that was replaced
    for name, coordinates in embeddings.items():
        counts.obsm[name] = np.where(has_row[:, None], coordinates[row], np.nan)
    record = {"source": str(path), "rule": matches.rule, "cells": len(cells), "rows": len(rows), "matched": n_matched}
    counts.uns["annotations"] = record
    counts.uns["reader"]["notes"] = [*counts.uns["reader"]["notes"], *notes]
    return counts


def match_names(
    cells: NDArray[Any],
    rows: NDArray[Any],
    pattern: str | None = None,
    *,
    samples: NDArray[Any] | None = None,
    where: str = "",
    key: str = "",
) -> Matches:
    """Return which row of a table belongs to each cell.

    A name that two cells or two rows share under a rule is not matched. A rule is not used if the rest of the names is
    ambiguous, for example if rows with the suffixes -1 and -2 would be matched to cells of one sample.

    Parameters
    ----------
    cells, rows : ndarray of str, shape (n_cells,) and (n_rows,)
        Names of cells and rows.
    pattern : str, optional
        See `join_annotations`. By default the rule of `RULES` with the most matches is used.
    samples : ndarray of str, shape (n_cells,), optional
        Sample of each cell. The cells are then named SAMPLE:NAME.
    where : str
        Dataset and file, for messages.
    key : str
        Prefix of the arguments' names in messages.

    Returns
    -------
    Matches

    Raises
    ------
    InputError
        If the pattern is no regular expression with a group `barcode`.
    """
    if pattern is not None:
        cell_name = _by_pattern(pattern, where=where, key=key)
        return _match(cells, [cell_name(name) for name in rows], f"pattern {pattern}")
    candidates = []
    if samples is not None:
        cell_name = _by_sample(np.unique(samples))
        candidates.append(_match(cells, [cell_name(name) for name in rows], BY_SAMPLE))
    for name, rule in RULES.items():
        (cell_parts, cell_rests), (row_parts, row_rests) = _split(cells, rule), _split(rows, rule)
        matches = _match(cell_parts, row_parts, name)
        if _is_unambiguous(cell_rests if samples is None else samples, row_rests, matches.rows, samples):
            candidates.append(matches)
    return max(candidates, key=lambda matches: int((matches.rows >= 0).sum()))


def _by_sample(samples: NDArray[Any]) -> Callable[[str], str | None]:
    """Return a function that turns a row's name with a sample at its start or end into SAMPLE:NAME."""
    any_sample = "|".join(re.escape(str(sample)) for sample in sorted(samples, key=len, reverse=True))
    sample_first = re.compile(rf"^({any_sample})[_:.-](.*?)(?:-\d+|x)?$")
    sample_last = re.compile(rf"^(.*?)(?:-\d+|x)?[_:.-]({any_sample})$")

    def cell_name(name: str) -> str | None:
        if match := sample_first.match(name):
            return f"{match[1]}:{match[2]}"
        return f"{match[2]}:{match[1]}" if (match := sample_last.match(name)) else None

    return cell_name


def _split(names: Iterable[str], rule: str) -> tuple[list[str], NDArray[np.str_]]:
    """Return the part of each name by which a rule matches it, and the rest of the name."""
    names = list(names)
    matches = [max(re.finditer(rule, name), key=lambda match: len(match["name"]), default=None) for name in names]
    parts = [match["name"] if match else name for match, name in zip(matches, names, strict=True)]
    rests = [
        f"{name[: match.start('name')]}*{name[match.end('name') :]}" if match else "*"
        for match, name in zip(matches, names, strict=True)
    ]
    return parts, np.array(rests)


def _is_unambiguous(
    cell_rests: NDArray[Any], row_rests: NDArray[Any], rows: NDArray[np.int64], samples: NDArray[Any] | None
) -> bool:
    """Return whether rests of cells and rows correspond one to one, and no row names another sample than its cell's."""
    has_row = rows >= 0
    pairs = set(zip(cell_rests[has_row], row_rests[rows[has_row]], strict=True))
    if len(pairs) > min(len({cell_rest for cell_rest, _ in pairs}), len({row_rest for _, row_rest in pairs})):
        return False
    names: Sequence[Any] | NDArray[Any] = () if samples is None else np.unique(samples)
    return not any(
        name != sample and re.search(rf"(^|[^A-Za-z0-9]){re.escape(str(name))}([^A-Za-z0-9]|$)", row_rest)
        for sample, row_rest in pairs
        for name in names
    )


def _by_pattern(pattern: str, *, where: str, key: str) -> Callable[[str], str | None]:
    """Return a function that turns a row's name into BARCODE or SAMPLE:BARCODE by the groups of a pattern."""
    try:
        compiled = re.compile(pattern)
        if "barcode" not in compiled.groupindex:
            raise ValueError("it has no group (?P<barcode>...)")
    except (re.error, ValueError) as error:
        raise InputError(
            f"{where}: the pattern {pattern!r} cannot be used: {error}. Correct {full_name('match', key)}."
        ) from None

    def cell_name(name: str) -> str | None:
        match = compiled.search(name)
        if match is None:
            return None
        groups = match.groupdict()
        return f"{groups['sample']}:{groups['barcode']}" if groups.get("sample") else groups["barcode"]

    return cell_name


def _match(cell_parts: Iterable[str], row_parts: Iterable[str | None], rule: str) -> Matches:
    """Return the matches of parts that occur once among the cells and once among the rows."""
    cell_series, row_series = pd.Series(list(cell_parts), dtype=object), pd.Series(list(row_parts), dtype=object)
    unique = row_series[~row_series.duplicated(keep=False) & row_series.notna()]
    row_of_part = pd.Series(unique.index, index=unique.to_numpy())
    rows = cell_series.map(row_of_part).where(~cell_series.duplicated(keep=False))
    return Matches(rows.fillna(-1).to_numpy(dtype=np.int64), rule)


def _first_names(names: NDArray[Any]) -> str:
    return ", ".join(map(str, names[:3])) or "none"


def _advice(cells: NDArray[Any], rows: NDArray[Any], key: str) -> str:
    """Return what to do if too few cells match."""
    cell_of_barcode, row_of_barcode = (
        dict(zip(_split(names, RULES["barcodes only"])[0], names, strict=True)) for names in (cells, rows)
    )
    common = [barcode for barcode in cell_of_barcode if barcode in row_of_barcode]
    if len(common) >= 3:
        return (
            f"{len(common)} barcodes are in both, such as in {cell_of_barcode[common[0]]} and "
            f"{row_of_barcode[common[0]]}, but they are not unique. Set {full_name('match', key)} to a pattern of the "
            "sample and the barcode in a row's name, such as '^(?P<sample>[^_]+)_(?P<barcode>[ACGT]+)'."
        )
    return (
        f"No rule matches more names. Check that these are annotations of these cells, and correct "
        f"{full_name('source', key)}."
    )


def read_annotations(path: FilePath, *, where: str, key: str = "") -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """Return the annotations and embeddings in a file.

    Parameters
    ----------
    path : path-like
        File in one of the formats of `TABLES`.
    where : str
        Dataset and file, for messages.
    key : str
        Prefix of the arguments' names in messages. There, `path` is called `source`.

    Returns
    -------
    table : DataFrame, shape (n_rows, n_columns)
        Annotations, indexed by the names of the cells.
    embeddings : dict of str to ndarray, shape (n_rows, n_dims)
        Numeric arrays of `obsm`; empty for tables.

    Raises
    ------
    InputError
        If the file does not exist, cannot be read, or has no rows.
    """
    path, source = Path(path), full_name("source", key)
    if not path.exists():
        raise InputError(f"{where}: no such file. Correct {source}.")
    if not path.name.endswith(TABLES):
        raise InputError(f"{where}: not one of {', '.join(TABLES)}. Correct {source}.")
    embeddings = {}
    with reading(where):
        if path.suffix == ".h5ad":
            with h5py.File(path) as file:
                table = read_elem(file["obs"])
                for name in file.get("obsm", {}):
                    values = read_elem(file["obsm"][name])
                    if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iuf":
                        embeddings[name] = values
        else:
            table = read_table(path)
    table.index = table.index.astype(str)
    if not len(table):
        raise InputError(f"{where}: the file has no rows. Correct {source}.")
    return table, embeddings


def read_table(path: FilePath) -> pd.DataFrame:
    """Return a csv, tsv or parquet file as a table, indexed by its first column.

    Parameters
    ----------
    path : path-like
        File to read. A parquet file may have an index of its own.

    Returns
    -------
    DataFrame
    """
    path = Path(path)
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return table.set_index(table.columns[0]) if isinstance(table.index, pd.RangeIndex) and table.shape[1] else table
    separator = "," if ".csv" in path.name else "\t"
    return pd.read_csv(path, sep=separator, index_col=0, dtype={0: str})
