"""Velocity embedding: velocities of cells on an embedding and on a grid, and a score of their direction."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors


class VelocityGrid(NamedTuple):
    """Velocity embedding averaged onto a regular grid, where [row, column] is the point (x[column], y[row]).

    Attributes
    ----------
    x, y : ndarray of float64, shape (n_points,)
        Coordinates of the columns and of the rows, evenly spaced.
    vectors : ndarray of float64, shape (2, n_points, n_points)
        Averaged velocities, in the unit of the velocity embedding.
    mass : ndarray of float64, shape (n_points, n_points)
        Sum of the Gaussian weights of the nearest cells.
    length : ndarray of float64, shape (n_points, n_points)
        Mean of ``|dx|`` plus mean of ``|dy|`` over the nearest cells, without weights.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    vectors: NDArray[np.float64]
    mass: NDArray[np.float64]
    length: NDArray[np.float64]


def compute_velocity_embedding(
    transition_matrix: sparse.csr_matrix, embedding: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the velocities of cells on an embedding.

    The result is `unscaled_velocity_embedding` times one common factor. The factor makes the mean length a quarter of
    the spacing that the cells would have on an even grid, (mean range of the axes) / sqrt(n_cells), so that arrows of
    neighboring cells do not overlap. scVelo's automatic scale is close to it. Lengths can be compared between cells,
    but not between embeddings.

    Parameters
    ----------
    transition_matrix : csr_matrix, shape (n_cells, n_cells)
        Transition matrix, usually with negative cosines.
    embedding : ndarray of float, shape (n_cells, n_dims)
        Coordinates of the cells. NaN for cells that are not on the embedding.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_dims)
        Zero for a cell without transitions, NaN for a cell that is not on the embedding.
    """
    coordinates = np.asarray(embedding, dtype=np.float64)
    velocity_embedding = unscaled_velocity_embedding(transition_matrix, coordinates)
    mean_length = np.nanmean(np.linalg.norm(velocity_embedding, axis=1))
    spacing = np.mean(np.nanmax(coordinates, axis=0) - np.nanmin(coordinates, axis=0)) / math.sqrt(len(coordinates))
    return velocity_embedding * (0.25 * spacing / mean_length) if mean_length > 0 else velocity_embedding


def unscaled_velocity_embedding(
    transition_matrix: sparse.csr_matrix, embedding: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the velocity of each cell on an embedding, in no particular unit.

    It is v_i = sum_j (T_ij - mean_j T_ij) d_ij over the stored T_ij with j != i, where d_ij is the unit vector from
    cell i to cell j, or zero where both have the same coordinates. The mean is subtracted because an uneven density of
    cells alone would give a velocity (La Manno et al. 2018, Bergen et al. 2020). The velocity of a cell depends on its
    own row of the transition matrix only.

    Parameters
    ----------
    transition_matrix : csr_matrix, shape (n_cells, n_cells)
        Transition matrix, usually with negative cosines.
    embedding : ndarray of float, shape (n_cells, n_dims)
        Coordinates of the cells. Transitions to cells that have NaN are ignored.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_dims)
        Zero for a cell without transitions, NaN for a cell that is not on the embedding.
    """
    coordinates = np.ascontiguousarray(embedding, dtype=np.float64)
    velocity_embedding: NDArray[np.float64] = _project_velocities(
        transition_matrix.indptr, transition_matrix.indices, transition_matrix.data, coordinates
    )
    return velocity_embedding


def velocity_grid(
    embedding: NDArray[np.floating],
    velocity_embedding: NDArray[np.floating],
    *,
    density: float = 1.0,
    smooth: float = 0.5,
    n_neighbors: int | None = None,
) -> VelocityGrid:
    """Return the velocity embedding averaged onto a regular grid.

    The vector at a grid point is sum w v / max(1, sum w) over the nearest cells, with Gaussian weights w of their
    distance. It is therefore small where there are few cells.

    Parameters
    ----------
    embedding, velocity_embedding : ndarray of float, shape (n_cells, 2)
        Coordinates and velocities of the cells. Cells with a NaN in either are left out.
    density : float
        Density of the grid. A density of 1 gives 50 points per axis.
    smooth : float
        Standard deviation of the Gaussian, in steps of the grid.
    n_neighbors : int, optional
        Number of cells that are averaged at a grid point, by default one cell in 50.

    Returns
    -------
    VelocityGrid
        Grid points and averages.
    """
    is_finite = np.isfinite(embedding).all(axis=1) & np.isfinite(velocity_embedding).all(axis=1)
    # double precision, because streamlines require an exactly even grid
    coordinates = embedding[is_finite].astype(np.float64)
    velocities = velocity_embedding[is_finite].astype(np.float64)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    margin = 0.01 * (high - low)
    n_points = int(50 * density)
    x, y = np.linspace(low - margin, high + margin, n_points).T
    width = smooth * np.mean([x[1] - x[0], y[1] - y[0]])
    nearest = NearestNeighbors(n_neighbors=n_neighbors or max(1, len(coordinates) // 50)).fit(coordinates)

    vectors = np.empty((2, n_points, n_points))
    mass = np.empty((n_points, n_points))
    length = np.empty((n_points, n_points))
    # one grid row at a time: the neighbors of all points together take gigabytes for a million cells
    for row in range(n_points):
        distances, neighbors = nearest.kneighbors(np.column_stack([x, np.full(n_points, y[row])]))
        weights = np.exp(-0.5 * (distances / width) ** 2) / (width * math.sqrt(2 * math.pi))
        mass[row] = weights.sum(axis=1)
        neighbor_velocities = velocities[neighbors]
        vectors[:, row] = np.einsum("pn,pnd->dp", weights, neighbor_velocities) / np.maximum(1, mass[row])
        length[row] = np.abs(neighbor_velocities).mean(axis=1).sum(axis=1)
    return VelocityGrid(x, y, vectors, mass, length)


def grid_arrow_mask(grid: VelocityGrid, *, min_mass: float = 1.0) -> NDArray[np.bool_]:
    """Return the grid points that have enough cells for an arrow.

    Parameters
    ----------
    grid : VelocityGrid
        Velocities on a grid.
    min_mass : float
        Lower bound of the mass, in percent of its 99th percentile.

    Returns
    -------
    ndarray of bool, shape (n_points, n_points)
        True where an arrow is drawn.
    """
    mask: NDArray[np.bool_] = grid.mass > min_mass / 100 * np.percentile(grid.mass, 99)
    return mask


def stream_mask(grid: VelocityGrid, *, min_mass: float = 1.0) -> NDArray[np.bool_]:
    """Return the grid points that streamlines are drawn through.

    These are scVelo's criteria: the averaged vector has a length of at least 10^(min_mass - 6), and `grid.length` is
    at least its own 5th percentile.

    Parameters
    ----------
    grid : VelocityGrid
        Velocities on a grid.
    min_mass : float
        Lower bound of the length as a power of ten. The bound is at most 9/10 of the largest length.

    Returns
    -------
    ndarray of bool, shape (n_points, n_points)
        True where streamlines are drawn.
    """
    speed = np.hypot(*grid.vectors)
    is_fast = speed >= min(10.0 ** (min_mass - 6), 0.9 * speed.max())
    mask: NDArray[np.bool_] = is_fast & (grid.length >= np.percentile(grid.length, 5))
    return mask


def direction_score(
    velocity_embedding: NDArray[np.floating],
    embedding: NDArray[np.floating],
    neighbors: sparse.csr_matrix,
    labels: NDArray[np.generic],
    source: object,
    target: object,
) -> float:
    """Return the cross-boundary direction correctness of two clusters (Qiao and Huang 2021).

    For each cell of `source` with neighbors in `target`, the score is the mean cosine between the cell's velocity and
    the displacements to these neighbors. The result is the mean over these cells.

    Parameters
    ----------
    velocity_embedding, embedding : ndarray of float, shape (n_cells, 2)
        Velocities and coordinates of the cells. Cells with a NaN in either are left out.
    neighbors : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry in row i is a neighbor of cell i. Published values come from the nearest
        neighbors (`distances`). The symmetrized graph (`connectivities`) gives other values.
    labels : ndarray, shape (n_cells,)
        Cluster of each cell.
    source, target : object
        Labels of the two clusters.

    Returns
    -------
    float
        In [-1, 1]. A velocity of zero and a neighbor with the same coordinates count as 0. NaN if no cell of `source`
        has a neighbor in `target`.
    """
    pairs = neighbors.tocoo()
    is_finite = np.isfinite(embedding).all(axis=1) & np.isfinite(velocity_embedding).all(axis=1)
    crosses_boundary = (
        (labels[pairs.row] == source) & (labels[pairs.col] == target) & is_finite[pairs.row] & is_finite[pairs.col]
    )
    cells, neighbor_cells = pairs.row[crosses_boundary], pairs.col[crosses_boundary]
    if len(cells) == 0:
        return math.nan
    coordinates, velocities = embedding.astype(np.float64), velocity_embedding.astype(np.float64)
    displacements = coordinates[neighbor_cells] - coordinates[cells]
    lengths = np.linalg.norm(displacements, axis=1) * np.linalg.norm(velocities[cells], axis=1)
    cosines = np.einsum("pd,pd->p", displacements, velocities[cells]) / np.where(lengths > 0, lengths, 1)
    n_neighbors = np.bincount(cells)
    at_boundary = n_neighbors > 0
    return float(np.mean(np.bincount(cells, cosines)[at_boundary] / n_neighbors[at_boundary]))


@njit(cache=True, parallel=True, error_model="numpy")
def _project_velocities(indptr, indices, probabilities, coordinates):  # type: ignore[no-untyped-def]
    n_cells, n_dims = coordinates.shape
    velocity_embedding = np.zeros((n_cells, n_dims))
    for cell in prange(n_cells):
        displacement = np.empty(n_dims)
        is_missing = math.isnan(coordinates[cell].sum())
        sum_of_units = np.zeros(n_dims)
        total = 0.0
        n_neighbors = 0
        for edge in range(indptr[cell], indptr[cell + 1]):
            neighbor = indices[edge]
            if neighbor == cell:
                continue
            squares = 0.0
            for dim in range(n_dims):
                displacement[dim] = coordinates[neighbor, dim] - coordinates[cell, dim]
                squares += displacement[dim] * displacement[dim]
            if math.isnan(squares) and not is_missing:
                continue
            inverse_length = 1.0 / math.sqrt(squares) if squares != 0.0 else 0.0
            for dim in range(n_dims):
                velocity_embedding[cell, dim] += probabilities[edge] * displacement[dim] * inverse_length
                sum_of_units[dim] += displacement[dim] * inverse_length
            total += probabilities[edge]
            n_neighbors += 1
        if n_neighbors > 0:
            for dim in range(n_dims):
                velocity_embedding[cell, dim] -= total / n_neighbors * sum_of_units[dim]
    return velocity_embedding
