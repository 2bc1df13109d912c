"""Topography of a vector field: fixed points, nullclines and separatrices."""

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from veloshard.vectorfield import geometry, topography
from veloshard.vectorfield.dataset import cluster_names
from veloshard.vectorfield.restoring_drift import add_restoring_drift
from veloshard.vectorfield.sparsevfc import velocity_at

# grid points on the embedding are near cells if a cell is closer than this many grid steps
STEPS_TO_CELLS = 2


def compute_topography(dataset, pca_field, embedding_field, *, rng):
    """Return the topography of the vector field on the embedding, and the fixed points of both vector fields.

    The field on the principal components has a restoring drift. Without it, its fixed points would be where there are
    no cells.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    pca_field : VectorField
        Vector field on the principal components.
    embedding_field : VectorField
        Vector field on the embedding.
    rng : numpy.random.Generator
        Draws the starting points of the search for fixed points.

    Returns
    -------
    arrays : dict of str to ndarray
        Arrays of the figure: the field on a grid, fixed points, nullclines and separatrices on the embedding.
    table : pandas.DataFrame
        One row per fixed point, on the embedding (`space` is "embedding") and on the principal components ("pca").
    """

    def velocity(coordinates):
        return velocity_at(embedding_field, coordinates)

    def jacobian(coordinates):
        return geometry.jacobian(embedding_field, coordinates)

    embedded = dataset.embedding[np.isfinite(dataset.embedding).all(axis=1)]
    domain = topography.domain_of(embedded)
    points = topography.find_fixed_points(velocity, jacobian, domain, rng=rng, cells=dataset.embedding)
    x, y, vectors = topography.evaluate_on_grid(velocity, domain)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    step = np.hypot(x[1] - x[0], y[1] - y[0])
    distance_to_cell = NearestNeighbors(n_neighbors=1).fit(embedded).kneighbors(grid)[0]
    nullclines = topography.find_nullclines(velocity, domain)
    arrays = {
        "x": x,
        "y": y,
        "vectors": vectors,
        "near_cells": distance_to_cell.reshape(vectors.shape[:2]) < STEPS_TO_CELLS * step,
        "domain": domain,
        "coordinates": points.coordinates,
        "kinds": points.kinds,
        "confidence": points.confidence,
        "nullcline_x": _join_lines(nullclines[0]),
        "nullcline_y": _join_lines(nullclines[1]),
        "separatrices": _join_lines(topography.find_separatrices(velocity, jacobian, points, domain)[0]),
    }
    field_with_drift = add_restoring_drift(pca_field, dataset.pcs)
    pca_points = topography.find_fixed_points(
        field_with_drift.velocity,
        field_with_drift.jacobian,
        topography.domain_of(dataset.pcs),
        rng=rng,
        cells=dataset.pcs,
    )
    tables = [
        _tabulate_points(dataset, points, "embedding", points.coordinates),
        _tabulate_points(dataset, pca_points, "pca", dataset.embedding[pca_points.nearest_cell]),
    ]
    return arrays, pd.concat(tables, ignore_index=True)


def _tabulate_points(dataset, points, space, embedding):
    return pd.DataFrame(
        {
            "space": space,
            "kind": points.kinds,
            "confidence": points.confidence,
            "embedding_1": embedding[:, 0],
            "embedding_2": embedding[:, 1],
            "nearest_cell": dataset.cells[points.nearest_cell],
            "cluster": cluster_names(dataset, dataset.codes[points.nearest_cell]),
            "largest_eigenvalue": points.eigenvalues[:, 0].real,
            "smallest_eigenvalue": points.eigenvalues[:, -1].real,
            "spiral": np.any(points.eigenvalues.imag != 0, axis=1),
        }
    )


def _join_lines(lines):
    """Return lines (n_points, 2) as one array, separated by rows of NaN."""
    parts = [part for line in lines for part in (line, np.full((1, 2), np.nan))]
    return np.concatenate(parts[:-1]) if parts else np.empty((0, 2))
