"""Small made-up cells to test on: places in gene space, velocities, nearest neighbours."""

import numba
import numpy as np
from sklearn.neighbors import NearestNeighbors


def nearest(places, n_neighbors):
    """CSR (n_cells, n_cells) of the distances to the nearest other cells, as scanpy stores them."""
    distances = NearestNeighbors(n_neighbors=n_neighbors).fit(places).kneighbors_graph(mode="distance")
    distances.sort_indices()
    return distances


def cloud(n_cells=60, n_genes=17, n_neighbors=6, seed=0):
    """Moments, velocities (float32, nothing in common) and neighbours of cells without any order."""
    rng = np.random.default_rng(seed)
    moments = rng.gamma(1.0, size=(n_cells, n_genes)).astype(np.float32)
    velocity = rng.normal(size=(n_cells, n_genes)).astype(np.float32)
    return moments, velocity, nearest(moments, n_neighbors)


def line(n_cells=80, n_genes=12, n_neighbors=6):
    """Cells in order along a straight way through gene space, all of which move on along it."""
    # some genes go up and some down: centred over the genes, a common rise would vanish
    course = np.linspace(-1, 2, n_genes)
    moments = np.outer(np.linspace(0, 1, n_cells), course).astype(np.float32)
    velocity = np.tile(course, (n_cells, 1)).astype(np.float32)
    return moments, velocity, nearest(moments, n_neighbors)


def ring(n_cells=80, n_genes=12, n_neighbors=6):
    """Cells evenly on a circle in gene space, all of which move on around it."""
    rng = np.random.default_rng(0)
    # at a right angle to the vector of ones: centring over the genes would squeeze the circle
    plane = np.linalg.qr(np.column_stack([np.ones(n_genes), rng.normal(size=(n_genes, 2))]))[0][:, 1:].T
    angle = np.linspace(0, 2 * np.pi, n_cells, endpoint=False)
    moments = np.column_stack([np.cos(angle), np.sin(angle)]) @ plane
    velocity = np.column_stack([-np.sin(angle), np.cos(angle)]) @ plane
    return moments.astype(np.float32), velocity.astype(np.float32), nearest(moments, n_neighbors)


def with_threads(n_threads, function, *args, **kwargs):
    """What a function returns when its kernels run on this many threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    try:
        return function(*args, **kwargs)
    finally:
        numba.set_num_threads(before)
