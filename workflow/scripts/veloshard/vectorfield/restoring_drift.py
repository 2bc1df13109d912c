"""Restoring drift: keep trajectories and paths near cells.

A learned field decays to zero away from the cells, so that a trajectory that has left them does not return. The local
mean m(x) is the mean of the cells with weights exp(-w |x - x_n|^2). The field is unchanged up to a distance from m(x),
the 90th percentile of the distances of cells from their local means. Beyond it, a drift towards m(x) is added, which
grows with the distance.
"""

import math
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from veloshard.vectorfield.geometry import POINTS_PER_BLOCK, jacobian
from veloshard.vectorfield.sparsevfc import VectorField, row_blocks, velocity_at

# largest number of cells from which local means are computed; the distances to them are measured at as many others
MAX_ANCHORS = 2000

# Share of the cells without drift, and ratio of drift and mean speed at twice the drift-free distance. At a ratio of 4,
# trajectories of simulated cells came to rest halfway, where the local mean is uneven between cells.
DRIFT_FREE_SHARE, STRENGTH = 0.9, 1.0


class FieldWithDrift(NamedTuple):
    """Learned vector field with a restoring drift.

    Attributes
    ----------
    field : VectorField
        The learned vector field.
    anchors : ndarray of float64, shape (n_anchors, n_dims)
        Coordinates of the cells from which local means are computed, minus `center`.
    center : ndarray of float64, shape (n_dims,)
        Mean of all cells.
    width : float
        The kernel parameter w of the local mean.
    drift_free_distance : float
        Distance from the local mean up to which there is no drift.
    mean_speed : float
        Mean speed of the learned field over the cells.
    """

    field: VectorField
    anchors: np.ndarray
    center: np.ndarray
    width: float
    drift_free_distance: float
    mean_speed: float

    def velocity(self, coordinates):
        """Return the velocity with drift at coordinates, shape (n_points, n_dims)."""
        velocity = velocity_at(self.field, coordinates)
        for rows in row_blocks(len(coordinates), POINTS_PER_BLOCK):
            centered = coordinates[rows] - self.center
            to_mean = _local_means(self.anchors, centered, self.width)[1] - centered
            velocity[rows] += self._rate() * self._share_beyond(to_mean)[:, None] * to_mean
        return velocity

    def jacobian(self, coordinates):
        """Return the Jacobian with drift at coordinates, shape (n_points, n_dims, n_dims)."""
        jacobians, identity = jacobian(self.field, coordinates), np.eye(coordinates.shape[1])
        for rows in row_blocks(len(coordinates), POINTS_PER_BLOCK):
            centered = coordinates[rows] - self.center
            weights, means = _local_means(self.anchors, centered, self.width)
            # one product per point: those of all points at once would not fit in memory in many dimensions
            second_moments = np.stack([(of_point[:, None] * self.anchors).T @ self.anchors for of_point in weights])
            covariance = second_moments - means[:, :, None] * means[:, None, :]
            # derivative of `to_mean`
            slopes = 2 * self.width * covariance - identity
            to_mean = means - centered
            share, distances = self._share_beyond(to_mean), np.linalg.norm(to_mean, axis=1)
            # gradient of the share beyond the drift-free distance r: r / |to_mean|^3 to_mean' slopes
            factors = np.divide(self.drift_free_distance, distances**3, out=np.zeros_like(distances), where=share > 0)
            gradient_terms = np.einsum("p,pd,pe->pde", factors, to_mean, np.einsum("pd,pde->pe", to_mean, slopes))
            jacobians[rows] += self._rate() * (share[:, None, None] * slopes + gradient_terms)
        return jacobians

    def _rate(self):
        return STRENGTH * self.mean_speed / self.drift_free_distance

    def _share_beyond(self, to_mean):
        """Return the share of each vector to the local mean that is beyond the drift-free distance."""
        distances = np.linalg.norm(to_mean, axis=1)
        return np.maximum(0, 1 - self.drift_free_distance / np.maximum(distances, self.drift_free_distance))


def add_restoring_drift(field, coordinates):
    """Return a vector field with a drift that leads trajectories back to the cells.

    Anchors are every k-th cell, at most 2000. The kernel parameter w of the local mean is such that the median distance
    between a cell and its nearest anchor is sqrt(2) / sqrt(w). The drift-free distance is the 90th percentile of the
    distances between cells that are no anchors and their local means.

    Parameters
    ----------
    field : VectorField
        The learned vector field.
    coordinates : ndarray of float64, shape (n_cells, n_dims)
        Coordinates of the cells, at least two of them different.

    Returns
    -------
    FieldWithDrift
        Its methods `velocity` and `jacobian` evaluate the field with drift.
    """
    step = max(2, math.ceil(len(coordinates) / MAX_ANCHORS))
    center = coordinates.mean(axis=0)
    anchors, others = coordinates[::step] - center, coordinates[1::step] - center
    median_distance = np.median(NearestNeighbors(n_neighbors=1).fit(anchors).kneighbors(others)[0])
    width = 2 / max(median_distance, np.finfo(np.float64).tiny) ** 2
    distances = [
        np.linalg.norm(_local_means(anchors, others[rows], width)[1] - others[rows], axis=1)
        for rows in row_blocks(len(others), POINTS_PER_BLOCK)
    ]
    drift_free_distance = np.quantile(np.concatenate(distances), DRIFT_FREE_SHARE)
    mean_speed = np.mean(np.linalg.norm(velocity_at(field, coordinates), axis=1))
    return FieldWithDrift(field, anchors, center, float(width), float(drift_free_distance), float(mean_speed))


def _local_means(anchors, coordinates, width):
    """Return the weight of each anchor at each point, (n_points, n_anchors), and the weighted means of the anchors."""
    exponents = 2 * coordinates @ anchors.T
    exponents -= np.einsum("md,md->m", anchors, anchors)
    # minus the largest: far from all anchors, every kernel would underflow
    exponents = width * (exponents - exponents.max(axis=1, keepdims=True))
    weights = np.exp(exponents)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, weights @ anchors
