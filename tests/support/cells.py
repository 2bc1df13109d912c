"""Small random or regular datasets to test on: moments, velocities and nearest neighbors."""

import numba
import numpy as np
from sklearn.neighbors import NearestNeighbors


def nearest(coordinates, n_neighbors):
    """Return the distances to the nearest other cells as CSR (n_cells, n_cells), as scanpy stores them."""
    distances = NearestNeighbors(n_neighbors=n_neighbors).fit(coordinates).kneighbors_graph(mode="distance")
    distances.sort_indices()
    return distances


def cloud(n_cells=60, n_genes=17, n_neighbors=6, seed=0):
    """Return independent random moments and velocities (float32), and neighbors."""
    rng = np.random.default_rng(seed)
    moments = rng.gamma(1.0, size=(n_cells, n_genes)).astype(np.float32)
    velocity = rng.normal(size=(n_cells, n_genes)).astype(np.float32)
    return moments, velocity, nearest(moments, n_neighbors)


def line(n_cells=80, n_genes=12, n_neighbors=6):
    """Return moments, velocities and neighbors of cells in order along a straight line, with velocities along it."""
    # some genes increase and some decrease, because centering over the genes would remove a common increase
    direction = np.linspace(-1, 2, n_genes)
    moments = np.outer(np.linspace(0, 1, n_cells), direction).astype(np.float32)
    velocity = np.tile(direction, (n_cells, 1)).astype(np.float32)
    return moments, velocity, nearest(moments, n_neighbors)


def ring(n_cells=80, n_genes=12, n_neighbors=6):
    """Return moments, velocities and neighbors of cells on a circle in gene space, with velocities around it."""
    rng = np.random.default_rng(0)
    # orthogonal to the vector of ones, because centering over the genes would otherwise distort the circle
    plane = np.linalg.qr(np.column_stack([np.ones(n_genes), rng.normal(size=(n_genes, 2))]))[0][:, 1:].T
    angle = np.linspace(0, 2 * np.pi, n_cells, endpoint=False)
    moments = np.column_stack([np.cos(angle), np.sin(angle)]) @ plane
    velocity = np.column_stack([-np.sin(angle), np.cos(angle)]) @ plane
    return moments.astype(np.float32), velocity.astype(np.float32), nearest(moments, n_neighbors)


def with_threads(n_threads, function, *args, **kwargs):
    """Return the result of a function whose kernels run on this number of threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    try:
        return function(*args, **kwargs)
    finally:
        numba.set_num_threads(before)
