"""The velocity graph: how well the way to each neighbour agrees with a cell's velocity.

pi_ij = corr(x_j - x_i, v_i) over the velocity genes (La Manno et al. 2018, Bergen et al. 2020): the cosine of
two vectors that were each centred over the genes.  A row needs the velocity of its own cell and the moments
of that cell's neighbours and nothing else, so blocks of rows may be computed anywhere and then stacked in
order (`scipy.sparse.vstack`).
"""

import math

import numpy as np
from numba import njit, prange
from scipy import sparse


def velocity_graph(spliced_moments, velocity, distances, *, first_cell=0, sqrt_transform=False):
    """Cosines between the velocities of some cells and the ways to their neighbours' neighbours.

    spliced_moments : (n_cells, n_genes) float32, C-contiguous, all cells, only velocity genes, no NaN.
    velocity : (n_block, n_genes) float32, C-contiguous, no NaN, any unit: the velocities of the cells
        first_cell, ..., first_cell + n_block - 1.
    distances : CSR (n_cells, n_cells); what is stored is a neighbour (an explicit zero too: a duplicate).
    sqrt_transform : replace both vectors by sign(x) sqrt|x|, which stabilises the variance of stochastic
        velocities.

    Returns CSR float32 (n_block, n_cells), sorted, values in [-1, 1] and never 0 or NaN: nothing is stored
    for the cell itself, for neighbours at the same place, and for a cell whose velocity is zero.  Raises
    ValueError where shapes do not fit.
    """
    if velocity.shape[1] != spliced_moments.shape[1]:
        raise ValueError(
            f"velocity has {velocity.shape[1]} genes, spliced_moments {spliced_moments.shape[1]}: "
            "both must hold the same velocity genes"
        )
    last_cell = first_cell + len(velocity)
    if last_cell > len(spliced_moments) or distances.shape[0] != len(spliced_moments):
        raise ValueError(
            f"spliced_moments has {len(spliced_moments)} cells, distances {distances.shape[0]}, and velocity "
            f"reaches to cell {last_cell}: moments and distances must hold all cells"
        )
    graph = neighbors_of_neighbors(distances, first_cell, last_cell)
    own_moments = spliced_moments[first_cell:last_cell]
    graph.data = _cosines(graph.indptr, graph.indices, spliced_moments, own_moments, velocity, sqrt_transform)
    graph.eliminate_zeros()
    return graph


def scaled_to_range(moments, velocity):
    """Moments and velocities of each gene in units of the range of its moments: genes then count alike in a cosine.

    moments : (n_cells, n_genes) float32, all cells.   velocity : (n_block, n_genes) float32, of any of them.
    Returns both, float32; a gene without a range stays as it is.
    """
    extent = np.ptp(moments, axis=0)
    extent[extent == 0] = 1
    return moments / extent, velocity / extent


def neighbors_of_neighbors(distances, start, stop):
    """Who is one or two steps away from the cells start, ..., stop - 1 in the directed graph of neighbours.

    distances : CSR (n_cells, n_cells); all stored entries are neighbours.
    Returns CSR float32 (stop - start, n_cells), sorted; its values count the ways there.  Rows differ in
    length: none is cut to the shortest of all cells, as scVelo does (where every cell has the same number of
    neighbours, which an exact search gives, there is no difference).
    """
    ones = np.ones(distances.nnz, dtype=np.float32)
    step = sparse.csr_matrix((ones, distances.indices, distances.indptr), shape=distances.shape)
    stay_or_step = step + sparse.identity(step.shape[0], dtype=np.float32, format="csr")
    reached = step[start:stop] @ stay_or_step
    reached.sort_indices()
    return reached


def split_signs(graph):
    """The agreeing and the opposing part of a graph: CSR float32 with values in (0, 1] and in [-1, 0)."""
    return _keep(graph, graph.data > 0), _keep(graph, graph.data < 0)


def self_transitions(graph):
    """Tendency of each cell to stay: how far its best cosine falls short of those of the other cells.

    clip(P98(best) - best, 0, 1) with best_i = max(0, max_j pi_ij), as scVelo defines it.
    graph : CSR (n_cells, n_cells), signed or its positive part.  It needs all rows: never a block.
    Returns float32 (n_cells,).
    """
    best = np.maximum(graph.max(axis=1).toarray().ravel(), 0)
    # 98th percentile, not the maximum: one cell with a perfect neighbour would hold back all others
    return np.clip(np.percentile(best, 98) - best, 0, 1).astype(np.float32)


def _keep(graph, mask):
    kept_before = np.concatenate(([0], np.cumsum(mask)))
    return sparse.csr_matrix((graph.data[mask], graph.indices[mask], kept_before[graph.indptr]), shape=graph.shape)


@njit(cache=True, parallel=True, error_model="numpy")
def _cosines(indptr, indices, positions, own_positions, velocity, sqrt_transform):
    n_cells, n_genes = velocity.shape
    cosines = np.zeros(len(indices), dtype=np.float32)
    for cell in prange(n_cells):
        direction = np.empty(n_genes, dtype=np.float32)
        speed = _direction(direction, velocity[cell], sqrt_transform)
        if speed == 0.0:
            continue
        for edge in range(indptr[cell], indptr[cell + 1]):
            along, distance = _way(positions[indices[edge]], own_positions[cell], direction, sqrt_transform)
            if distance > 0.0:
                cosines[edge] = min(max(along / (distance * speed), np.float32(-1.0)), np.float32(1.0))
    return cosines


# Free order of the terms in a sum, and nothing else, is what vector instructions need.  The order is settled
# when the kernel is compiled, so a row has the same bits in whatever block and thread it is computed.
@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _direction(direction, velocity, sqrt_transform):
    """Fill `direction` with a velocity less its mean over the genes; returns its norm."""
    n_genes = len(direction)
    total = np.float32(0.0)
    for gene in range(n_genes):
        direction[gene] = _rooted(velocity[gene]) if sqrt_transform else velocity[gene]
        total += direction[gene]
    mean = total / np.float32(n_genes)
    squares = np.float32(0.0)
    for gene in range(n_genes):
        direction[gene] -= mean
        squares += direction[gene] * direction[gene]
    return math.sqrt(squares)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _way(there, here, direction, sqrt_transform):
    """Product of there - here with a centred direction, and norm of there - here less its mean over the genes.

    In one pass, because what takes time is to fetch `there`: the mean drops out of the product, and of the squares
    it is taken off at the end; in a second pass where that would cost digits.
    """
    n_genes = len(direction)
    along = total = squares = np.float32(0.0)
    for gene in range(n_genes):
        change = there[gene] - here[gene]
        if sqrt_transform:
            change = _rooted(change)
        along += change * direction[gene]
        total += change
        squares += change * change
    mean = total / np.float32(n_genes)
    centered = squares - total * mean
    if centered < np.float32(0.5) * squares:
        along = centered = np.float32(0.0)
        for gene in range(n_genes):
            change = there[gene] - here[gene]
            if sqrt_transform:
                change = _rooted(change)
            along += (change - mean) * direction[gene]
            centered += (change - mean) * (change - mean)
    return along, math.sqrt(centered)


@njit(forceinline=True)
def _rooted(x):
    return math.copysign(math.sqrt(abs(x)), x)
