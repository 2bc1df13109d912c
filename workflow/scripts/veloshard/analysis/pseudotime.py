"""Velocity pseudotime, and all orders of the cells in time that a result holds."""

import math

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh

from veloshard.analysis.graph_components import FEW_CELLS, connected_components_of, start_vector, submatrix, unit_range
from veloshard.analysis.latent_time import compute_latent_time
from veloshard.analysis.terminal_states import compute_terminal_states, root_scores
from veloshard.neighborhood import averaging_weights
from veloshard.statistics import rank_correlation

# number of cells that are used to compare pseudotimes from different roots
_MAX_COMPARED_CELLS = 10_000


def compute_pseudotimes(graph, distances, connectivities, *, in_root_cluster=None, fit_t=None, likelihood=None):
    """Return the terminal states, the velocity pseudotime and, for methods with gene times, the latent time.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines.
    distances, connectivities : csr_matrix, shape (n_cells, n_cells)
        Directed and symmetrized neighbor graphs.
    in_root_cluster : ndarray of bool, shape (n_cells,), optional
        Cells of the root cluster. By default the roots are those that the velocities give.
    fit_t : ndarray of float32, shape (n_genes, n_cells), optional
        Gene times, for methods that have them.
    likelihood : ndarray of float, shape (n_genes,), optional
        Likelihoods of the genes, required with `fit_t`.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_cells,)
        `root_cells`, `end_points` and `velocity_pseudotime`; `latent_time` with `fit_t`; `detected_root_cells`, the
        root scores before the root cluster was chosen, with `in_root_cluster`.
    """
    terminal_states = compute_terminal_states(graph, distances)
    roots = terminal_states.root_cells
    pseudotimes = {"end_points": terminal_states.end_points}
    if in_root_cluster is not None:
        pseudotimes["detected_root_cells"] = roots
        roots = root_scores(roots, in_root_cluster)
    pseudotimes["root_cells"] = roots
    pseudotimes["velocity_pseudotime"] = compute_velocity_pseudotime(
        graph, roots, terminal_states.end_points, connectivities
    )
    if fit_t is not None:
        pseudotimes["latent_time"] = compute_latent_time(fit_t, likelihood, roots, connectivities)
    return pseudotimes


def root_sensitivity(pseudotimes, graph, connectivities, *, names, codes, fit_t=None, likelihood=None):
    """Return the correlation of the pseudotime with pseudotimes from other roots.

    The latent time is used if there is one, otherwise the velocity pseudotime. Both are computed on at most 10,000
    evenly spaced cells.

    Parameters
    ----------
    pseudotimes : dict of str to ndarray of float, shape (n_cells,)
        Result of `compute_pseudotimes`, for the chosen root.
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph with signed cosines.
    connectivities : csr_matrix, shape (n_cells, n_cells)
        Symmetrized neighbor graph.
    names : list of str
        Names of the clusters.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for cells without a label.
    fit_t : ndarray of float32, shape (n_genes, n_cells), optional
        Gene times, if `pseudotimes` has a latent time.
    likelihood : ndarray of float, shape (n_genes,), optional
        Likelihoods of the genes, required with `fit_t`.

    Returns
    -------
    dict of str to float
        Spearman correlation with the chosen pseudotime, for each cluster as the root and, if a root cluster was chosen,
        for the roots that the velocities give (`(detected)`). NaN if one of the pseudotimes does not vary.
    """
    cells = np.arange(0, len(codes), math.ceil(len(codes) / _MAX_COMPARED_CELLS))
    # `root_scores` scales the scores of these cells, because the cell with the largest score may not be among them
    detected = pseudotimes.get("detected_root_cells", pseudotimes["root_cells"])[cells]
    root_clusters = {name: codes[cells] == k for k, name in enumerate(names)}
    if "detected_root_cells" in pseudotimes:
        root_clusters = {"(detected)": np.ones(len(cells), dtype=bool)} | root_clusters
    roots = {name: root_scores(detected, mask) for name, mask in root_clusters.items() if mask.any()}
    if len(roots) == 0:
        return {}
    scores, connectivities_of_cells = np.array(list(roots.values())), submatrix(connectivities, cells)
    if fit_t is None:
        chosen = pseudotimes["velocity_pseudotime"][cells]
        others = compute_velocity_pseudotime(
            submatrix(graph, cells), scores, pseudotimes["end_points"][cells], connectivities_of_cells
        )
    else:
        chosen = pseudotimes["latent_time"][cells]
        others = [compute_latent_time(fit_t[:, cells], likelihood, row, connectivities_of_cells) for row in scores]
    return {name: rank_correlation(chosen, other) for name, other in zip(roots, others, strict=True)}


def compute_velocity_pseudotime(graph, root_scores, end_scores, connectivities):
    """Return the velocity pseudotime of each cell.

    It is the diffusion pseudotime (Haghverdi et al. 2016) with ``|pi| + |pi|^T`` in place of similarities:
    d(i, j)^2 = sum_k (l_k / (1 - l_k))^2 (psi_k(i) - psi_k(j))^2, where psi_k are the eigenvectors of the
    density-normalized kernel with the nine largest eigenvalues l_k after the stationary one. The pseudotime is the mean
    of d(root, i) and 1 - d(end, i), each with a maximum of 1, scaled to the range from 0 to 1. Root and end are the
    cells with the largest scores, which are averaged over neighbors. If all scores of one are 0, only the other is
    used.

    Parameters
    ----------
    graph : csr_matrix, shape (n_cells, n_cells)
        Velocity graph, signed or its positive entries.
    root_scores : ndarray of float, shape (n_cells,) or (n_roots, n_cells)
        Root scores of at least 0. Each row is a separate choice of the root.
    end_scores : ndarray of float, shape (n_cells,)
        Scores of the end points, at least 0.
    connectivities : csr_matrix, shape (n_cells, n_cells)
        Neighbor graph. Positive entries are neighbors.

    Returns
    -------
    ndarray of float64
        In the shape of `root_scores`. Each connected component of the graph has its own pseudotime from 0 to 1, so that
        values compare within a component only. NaN in a component without any positive score, and for a cell without
        edges.
    """
    weights = averaging_weights(connectivities)
    mean_root_scores, mean_end_scores = np.atleast_2d(root_scores) @ weights.T, weights @ end_scores
    strength = abs(graph)
    kernel = strength + strength.T
    pseudotime = np.full(mean_root_scores.shape, np.nan)
    for cells in connected_components_of(graph):
        coordinates = _diffusion_coordinates(submatrix(kernel, cells))
        time_to_end = 1 - _relative_distance(coordinates, mean_end_scores[cells].argmax())
        for row, scores in enumerate(mean_root_scores[:, cells]):
            times = [_relative_distance(coordinates, scores.argmax())] if scores.max() > 0 else []
            times += [time_to_end] if mean_end_scores[cells].max() > 0 else []
            if times:
                pseudotime[row, cells] = unit_range(np.mean(times, axis=0))
    return pseudotime.reshape(np.shape(root_scores))


def _diffusion_coordinates(kernel):
    """Return coordinates whose Euclidean distance is the diffusion distance over random walks of any length."""
    inverse_density = 1 / np.asarray(kernel.sum(axis=0)).ravel()
    kernel = sparse.diags(inverse_density) @ kernel.astype(np.float64) @ sparse.diags(inverse_density)
    inverse_root = 1 / np.sqrt(np.asarray(kernel.sum(axis=0)).ravel())
    kernel = sparse.diags(inverse_root) @ kernel @ sparse.diags(inverse_root)
    if kernel.shape[0] < FEW_CELLS:
        eigenvalues, eigenvectors = np.linalg.eigh(kernel.toarray())
    else:
        eigenvalues, eigenvectors = eigsh(kernel, k=10, which="LA", ncv=60, v0=start_vector(kernel.shape[0]))
    largest = np.argsort(eigenvalues)[::-1][1:10]
    # two subgraphs with very weak edges between them have a second eigenvalue that is 1 within rounding
    gap = np.maximum(1 - eigenvalues[largest], np.finfo(np.float64).eps)
    return eigenvectors[:, largest] * (eigenvalues[largest] / gap)


def _relative_distance(coordinates, origin):
    """Return the distance of each cell from the cell `origin`, divided by the largest distance."""
    distance = np.linalg.norm(coordinates - coordinates[origin], axis=1)
    return distance / distance.max() if distance.max() > 0 else distance
