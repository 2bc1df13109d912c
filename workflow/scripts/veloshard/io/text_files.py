"""Write and read CSV and JSON files."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from veloshard.io import FilePath


def save_table(path: FilePath, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write columns to a CSV file.

    Parameters
    ----------
    path : path-like
        File to write.
    columns : dict of str to sequence
        Columns of the same length by name.
    """
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))


def save_json(path: FilePath, values: Any) -> None:
    """Write nested lists and dicts of plain values to a JSON file.

    Parameters
    ----------
    path : path-like
        File to write.
    values : dict or list
        Nested lists and dicts of str, numbers, booleans and None.
    """
    Path(path).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_json(path: FilePath) -> Any:
    """Return the content of a JSON file.

    Parameters
    ----------
    path : path-like
        File to read.

    Returns
    -------
    dict or list
        Nested lists and dicts of plain values.
    """
    return json.loads(Path(path).read_text(encoding="utf-8"))
