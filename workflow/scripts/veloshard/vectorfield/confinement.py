"""A field that holds its cells together: off the cells a learned field fades to zero, and nothing would lead back.

Cells that diffuse with strength D and stay where their density p is are held by a drift D grad log p.  With p the sum
of the field's own kernels, grad log p = 2b (m(x) - x), where m(x) is the mean of the control points, weighted by them.
"""

from typing import NamedTuple

import numpy as np

from veloshard.vectorfield.geometry import PLACES_AT_ONCE, jacobian
from veloshard.vectorfield.sparsevfc import VectorField, velocity_at


class ConfinedField(NamedTuple):
    """`field` with the drift of a diffusion of strength `diffusion` towards its control points."""

    field: VectorField
    diffusion: float

    def velocity(self, places):
        """The confined field at places, (n_places, n_dims)."""
        pull = 2 * self.field.width * self.diffusion
        return velocity_at(self.field, places) - pull * _ways(self.field, places)

    def jacobian(self, places):
        """Its Jacobians, (n_places, n_dims, n_dims)."""
        shares, means, controls = _surroundings(self.field, places)
        second = np.einsum("pm,md,me->pde", shares, controls, controls, optimize=True)
        covariance = second - means[:, :, None] * means[:, None, :]
        pull = 2 * self.field.width * self.diffusion
        return jacobian(self.field, places) + pull * (2 * self.field.width * covariance - np.eye(places.shape[1]))


def confined(field, places):
    """`ConfinedField` that pulls as fast as the field moves, at a usual distance from the middle of the cells around.

    places : (n_cells, n_dims), of the cells: the usual distance is their median, the speed their mean.
    """
    speed = np.mean(np.linalg.norm(velocity_at(field, places), axis=1))
    usual = np.median(np.linalg.norm(_ways(field, places), axis=1))
    return ConfinedField(field, float(speed / (2 * field.width * usual)))


def _ways(field, places):
    """From the means of the control points around places to these, (n_places, n_dims)."""
    found, middle = np.empty(places.shape), field.control_points.mean(axis=0)
    # a share of each control point for each cell would not fit into memory
    for first in range(0, len(places), PLACES_AT_ONCE):
        rows = slice(first, first + PLACES_AT_ONCE)
        found[rows] = places[rows] - middle - _surroundings(field, places[rows])[1]
    return found


def _surroundings(field, places):
    """Share of each control point at each place, the means of the control points by these, and the control points.

    The latter two from the middle of the control points: products of large coordinates would cost digits.
    """
    middle = field.control_points.mean(axis=0)
    controls = field.control_points - middle
    exponents = 2 * (places - middle) @ controls.T
    exponents -= np.einsum("md,md->m", controls, controls)
    # far from all of them one is still the nearest: shares of kernels that are zero to working precision
    exponents = field.width * (exponents - exponents.max(axis=1, keepdims=True))
    shares = np.exp(exponents)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares, shares @ controls, controls
