"""Compile the kernels that shards run, by calls with few cells.

Shards then load the compiled code from the cache.
"""

from typing import Any

import numpy as np
from scipy import sparse

from veloshard.contract import GeneBlock
from veloshard.graph.velocity_graph import compute_velocity_graph
from veloshard.kinetics import methods
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.moments import first_moments
from veloshard.simulation import simulate


def compile_fit(**options: Any) -> None:
    """Compile the kernels of a velocity method.

    Parameters
    ----------
    **options
        Options of `methods.run`.
    """
    block, _ = simulate_block()
    methods.run(block, **options)


def compile_velocity_graph(*, sqrt_transform: bool) -> None:
    """Compile the kernels of the velocity graph.

    Parameters
    ----------
    sqrt_transform : bool
        Option of `compute_velocity_graph`.
    """
    block, neighbors = simulate_block()
    moments = np.ascontiguousarray(first_moments(block.spliced, block.neighborhood).T)
    compute_velocity_graph(moments, moments, neighbors, sqrt_transform=sqrt_transform)


def simulate_block() -> tuple[GeneBlock, sparse.csr_matrix]:
    """Return the `GeneBlock` of simulated cells and their neighbor graph, in which neighbors are close in time."""
    cells = simulate(np.random.default_rng(0), n_cells=60, n_genes=25)
    rank = np.argsort(np.argsort(cells.time))
    graph = sparse.csr_matrix((np.abs(np.subtract.outer(rank, rank)) <= 5).astype(np.float32))
    counts = (matrix.astype(np.float32).tocsc() for matrix in (cells.spliced, cells.unspliced))
    return GeneBlock(cells.gene_names, *counts, as_neighborhood(averaging_weights(graph))), graph
