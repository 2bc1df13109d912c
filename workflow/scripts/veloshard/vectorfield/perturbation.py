"""What a field would do if the expression of some genes were another.

Expression x_g of a gene, log1p of normalised counts, is what its loadings make of the components: x_g = y q_g + mean_g.
To set it to x'_g moves a cell by dy = (x'_g - x_g) q_g; the field there differs, to first order, by J dy.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse

from veloshard.vectorfield.geometry import directional_derivative

# how an expression may be given
MODES = ("absolute", "change", "fold")

# of the walk on the neighbour graph, relative to its drift (Dynamo's)
DIFFUSION = 50.0

# ways between neighbours that are looked at together: some 100 MB with 30 components
EDGES_AT_ONCE = 1 << 18


class Components(NamedTuple):
    """Linear map between genes and components.

    loadings : (n_genes, n_dims), orthonormal columns.   means : (n_genes,), of the expression.
    """

    loadings: np.ndarray
    means: np.ndarray


def perturbed(places, components, changes):
    """Places of cells whose expression of some genes is changed: float64 (n_cells, n_dims).

    places : (n_cells, n_dims) components.
    changes : {row of the gene: (mode, value)}.  `absolute`: log1p of normalised counts is the value.  `change`: by
        which it grows.  `fold`: the factor by which the normalised counts themselves do, >= 0.

    Raises ValueError for another mode, and for a factor below 0.
    """
    moved = np.array(places, dtype=np.float64)
    for gene, (mode, value) in changes.items():
        loadings = components.loadings[gene]
        now = places @ loadings + components.means[gene]
        if mode == "absolute":
            change = value - now
        elif mode == "change":
            change = np.full(len(now), float(value))
        elif mode == "fold":
            if value < 0:
                raise ValueError(f"the gene in row {gene}: counts cannot be multiplied by {value}, which is below 0")
            # components say less than nothing of some cells: those have no counts to be multiplied
            change = np.log1p(value * np.expm1(np.maximum(now, 0))) - np.maximum(now, 0)
        else:
            raise ValueError(f"mode {mode!r} is none of {', '.join(MODES)}")
        moved += change[:, None] * loadings
    return moved


def effect(field, places, moved):
    """By how much the field differs for moved cells, J dy, (n_cells, n_dims), in the unit of the arrows.

    Not f(y + dy) - f(y), which is what the field says there: where no cell ever was that is nothing.
    """
    return directional_derivative(field, places, moved - places)


def loss(places, components, genes):
    """What a knock-out adds to any field: transcripts of its genes are lost with rate 1, (n_cells, n_dims).

    - sum_g |x_g| q_g over the genes, int, rows of theirs.
    """
    loadings = components.loadings[genes]
    return -np.abs(places @ loadings.T + components.means[genes]) @ loadings


def walk(places, vectors, distances, *, diffusion=DIFFUSION):
    """Probabilities to step to neighbours by drift along vectors and by diffusion, CSR (n_cells, n_cells).

    Between neighbours i and j flows F_ij = sign(e) sqrt|e|, e = (v_i + v_j) / 2 . u_ij, with u_ij the unit vector from
    i to j; the rate of the step is max(F_ij, 0) / 2 + D (the Fokker-Planck equation on a graph; Dynamo 1.5.3
    holds cells x cells for it).

    places, vectors : (n_cells, n_dims).   distances : CSR (n_cells, n_cells); stored are neighbours, either way.
    """
    edges = sparse.csr_matrix(distances)
    edges = sparse.csr_matrix((np.ones(edges.nnz, dtype=bool), edges.indices, edges.indptr), shape=edges.shape)
    either = sparse.csr_matrix(edges + edges.T)
    either.setdiag(False)
    either.eliminate_zeros()
    probabilities = np.empty(either.nnz)
    for first, stop in _rows_at_once(either.indptr):
        stored = slice(either.indptr[first], either.indptr[stop])
        rows = np.repeat(np.arange(first, stop), np.diff(either.indptr[first : stop + 1]))
        others = either.indices[stored]
        ways = places[others] - places[rows]
        lengths = np.linalg.norm(ways, axis=1)
        along = np.einsum("ed,ed->e", vectors[rows] + vectors[others], ways) / 2
        along = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0)
        rates = np.sqrt(np.maximum(along, 0)) / 2 + diffusion
        probabilities[stored] = rates / np.bincount(rows - first, rates)[rows - first]
    return sparse.csr_matrix((probabilities, either.indices, either.indptr), shape=either.shape)


def effect_on_genes(effects, components, codes, n_groups):
    """Mean effect on each gene in the cells of each group, (n_genes, n_groups); NaN for a group without any."""
    means = np.full((n_groups, effects.shape[1]), math.nan)
    for group in range(n_groups):
        if np.any(codes == group):
            means[group] = effects[codes == group].mean(axis=0)
    return components.loadings @ means.T


def _rows_at_once(indptr):
    """Rows of a sparse matrix in blocks of about so many stored elements: first and one past last."""
    first = 0
    while first < len(indptr) - 1:
        stop = max(first + 1, int(np.searchsorted(indptr, indptr[first] + EDGES_AT_ONCE, side="right")) - 1)
        yield first, stop
        first = stop
