"""Derivatives of a learned vector field in closed form.

With k_m = exp(-b |x - x_m|^2) and r_m = x - x_m, the field is f = sum_m c_m k_m, its Jacobian
J = -2b sum_m k_m c_m r_m' and its Hessian H = -2b sum_m k_m c_m (I - 2b r_m r_m'). Points are processed in blocks, so
that memory for intermediate arrays does not grow with the number of points.
"""

import numpy as np

from veloshard.vectorfield.sparsevfc import kernel, row_blocks, velocity_at

# kernels and Jacobians of one block are in memory: about 50 MB with 2000 control points
POINTS_PER_BLOCK = 2048


def jacobian(field, coordinates):
    """Return the Jacobian df_d / dx_e of a vector field.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : array_like of float, shape (n_points, n_dims) or (n_dims,)
        Where to evaluate the Jacobian.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims, n_dims) or (n_dims, n_dims)
        Element [point, d, e] in 1 / unit of time.
    """
    coordinates = np.asarray(coordinates, dtype=np.float64)
    n_points, n_dims = np.atleast_2d(coordinates).shape
    jacobians = np.empty((n_points, n_dims, n_dims))
    for rows, block_jacobians in iterate_jacobians(field, np.atleast_2d(coordinates)):
        jacobians[rows] = block_jacobians
    return jacobians if coordinates.ndim == 2 else jacobians[0]


def iterate_jacobians(field, coordinates):
    """Yield the Jacobians of a vector field in blocks of points.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the Jacobian.

    Yields
    ------
    slice
        The points of the block.
    ndarray of float64, shape (n_block_points, n_dims, n_dims)
        Their Jacobians.
    """
    field, coordinates = _centered(field, coordinates)
    n_control_points, n_dims = field.control_points.shape
    outer_products = (field.coefficients[:, :, None] * field.control_points[:, None, :]).reshape(n_control_points, -1)
    for rows in row_blocks(len(coordinates), POINTS_PER_BLOCK):
        weights = kernel(coordinates[rows], field.control_points, field.width)
        jacobians = (weights @ outer_products).reshape(-1, n_dims, n_dims)
        jacobians -= (weights @ field.coefficients)[:, :, None] * coordinates[rows][:, None, :]
        jacobians *= 2 * field.width
        yield rows, jacobians


def directional_derivative(field, coordinates, directions):
    """Return J w, the derivative of a vector field along vectors w, without computing Jacobians.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the derivative.
    directions : ndarray of float64, shape (n_points, n_dims)
        The vectors w, one per point.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims)
        In the unit of the velocities if `directions` are displacements.
    """
    field, coordinates = _centered(field, coordinates)
    derivative = np.empty(coordinates.shape)
    for rows in row_blocks(len(derivative), POINTS_PER_BLOCK):
        # w . (x - x_m)
        projections = np.einsum("pd,pd->p", coordinates[rows], directions[rows])[:, None]
        projections = projections - directions[rows] @ field.control_points.T
        weights = kernel(coordinates[rows], field.control_points, field.width) * projections
        derivative[rows] = -2 * field.width * (weights @ field.coefficients)
    return derivative


def divergence(field, coordinates):
    """Return the divergence tr J of a vector field.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the divergence.

    Returns
    -------
    ndarray of float64, shape (n_points,)
        Positive where trajectories diverge, negative where they converge.
    """
    field, coordinates = _centered(field, coordinates)
    values = np.empty(len(coordinates))
    inner_products = np.einsum("md,md->m", field.coefficients, field.control_points)
    for rows in row_blocks(len(values), POINTS_PER_BLOCK):
        weights = kernel(coordinates[rows], field.control_points, field.width)
        at_points = np.einsum("pd,pd->p", weights @ field.coefficients, coordinates[rows])
        values[rows] = 2 * field.width * (weights @ inner_products - at_points)
    return values


def curl(field, coordinates):
    """Return the curl of a vector field in two or three dimensions.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the curl.

    Returns
    -------
    ndarray of float64, shape (n_points,) or (n_points, 3)
        In two dimensions a scalar per point, positive for counterclockwise rotation; in three dimensions a vector.

    Raises
    ------
    ValueError
        If the number of dimensions is neither 2 nor 3.
    """
    n_dims = np.shape(coordinates)[1]
    if n_dims not in (2, 3):
        raise ValueError(f"there is no curl in {n_dims} dimensions")
    # pairs (d, e) of dimensions: the component is df_e / dx_d - df_d / dx_e
    pairs = ((0, 1),) if n_dims == 2 else ((1, 2), (2, 0), (0, 1))
    values = np.empty((len(coordinates), len(pairs)))
    for rows, jacobians in iterate_jacobians(field, coordinates):
        for component, (d, e) in enumerate(pairs):
            values[rows, component] = jacobians[:, e, d] - jacobians[:, d, e]
    return values[:, 0] if n_dims == 2 else values


def acceleration(field, coordinates):
    """Return the acceleration a = J f, the change of velocity along trajectories.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the acceleration.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims)
        In the unit of the velocities / unit of time.
    """
    return directional_derivative(field, coordinates, velocity_at(field, coordinates))


def curvature(field, coordinates):
    """Return the curvature vectors ``(a (f.f) - f (f.a)) / |f|^4`` of trajectories.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the curvature.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims)
        In 1 / unit of the coordinates. Vectors point towards the center of curvature; 0 where the field is 0.
    """
    velocity, acceleration_vectors = velocity_at(field, coordinates), acceleration(field, coordinates)
    speed = np.linalg.norm(velocity, axis=1)[:, None]
    # divided by the speed twice: its fourth power underflows far from the control points
    tangents = np.divide(velocity, speed, out=np.zeros_like(velocity), where=speed > 0)
    normal = acceleration_vectors - tangents * np.einsum("pd,pd->p", tangents, acceleration_vectors)[:, None]
    for _ in range(2):
        normal = np.divide(normal, speed, out=np.zeros_like(normal), where=speed > 0)
    return normal


def sensitivity(jacobians):
    """Return S = (I - J)^-1 D, the steady-state response of each dimension d to a sustained change of dimension e.

    D is the diagonal matrix that makes the diagonal of S equal to 1.

    Parameters
    ----------
    jacobians : ndarray of float64, shape (n_points, n_dims, n_dims)
        Jacobians J.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims, n_dims)
        Sensitivity matrices; NaN where I - J is singular or its inverse has a 0 on the diagonal.
    """
    n_dims = jacobians.shape[-1]
    matrices = np.full(jacobians.shape, np.nan)
    for point, point_jacobian in enumerate(jacobians):
        try:
            inverse = np.linalg.inv(np.eye(n_dims) - point_jacobian)
        except np.linalg.LinAlgError:
            continue
        diagonal = np.diagonal(inverse)
        if np.all(diagonal != 0):
            matrices[point] = inverse / diagonal
    return matrices


def hessian(field, coordinates):
    """Return the Hessian d^2 f_d / dx_e dx_g of a vector field.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the Hessian.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims, n_dims, n_dims)
        Element [point, d, e, g].
    """
    n_points, n_dims = np.shape(coordinates)
    values = np.empty((n_points, n_dims, n_dims, n_dims))
    for point, x in enumerate(np.asarray(coordinates, dtype=np.float64)):
        offsets = x - field.control_points
        weighted = kernel(x[None], field.control_points, field.width)[0][:, None] * field.coefficients
        quadratic = 2 * field.width * np.einsum("md,me,mg->deg", weighted, offsets, offsets, optimize=True)
        identity = weighted.sum(axis=0)[:, None, None] * np.eye(n_dims)
        values[point] = -2 * field.width * (identity - quadratic)
    return values


def laplacian(field, coordinates):
    """Return the Laplacian sum_e d^2 f_d / dx_e^2 of a vector field.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the Laplacian.

    Returns
    -------
    ndarray of float64, shape (n_points, n_dims)
        One value per point and dimension d.
    """
    values = np.empty(np.shape(coordinates))
    n_dims = values.shape[1]
    for rows in row_blocks(len(values), POINTS_PER_BLOCK):
        # b |r|^2 from the kernel exp(-b |r|^2)
        weights = kernel(coordinates[rows], field.control_points, field.width)
        exponents = -np.log(np.maximum(weights, np.finfo(np.float64).tiny))
        values[rows] = -2 * field.width * ((weights * (n_dims - 2 * exponents)) @ field.coefficients)
    return values


def gene_jacobian(jacobians, loadings, *, effectors, regulators):
    """Return the Jacobian between genes, Q_i J Q_j', from Jacobians in PCA space.

    Parameters
    ----------
    jacobians : ndarray of float64, shape (n_points, n_dims, n_dims)
        Jacobians J of points, or means of Jacobians, in PCA space.
    loadings : ndarray of float64, shape (n_genes, n_dims)
        PCA loadings Q.
    effectors, regulators : ndarray of int or slice
        Rows of `loadings`.

    Returns
    -------
    ndarray of float64, shape (n_points, n_effectors, n_regulators)
        Change of the velocity of each effector with the expression of each regulator.
    """
    return np.einsum("id,pde,je->pij", loadings[effectors], jacobians, loadings[regulators], optimize=True)


def mean_jacobians(field, coordinates, codes, n_groups):
    """Return the mean Jacobian of each group of points.

    Parameters
    ----------
    field : VectorField
        The vector field.
    coordinates : ndarray of float64, shape (n_points, n_dims)
        Where to evaluate the Jacobian.
    codes : ndarray of int, shape (n_points,)
        Group of each point, -1 for none.
    n_groups : int
        Number of groups.

    Returns
    -------
    ndarray of float64, shape (n_groups, n_dims, n_dims)
        Mean Jacobians; NaN for a group without points.
    """
    n_dims = np.shape(coordinates)[1]
    sums, sizes = np.zeros((n_groups, n_dims, n_dims)), np.zeros(n_groups)
    for rows, jacobians in iterate_jacobians(field, coordinates):
        in_group = codes[rows] >= 0
        np.add.at(sums, codes[rows][in_group], jacobians[in_group])
        sizes += np.bincount(codes[rows][in_group], minlength=n_groups)
    return np.divide(sums, sizes[:, None, None], out=np.full_like(sums, np.nan), where=sizes[:, None, None] > 0)


def _centered(field, coordinates):
    """Return field and coordinates centered on the control points: products of large coordinates would lose digits."""
    center = field.control_points.mean(axis=0)
    return field._replace(control_points=field.control_points - center), np.asarray(coordinates) - center
