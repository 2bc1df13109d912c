"""Summarize the quality of a dataset and of its clusters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from veloshard.labels import as_labels


def cell_metrics(
    spliced: sparse.csr_matrix,
    unspliced: sparse.csr_matrix,
    size_spliced: NDArray[np.floating[Any]],
    size_unspliced: NDArray[np.floating[Any]],
) -> dict[str, NDArray[Any]]:
    """Return the number of genes and the unspliced fraction of each cell.

    Parameters
    ----------
    spliced, unspliced : csr_matrix, shape (n_cells, n_genes)
        Counts of all genes.
    size_spliced, size_unspliced : ndarray, shape (n_cells,)
        Cell sizes before genes were left out.

    Returns
    -------
    dict of str to ndarray, shape (n_cells,)
        `n_genes`: number of genes with spliced or unspliced counts. `unspliced_fraction`: unspliced size divided by
        the total size, NaN for cells of size 0.
    """
    total = np.asarray(size_spliced, dtype=float) + size_unspliced
    return {
        "n_genes": np.diff(((spliced > 0) + (unspliced > 0)).indptr),
        "unspliced_fraction": np.divide(size_unspliced, total, out=np.full(len(total), np.nan), where=total > 0),
    }


def summarize_quality(
    adata: AnnData,
    *,
    clusters: str | None = None,
    warnings: Sequence[str] = (),
    min_unspliced_fraction: float = 0.05,
    max_unspliced_fraction: float = 0.5,
    min_counts: float = 500,
    min_genes: float = 100,
    max_duplicates: float = 0.001,
) -> dict[str, Any]:
    """Return the quality of a prepared dataset and of its clusters.

    Parameters
    ----------
    adata : AnnData, shape (n_cells, n_genes)
        Dataset as `prepare_data` returns it.
    clusters : str, optional
        Column of `obs` with the clusters.
    warnings : sequence of str
        Warnings of `check_options`.
    min_unspliced_fraction, max_unspliced_fraction : float
        Expected range of the mean unspliced fraction, in the dataset and in each cluster.
    min_counts, min_genes : float
        Expected minima of the medians over cells.
    max_duplicates : float
        Expected maximum of the fraction of cells with exactly the counts of another cell.

    Returns
    -------
    dict
        Plain values for JSON. `verdict`: a sentence. `format` of the source. `checks`: list with `name`, `value`, the
        expected range as `usual`, and `holds`. `dataset` and each item of `clusters`: `cells`, the medians
        `spliced_counts`, `unspliced_counts` and `genes`, and the mean `unspliced_fraction`. For a cluster of one cell
        these are None, with a `reason`. `unlabeled_cells`, `left_out`, `annotations`, and the `warnings` of all steps.
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
    rows = [{"cluster": name, **_summarize(cells[(labels == name).to_numpy()])} for name in labels.cat.categories]
    all_cells = _summarize(cells)
    bounds = (min_unspliced_fraction, max_unspliced_fraction)
    sizes = adata.obs["initial_size_spliced"] + adata.obs["initial_size_unspliced"]
    ingested = adata.uns["ingest"]
    duplicates = int(ingested["duplicate_cells"]) / max(int(ingested["n_cells"]), 1)
    checks = [
        _check("unspliced fraction", all_cells["unspliced_fraction"], *bounds),
        _check("median counts per cell", _number(sizes.astype(float).median()), min_counts),
        _check("median genes per cell", all_cells["genes"], min_genes),
        _check("fraction of duplicate cells", duplicates, None, max_duplicates),
        _check("counts are whole numbers", float(ingested["counts"] == "integer"), 1),
    ]
    all_warnings = [
        *adata.uns["ingest"]["warnings"],
        *warnings,
        *adata.uns["prepare"]["warnings"],
        *_fraction_warnings(all_cells, rows, bounds),
    ]
    return {
        "verdict": _verdict(checks, all_warnings),
        "format": str(ingested["format"]),
        "checks": checks,
        "dataset": all_cells,
        "clusters": rows,
        "unlabeled_cells": int(labels.isna().sum()) if clusters else 0,
        "left_out": {key: int(number) for key, number in adata.uns["prepare"]["left_out"].items()},
        "annotations": {name: _plain(value) for name, value in ingested.get("annotations", {}).items()},
        "warnings": all_warnings,
    }


def _check(name: str, value: float | None, least: float | None = None, most: float | None = None) -> dict[str, Any]:
    """Return an item of `checks`. A check without a value does not hold."""
    bounds = [f"at least {least:g}" if least is not None else "", f"at most {most:g}" if most is not None else ""]
    holds = value is not None and (least is None or value >= least) and (most is None or value <= most)
    return {"name": name, "value": value, "usual": ", ".join(filter(None, bounds)), "holds": bool(holds)}


def _verdict(checks: Sequence[Mapping[str, Any]], warnings: Sequence[str]) -> str:
    failed = [check["name"] for check in checks if not check["holds"]]
    if failed:
        return f"check before use: outside the expected range: {', '.join(failed)}"
    return f"as expected, with {len(warnings)} warnings" if warnings else "as expected"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _summarize(cells: pd.DataFrame) -> dict[str, Any]:
    """Return the number of cells, medians and the mean unspliced fraction."""
    summary: dict[str, Any] = {
        "cells": len(cells),
        "spliced_counts": _number(cells["spliced_counts"].median()),
        "unspliced_counts": _number(cells["unspliced_counts"].median()),
        "genes": _number(cells["genes"].median()),
        "unspliced_fraction": _number(cells["unspliced_fraction"].mean()),
    }
    if len(cells) > 1:
        return summary
    return {**dict.fromkeys(summary), "cells": len(cells), "reason": "only one cell"}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _fraction_warnings(
    all_cells: Mapping[str, Any], clusters: Sequence[Mapping[str, Any]], bounds: tuple[float, float]
) -> list[str]:
    """Return a warning if the unspliced fraction of the dataset or of clusters is outside the bounds."""
    low, high = bounds
    rows = [{"cluster": "all cells", **all_cells}, *clusters]
    outside = [
        f"{row['cluster']} {row['unspliced_fraction']:.1%}"
        for row in rows
        if row["unspliced_fraction"] is not None and not low <= row["unspliced_fraction"] <= high
    ]
    if not outside:
        return []
    if all_cells["unspliced_fraction"] is not None and all_cells["unspliced_fraction"] > max(high, 0.5):
        hint = "if these are whole cells and not nuclei, the two layers are perhaps swapped"
    else:
        hint = "check how introns were counted"
    return [f"unspliced fraction outside the expected {low:.0%} to {high:.0%} in {', '.join(outside)}: {hint}"]
