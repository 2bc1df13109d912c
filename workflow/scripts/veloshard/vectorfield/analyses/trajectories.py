"""Trajectories of cells along a vector field."""

import logging

import numpy as np
import pandas as pd

from veloshard.vectorfield import paths
from veloshard.vectorfield.dataset import cluster_code, cluster_names, map_to_embedding
from veloshard.vectorfield.restoring_drift import add_restoring_drift
from veloshard.vectorfield.sparsevfc import velocity_at

log = logging.getLogger(__name__)

# largest duration of a trajectory: the time to cross all cells this many times at the mean speed
CROSSINGS = 3


def integrate_trajectories(dataset, field, *, clusters, n_cells, backwards, rng, key="clusters"):
    """Return trajectories of random cells of some clusters along a vector field.

    The field has a restoring drift, also for backward integration, so that trajectories stay near cells.

    Parameters
    ----------
    dataset : Dataset
        Arrays of the dataset.
    field : VectorField
        Vector field on the principal components.
    clusters : sequence of str or number
        Clusters in which trajectories start.
    n_cells : int
        Number of cells per cluster.
    backwards : bool
        Whether to integrate against the flow.
    rng : numpy.random.Generator
        Draws the cells.
    key : str
        Argument or option that names the clusters, for error messages.

    Returns
    -------
    arrays : dict of str to ndarray
        `cells`, int (n_trajectories,); `coordinates`, float64 (n_trajectories, n_points, 2), on the embedding; `times`,
        float64 (n_trajectories, n_points), negative for backward integration; `ends_at_rest`, bool (n_trajectories,).
    table : pandas.DataFrame
        One row per trajectory and point.

    Raises
    ------
    InputError
        If there is no such cluster.
    """
    starts = []
    for label in clusters:
        members = np.flatnonzero(dataset.codes == cluster_code(dataset, label, key=key))
        starts.append(np.sort(rng.choice(members, size=min(n_cells, len(members)), replace=False)))
    starts = np.concatenate(starts)
    sign = -1 if backwards else 1
    field_with_drift = add_restoring_drift(field._replace(coefficients=sign * field.coefficients), dataset.pcs)
    speed = float(np.mean(np.linalg.norm(velocity_at(field, dataset.pcs), axis=1)))
    extent = float(np.linalg.norm(np.ptp(dataset.pcs, axis=0)))
    trajectories = [
        paths.integrate_trajectory(
            field_with_drift.velocity, dataset.pcs[cell], speed=speed, duration=CROSSINGS * extent / speed
        )
        for cell in starts
    ]
    n_at_rest = sum(trajectory.ends_at_rest for trajectory in trajectories)
    log.info("%d of %d trajectories end at rest", n_at_rest, len(trajectories))
    coordinates, tables = [], []
    for cell, trajectory in zip(starts, trajectories, strict=True):
        embedding, nearest_cell = map_to_embedding(dataset, trajectory.coordinates)
        coordinates.append(embedding)
        tables.append(
            pd.DataFrame(
                {
                    "cell": dataset.cells[cell],
                    "cluster": cluster_names(dataset, dataset.codes[[cell]])[0],
                    "time": sign * trajectory.times,
                    "embedding_1": embedding[:, 0],
                    "embedding_2": embedding[:, 1],
                    "nearest_cluster": cluster_names(dataset, dataset.codes[nearest_cell]),
                    "ends_at_rest": trajectory.ends_at_rest,
                }
            )
        )
    arrays = {
        "cells": starts,
        "coordinates": np.array(coordinates),
        "times": sign * np.array([trajectory.times for trajectory in trajectories]),
        "ends_at_rest": np.array([trajectory.ends_at_rest for trajectory in trajectories]),
    }
    return arrays, pd.concat(tables, ignore_index=True)
