"""Quality control: what each cell holds, summed up for a dataset and its clusters."""

import numpy as np
import pandas as pd

from veloshard.selection import as_labels

# outside this range the library or its quantification is unusual, and velocities are doubtful
USUAL_UNSPLICED_FRACTION = (0.05, 0.5)


def cell_metrics(spliced, unspliced, size_spliced, size_unspliced):
    """What each cell holds.

    Parameters
    ----------
    spliced, unspliced : scipy.sparse.csr_matrix, (n_cells, n_genes)
        Counts of all genes.
    size_spliced, size_unspliced : numpy.ndarray, (n_cells,)
        Full depth of each cell in counts, before any gene was left out.

    Returns
    -------
    dict of str to numpy.ndarray, (n_cells,)
        `n_genes`: genes with a count, spliced or unspliced.  `unspliced_fraction`: unspliced counts as
        a fraction of all, NaN for a cell of no depth.
    """
    depth = np.asarray(size_spliced, dtype=float) + size_unspliced
    return {
        "n_genes": np.diff(((spliced > 0) + (unspliced > 0)).indptr),
        "unspliced_fraction": np.divide(size_unspliced, depth, out=np.full(len(depth), np.nan), where=depth > 0),
    }


def quality_control(adata, *, clusters=None, warnings=()):
    """Summary of a prepared dataset, and of each of its clusters.

    Parameters
    ----------
    adata : anndata.AnnData, (n_cells, n_genes)
        As `preprocess.prepare` returns it: reads the cells' metrics and the record of what was left out.
    clusters : str, optional
        Column of `obs` with the clusters.
    warnings : list of str
        What was noticed when the dataset's options were checked.

    Returns
    -------
    dict
        Fit for JSON.  `dataset` and every item of `clusters`: `cells`, medians over cells of
        `spliced_counts`, `unspliced_counts` and `genes`, and the mean of the cells' `unspliced_fraction`;
        for a cluster of a single cell these are None, with a `reason`.  Further the number of
        `unlabelled_cells`, what was `left_out`, and all `warnings`, from the first step on.
    """
    cells = pd.DataFrame(
        {
            "spliced_counts": adata.obs["initial_size_spliced"],
            "unspliced_counts": adata.obs["initial_size_unspliced"],
            "genes": adata.obs["n_genes"],
            "unspliced_fraction": adata.obs["unspliced_fraction"],
        }
    ).astype(float)
    column = adata.obs[clusters] if clusters else pd.Series(index=adata.obs_names, dtype="category")
    labels = as_labels(column)
    rows = [{"cluster": name, **_summary(cells[(labels == name).to_numpy()])} for name in labels.cat.categories]
    whole = _summary(cells)
    return {
        "dataset": whole,
        "clusters": rows,
        "unlabelled_cells": int(labels.isna().sum()) if clusters else 0,
        "left_out": {key: int(number) for key, number in adata.uns["prepare"]["left_out"].items()},
        "warnings": [
            *adata.uns["ingest"]["warnings"],
            *warnings,
            *adata.uns["prepare"]["warnings"],
            *_unusual_fractions(whole, rows),
        ],
    }


def _summary(cells):
    summary = {
        "cells": len(cells),
        "spliced_counts": _number(cells["spliced_counts"].median()),
        "unspliced_counts": _number(cells["unspliced_counts"].median()),
        "genes": _number(cells["genes"].median()),
        "unspliced_fraction": _number(cells["unspliced_fraction"].mean()),
    }
    if len(cells) > 1:
        return summary
    return {**dict.fromkeys(summary), "cells": len(cells), "reason": "only one cell"}


def _number(value):
    return None if np.isnan(value) else float(value)


def _unusual_fractions(whole, clusters):
    low, high = USUAL_UNSPLICED_FRACTION
    rows = [{"cluster": "all cells", **whole}, *clusters]
    unusual = [
        f"{row['cluster']} {row['unspliced_fraction']:.1%}"
        for row in rows
        if row["unspliced_fraction"] is not None and not low <= row["unspliced_fraction"] <= high
    ]
    if not unusual:
        return []
    return [
        f"unspliced fraction outside the usual {low:.0%} to {high:.0%} in {', '.join(unusual)}: "
        "check how introns were counted"
    ]
