"""Derivatives of a learned field in closed form, and what they say of cells and genes.

With k_m = exp(-b |x - x_m|^2) and r_m = x - x_m, the field is f = sum_m c_m k_m, its Jacobian
J = -2b sum_m k_m c_m r_m' and its Hessian H = -2b sum_m k_m c_m (I - 2b r_m r_m').  Places are taken a block at a time,
so that memory does not grow with their number beyond that of what is returned.
"""

import numpy as np

from veloshard.vectorfield.sparsevfc import blocks_of, kernel, velocity_at

# kernels and Jacobians of so many places are in memory at once: some 50 MB with 2000 control points
PLACES_AT_ONCE = 2048


def jacobian(field, places):
    """df_d / dx_e at places (n_places, n_dims): float64 (n_places, n_dims, n_dims); of one place, a matrix."""
    places = np.asarray(places, dtype=np.float64)
    n_places, n_dims = np.atleast_2d(places).shape
    found = np.empty((n_places, n_dims, n_dims))
    for rows, matrices in jacobians(field, np.atleast_2d(places)):
        found[rows] = matrices
    return found if places.ndim == 2 else found[0]


def jacobians(field, places):
    """Yield the Jacobians of a block of places after the other, each with its slice of the places."""
    field, places = _centred(field, places)
    n_controls, n_dims = field.control_points.shape
    products = (field.coefficients[:, :, None] * field.control_points[:, None, :]).reshape(n_controls, -1)
    for rows in blocks_of(len(places), PLACES_AT_ONCE):
        weights = kernel(places[rows], field.control_points, field.width)
        found = (weights @ products).reshape(-1, n_dims, n_dims)
        found -= (weights @ field.coefficients)[:, :, None] * places[rows][:, None, :]
        found *= 2 * field.width
        yield rows, found


def directional_derivative(field, places, directions):
    """J w, how the field changes along vectors w, without a Jacobian; all three (n_places, n_dims)."""
    field, places = _centred(field, places)
    found = np.empty(places.shape)
    for rows in blocks_of(len(found), PLACES_AT_ONCE):
        along = np.einsum("pd,pd->p", places[rows], directions[rows])[:, None]
        along = along - directions[rows] @ field.control_points.T
        weights = kernel(places[rows], field.control_points, field.width) * along
        found[rows] = -2 * field.width * (weights @ field.coefficients)
    return found


def divergence(field, places):
    """tr J, float64 (n_places,): above 0 where the field spreads, below where it gathers."""
    field, places = _centred(field, places)
    found = np.empty(len(places))
    inner = np.einsum("md,md->m", field.coefficients, field.control_points)
    for rows in blocks_of(len(found), PLACES_AT_ONCE):
        weights = kernel(places[rows], field.control_points, field.width)
        outer = np.einsum("pd,pd->p", weights @ field.coefficients, places[rows])
        found[rows] = 2 * field.width * (weights @ inner - outer)
    return found


def curl(field, places):
    """How the field turns: (n_places,) in two dimensions, positive counterclockwise; (n_places, 3) in three.

    Raises ValueError in any other number of dimensions.
    """
    n_dims = np.shape(places)[1]
    if n_dims not in (2, 3):
        raise ValueError(f"there is no curl in {n_dims} dimensions")
    # pairs of dimensions d and e: how e changes with d, less how d changes with e
    turns = ((0, 1),) if n_dims == 2 else ((1, 2), (2, 0), (0, 1))
    found = np.empty((len(places), len(turns)))
    for rows, matrices in jacobians(field, places):
        for component, (d, e) in enumerate(turns):
            found[rows, component] = matrices[:, e, d] - matrices[:, d, e]
    return found[:, 0] if n_dims == 2 else found


def acceleration(field, places):
    """a = J f, the change of velocity along the flow, float64 (n_places, n_dims)."""
    return directional_derivative(field, places, velocity_at(field, places))


def curvature(field, places):
    """(a (f.f) - f (f.a)) / |f|^4, how sharply paths bend, and to where: (n_places, n_dims), one over the places' unit.

    Zero where the field is.
    """
    velocity, bent = velocity_at(field, places), acceleration(field, places)
    speed = np.linalg.norm(velocity, axis=1)[:, None]
    # not by the fourth power of the speed, which is no number where the field dies away
    ahead = np.divide(velocity, speed, out=np.zeros_like(velocity), where=speed > 0)
    aside = bent - ahead * np.einsum("pd,pd->p", ahead, bent)[:, None]
    for _ in range(2):
        aside = np.divide(aside, speed, out=np.zeros_like(aside), where=speed > 0)
    return aside


def sensitivity(matrices):
    """S = (I - J)^-1 D, with D such that the diagonal is 1: what a lasting push of e does to d in the end.

    matrices : Jacobians (n_places, n_dims, n_dims).   NaN where I - J or a diagonal element is singular.
    """
    n_dims = matrices.shape[-1]
    found = np.full(matrices.shape, np.nan)
    for place, matrix in enumerate(matrices):
        try:
            inverse = np.linalg.inv(np.eye(n_dims) - matrix)
        except np.linalg.LinAlgError:
            continue
        pushes = np.diagonal(inverse)
        if np.all(pushes != 0):
            found[place] = inverse / pushes
    return found


def hessian(field, places):
    """d^2 f_d / dx_e dx_g at places (n_places, n_dims): float64 (n_places, n_dims, n_dims, n_dims)."""
    n_places, n_dims = np.shape(places)
    found = np.empty((n_places, n_dims, n_dims, n_dims))
    for place, x in enumerate(np.asarray(places, dtype=np.float64)):
        ways = x - field.control_points
        weighted = kernel(x[None], field.control_points, field.width)[0][:, None] * field.coefficients
        curved = 2 * field.width * np.einsum("md,me,mg->deg", weighted, ways, ways, optimize=True)
        flat = weighted.sum(axis=0)[:, None, None] * np.eye(n_dims)
        found[place] = -2 * field.width * (flat - curved)
    return found


def laplacian(field, places):
    """sum_e d^2 f_d / dx_e^2, float64 (n_places, n_dims)."""
    found = np.empty(np.shape(places))
    n_dims = found.shape[1]
    for rows in blocks_of(len(found), PLACES_AT_ONCE):
        # b |r|^2 is what the kernel is the exponential of
        weights = kernel(places[rows], field.control_points, field.width)
        squares = -np.log(np.maximum(weights, np.finfo(np.float64).tiny))
        found[rows] = -2 * field.width * ((weights * (n_dims - 2 * squares)) @ field.coefficients)
    return found


def gene_jacobian(matrices, loadings, *, effectors, regulators):
    """Q_i J Q_j': how the rate of each effector changes with each regulator, (n_places, n_effectors, n_regulators).

    matrices : Jacobians in the components, (n_places, n_dims, n_dims), of places or means over them.
    loadings : Q, (n_genes, n_dims).   effectors, regulators : int, rows of those.
    """
    return np.einsum("id,pde,je->pij", loadings[effectors], matrices, loadings[regulators], optimize=True)


def mean_jacobians(field, places, codes, n_groups):
    """Mean Jacobian over the places of each group, (n_groups, n_dims, n_dims); NaN for a group without any.

    codes : int (n_places,), the group of each place, -1 for none.
    """
    n_dims = np.shape(places)[1]
    sums, sizes = np.zeros((n_groups, n_dims, n_dims)), np.zeros(n_groups)
    for rows, matrices in jacobians(field, places):
        inside = codes[rows] >= 0
        np.add.at(sums, codes[rows][inside], matrices[inside])
        sizes += np.bincount(codes[rows][inside], minlength=n_groups)
    return np.divide(sums, sizes[:, None, None], out=np.full_like(sums, np.nan), where=sizes[:, None, None] > 0)


def _centred(field, places):
    """Both from the middle of the control points: products of large coordinates would cost digits."""
    middle = field.control_points.mean(axis=0)
    return field._replace(control_points=field.control_points - middle), np.asarray(places) - middle
