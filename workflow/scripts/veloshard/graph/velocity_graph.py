"""Velocity graph: correlations of the velocity of each cell with the displacements to its neighbors.

The entries are pi_ij = corr(x_j - x_i, v_i) over the velocity genes (La Manno et al. 2018, Bergen et al. 2020), the
cosine of two vectors that are both centered over the genes. A row depends only on the velocity of its own cell and on
the moments of that cell's neighbors. Blocks of rows can therefore be computed separately and stacked in order
(`scipy.sparse.vstack`).
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse


def compute_velocity_graph(
    spliced_moments: NDArray[np.float32],
    velocity: NDArray[np.float32],
    distances: sparse.csr_matrix,
    *,
    first_cell: int = 0,
    sqrt_transform: bool = False,
) -> sparse.csr_matrix:
    """Return the velocity graph of consecutive cells.

    A row holds the cosines between the velocity of a cell and the displacements to its neighbors and their neighbors.

    Parameters
    ----------
    spliced_moments : ndarray of float32, shape (n_cells, n_genes)
        Moments of all cells in the velocity genes, C-contiguous, without NaN.
    velocity : ndarray of float32, shape (n_block, n_genes)
        Velocities of the cells first_cell, ..., first_cell + n_block - 1 in the same genes and in any unit,
        C-contiguous, without NaN.
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor. An explicit zero is a neighbor with the same counts.
    first_cell : int
        Index of the cell in the first row of `velocity`.
    sqrt_transform : bool
        Replace both vectors by sign(x) sqrt(``|x|``), which stabilizes the variance of stochastic velocities.

    Returns
    -------
    csr_matrix of float32, shape (n_block, n_cells)
        Cosines in [-1, 1], with sorted indices. No zero or NaN is stored: there are no entries for the cell itself, for
        neighbors with the same moments, and for cells whose velocity is zero.

    Raises
    ------
    ValueError
        If the numbers of genes or cells differ.
    """
    if velocity.shape[1] != spliced_moments.shape[1]:
        raise ValueError(
            f"velocity has {velocity.shape[1]} genes and spliced_moments has {spliced_moments.shape[1]}: "
            "both must hold the same velocity genes"
        )
    last_cell = first_cell + len(velocity)
    if last_cell > len(spliced_moments) or distances.shape[0] != len(spliced_moments):
        raise ValueError(
            f"spliced_moments has {len(spliced_moments)} cells, distances has {distances.shape[0]}, and velocity "
            f"ends at cell {last_cell}: spliced_moments and distances must hold all cells"
        )
    graph = neighbors_of_neighbors(distances, first_cell, last_cell)
    own_moments = spliced_moments[first_cell:last_cell]
    graph.data = _cosines(graph.indptr, graph.indices, spliced_moments, own_moments, velocity, sqrt_transform)
    graph.eliminate_zeros()
    return graph


def scale_to_range(
    moments: NDArray[np.float32], velocity: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return moments and velocities in units of the range of each gene's moments.

    All genes then have the same weight in a cosine.

    Parameters
    ----------
    moments : ndarray of float32, shape (n_cells, n_genes)
        Moments of all cells.
    velocity : ndarray of float32, shape (n_block, n_genes)
        Velocities of any of the cells.

    Returns
    -------
    moments : ndarray of float32, shape (n_cells, n_genes)
        Scaled moments. Genes with a range of 0 are not scaled.
    velocity : ndarray of float32, shape (n_block, n_genes)
        Scaled velocities.
    """
    gene_range = np.ptp(moments, axis=0)
    gene_range[gene_range == 0] = 1
    return moments / gene_range, velocity / gene_range


def neighbors_of_neighbors(distances: sparse.csr_matrix, start: int, stop: int) -> sparse.csr_matrix:
    """Return the cells that are one or two steps away in the directed neighbor graph.

    Rows may differ in length. scVelo cuts all rows to the length of the shortest one. Both are the same if all cells
    have the same number of neighbors, which an exact neighbor search gives.

    Parameters
    ----------
    distances : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Every stored entry is a neighbor.
    start, stop : int
        The rows of the result are the cells start, ..., stop - 1.

    Returns
    -------
    csr_matrix of float32, shape (stop - start, n_cells)
        Number of paths to each cell, with sorted indices.
    """
    ones = np.ones(distances.nnz, dtype=np.float32)
    one_step = sparse.csr_matrix((ones, distances.indices, distances.indptr), shape=distances.shape)
    at_most_one_step = one_step + sparse.identity(one_step.shape[0], dtype=np.float32, format="csr")
    n_paths = one_step[start:stop] @ at_most_one_step
    n_paths.sort_indices()
    return n_paths


def split_signs(graph: sparse.csr_matrix) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the positive and the negative entries of a velocity graph, as scVelo stores them.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines.

    Returns
    -------
    positive : csr_matrix of float32, shape (n_cells, n_cells)
        Entries in (0, 1].
    negative : csr_matrix of float32, shape (n_cells, n_cells)
        Entries in [-1, 0).
    """
    return _select_entries(graph, graph.data > 0), _select_entries(graph, graph.data < 0)


def self_transitions(graph: sparse.csr_matrix) -> NDArray[np.float32]:
    """Return the self-transition probability of each cell.

    It is clip(P98 - c_i, 0, 1), as in scVelo. c_i = max(0, max_j pi_ij) is the largest cosine of cell i, and P98 is the
    98th percentile of c over all cells.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph, signed or its positive entries. All rows are required, because the percentile is over all cells.

    Returns
    -------
    ndarray of float32, shape (n_cells,)
        In [0, 1].
    """
    largest_cosine = np.maximum(graph.max(axis=1).toarray().ravel(), 0)
    # 98th percentile, not the maximum: one cell with a cosine of 1 would raise the probabilities of all others
    probability: NDArray[np.float32] = np.clip(np.percentile(largest_cosine, 98) - largest_cosine, 0, 1).astype(
        np.float32
    )
    return probability


def _select_entries(graph: sparse.csr_matrix, mask: NDArray[np.bool_]) -> sparse.csr_matrix:
    n_selected_before = np.concatenate(([0], np.cumsum(mask)))
    return sparse.csr_matrix(
        (graph.data[mask], graph.indices[mask], n_selected_before[graph.indptr]), shape=graph.shape
    )


@njit(cache=True, parallel=True, error_model="numpy")
def _cosines(indptr, indices, moments, own_moments, velocity, sqrt_transform):  # type: ignore[no-untyped-def]
    n_cells, n_genes = velocity.shape
    cosines = np.zeros(len(indices), dtype=np.float32)
    for cell in prange(n_cells):
        centered_velocity = np.empty(n_genes, dtype=np.float32)
        speed = _center_velocity(centered_velocity, velocity[cell], sqrt_transform)
        if speed == 0.0:
            continue
        for edge in range(indptr[cell], indptr[cell + 1]):
            product, distance = _displacement_product(
                moments[indices[edge]], own_moments[cell], centered_velocity, sqrt_transform
            )
            if distance > 0.0:
                cosines[edge] = min(max(product / (distance * speed), np.float32(-1.0)), np.float32(1.0))
    return cosines


# `fastmath` permits only what vector instructions require, which is another order of the terms in a sum. The order is
# fixed when the kernel is compiled. Rows are therefore bitwise identical in any block and on any number of threads.
@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _center_velocity(centered_velocity, velocity, sqrt_transform):  # type: ignore[no-untyped-def]
    """Write the velocity less its mean over the genes to `centered_velocity`, and return its norm."""
    n_genes = len(centered_velocity)
    total = np.float32(0.0)
    for gene in range(n_genes):
        centered_velocity[gene] = _signed_sqrt(velocity[gene]) if sqrt_transform else velocity[gene]
        total += centered_velocity[gene]
    mean = total / np.float32(n_genes)
    squares = np.float32(0.0)
    for gene in range(n_genes):
        centered_velocity[gene] -= mean
        squares += centered_velocity[gene] * centered_velocity[gene]
    return math.sqrt(squares)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _displacement_product(neighbor_moments, own_moments, centered_velocity, sqrt_transform):  # type: ignore[no-untyped-def]
    """Return the product of a displacement with a centered velocity, and the norm of the centered displacement.

    One pass over the genes computes both, because reading `neighbor_moments` takes most of the time. The mean of the
    displacement has no effect on the product with a centered vector, and is subtracted from the sum of squares at the
    end. Where that subtraction would lose precision, a second pass computes both from the centered displacement.
    """
    n_genes = len(centered_velocity)
    product = total = squares = np.float32(0.0)
    for gene in range(n_genes):
        change = neighbor_moments[gene] - own_moments[gene]
        if sqrt_transform:
            change = _signed_sqrt(change)
        product += change * centered_velocity[gene]
        total += change
        squares += change * change
    mean = total / np.float32(n_genes)
    centered_squares = squares - total * mean
    if centered_squares < np.float32(0.5) * squares:
        product = centered_squares = np.float32(0.0)
        for gene in range(n_genes):
            change = neighbor_moments[gene] - own_moments[gene]
            if sqrt_transform:
                change = _signed_sqrt(change)
            product += (change - mean) * centered_velocity[gene]
            centered_squares += (change - mean) * (change - mean)
    return product, math.sqrt(centered_squares)


@njit(forceinline=True)
def _signed_sqrt(x):  # type: ignore[no-untyped-def]
    return math.copysign(math.sqrt(abs(x)), x)
