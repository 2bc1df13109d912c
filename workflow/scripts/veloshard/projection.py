"""Velocities on an embedding: an arrow for each cell, their field on a grid, a score of their direction."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from sklearn.neighbors import NearestNeighbors


class GridField(NamedTuple):
    """Arrows averaged onto a regular grid: [row, column] is the point (x[column], y[row]).  All float64.

    x, y : (n_points,), evenly spaced.   vectors : (2, n_points, n_points), unit of the arrows.
    mass : (n_points, n_points), sum of the Gaussian weights of the cells around.
    length : (n_points, n_points), plain mean of |dx| + |dy| over the arrows of the cells around.
    """

    x: np.ndarray
    y: np.ndarray
    vectors: np.ndarray
    mass: np.ndarray
    length: np.ndarray


def project(transition, embedding):
    """Expected displacement of each cell on an embedding.

    v_i = sum_j (T_ij - mean_j T_ij) d_ij over the stored T_ij with j != i, where d_ij is the unit vector from
    i to j (zero where they coincide).  The mean takes off what the uneven density of cells alone would give
    (La Manno et al. 2018, Bergen et al. 2020).

    transition : CSR (n_cells, n_cells), usually made with negative cosines.   embedding : (n_cells, n_dims).
    Returns float64 (n_cells, n_dims), all scaled by one factor so that their mean length is a quarter of the
    spacing of as many cells on an even grid, (mean range of the axes) / sqrt(n_cells): arrows stay clear of
    each other (scVelo's automatic scale comes close to it, by way of a figure).  Lengths can be compared
    between cells, not between embeddings.  Zero for a cell without transitions, NaN where its own place is NaN;
    others without a place do not count.
    """
    places = np.asarray(embedding, dtype=np.float64)
    arrows = displacements(transition, places)
    mean_length = np.nanmean(np.linalg.norm(arrows, axis=1))
    spacing = np.mean(np.nanmax(places, axis=0) - np.nanmin(places, axis=0)) / math.sqrt(len(places))
    return arrows * (0.25 * spacing / mean_length) if mean_length > 0 else arrows


def displacements(transition, embedding):
    """`project` without the common factor: each cell's arrow, float64 (n_cells, n_dims), rests on its own row alone."""
    places = np.ascontiguousarray(embedding, dtype=np.float64)
    return _displacements(transition.indptr, transition.indices, transition.data, places)


def grid_field(embedding, arrows, *, density=1.0, smooth=0.5, n_neighbors=None):
    """Arrows averaged onto a regular grid, by a Gaussian over the nearest cells of each grid point.

    embedding, arrows : (n_cells, 2), any float; cells with a NaN in either are left out.
    density : 1 for 50 points an axis.   smooth : standard deviation of the Gaussian in steps of the grid.
    n_neighbors : cells a point averages over, by default 1 in 50.

    Returns `GridField`; vectors = sum w v / max(1, sum w), so that they fade out where there are few cells.
    """
    finite = np.isfinite(embedding).all(axis=1) & np.isfinite(arrows).all(axis=1)
    # double precision: streamlines need an exactly even grid, which single precision does not give
    places, arrows = embedding[finite].astype(np.float64), arrows[finite].astype(np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.01 * (high - low)
    n_points = int(50 * density)
    x, y = np.linspace(low - margin, high + margin, n_points).T
    width = smooth * np.mean([x[1] - x[0], y[1] - y[0]])
    nearest = NearestNeighbors(n_neighbors=n_neighbors or max(1, len(places) // 50)).fit(places)

    vectors = np.empty((2, n_points, n_points))
    mass = np.empty((n_points, n_points))
    length = np.empty((n_points, n_points))
    # one row of the grid at a time: the neighbours of all points at once take gigabytes for a million cells
    for row in range(n_points):
        distances, neighbors = nearest.kneighbors(np.column_stack([x, np.full(n_points, y[row])]))
        weights = np.exp(-0.5 * (distances / width) ** 2) / (width * math.sqrt(2 * math.pi))
        mass[row] = weights.sum(axis=1)
        around = arrows[neighbors]
        vectors[:, row] = np.einsum("pn,pnd->dp", weights, around) / np.maximum(1, mass[row])
        length[row] = np.abs(around).mean(axis=1).sum(axis=1)
    return GridField(x, y, vectors, mass, length)


def arrow_mask(field, *, min_mass=1.0):
    """Grid points with enough cells to draw an arrow: mass above min_mass % of its 99th percentile."""
    return field.mass > min_mass / 100 * np.percentile(field.mass, 99)


def stream_mask(field, *, min_mass=1.0):
    """Grid points to draw streamlines through: neither nearly at rest nor among cells that are.

    The smoothed vector is at least 10^(min_mass - 6) long (at most 9/10 of the longest), and `field.length`
    is not below its 5th percentile (scVelo's criterion).  Returns bool (n_points, n_points).
    """
    speed = np.hypot(*field.vectors)
    fast = speed >= min(10.0 ** (min_mass - 6), 0.9 * speed.max())
    return fast & (field.length >= np.percentile(field.length, 5))


def direction_score(arrows, embedding, neighbors, labels, source, target):
    """Mean cosine between the arrows at the border of one cluster and the ways across it to the next.

    For each cell of `source` that has neighbours in `target`: the mean cosine between its arrow and the ways
    to those; then the mean over these cells (cross-boundary direction correctness, Qiao and Huang 2021).

    arrows, embedding : (n_cells, 2).   labels : (n_cells,).
    neighbors : CSR (n_cells, n_cells), row i stores the neighbours of cell i.  The published values come from
        the nearest neighbours (`distances`); the symmetrised graph (`connectivities`) gives others.
    A zero arrow, and a neighbour at the same place, count as 0.  Returns a float in [-1, 1], or NaN if no
    cell of `source` has a neighbour in `target`.
    """
    pairs = neighbors.tocoo()
    known = np.isfinite(embedding).all(axis=1) & np.isfinite(arrows).all(axis=1)
    across = (labels[pairs.row] == source) & (labels[pairs.col] == target) & known[pairs.row] & known[pairs.col]
    cells, others = pairs.row[across], pairs.col[across]
    if len(cells) == 0:
        return math.nan
    places, arrows = embedding.astype(np.float64), arrows.astype(np.float64)
    ways = places[others] - places[cells]
    lengths = np.linalg.norm(ways, axis=1) * np.linalg.norm(arrows[cells], axis=1)
    cosines = np.einsum("pd,pd->p", ways, arrows[cells]) / np.where(lengths > 0, lengths, 1)
    n_ways = np.bincount(cells)
    at_border = n_ways > 0
    return float(np.mean(np.bincount(cells, cosines)[at_border] / n_ways[at_border]))


@njit(cache=True, parallel=True, error_model="numpy")
def _displacements(indptr, indices, probabilities, places):
    n_cells, n_dims = places.shape
    displacements = np.zeros((n_cells, n_dims))
    for cell in prange(n_cells):
        way = np.empty(n_dims)
        lost = math.isnan(places[cell].sum())
        sum_of_ways = np.zeros(n_dims)
        total = 0.0
        n_ways = 0
        for edge in range(indptr[cell], indptr[cell + 1]):
            other = indices[edge]
            if other == cell:
                continue
            squares = 0.0
            for dim in range(n_dims):
                way[dim] = places[other, dim] - places[cell, dim]
                squares += way[dim] * way[dim]
            if math.isnan(squares) and not lost:
                continue
            per_length = 1.0 / math.sqrt(squares) if squares != 0.0 else 0.0
            for dim in range(n_dims):
                displacements[cell, dim] += probabilities[edge] * way[dim] * per_length
                sum_of_ways[dim] += way[dim] * per_length
            total += probabilities[edge]
            n_ways += 1
        if n_ways > 0:
            for dim in range(n_dims):
                displacements[cell, dim] -= total / n_ways * sum_of_ways[dim]
    return displacements
