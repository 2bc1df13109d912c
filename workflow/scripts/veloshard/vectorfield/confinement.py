"""A field that holds its cells together: off the cells a learned field fades to zero, and nothing would lead back.

Around a place there is a middle of the cells, m(x), their mean weighted by exp(-w |x - x_n|^2).  As far from it as nine
of ten cells are, and nearer, the field is as it was learned; beyond, a pull towards m(x) grows with the distance.
"""

import math
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from veloshard.vectorfield.geometry import PLACES_AT_ONCE, jacobian
from veloshard.vectorfield.sparsevfc import VectorField, blocks_of, velocity_at

# cells that others are held by, at most; as many others tell how far cells are from the middle of those around
MOST_ANCHORS = 2000

# Share of the cells that feel no pull, and how many times as fast as the field the pull is at twice their distance: at
# four times cells of the simulator came to rest half-way, in dents between the cells.
FREE, STRENGTH = 0.9, 1.0


class ConfinedField(NamedTuple):
    """`field` with a pull towards the cells for whatever leaves them.

    anchors : (n_anchors, n_dims), cells, less `middle`, (n_dims,).   width : w.   reach : distance within which nothing
    pulls.   speed : of the field, its mean over the cells.
    """

    field: VectorField
    anchors: np.ndarray
    middle: np.ndarray
    width: float
    reach: float
    speed: float

    def velocity(self, places):
        """The confined field at places, (n_places, n_dims)."""
        found = velocity_at(self.field, places)
        for rows in blocks_of(len(places), PLACES_AT_ONCE):
            ways = _means(self.anchors, places[rows] - self.middle, self.width)[1] - (places[rows] - self.middle)
            found[rows] += self._strength() * self._beyond(ways)[:, None] * ways
        return found

    def jacobian(self, places):
        """Its Jacobians, (n_places, n_dims, n_dims)."""
        found, identity = jacobian(self.field, places), np.eye(places.shape[1])
        for rows in blocks_of(len(places), PLACES_AT_ONCE):
            shares, means = _means(self.anchors, places[rows] - self.middle, self.width)
            # a product at a time: those of all anchors would not fit with many dimensions
            second = np.stack([(of_place[:, None] * self.anchors).T @ self.anchors for of_place in shares])
            slopes = 2 * self.width * (second - means[:, :, None] * means[:, None, :]) - identity
            ways = means - (places[rows] - self.middle)
            beyond, lengths = self._beyond(ways), np.linalg.norm(ways, axis=1)
            # how the share beyond the reach changes: reach / |way|^3 way' slopes
            turns = np.divide(self.reach, lengths**3, out=np.zeros_like(lengths), where=beyond > 0)
            turned = np.einsum("p,pd,pe->pde", turns, ways, np.einsum("pd,pde->pe", ways, slopes))
            found[rows] += self._strength() * (beyond[:, None, None] * slopes + turned)
        return found

    def _strength(self):
        return STRENGTH * self.speed / self.reach

    def _beyond(self, ways):
        """Which share of ways to the middle of the cells around is beyond the reach, (n_places,)."""
        lengths = np.linalg.norm(ways, axis=1)
        return np.maximum(0, 1 - self.reach / np.maximum(lengths, self.reach))


def confined(field, places):
    """`ConfinedField` for cells at places (n_cells, n_dims), at least two of them apart.

    Every so many-th of the cells, of at most 2000, holds the others; w is such that a usual way between the nearest of
    them is sqrt(2) widths long, and the reach that of nine in ten of the cells in between.
    """
    step = max(2, math.ceil(len(places) / MOST_ANCHORS))
    middle = places.mean(axis=0)
    anchors, others = places[::step] - middle, places[1::step] - middle
    nearest = np.median(NearestNeighbors(n_neighbors=1).fit(anchors).kneighbors(others)[0])
    width = 2 / max(nearest, np.finfo(np.float64).tiny) ** 2
    distances = [
        np.linalg.norm(_means(anchors, others[b], width)[1] - others[b], axis=1)
        for b in blocks_of(len(others), PLACES_AT_ONCE)
    ]
    reach = np.quantile(np.concatenate(distances), FREE)
    speed = np.mean(np.linalg.norm(velocity_at(field, places), axis=1))
    return ConfinedField(field, anchors, middle, float(width), float(reach), float(speed))


def _means(anchors, places, width):
    """Share of each anchor at each place, (n_places, n_anchors), and the means of the anchors by these."""
    exponents = 2 * places @ anchors.T
    exponents -= np.einsum("md,md->m", anchors, anchors)
    # far from all of them one is still the nearest: shares of kernels that are zero to working precision
    exponents = width * (exponents - exponents.max(axis=1, keepdims=True))
    shares = np.exp(exponents)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares, shares @ anchors
