"""Prepare a dataset for the fits: selected cells and genes, normalized counts, principal components, neighbors."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData

from veloshard.errors import full_name
from veloshard.preprocessing.cell_selection import cells_to_keep, drop_empty
from veloshard.preprocessing.gene_selection import genes_to_keep, genes_with_shared_counts
from veloshard.preprocessing.neighbors import add_neighbors, add_pcs
from veloshard.preprocessing.normalization import normalize_dataset

log = logging.getLogger(__name__)


def prepare_data(
    counts: AnnData,
    *,
    dataset: str,
    cells: Mapping[str, Any] | None = None,
    genes: Mapping[str, Any] | None = None,
    min_shared_counts: float = 20,
    n_top_genes: int = 2000,
    n_pcs: int = 30,
    n_neighbors: int = 30,
    pca: str | None = None,
    neighbors: bool | str = False,
    random_state: int = 0,
    key: str = "",
) -> AnnData:
    """Return a dataset with selected cells and genes, normalized counts, principal components and neighbors.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Counts as `ingest_counts` returns them.
    dataset : str
        Name of the dataset, for messages.
    cells, genes : dict, optional
        Options of `cells_to_keep` and `genes_to_keep`. An excluded gene does not contribute to cell sizes.
    min_shared_counts : float
        Genes with fewer `shared_counts` are left out.
    n_top_genes : int
        Number of highly variable genes to keep, if more genes remain.
    n_pcs, n_neighbors : int
        Number of principal components, and of neighbors per cell, the cell itself included. Both are lowered if there
        are too few cells or genes; a lower number of neighbors is warned about.
    pca : str, optional
        Key of `obsm` with components of the input file, of which the first `n_pcs` are used. By default components are
        computed.
    neighbors : bool or str
        Use the neighbor graph that `ingest_counts` kept.
    random_state : int
        Seed of the starting vector of the PCA.
    key : str
        Prefix of the arguments' names in messages, such as ``"datasets.pancreas"``.

    Returns
    -------
    AnnData, shape (n_kept_cells, n_kept_genes)
        `X`: log1p of normalized spliced counts, CSR. `layers`: normalized spliced and unspliced counts, CSC of float32.
        `obs`: annotations, `initial_size`, `initial_size_spliced`, `initial_size_unspliced`, `n_genes` and
        `unspliced_fraction`. `obsm`: `X_pca` and the embeddings of the input. ``varm["PCs"]`` and ``uns["pca"]``, if
        components were computed. `obsp`: distances and connectivities, described in ``uns["neighbors"]``.
        ``uns["prepare"]``: `left_out` (numbers of cells and genes), `n_pcs`, `n_neighbors` and `warnings`.

    Raises
    ------
    InputError
        If the selection names columns, labels or genes that do not exist, or if fewer than two cells or genes remain.
    """
    selected = counts[
        cells_to_keep(counts.obs, dataset=dataset, key=full_name("cells", key), **(cells or {})),
        genes_to_keep(counts.var_names, dataset=dataset, key=full_name("genes", key), **(genes or {})),
    ]
    not_empty = drop_empty(selected, dataset=dataset, key=key)
    has_enough = genes_with_shared_counts(not_empty, min_shared_counts=min_shared_counts, dataset=dataset)
    prepared = normalize_dataset(not_empty, has_enough, n_top_genes=n_top_genes)
    add_pcs(prepared, n_pcs=n_pcs, pca=pca, random_state=random_state)
    if not neighbors:
        add_neighbors(prepared, n_neighbors=n_neighbors, random_state=random_state)

    left_out = {
        "deselected_cells": counts.n_obs - selected.n_obs,
        "empty_cells": selected.n_obs - not_empty.n_obs,
        "excluded_genes": counts.n_vars - selected.n_vars,
        "empty_genes": selected.n_vars - not_empty.n_vars,
        "genes_with_few_shared_counts": int(np.sum(~has_enough)),
        "less_variable_genes": int(np.sum(has_enough)) - prepared.n_vars,
    }
    listed = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in left_out.items() if number)
    log.info("%s: %d cells and %d genes kept; left out: %s", dataset, *prepared.shape, listed or "none")
    warnings = _preparation_warnings(prepared, n_neighbors=None if neighbors else n_neighbors)
    for warning in warnings:
        log.warning("%s: %s", dataset, warning)
    prepared.uns["prepare"] = {
        "left_out": left_out,
        "n_pcs": prepared.obsm["X_pca"].shape[1],
        "n_neighbors": prepared.uns["neighbors"]["params"]["n_neighbors"],
        "warnings": np.array(warnings, dtype=str),
    }
    return prepared


def _preparation_warnings(prepared: AnnData, *, n_neighbors: int | None) -> list[str]:
    """Return warnings about a prepared dataset; `n_neighbors` is None if the graph came with the file."""
    n_without_counts = np.sum(prepared.X.sum(axis=1) == 0)
    n_without_neighbors = np.sum(prepared.obsp["connectivities"].sum(axis=1) == 0)
    used = prepared.uns["neighbors"]["params"]["n_neighbors"]
    warnings = {
        f"{n_without_counts} cells have no spliced counts in the {prepared.n_vars} genes kept": n_without_counts > 0,
        f"{n_without_neighbors} cells have no neighbors in the graph of the file": n_without_neighbors > 0,
        f"{used} neighbors, not {n_neighbors}, as there are only {prepared.n_obs} cells": used != (n_neighbors or used),
    }
    return [warning for warning, applies in warnings.items() if applies]
