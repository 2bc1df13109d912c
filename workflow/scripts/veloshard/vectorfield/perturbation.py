"""Effect of changed gene expression on the velocities of a vector field.

The expression x_g of a gene (log1p of normalized counts) follows from the PCA coordinates y of a cell:
x_g = y q_g + mean_g, with the loadings q_g. A change to x'_g moves the cell by dy = (x'_g - x_g) q_g, and changes its
velocity, to first order, by J dy.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse

from veloshard.vectorfield.geometry import directional_derivative

# how a change of expression is specified
MODES = ("absolute", "change", "fold")

# diffusion of the transition matrix, relative to the drift (Dynamo's default)
DIFFUSION = 50.0

# edges of the neighbor graph per block: about 100 MB with 30 principal components
EDGES_PER_BLOCK = 1 << 18


class PCALoadings(NamedTuple):
    """Linear map between genes and principal components.

    Attributes
    ----------
    loadings : ndarray of float64, shape (n_genes, n_dims)
        Orthonormal columns.
    means : ndarray of float64, shape (n_genes,)
        Mean expression that was subtracted from each gene.
    """

    loadings: np.ndarray
    means: np.ndarray


def perturb_pcs(pcs, pca, changes):
    """Return the PCA coordinates of cells after a change of the expression of some genes.

    Parameters
    ----------
    pcs : ndarray of float64, shape (n_cells, n_dims)
        PCA coordinates of the cells.
    pca : PCALoadings
        Loadings and means of the genes.
    changes : dict of int to (str, float)
        Row of each changed gene, with a mode and a value. Mode `absolute`: the value is the new expression (log1p of
        normalized counts). Mode `change`: the value is added to the expression. Mode `fold`: the value, at least 0,
        multiplies the normalized counts.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_dims)
        New PCA coordinates.

    Raises
    ------
    ValueError
        If a mode is unknown, or the value of a `fold` is below 0.
    """
    perturbed = np.array(pcs, dtype=np.float64)
    for gene, (mode, value) in changes.items():
        loadings = pca.loadings[gene]
        expression = pcs @ loadings + pca.means[gene]
        if mode == "absolute":
            change = value - expression
        elif mode == "change":
            change = np.full(len(expression), float(value))
        elif mode == "fold":
            if value < 0:
                raise ValueError(
                    f"the gene in row {gene}: the fold change of counts is {value}, and must be at least 0"
                )
            # expression reconstructed from the components can be below 0, which stands for counts of 0
            change = np.log1p(value * np.expm1(np.maximum(expression, 0))) - np.maximum(expression, 0)
        else:
            raise ValueError(f"unknown mode {mode!r}: must be one of {', '.join(MODES)}")
        perturbed += change[:, None] * loadings
    return perturbed


def perturbation_effect(field, pcs, perturbed):
    """Return the change of velocity J dy of perturbed cells.

    It is not f(y + dy) - f(y), because f decays to zero where there are no cells.

    Parameters
    ----------
    field : VectorField
        Vector field in PCA space.
    pcs, perturbed : ndarray of float64, shape (n_cells, n_dims)
        PCA coordinates of the cells before and after the perturbation.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_dims)
        In the unit of the velocities.
    """
    return directional_derivative(field, pcs, perturbed - pcs)


def knock_out_effect(pcs, pca, genes):
    """Return the change of velocity by a knock-out, ``- sum_g |x_g| q_g``: transcripts of the genes decay with rate 1.

    Parameters
    ----------
    pcs : ndarray of float64, shape (n_cells, n_dims)
        PCA coordinates of the cells.
    pca : PCALoadings
        Loadings and means of the genes.
    genes : sequence of int
        Rows of the genes that are knocked out.

    Returns
    -------
    ndarray of float64, shape (n_cells, n_dims)
        The same for any vector field.
    """
    loadings = pca.loadings[genes]
    return -np.abs(pcs @ loadings.T + pca.means[genes]) @ loadings


def perturbation_transition_matrix(pcs, vectors, distances, *, diffusion=DIFFUSION):
    """Return the transition matrix of drift along vectors and diffusion on the neighbor graph.

    The drift between neighbors i and j is F_ij = ``sign(e) sqrt|e|`` with e = (v_i + v_j) / 2 . u_ij, where u_ij is the
    unit vector from i to j. The transition rate is max(F_ij, 0) / 2 + D: the Fokker-Planck equation on a graph, as in
    Dynamo 1.5.3, but with sparse matrices.

    Parameters
    ----------
    pcs : ndarray of float64, shape (n_cells, n_dims)
        PCA coordinates of the cells.
    vectors : ndarray of float64, shape (n_cells, n_dims)
        The vectors v of the drift.
    distances : scipy.sparse.csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Stored elements are edges, in both directions.
    diffusion : float
        The diffusion D.

    Returns
    -------
    scipy.sparse.csr_matrix, shape (n_cells, n_cells)
        Transition probabilities. Rows sum to 1, those of cells without neighbors are empty.
    """
    edges = sparse.csr_matrix(distances)
    edges = sparse.csr_matrix((np.ones(edges.nnz, dtype=bool), edges.indices, edges.indptr), shape=edges.shape)
    graph = sparse.csr_matrix(edges + edges.T)
    graph.setdiag(False)
    graph.eliminate_zeros()
    probabilities = np.empty(graph.nnz)
    for first, stop in _row_blocks(graph.indptr):
        block = slice(graph.indptr[first], graph.indptr[stop])
        rows = np.repeat(np.arange(first, stop), np.diff(graph.indptr[first : stop + 1]))
        neighbors = graph.indices[block]
        displacements = pcs[neighbors] - pcs[rows]
        lengths = np.linalg.norm(displacements, axis=1)
        drift = np.einsum("ed,ed->e", vectors[rows] + vectors[neighbors], displacements) / 2
        drift = np.divide(drift, lengths, out=np.zeros_like(drift), where=lengths > 0)
        rates = np.sqrt(np.maximum(drift, 0)) / 2 + diffusion
        probabilities[block] = rates / np.bincount(rows - first, rates)[rows - first]
    return sparse.csr_matrix((probabilities, graph.indices, graph.indptr), shape=graph.shape)


def gene_effects(effects, pca, codes, n_groups):
    """Return the mean effect on each gene in the cells of each group.

    Parameters
    ----------
    effects : ndarray of float64, shape (n_cells, n_dims)
        Vectors in PCA space.
    pca : PCALoadings
        Loadings of the genes.
    codes : ndarray of int, shape (n_cells,)
        Group of each cell, -1 for none.
    n_groups : int
        Number of groups.

    Returns
    -------
    ndarray of float64, shape (n_genes, n_groups)
        NaN for a group without cells.
    """
    means = np.full((n_groups, effects.shape[1]), math.nan)
    for group in range(n_groups):
        if np.any(codes == group):
            means[group] = effects[codes == group].mean(axis=0)
    return pca.loadings @ means.T


def _row_blocks(indptr):
    """Yield the first row, and the row after the last, of blocks with about `EDGES_PER_BLOCK` stored elements."""
    first = 0
    while first < len(indptr) - 1:
        stop = max(first + 1, int(np.searchsorted(indptr, indptr[first] + EDGES_PER_BLOCK, side="right")) - 1)
        yield first, stop
        first = stop
