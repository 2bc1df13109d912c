"""Calls of all kernels that shards run, on a handful of cells: what they compile, shards find compiled."""

import numpy as np
from scipy import sparse

from veloshard import methods
from veloshard.contract import GeneBlock
from veloshard.graph import velocity_graph
from veloshard.moments import first_moments, neighborhood
from veloshard.neighbors import connectivity_weights
from veloshard.simulate import simulate


def compile_fit(**options):
    """Fit a few genes by a method, with options as `methods.run` takes them."""
    block, _ = example()
    methods.run(block, **options)


def compile_graph(*, sqrt_transform):
    """Build the velocity graph of a few cells."""
    block, neighbors = example()
    moments = np.ascontiguousarray(first_moments(block.spliced, block.around).T)
    velocity_graph(moments, moments, neighbors, sqrt_transform=sqrt_transform)


def example():
    """`GeneBlock` of simulated cells that are neighbors if they are so in time, and the CSR matrix of those."""
    cells = simulate(np.random.default_rng(0), n_cells=60, n_genes=25)
    rank = np.argsort(np.argsort(cells.time))
    near = sparse.csr_matrix((np.abs(np.subtract.outer(rank, rank)) <= 5).astype(np.float32))
    counts = (matrix.astype(np.float32).tocsc() for matrix in (cells.spliced, cells.unspliced))
    return GeneBlock(cells.gene_names, *counts, neighborhood(connectivity_weights(near))), near
