"""Labels of cells, and the cells and genes that the user keeps."""

import re

import numpy as np
import pandas as pd

from veloshard.errors import InputError, choices

# what missing labels turn into where a table went through strings
UNLABELLED = {"", "nan", "NaN"}


def as_labels(column):
    """An annotation as labels: a categorical of strings, whatever it was stored as.

    Parameters
    ----------
    column : pandas.Series, (n_cells,)
        Strings, numbers, booleans or a categorical; its category order is kept, others are sorted.

    Returns
    -------
    pandas.Series of category, (n_cells,)
        Whole numbers read ``'3'``, also where they were stored as 3.0.  Cells without a label (missing,
        empty or the text ``nan``) are NaN and no category.
    """
    stored = column.astype("category").cat
    names = [as_label(value) for value in stored.categories]
    labels = [name for name in dict.fromkeys(names) if name not in UNLABELLED]
    position = {label: code for code, label in enumerate(labels)}
    lookup = np.array([position.get(name, -1) for name in names] + [-1])  # missing values have code -1
    labelled = pd.Categorical.from_codes(lookup[stored.codes.to_numpy()], categories=labels)
    return pd.Series(labelled, index=column.index, name=column.name).cat.remove_unused_categories()


def as_label(value):
    """A single value as `as_labels` writes it: ``'3'`` for 3, 3.0 and ``'3'``."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value) if whole else value)


def in_cluster(obs, column, label):
    """Cells of the cluster `label` of a column: bool (n_cells,); None where no cluster is named ('').

    Raises InputError where no cell has the label.
    """
    if label == "":
        return None
    labels = as_labels(obs[column])
    if as_label(label) not in labels.cat.categories:
        there = choices(labels.cat.categories, label)
        raise InputError(f"no cell has the label {label!r} in column {column!r} ({there})")
    return (labels == as_label(label)).to_numpy()


def cluster_codes(obs, column):
    """Names of the clusters of a column, and each cell's position among them: -1 where it has no label.

    No clusters for the column ''.
    """
    if column == "":
        return [], np.full(len(obs), -1)
    labels = as_labels(obs[column]).cat
    return labels.categories.tolist(), labels.codes.to_numpy(dtype=np.int64)


def labelled_colors(column, colors):
    """Colours of a column's labels, from those that were stored for its categories.

    column : pandas.Series, (n_cells,), as for `as_labels`.   colors : one for each of its categories, in order.
    Returns an array of str (n_labels,); empty where the colours do not fit the categories.
    """
    if not isinstance(column.dtype, pd.CategoricalDtype) or len(colors) != len(column.cat.categories):
        return np.array([], dtype=str)
    color_of = dict(zip(map(as_label, column.cat.categories), colors, strict=True))
    return np.array([color_of[label] for label in as_labels(column).cat.categories], dtype=str)


def cells_to_keep(obs, *, dataset, keep=None, drop=None):
    """Which cells the user wants.

    Parameters
    ----------
    obs : pandas.DataFrame, (n_cells, n_annotations)
        Annotations of the cells.
    dataset : str
        Name of the dataset, for messages.
    keep, drop : dict of str to list, optional
        Column to values.  A cell stays if it has one of the values in every `keep` column and none of
        those in any `drop` column; a cell without a label matches nothing.

    Returns
    -------
    numpy.ndarray of bool, (n_cells,)
        True for the cells that stay.

    Raises
    ------
    InputError
        For a column or value that no cell has, and if fewer than two cells stay.
    """
    stays = np.ones(len(obs), dtype=bool)
    for option, wanted in (("keep", keep or {}), ("drop", drop or {})):
        for column, values in wanted.items():
            matches = _has_label(obs, column, values, where=(dataset, option))
            stays &= matches if option == "keep" else ~matches
    if stays.sum() < 2:
        raise InputError(
            f"dataset {dataset!r}: {stays.sum()} of {len(obs)} cells stay, at least 2 are needed. "
            f"Widen datasets.{dataset}.cells, or give a source with more cells."
        )
    return stays


def genes_to_keep(names, *, dataset, exclude=(), exclude_pattern=None):
    """Which genes the user wants.

    Parameters
    ----------
    names : pandas.Index of str, (n_genes,)
        Names of the genes.
    dataset : str
        Name of the dataset, for messages.
    exclude : list of str
        Genes to leave out.
    exclude_pattern : str, optional
        Regular expression; genes in whose name it is found are left out, such as ``'^mt-'``.

    Returns
    -------
    numpy.ndarray of bool, (n_genes,)
        True for the genes that stay.

    Raises
    ------
    InputError
        For a gene that is not in the data, a pattern that is no regular expression, and if no gene stays.
    """
    key = f"datasets.{dataset}.genes"
    unknown = [name for name in exclude if name not in names]
    if unknown:
        raise InputError(
            f"dataset {dataset!r}: {len(unknown)} of the genes to exclude not in the data: "
            f"{', '.join(unknown[:3])} ({choices(names, unknown[0], most=3)}). Correct {key}.exclude."
        )
    stays = ~names.isin(list(exclude))
    if exclude_pattern is not None:
        try:
            stays &= ~names.str.contains(re.compile(exclude_pattern))
        except re.error as error:
            raise InputError(
                f"dataset {dataset!r}: {key}.exclude_pattern {exclude_pattern!r} is no regular expression "
                f"({error}). To leave out mitochondrial genes, say, write '^mt-'."
            ) from error
    if not stays.any():
        raise InputError(f"dataset {dataset!r}: all {len(names)} genes are excluded. Narrow {key}.")
    return stays


def without_excluded(adata, *, dataset, **genes):
    """Counts of the genes that the user wants: options as of `genes_to_keep`."""
    return adata[:, genes_to_keep(adata.var_names, dataset=dataset, **genes)]


def _has_label(obs, column, values, *, where):
    dataset, option = where
    key = f"datasets.{dataset}.cells.{option}"
    if column not in obs:
        raise InputError(
            f"dataset {dataset!r}: no column {column!r} in obs ({choices(obs.columns, column)}). Correct {key}."
        )
    labels = as_labels(obs[column])
    wanted = [as_label(value) for value in values]
    for label in wanted:
        if label not in labels.cat.categories:
            raise InputError(
                f"dataset {dataset!r}: no cell with {column} {label!r} "
                f"({choices(labels.cat.categories, label)}). Correct {key}.{column}."
            )
    return labels.isin(wanted).to_numpy()
