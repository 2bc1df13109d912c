"""Columns and embeddings of cells from a second file, matched by name under a rule that is said."""

import logging
import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem

from veloshard.errors import InputError, choices
from veloshard.readers.common import reading

log = logging.getLogger(__name__)

TABLES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet", ".h5ad")


# what a name holds beside the part by which cells are found; tried in this order, the first that matches most is taken
RULES = {
    "names as they are": r"^(?P<name>.*)$",
    "without -1 at the end": r"^(?P<name>.*?)(-\d+)?$",
    "without x at the end": r"^(?P<name>.*?)x?$",
    "without what is before the last colon": r"^(.*:)?(?P<name>.*)$",
    "without what is before the last colon or underscore, and without -1 or x at the end": (
        r"^(.*[:_])?(?P<name>.*?)(-\d+|x)?$"
    ),
    "by barcode alone": r"(?P<name>[ACGTN]{6,})",
}
BY_SAMPLE = "by sample and barcode"


class Matched(NamedTuple):
    """Which row of the table each cell has, (n_cells,), -1 for none, and the rule by which."""

    rows: np.ndarray
    rule: str


def join(counts, path, *, columns=None, pattern=None, unmatched="drop", min_matched=0.9, where, key):
    """The counts with what a second file says of their cells.

    Parameters
    ----------
    counts : anndata.AnnData, (n_cells, n_genes)
        Its cells are matched, and their annotation takes the place of what is there by the same name.
    path : str
        h5ad (all of obs, and embeddings), csv, tsv or parquet (first column or index: names of cells).
    columns : list of str, optional
        What to take; by default everything.
    pattern : str, optional
        Regular expression with a group `barcode`, and perhaps a group `sample`, that makes of a name in the file that
        of a cell, BARCODE or SAMPLE:BARCODE.  By default `RULES` are tried.
    unmatched : str
        Leave cells without a row out (``drop``) or go on with them unlabelled (``keep``).
    min_matched : float
        Least share of matches, of the cells or of the rows, whichever are fewer.
    where, key : str
        Dataset and file, and the option that names the dataset, for messages.

    Returns
    -------
    anndata.AnnData
        With ``uns['reader']['notes']`` and ``uns['annotations']``: `source`, `rule`, `cells`, `rows`, `matched`.

    Raises
    ------
    InputError
        If the file cannot be read, or too few cells match: with names from each side and what would match them.
    """
    where = f"{where}, annotations {path}"
    table, embeddings = read_annotations(path, where=where, key=key)
    if columns is None:
        # sizes of other counts would take the place of those of these
        table = table.drop(columns=[name for name in table if str(name).startswith("initial_size")])
    else:
        lost = [name for name in columns if name not in table and name not in embeddings]
        if lost:
            found = choices([*table, *embeddings], lost[0])
            raise InputError(f"{where}: no {lost[0]!r} ({found}). Correct {key}.annotations.columns.")
        table = table[[name for name in columns if name in table]]
        embeddings = {name: embeddings[name] for name in columns if name in embeddings}
    cells, rows = counts.obs_names.to_numpy(), table.index.to_numpy()
    samples = counts.obs["sample"].astype(str).to_numpy() if "samples" in counts.uns["reader"] else None
    matched = match(cells, rows, pattern, samples=samples, where=where, key=key)
    has_row = matched.rows >= 0
    n_matched, n_fewer = int(has_row.sum()), min(len(cells), len(rows))
    said = f"{n_matched} of {len(cells)} cells matched, of {len(rows)} rows, by the rule {matched.rule!r}"
    log.info("%s: %s", where, said)
    if n_matched < min_matched * n_fewer:
        raise InputError(
            f"{where}: only {said}.\n  cells without a row: {_shown(cells[~has_row])}\n"
            f"  rows without a cell: {_shown(np.delete(rows, matched.rows[has_row]))}\n{_advice(cells, rows, key)}"
        )
    notes = [] if has_row.all() else [f"{(~has_row).sum()} cells have no row in {path}: {_fate(unmatched)}"]
    if unmatched == "drop":
        counts, matched = counts[has_row].copy(), matched._replace(rows=matched.rows[has_row])
        has_row = has_row[has_row]
    place = np.where(has_row, matched.rows, 0)
    own = counts.obs.drop(columns=[name for name in counts.obs if name in table])
    new = table.iloc[place].set_axis(counts.obs_names)
    if not has_row.all():
        new = new.astype({name: object for name in new if new[name].dtype.kind in "biu"})
        new.loc[~has_row] = np.nan
    counts.obs = pd.concat([own, new], axis=1)
    for name in table:
        counts.uns.pop(f"{name}_colors", None)  # those of the column whose place it took
    for name, values in embeddings.items():
        counts.obsm[name] = np.where(has_row[:, None], values[place], np.nan)
    record = {"source": str(path), "rule": matched.rule, "cells": len(cells), "rows": len(rows), "matched": n_matched}
    counts.uns["annotations"] = record
    counts.uns["reader"]["notes"] = [*counts.uns["reader"]["notes"], *notes]
    return counts


def match(cells, rows, pattern=None, *, samples=None, where="", key=""):
    """`Matched` of names of cells and of rows: by a pattern, or by the first of the `RULES` that matches most.

    samples : names of the cells' samples, (n_cells,), where they have such; cells are named SAMPLE:NAME then.

    A name that two cells or two rows share under a rule matches nothing.  Nor does a rule hold under which rows of
    several kinds, such as names that end in -1 and in -2, would go to cells of one sample: whose they are nobody knows.
    """
    if pattern is not None:
        of_row = _by_pattern(pattern, where=where, key=key)
        return _matched(cells, [of_row(name) for name in rows], f"pattern {pattern}")
    found = []
    if samples is not None:
        of_row = _by_sample(np.unique(samples))
        found.append(_matched(cells, [of_row(name) for name in rows], BY_SAMPLE))
    for name, rule in RULES.items():
        (cell_names, cell_rest), (row_names, row_rest) = _split(cells, rule), _split(rows, rule)
        matched = _matched(cell_names, row_names, name)
        own = cell_rest if samples is None else samples
        if _is_one_to_one(own, row_rest, matched.rows, samples):
            found.append(matched)
    return max(found, key=lambda matched: (matched.rows >= 0).sum())


def _by_sample(samples):
    """Function of a row's name: that of a cell, SAMPLE:NAME, if it has a sample at either end."""
    any_sample = "|".join(re.escape(str(sample)) for sample in sorted(samples, key=len, reverse=True))
    first = re.compile(rf"^({any_sample})[_:.-](.*?)(?:-\d+|x)?$")
    last = re.compile(rf"^(.*?)(?:-\d+|x)?[_:.-]({any_sample})$")

    def cell(name):
        if found := first.match(name):
            return f"{found[1]}:{found[2]}"
        return f"{found[2]}:{found[1]}" if (found := last.match(name)) else None

    return cell


def _split(names, rule):
    """The part of each name by which a rule finds it, and the rest."""
    found = [max(re.finditer(rule, name), key=lambda part: len(part["name"]), default=None) for name in names]
    parts = [part["name"] if part else name for part, name in zip(found, names, strict=True)]
    rests = [
        f"{name[: part.start('name')]}*{name[part.end('name') :]}" if part else "*"
        for part, name in zip(found, names, strict=True)
    ]
    return parts, np.array(rests)


def _is_one_to_one(own, row_rest, rows, samples):
    """Whether rows of one kind go to cells of one kind, and to the sample that they name if they name one."""
    has_row = rows >= 0
    pairs = set(zip(own[has_row], row_rest[rows[has_row]], strict=True))
    if len(pairs) > min(len({of_cell for of_cell, _ in pairs}), len({of_row for _, of_row in pairs})):
        return False
    named = () if samples is None else np.unique(samples)
    return not any(
        name != sample and re.search(rf"(^|[^A-Za-z0-9]){re.escape(str(name))}([^A-Za-z0-9]|$)", rest)
        for sample, rest in pairs
        for name in named
    )


def _by_pattern(pattern, *, where, key):
    try:
        compiled = re.compile(pattern)
        if "barcode" not in compiled.groupindex:
            raise ValueError("it has no group (?P<barcode>...)")
    except (re.error, ValueError) as error:
        raise InputError(
            f"{where}: the pattern {pattern!r} cannot be used: {error}. Correct {key}.annotations.match."
        ) from None

    def cell(name):
        found = compiled.search(name)
        if found is None:
            return None
        parts = found.groupdict()
        return f"{parts['sample']}:{parts['barcode']}" if parts.get("sample") else parts["barcode"]

    return cell


def _matched(cell_keys, row_keys, rule):
    cell_keys, row_keys = pd.Series(list(cell_keys), dtype=object), pd.Series(list(row_keys), dtype=object)
    single = row_keys[~row_keys.duplicated(keep=False) & row_keys.notna()]
    places = pd.Series(single.index, index=single.to_numpy())
    found = cell_keys.map(places).where(~cell_keys.duplicated(keep=False))
    return Matched(found.fillna(-1).to_numpy(dtype=np.int64), rule)


def _shown(names):
    return ", ".join(map(str, names[:3])) or "none"


def _fate(unmatched):
    return "left out" if unmatched == "drop" else "unlabelled"


def _advice(cells, rows, key):
    """What would have matched, if anything would."""
    of_cells, of_rows = (
        dict(zip(_split(names, RULES["by barcode alone"])[0], names, strict=True)) for names in (cells, rows)
    )
    common = [barcode for barcode in of_cells if barcode in of_rows]
    if len(common) >= 3:
        return (
            f"{len(common)} barcodes are in both, such as in {of_cells[common[0]]} and {of_rows[common[0]]}, but not "
            f"once in each. Say in {key}.annotations.match which part of a row's name is the sample and which the "
            "barcode, as in '^(?P<sample>[^_]+)_(?P<barcode>[ACGT]+)'."
        )
    return f"No rule matches more: are these annotations of these cells? Correct {key}.annotations.source."


def read_annotations(path, *, where, key):
    """Table of the cells of a file, by their names, and its embeddings {name: (n_cells, n_dims)}."""
    path, remedy = Path(path), f"Correct {key}.annotations.source."
    if not path.exists():
        raise InputError(f"{where}: no such file. {remedy}")
    if not path.name.endswith(TABLES):
        raise InputError(f"{where}: neither of {', '.join(TABLES)}. {remedy}")
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
        raise InputError(f"{where}: the file has no rows. {remedy}")
    return table, embeddings


def read_table(path):
    """Table of a csv, tsv or parquet file, whose first column holds the names of its rows."""
    path = Path(path)
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return table.set_index(table.columns[0]) if isinstance(table.index, pd.RangeIndex) and table.shape[1] else table
    separator = "," if ".csv" in path.name else "\t"
    return pd.read_csv(path, sep=separator, index_col=0, dtype={0: str})
