"""Cluster labels of cells as strings, whatever the type of the annotation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veloshard.errors import InputError, choices

# what missing labels become when a table is written as text and read again
UNLABELED = {"", "nan", "NaN"}


def as_labels(column: pd.Series) -> pd.Series:
    """Return an annotation as a categorical of strings.

    Parameters
    ----------
    column : Series, shape (n_cells,)
        Strings, numbers, booleans or a categorical. The order of a categorical is kept, other values are sorted.

    Returns
    -------
    Series of category, shape (n_cells,)
        Whole numbers become ``"3"``, also where they were stored as 3.0. Cells without a label (missing, empty or the
        text ``nan``) are NaN.
    """
    stored = column.astype("category").cat
    names = [as_label(value) for value in stored.categories]
    labels = [name for name in dict.fromkeys(names) if name not in UNLABELED]
    code_of_label = {label: code for code, label in enumerate(labels)}
    new_codes = np.array([code_of_label.get(name, -1) for name in names] + [-1])  # missing values have code -1
    labeled = pd.Categorical.from_codes(new_codes[stored.codes.to_numpy()], categories=labels)
    return pd.Series(labeled, index=column.index, name=column.name).cat.remove_unused_categories()


def as_label(value: object) -> str:
    """Return a value as `as_labels` writes it.

    Parameters
    ----------
    value : object
        Usually a string or a number.

    Returns
    -------
    str
        ``"3"`` for 3, 3.0 and ``"3"``.
    """
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if is_whole else value)  # type: ignore[call-overload]


def in_cluster(obs: pd.DataFrame, column: str, label: object) -> NDArray[np.bool_] | None:
    """Return which cells are in a cluster.

    Parameters
    ----------
    obs : DataFrame, shape (n_cells, n_columns)
        Annotations of the cells.
    column : str
        Column of the clusters.
    label : str or number
        Name of the cluster, ``""`` for no cluster.

    Returns
    -------
    ndarray of bool, shape (n_cells,), or None
        None for no cluster.

    Raises
    ------
    InputError
        If no cell has the label.
    """
    if label == "":
        return None
    labels = as_labels(obs[column])
    if as_label(label) not in labels.cat.categories:
        available = choices(labels.cat.categories, label)
        raise InputError(f"no cell has the label {label!r} in column {column!r} ({available})")
    mask: NDArray[np.bool_] = (labels == as_label(label)).to_numpy()
    return mask


def cluster_codes(obs: pd.DataFrame, column: str) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the clusters and the cluster of each cell.

    Parameters
    ----------
    obs : DataFrame, shape (n_cells, n_columns)
        Annotations of the cells.
    column : str
        Column of the clusters, ``""`` for no clusters.

    Returns
    -------
    names : list of str
        Names of the clusters.
    codes : ndarray of int64, shape (n_cells,)
        Index of each cell's cluster in `names`, -1 for a cell without a label.
    """
    if column == "":
        return [], np.full(len(obs), -1)
    labels = as_labels(obs[column]).cat
    return labels.categories.tolist(), labels.codes.to_numpy(dtype=np.int64)


def label_colors(column: pd.Series, colors: Sequence[str] | NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the colors of a column's labels.

    Parameters
    ----------
    column : Series, shape (n_cells,)
        Annotation, as for `as_labels`.
    colors : sequence of str
        Stored colors, one per category of the column.

    Returns
    -------
    ndarray of str, shape (n_labels,)
        Empty if the column is not categorical or the number of colors is not the number of categories.
    """
    if not isinstance(column.dtype, pd.CategoricalDtype) or len(colors) != len(column.cat.categories):
        return np.array([], dtype=str)
    color_of = dict(zip(map(as_label, column.cat.categories), colors, strict=True))
    return np.array([color_of[label] for label in as_labels(column).cat.categories], dtype=str)
