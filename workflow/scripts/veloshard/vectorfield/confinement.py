"""A field that holds its cells together: off the cells a learned field fades to zero, and nothing would lead back.

Cells that diffuse with strength D and stay where their density p is are held by a drift D grad log p.  With p the sum
of the field's own kernels, grad log p = 2b (m(x) - x), where m(x) is the mean of the control points, weighted by them.
"""

from typing import NamedTuple

import numpy as np

from veloshard.vectorfield.geometry import jacobian
from veloshard.vectorfield.sparsevfc import VectorField, velocity_at


class ConfinedField(NamedTuple):
    """`field` with the drift of a diffusion of strength `diffusion` towards its control points."""

    field: VectorField
    diffusion: float

    def velocity(self, places):
        """The confined field at places, (n_places, n_dims)."""
        pull = 2 * self.field.width * self.diffusion
        return velocity_at(self.field, places) + pull * (_means(self.field, places)[1] - places)

    def jacobian(self, places):
        """Its Jacobians, (n_places, n_dims, n_dims)."""
        shares, means = _means(self.field, places)
        controls, n_dims = self.field.control_points, places.shape[1]
        second = np.einsum("pm,md,me->pde", shares, controls, controls, optimize=True)
        covariance = second - means[:, :, None] * means[:, None, :]
        pull = 2 * self.field.width * self.diffusion
        return jacobian(self.field, places) + pull * (2 * self.field.width * covariance - np.eye(n_dims))


def confined(field, places):
    """`ConfinedField` that pulls as fast as the field moves, at a usual distance from the middle of the cells around.

    places : (n_cells, n_dims), of the cells: the usual distance is their median, the speed their mean.
    """
    speed = np.mean(np.linalg.norm(velocity_at(field, places), axis=1))
    usual = np.median(np.linalg.norm(_means(field, places)[1] - places, axis=1))
    return ConfinedField(field, float(speed / (2 * field.width * usual)))


def _means(field, places):
    """Share of each control point at each place, and the means of the control points by these."""
    controls = field.control_points
    middle = controls.mean(axis=0)
    exponents = 2 * (places - middle) @ (controls - middle).T
    exponents -= np.einsum("md,md->m", controls - middle, controls - middle)
    # far from all of them one is still the nearest: shares of kernels that are zero to working precision
    exponents = field.width * (exponents - exponents.max(axis=1, keepdims=True))
    shares = np.exp(exponents)
    shares /= shares.sum(axis=1, keepdims=True)
    return shares, shares @ controls
