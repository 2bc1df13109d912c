"""Least action paths between clusters along a vector field."""

import logging

import numpy as np
import pandas as pd

from veloshard.vectorfield import paths
from veloshard.vectorfield.dataset import central_cell, cluster_names, map_to_embedding
from veloshard.vectorfield.restoring_drift import add_restoring_drift

log = logging.getLogger(__name__)


def find_least_action_paths(dataset, field, pairs, *, key="pairs"):
    """Return the least action paths between the central cells of clusters.

    The field has a restoring drift. Actions are in units of mean speed x drift-free distance of that drift.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    field : VectorField
        Vector field on the principal components.
    pairs : sequence of (label, label)
        Clusters in which each path starts and ends.
    key : str
        Argument or option that names the clusters, for error messages.

    Returns
    -------
    arrays : dict of str to ndarray
        `names`, (n_paths,); `coordinates`, float64 (n_paths, n_points, 2), on the embedding; `duration`, `action` and
        `converged`, (n_paths,).
    table : pandas.DataFrame
        One row per path and point.
    genes : pandas.DataFrame
        One row per path and gene, with the expression at both ends and its standard deviation along the path; empty
        without PCA loadings.

    Raises
    ------
    InputError
        If there is no such cluster.
    """
    arrays = {"names": [], "coordinates": [], "duration": [], "action": [], "converged": []}
    tables, gene_tables = [], []
    field_with_drift = add_restoring_drift(field, dataset.pcs)
    for source, target in pairs:
        ends = [central_cell(dataset, label, key=key) for label in (source, target)]
        cell_path = paths.shortest_cell_path(dataset.distances, *ends)
        if cell_path is None:
            log.warning(
                "the neighbor graph does not connect %s and %s: the search starts from a straight line", source, target
            )
        path = paths.least_action_path(
            field_with_drift.velocity,
            field_with_drift.jacobian,
            *dataset.pcs[ends],
            first_guess=None if cell_path is None else dataset.pcs[cell_path],
            diffusion=field_with_drift.mean_speed * field_with_drift.drift_free_distance,
            length_penalty=field_with_drift.mean_speed,
        )
        name = f"{source} to {target}"
        embedding, nearest_cell = map_to_embedding(dataset, path.coordinates)
        log.info("%s: action %.3g, duration %.3g", name, path.action, path.times[-1])
        for array, value in zip(arrays, (name, embedding, path.times[-1], path.action, path.converged), strict=True):
            arrays[array].append(value)
        columns = {
            "path": name,
            "time": path.times,
            "embedding_1": embedding[:, 0],
            "embedding_2": embedding[:, 1],
            "nearest_cluster": cluster_names(dataset, dataset.codes[nearest_cell]),
            "action": path.action,
            "converged": path.converged,
        }
        tables.append(pd.DataFrame(columns))
        gene_tables.append(_tabulate_expression(dataset, name, path.coordinates))
    table, genes = pd.concat(tables, ignore_index=True), pd.concat(gene_tables, ignore_index=True)
    return {name: np.array(values) for name, values in arrays.items()}, table, genes


def _tabulate_expression(dataset, name, pcs):
    """Return the expression of genes at both ends of a path and its spread, by decreasing spread."""
    columns = ["path", "gene", "start", "end", "spread"]
    if dataset.pca is None:
        log.warning(
            "the table of genes along paths is empty, because the imported principal components have no loadings"
        )
        return pd.DataFrame(columns=columns)
    expression = pcs @ dataset.pca.loadings.T + dataset.pca.means
    values = (name, dataset.genes, expression[0], expression[-1], expression.std(axis=0))
    table = pd.DataFrame(dict(zip(columns, values, strict=True)))
    return table.sort_values("spread", ascending=False, kind="stable", ignore_index=True)
