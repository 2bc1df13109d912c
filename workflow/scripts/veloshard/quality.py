"""Quality control: what each cell holds, summed up for a dataset and its clusters."""

import numpy as np
import pandas as pd

from veloshard.selection import as_labels


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


def quality_control(
    adata,
    *,
    clusters=None,
    warnings=(),
    min_unspliced_fraction=0.05,
    max_unspliced_fraction=0.5,
    min_counts=500,
    min_genes=100,
    max_duplicates=0.001,
):
    """Summary of a prepared dataset, and of each of its clusters.

    Parameters
    ----------
    adata : anndata.AnnData, (n_cells, n_genes)
        As `preprocess.prepare` returns it: reads the cells' metrics and the record of what was left out.
    clusters : str, optional
        Column of `obs` with the clusters.
    warnings : list of str
        What was noticed when the dataset's options were checked.
    min_unspliced_fraction, max_unspliced_fraction : float
        What is usual of the mean share of unspliced counts, in the dataset and in each cluster.
    min_counts, min_genes : float
        What is usual of the median over cells.
    max_duplicates : float
        Largest share of cells with exactly the counts of another.

    Returns
    -------
    dict
        Fit for JSON.  `verdict`: a sentence.  `format` of the source.  `checks`: `name`, `value`, what is `usual`
        and whether it `holds`.  `dataset` and every item of `clusters`: `cells`, medians over cells of
        `spliced_counts`, `unspliced_counts` and `genes`, and the mean of the cells' `unspliced_fraction`;
        for a cluster of a single cell these are None, with a `reason`.  Further the number of
        `unlabelled_cells`, what was `left_out`, how `annotations` matched, and all `warnings`, from the first
        step on.
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
    bounds = (min_unspliced_fraction, max_unspliced_fraction)
    sizes = adata.obs["initial_size_spliced"] + adata.obs["initial_size_unspliced"]
    ingested = adata.uns["ingest"]
    duplicates = int(ingested["duplicate_cells"]) / max(int(ingested["n_cells"]), 1)
    checks = [
        _check("unspliced fraction", whole["unspliced_fraction"], *bounds),
        _check("median counts of a cell", _number(sizes.astype(float).median()), min_counts),
        _check("median genes of a cell", whole["genes"], min_genes),
        _check("cells with the counts of another", duplicates, None, max_duplicates),
        _check("counts are whole numbers", float(ingested["counts"] == "integer"), 1),
    ]
    notes = [
        *adata.uns["ingest"]["warnings"],
        *warnings,
        *adata.uns["prepare"]["warnings"],
        *_unusual_fractions(whole, rows, bounds),
    ]
    return {
        "verdict": _verdict(checks, notes),
        "format": str(ingested["format"]),
        "checks": checks,
        "dataset": whole,
        "clusters": rows,
        "unlabelled_cells": int(labels.isna().sum()) if clusters else 0,
        "left_out": {key: int(number) for key, number in adata.uns["prepare"]["left_out"].items()},
        "annotations": {name: _plain(value) for name, value in ingested.get("annotations", {}).items()},
        "warnings": notes,
    }


def _check(name, value, least=None, most=None):
    """A row of `checks`; what cannot be told holds not."""
    ends = [f"at least {least:g}" if least is not None else "", f"at most {most:g}" if most is not None else ""]
    holds = value is not None and (least is None or value >= least) and (most is None or value <= most)
    return {"name": name, "value": value, "usual": ", ".join(filter(None, ends)), "holds": bool(holds)}


def _verdict(checks, warnings):
    unusual = [check["name"] for check in checks if not check["holds"]]
    if unusual:
        return f"look before you believe: {', '.join(unusual)} unusual"
    return f"usual, with {len(warnings)} warnings" if warnings else "usual"


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


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


def _unusual_fractions(whole, clusters, bounds):
    low, high = bounds
    rows = [{"cluster": "all cells", **whole}, *clusters]
    unusual = [
        f"{row['cluster']} {row['unspliced_fraction']:.1%}"
        for row in rows
        if row["unspliced_fraction"] is not None and not low <= row["unspliced_fraction"] <= high
    ]
    if not unusual:
        return []
    if whole["unspliced_fraction"] is not None and whole["unspliced_fraction"] > max(high, 0.5):
        hint = "if these are whole cells and not nuclei, the two layers are perhaps swapped"
    else:
        hint = "check how introns were counted"
    return [f"unspliced fraction outside the usual {low:.0%} to {high:.0%} in {', '.join(unusual)}: {hint}"]
