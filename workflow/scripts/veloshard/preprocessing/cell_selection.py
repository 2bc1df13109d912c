"""Select the cells of a dataset."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from veloshard.errors import InputError, choices, full_name
from veloshard.io.readers.common import LAYERS
from veloshard.labels import as_label, as_labels


def drop_empty(adata: AnnData, *, dataset: str, key: str = "") -> AnnData:
    """Return a copy without the cells and genes that have neither spliced nor unspliced counts.

    Parameters
    ----------
    adata : AnnData, shape (n_cells, n_genes)
        Counts.
    dataset : str
        Name of the dataset, for messages.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas"``.

    Returns
    -------
    AnnData
        Cells and genes with counts.

    Raises
    ------
    InputError
        If fewer than two cells remain.
    """
    n_layers = sum((adata.layers[layer] > 0).astype(np.int32) for layer in LAYERS)
    cells, genes = np.ravel(n_layers.sum(axis=1)) > 0, np.ravel(n_layers.sum(axis=0)) > 0
    if cells.sum() < 2:
        raise InputError(
            f"dataset {dataset!r}: {cells.sum()} of {len(cells)} cells have counts, at least 2 are needed. "
            f"Select more by {full_name('cells', key)} or {full_name('genes', key)}, or give a source with more counts."
        )
    return adata[cells, genes].copy()


def cells_to_keep(
    obs: pd.DataFrame,
    *,
    dataset: str,
    keep: Mapping[str, Sequence[object]] | None = None,
    drop: Mapping[str, Sequence[object]] | None = None,
    key: str = "",
) -> NDArray[np.bool_]:
    """Return which cells are selected.

    Parameters
    ----------
    obs : DataFrame, shape (n_cells, n_columns)
        Annotations of the cells.
    dataset : str
        Name of the dataset, for messages.
    keep, drop : dict of str to list, optional
        Values by column. A cell is selected if it has one of the values in each column of `keep`, and none of the
        values in any column of `drop`. A cell without a label has none of the values.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas.cells"``.

    Returns
    -------
    ndarray of bool, shape (n_cells,)
        True for the cells that are selected.

    Raises
    ------
    InputError
        If a column does not exist, if no cell has one of the values, or if fewer than two cells are selected.
    """
    is_kept = np.ones(len(obs), dtype=bool)
    for option, labels_of_column in (("keep", keep or {}), ("drop", drop or {})):
        for column, values in labels_of_column.items():
            has_label = _has_label(obs, column, values, dataset=dataset, key=full_name(option, key))
            is_kept &= has_label if option == "keep" else ~has_label
    if is_kept.sum() < 2:
        raise InputError(
            f"dataset {dataset!r}: {is_kept.sum()} of {len(obs)} cells are selected, at least 2 are needed. "
            f"Select more by {full_name('keep', key)} or {full_name('drop', key)}, or give a source with more cells."
        )
    return is_kept


def _has_label(
    obs: pd.DataFrame, column: str, values: Sequence[object], *, dataset: str, key: str
) -> NDArray[np.bool_]:
    """Return which cells have one of the values in a column."""
    if column not in obs:
        raise InputError(
            f"dataset {dataset!r}: no column {column!r} in obs ({choices(obs.columns, column)}). Correct {key}."
        )
    labels = as_labels(obs[column])
    selected = [as_label(value) for value in values]
    for label in selected:
        if label not in labels.cat.categories:
            raise InputError(
                f"dataset {dataset!r}: no cell with {column} {label!r} "
                f"({choices(labels.cat.categories, label)}). Correct {key}.{column}."
            )
    mask: NDArray[np.bool_] = labels.isin(selected).to_numpy()
    return mask
