"""Add analyses to the annotations of a result, with the keys of scVelo and CellRank."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike, NDArray

from veloshard.labels import as_labels, label_colors
from veloshard.output.cluster_colors import clusters_of
from veloshard.output.rankings import rankings_for_anndata


def add_analyses(
    result: AnnData,
    *,
    dataset: str,
    method: str,
    clusters: str,
    genes: Mapping[str, ArrayLike] = MappingProxyType({}),
    cells: Mapping[str, ArrayLike] = MappingProxyType({}),
    embedding: Mapping[str, NDArray[np.floating]] = MappingProxyType({}),
    velocity_embedding: NDArray[np.floating] | None = None,
    differential_kinetics: tuple[Mapping[str, ArrayLike], NDArray[np.floating], NDArray[np.bool_]] | None = None,
    ranking: pd.DataFrame | None = None,
    paga: Mapping[str, Any] | None = None,
) -> None:
    """Add analyses of a result to its annotations, with the keys of scVelo. Analyses that are not passed are left out.

    Parameters
    ----------
    result : AnnData, shape (n_cells, n_genes)
        Annotations of a prepared dataset, which are changed.
    dataset, method : str
        Names of the dataset and the method.
    clusters : str
        Column of `obs` with the clusters, or ``""``.
    genes, cells : dict of str to array
        Columns to add to `var`, shape (n_genes,), and to `obs`, shape (n_cells,).
    embedding : dict of str to ndarray, shape (n_cells, n_dims)
        One embedding by its key of `obsm`, or none.
    velocity_embedding : ndarray of float, shape (n_cells, n_dims), optional
        Velocities on the embedding.
    differential_kinetics : tuple, optional
        As `load_differential_kinetics` returns it.
    ranking : DataFrame, optional
        Table of `rank_genes`.
    paga : dict, optional
        Fields of a `PAGA`.
    """
    result.var = result.var.assign(**genes)
    result.obs = result.obs.assign(**cells)
    params = result.uns["velocity_params"] = {"dataset": dataset, "method": method}
    for key, coordinates in embedding.items():
        params["embedding"] = key.removeprefix("X_")
        result.obsm[key] = coordinates
    if velocity_embedding is not None:
        result.obsm[f"velocity_{params['embedding']}"] = velocity_embedding
    if clusters:
        _label_clusters(result, clusters)
        if paga is not None:
            result.uns[f"{clusters}_sizes"] = paga["sizes"]
            result.uns["paga"] = {name: values for name, values in paga.items() if name != "sizes"}
            result.uns["paga"]["groups"] = clusters
        if differential_kinetics is not None:
            columns, p_values, _ = differential_kinetics
            result.var = result.var.assign(**columns)
            # an array with one column per cluster, because AnnData rejects some names as columns of a table
            result.varm["fit_pvals_kinetics"] = p_values
    if ranking is not None:
        result.uns.update(rankings_for_anndata(ranking, clusters=clusters))


def _label_clusters(result: AnnData, column: str) -> None:
    """Convert the column of the clusters to labels, and store its name and colors in `uns`, where figures read them."""
    colors = label_colors(result.obs[column], result.uns.pop(f"{column}_colors", ()))
    result.obs[column] = as_labels(result.obs[column])
    result.uns["velocity_params"]["clusters"] = column
    if len(colors):
        result.uns[f"{column}_colors"] = colors
    clusters = clusters_of(result)
    color_of = dict(zip(clusters.names, clusters.colors, strict=True))
    result.uns[f"{column}_colors"] = np.array(
        [to_hex(color_of.get(name, clusters.unknown)) for name in result.obs[column].cat.categories]
    )
