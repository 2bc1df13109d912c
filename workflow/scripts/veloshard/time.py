"""Where the cells come from and go to, and when: terminal states, velocity pseudotime, latent time."""

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigs, eigsh
from scipy.stats import rankdata

from veloshard.neighbors import connectivity_weights
from veloshard.transition import transition_matrix

# below this many cells all eigenvectors are computed: the iterative solvers want far more cells than vectors
_FEW_CELLS = 100
# cells of which orders from other roots are compared
_COMPARED = 10_000
# gene clocks that are re-rooted at once: some copies of 32 MB
_BLOCK = 2**22


class TerminalStates(NamedTuple):
    """How much each cell looks like an origin and like an end: two float64 arrays (n_cells,) in [0, 1]."""

    root_cells: np.ndarray
    end_points: np.ndarray


def order_cells(graph, distances, connectivities, *, in_root_cluster=None, fit_t=None, likelihood=None):
    """All orders of the cells that a result has, by name: see the functions of these names.

    in_root_cluster : (n_cells,) bool, where the process starts; None to go by the detected roots.
    fit_t, likelihood : as `latent_time` takes them; None where the method fits no times.
    Returns root_cells, end_points, velocity_pseudotime, with fit_t latent_time, and with in_root_cluster
    detected_root_cells, the scores before the user's choice: float64 (n_cells,) each.
    """
    terminal = terminal_states(graph, distances)
    roots = terminal.root_cells
    orders = {"end_points": terminal.end_points}
    if in_root_cluster is not None:
        orders["detected_root_cells"] = roots
        roots = root_scores(roots, in_root_cluster)
    orders["root_cells"] = roots
    orders["velocity_pseudotime"] = velocity_pseudotime(graph, roots, terminal.end_points, connectivities)
    if fit_t is not None:
        orders["latent_time"] = latent_time(fit_t, likelihood, roots, connectivities)
    return orders


def root_sensitivity(orders, graph, connectivities, *, names, codes, fit_t=None, likelihood=None):
    """How far the order of the cells would be the same from another root.

    orders : of `order_cells`, for the root that was chosen.   names, codes : of `selection.cluster_codes`.
    graph, connectivities, fit_t, likelihood : as `order_cells` takes them.
    Returns {root: Spearman correlation with the chosen order} for each cluster as the root and, where the user chose
    one, for the detected roots (`(detected)`); of the latent time where there is one, else of the pseudotime; NaN where
    one does not vary.  Of many cells every so many are compared, `_COMPARED` in all.
    """
    cells = np.arange(0, len(codes), math.ceil(len(codes) / _COMPARED))
    # scaled among those that are compared: the best of all cells may not be one of them
    detected = orders.get("detected_root_cells", orders["root_cells"])[cells]
    members = {name: codes[cells] == k for k, name in enumerate(names)}
    if "detected_root_cells" in orders:
        members = {"(detected)": np.ones(len(cells), dtype=bool)} | members
    roots = {name: root_scores(detected, chosen) for name, chosen in members.items() if chosen.any()}
    if len(roots) == 0:
        return {}
    scores, around = np.array(list(roots.values())), _between(connectivities, cells)
    if fit_t is None:
        chosen = orders["velocity_pseudotime"][cells]
        others = velocity_pseudotime(_between(graph, cells), scores, orders["end_points"][cells], around)
    else:
        chosen = orders["latent_time"][cells]
        others = [latent_time(fit_t[:, cells], likelihood, row, around) for row in scores]
    return {name: rank_correlation(chosen, other) for name, other in zip(roots, others, strict=True)}


def terminal_states(graph, distances):
    """Cells where the random walk along the velocities gathers, and those where the reverse walk does.

    End points are the stationary distribution mu = mu T of the walk without staying, roots that of the
    backward walk (Bergen et al. 2020), for each connected part of the graph on its own.  A walk that can run
    out (some cells are nobody's neighbour) has none; then it is the distribution that decays slowest, where
    scVelo finds no root at all.

    graph : CSR (n_cells, n_cells) of signed cosines.
    distances : CSR (n_cells, n_cells), positive between neighbours.

    Returns `TerminalStates`, averaged over the neighbours, cut at the 98th percentile and scaled to 0 ... 1.
    All 0 where nothing stands out: on an even cycle, or in a graph without edges.
    """
    around = connectivity_weights(distances)
    return TerminalStates(
        root_cells=_gathering(transition_matrix(graph, backward=True), around),
        end_points=_gathering(transition_matrix(graph), around),
    )


def root_scores(root_cells, in_root_cluster):
    """Scores of the cells that may be roots when the user has named their cluster.

    root_cells : (n_cells,) scores >= 0.   in_root_cluster : (n_cells,) bool.
    Returns float64 (n_cells,): the scores inside the cluster scaled to a maximum of 1, or 1 for the whole
    cluster where none of them is positive; 0 outside.
    """
    scores = np.where(in_root_cluster, root_cells, 0.0)
    return scores / scores.max() if scores.max() > 0 else in_root_cluster.astype(np.float64)


def velocity_pseudotime(graph, root_scores, end_scores, connectivities):
    """Distance from the root along the velocity graph, as a random walker feels it.

    Diffusion pseudotime (Haghverdi et al. 2016) with |pi| + |pi|^T in place of similarities:
    d(i, j)^2 = sum_k (l_k / (1 - l_k))^2 (psi_k(i) - psi_k(j))^2 over the eigenvectors psi_k of the
    density-normalised kernel with the nine largest eigenvalues l_k after the stationary one.  The time is the
    mean of d(root, i) and 1 - d(end, i), each with a maximum of 1, scaled to 0 ... 1.  Root and end are the
    cells of the largest score, averaged over the neighbours; where all scores are 0, the other one alone
    counts.

    graph : CSR (n_cells, n_cells), signed or not.   end_scores : (n_cells,) >= 0.
    root_scores : (n_cells,) >= 0, or (n_choices, n_cells), several choices of the root.
    connectivities : CSR (n_cells, n_cells), positive between neighbours.

    Returns float64 of the shape of `root_scores`.  Parts of the graph that are not connected are timed on their
    own, each from 0 to 1: times compare within a part only.  NaN in a part without any positive score, and for a
    cell without edges.
    """
    around = connectivity_weights(connectivities)
    roots, ends = np.atleast_2d(root_scores) @ around.T, around @ end_scores
    strength = abs(graph)
    kernel = strength + strength.T
    pseudotime = np.full(roots.shape, np.nan)
    for cells in _connected_parts(graph):
        places = _diffusion_space(_between(kernel, cells))
        from_end = 1 - _relative_distance(places, ends[cells].argmax())
        for choice, scores in enumerate(roots[:, cells]):
            clocks = [_relative_distance(places, scores.argmax())] if scores.max() > 0 else []
            clocks += [from_end] if ends[cells].max() > 0 else []
            if clocks:
                pseudotime[choice, cells] = _unit_range(np.mean(clocks, axis=0))
    return pseudotime.reshape(np.shape(root_scores))


def latent_time(fit_t, likelihood, root_scores, connectivities, *, min_likelihood=0.1, min_confidence=0.75):
    """Time of each cell that its genes agree on.

    The clock of each gene is set to 0 at a root cell; what it has before the root comes after its end.  The
    shared time is the mean of two percentiles over the genes: of the 15th, 20th, ... 35th those whose values
    spread most evenly over the cells.  Mean over up to four roots; then each cell takes the mean of those
    neighbours whose own time agrees with the cells around them (Bergen et al. 2020; other than in scVelo
    0.3.4, every root starts from the genes' own clocks, not from those set for the root before, and a mean is
    divided by the number of neighbours that count).

    fit_t : (n_genes, n_cells) float32, genes' times after alignment; genes with a NaN are left out.
    likelihood : (n_genes,); genes below `min_likelihood` (or NaN) are left out.
    root_scores : (n_cells,) in [0, 1].  Roots are the cells of score 1, or all where there is
        none; those of the smallest total time come first.
    connectivities : CSR (n_cells, n_cells), positive between neighbours.
    min_confidence : in [0, 1]; a cell whose time differs by 1 - sqrt(min_confidence) of the whole range from
        the mean around it is not used for its neighbours.

    Returns float64 (n_cells,), 0 ... 1.  All NaN where no gene is left, all 0 where no gene has a course.
    """
    used = np.flatnonzero(np.isfinite(fit_t.sum(axis=1, dtype=np.float64)) & (likelihood >= min_likelihood))
    if len(used) == 0:
        return np.full(fit_t.shape[1], np.nan)
    clocks = fit_t[used]
    around = connectivity_weights(connectivities)
    times = [_shared_time(clocks, root) for root in _earliest_roots(clocks, root_scores)]
    return _unit_range(_smooth(_unit_range(np.mean(times, axis=0)), around, min_confidence))


def _gathering(transition, around):
    scores = np.zeros(transition.shape[0])
    for cells in _connected_parts(transition):
        scores[cells] = _slowest_modes(_between(transition, cells))
    smooth = around @ scores
    return _unit_range(np.minimum(smooth, np.percentile(smooth, 98)))


def _slowest_modes(transition):
    """Sum of the left eigenvectors of the largest eigenvalue and those within 1e-3, each at most 1."""
    left = transition.T.astype(np.float64)
    if left.shape[0] < _FEW_CELLS:
        eigenvalues, vectors = np.linalg.eig(left.toarray())
    else:
        # the modes near the largest are exact long before the others, which nobody needs, have settled
        eigenvalues, vectors = eigs(left, k=10, which="LR", ncv=60, tol=1e-7, v0=_start(left.shape[0]))
    # the distance in the complex plane: modes that turn around a cycle are no resting places
    slowest = np.abs(eigenvalues - eigenvalues.real.max()) <= 1e-3
    modes = np.abs(vectors.real[:, slowest])
    high = np.percentile(modes, 98, axis=0)
    # where fewer than 2 % of the cells hold all of it, the percentile is no measure of the height
    high = np.where(high > 0, high, modes.max(axis=0))
    return (np.minimum(modes, high) / high).sum(axis=1)


def _diffusion_space(kernel):
    """Coordinates whose Euclidean distance is the diffusion distance over walks of any length."""
    inverse_density = 1 / np.asarray(kernel.sum(axis=0)).ravel()
    kernel = sparse.diags(inverse_density) @ kernel.astype(np.float64) @ sparse.diags(inverse_density)
    inverse_root = 1 / np.sqrt(np.asarray(kernel.sum(axis=0)).ravel())
    kernel = sparse.diags(inverse_root) @ kernel @ sparse.diags(inverse_root)
    if kernel.shape[0] < _FEW_CELLS:
        eigenvalues, vectors = np.linalg.eigh(kernel.toarray())
    else:
        eigenvalues, vectors = eigsh(kernel, k=10, which="LA", ncv=60, v0=_start(kernel.shape[0]))
    largest = np.argsort(eigenvalues)[::-1][1:10]
    # two parts that barely hang together come within rounding of a second stationary state
    gap = np.maximum(1 - eigenvalues[largest], np.finfo(np.float64).eps)
    return vectors[:, largest] * (eigenvalues[largest] / gap)


def _relative_distance(places, origin):
    distance = np.linalg.norm(places - places[origin], axis=1)
    return distance / distance.max() if distance.max() > 0 else distance


def _earliest_roots(clocks, root_scores):
    in_order = np.argsort(clocks.sum(axis=0, dtype=np.float64), kind="stable")
    certain = root_scores[in_order] > 1 - 1e-3
    return (in_order[certain] if certain.any() else in_order)[:4]


def _shared_time(clocks, root):
    n_genes, n_cells = clocks.shape
    at_root = clocks[:, [root]].astype(np.float64)
    period = clocks.max(axis=1, keepdims=True).astype(np.float64)
    percentiles = np.empty((5, n_cells))
    # in blocks of cells: the re-rooted clocks of all cells would take twice the memory of the given ones
    for block in np.array_split(np.arange(n_cells), math.ceil(n_genes * n_cells / _BLOCK)):
        own = clocks[:, block]
        rooted = np.where(own >= at_root, own - at_root, own + (period - at_root))
        percentiles[:, block] = np.percentile(rooted, [15, 20, 25, 30, 35], axis=0)
    highest = percentiles.max(axis=1, keepdims=True)
    candidates = percentiles / np.where(highest > 0, highest, 1)
    unevenness = np.sum((np.sort(candidates, axis=1) - np.linspace(0, 1, n_cells)) ** 2, axis=1)
    shared = candidates[np.argsort(unevenness, kind="stable")[:2]].sum(axis=0)
    return shared / shared.max() if shared.max() > 0 else shared


def _smooth(time, around, min_confidence):
    """Mean over the confident cells around; a cell that has none keeps its time."""
    mean = around @ time
    if not mean.any():
        return time
    slope = (time @ mean) / (mean @ mean)
    confident = (1 - np.abs(time - slope * mean)) ** 2 >= min_confidence
    weight = around @ confident.astype(np.float64)
    total = around @ np.where(confident, time, 0)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), time)


def _connected_parts(graph):
    """Indices of the cells of each connected part with more than one cell."""
    n_parts, part = connected_components(graph, directed=False)
    cells = np.split(np.argsort(part, kind="stable"), np.cumsum(np.bincount(part, minlength=n_parts))[:-1])
    return [members for members in cells if len(members) > 1]


def _between(matrix, cells):
    everywhere = len(cells) == matrix.shape[0]
    return matrix if everywhere else matrix[cells][:, cells]


def _unit_range(values):
    """Scale to 0 ... 1; all 0 where the values differ by less than a thousandth of the largest.

    The stationary state of a walk in single precision is uneven by up to that where truly it is even.
    """
    low, span = values.min(), np.ptp(values)
    return (values - low) / span if span > 1e-3 * np.abs(values).max() else np.zeros_like(values)


def rank_correlation(first, second):
    """Spearman correlation of the cells that have both; NaN where one of them does not vary."""
    known = np.isfinite(first) & np.isfinite(second)
    ranks = np.array([rankdata(values[known]) for values in (first, second)])
    if known.sum() < 2 or np.ptp(ranks, axis=1).min() == 0:
        return np.nan
    return float(np.corrcoef(ranks)[0, 1])


def _start(n_cells):
    # any fixed vector without a symmetry: a random one would change the last bits from run to run
    return np.random.default_rng(0).uniform(size=n_cells)
