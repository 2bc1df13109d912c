"""Differential kinetics (Bergen et al. 2020): clusters that leave the curve of a gene, and its fit without them.

The test is scVelo's question with another answer: whether a cluster lies on the common curve or on a line of its own is
judged by how far its mean is from the curve, across the line to its place there.  The chance in that mean follows from
the counts themselves, each with its weight in all moments of the cluster.  Moments share counts with about thirty
others: taken for independent, as in scVelo, they make everything significant.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from scipy import sparse, stats

from veloshard import contract, methods
from veloshard.methods.dynamical.assign import OFF, ON, assign_times
from veloshard.methods.dynamical.gene import describe_gene, neighborhood_means
from veloshard.methods.steady_state import steady_state_ratio
from veloshard.moments import first_moments, neighborhood
from veloshard.progress import reported
from veloshard.splicing import spliced_at, unspliced_at

# Genes whose moments are in memory at a time.
GENES_AT_A_TIME = 64
# Points of each branch of a curve, half of them even in what is left of u, half in what is left of s; and what is left
# where the way down goes on straight to the origin.
N_POINTS, END = 48, 0.02
# Below this a cluster's mean and the chance in it are of a few cells.
MIN_CELLS = 10
# Standard deviation of how far clusters are from curves that are right, in standard deviations of the counts, because
# no fit is perfect; and how many clusters' worth that counts when a gene's own clusters are asked.  Chosen so that
# p-values nearly hold on deep simulated data without noise beyond that of counting, where fits are all that errs
# (benchmarks/README.md has what is false of what they find); they are cautious on noisy data.
MISFIT, N_PRIOR = 0.05, 10


class Statistics(NamedTuple):
    """Statistic and p-value of each cluster in each gene, (n_genes, n_clusters).

    The statistic is positive where a cluster has more unspliced counts than the common kinetics explain.
    """

    statistic: np.ndarray
    p_value: np.ndarray


class Tested(NamedTuple):
    """What the test of a dataset found.

    pairs : columns gene, cluster, statistic, p_value, q_value, a row for each gene and cluster that was tested.
    genes : columns (n_genes,): fit_diff_kinetics, names of the clusters that differ, joined by commas, and
    fit_pval_kinetics, the largest of their p-values, or NaN.   p_values : (n_genes, n_clusters).
    differs : bool (n_genes, n_clusters).
    """

    pairs: dict
    genes: dict
    p_values: np.ndarray
    differs: np.ndarray


def differing_clusters(block, genes, codes, names, *, max_q=0.05):
    """`Tested`: clusters whose kinetics differ from the common ones, at a false discovery rate of `max_q`.

    block : `GeneBlock` of all genes.   genes : columns of their dynamical fit.   codes : int (n_cells,), cluster of
    each cell, -1 for none.   names : (n_clusters,).
    """
    parts = []
    starts = range(0, len(block.names), GENES_AT_A_TIME)
    for first in reported(starts, len(starts), "blocks of genes"):
        rows = slice(first, first + GENES_AT_A_TIME)
        parts.append(cluster_statistics(_rows(block, rows), {k: v[rows] for k, v in genes.items()}, codes, len(names)))
    statistic, p = (np.concatenate(values) for values in zip(*parts, strict=True))
    q = q_values(p)
    differs = q < max_q
    gene, cluster = np.nonzero(np.isfinite(p))
    names = np.asarray(names, dtype=str)
    return Tested(
        pairs={
            "gene": block.names[gene],
            "cluster": names[cluster],
            "statistic": statistic[gene, cluster],
            "p_value": p[gene, cluster],
            "q_value": q[gene, cluster],
        },
        genes={
            "fit_diff_kinetics": np.array([",".join(names[row]) for row in differs], dtype=str),
            "fit_pval_kinetics": np.where(differs.any(axis=1), np.max(p, axis=1, where=differs, initial=0.0), np.nan),
        },
        p_values=p,
        differs=differs,
    )


def q_values(p_values):
    """False discovery rates at which each p-value is still found (Benjamini and Hochberg 1995); NaN is no test.

    p_values : of any shape, of all tests of a dataset.
    """
    q = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    q[tested] = stats.false_discovery_control(p_values[tested])
    return q


def cluster_statistics(block, genes, codes, n_clusters):
    """`Statistics` of a block of genes: each cluster against the common curve, and the line of all cells.

    Counts are in standard deviations (`fit_std_u`, `fit_std_s`).  A cluster's distance d is that of its mean (u, s)
    from the ray through the mean place of its cells on the curve, each cell at its nearest; or from the ray through
    the mean of all cells, if that is nearer: the two that velocities are taken from (`supported_velocity`), and who
    follows either is no exception (an intersection-union test, Berger 1982, has the larger p-value of the two).
    With v the sampling variance of d,

        t = d / sqrt(v + m^2),   m^2 = (N m0^2 + sum_k w_k (d_k^2 - v_k)) / n,   n = N + sum_k w_k

    is held against the t distribution with n degrees of freedom, both ways.  m is how far the fit misses this gene's
    cells: as usual (m0 = `MISFIT`, N = `N_PRIOR`), and as it misses the gene's other clusters k, with the weights
    w_k = m0^2 / (v_k + m0^2) that those have which tell it from chance (a moderated t, Smyth 2004).

    genes : columns of the dynamical fit of the block's genes.   codes, n_clusters : as for `differing_clusters`.
    NaN for genes without a fit, clusters below `MIN_CELLS` cells, and where a cluster or its place has no counts:
    scVelo has p = 1 for small clusters, but what was not tested must not count among the tests when the false
    discovery rate is controlled.
    """
    found = Statistics(*np.full((2, len(block.names), n_clusters), np.nan))
    fitted = np.flatnonzero(np.isfinite(genes["fit_alpha"]))
    block, genes = _rows(block, fitted), {name: values[fitted] for name, values in genes.items()}
    scale_u, scale_s = genes["fit_std_u"][:, None], genes["fit_std_s"][:, None]
    unspliced = first_moments(block.unspliced, block.around) / scale_u
    spliced = first_moments(block.spliced, block.around) / scale_s
    curves = curve_points(genes) / np.stack([scale_u, scale_s], axis=2)
    places = mean_places(unspliced, spliced, curves, codes, n_clusters)

    n_own = np.bincount(codes[codes >= 0], minlength=n_clusters)
    weights = _weights_in_means(block.around, codes, n_clusters)
    u, s = (sparse.csc_matrix(counts, dtype=np.float64) for counts in (block.unspliced, block.spliced))
    mean_u, mean_s = (u.T @ weights) / scale_u, (s.T @ weights) / scale_s
    # sums of products of counts, each count with the square of its weight
    uu, us, ss = (a.multiply(b).T @ weights**2 for a, b in ((u, u), (u, s), (s, s)))

    def across(ray_u, ray_s):
        """Distance of the mean from a ray, and its sampling variance; NaN where the ray has no direction."""
        length = np.hypot(ray_u, ray_s)
        a, b = ray_s / length, ray_u / length
        variance = uu * (a / scale_u) ** 2 - 2 * us * a * b / (scale_u * scale_s) + ss * (b / scale_s) ** 2
        return np.array([a * mean_u - b * mean_s, variance])

    with np.errstate(invalid="ignore"):
        from_curve = across(places[..., 0], places[..., 1])
        from_line = across(unspliced.mean(axis=1)[:, None], spliced.mean(axis=1)[:, None])
    nearer = np.abs(from_line[0]) < np.abs(from_curve[0])
    distance, variance = np.where(nearer, from_line, from_curve)
    tested = (n_own >= MIN_CELLS) & np.isfinite(distance) & (variance > 0)
    for whole, part in zip(found, _moderated(distance, variance, tested), strict=True):
        whole[fitted] = part
    return found


def _moderated(distance, variance, tested):
    """`Statistics` of distances with their sampling variances, (n_genes, n_clusters); NaN where not `tested`."""
    distance, variance = (np.where(tested, values, np.nan) for values in (distance, variance))
    weight = np.where(tested, MISFIT**2 / (variance + MISFIT**2), 0.0)
    excess = np.where(tested, weight * (distance**2 - variance), 0.0)
    n = N_PRIOR + weight.sum(axis=1, keepdims=True) - weight
    others = excess.sum(axis=1, keepdims=True) - excess
    # where the others are nearer than chance has it, they do not take away from the prior
    misfit = (N_PRIOR * MISFIT**2 + np.maximum(others, 0.0)) / n
    statistic = distance / np.sqrt(variance + misfit)
    return Statistics(statistic, 2.0 * stats.t.sf(np.abs(statistic), n))


def _weights_in_means(around, codes, n_clusters):
    """How much each cell's count weighs in the mean moment of each cluster, (n_cells, n_clusters)."""
    n_cells = len(codes)
    cluster = np.repeat(codes, np.diff(around.indptr))
    labelled = cluster >= 0
    # in 64 bits: cells times clusters may exceed the type of the indices
    position = around.indices[labelled].astype(np.int64) * n_clusters + cluster[labelled]
    sums = np.bincount(position, weights=around.weights[labelled], minlength=n_cells * n_clusters)
    n_own = np.bincount(codes[codes >= 0], minlength=n_clusters)
    return sums.reshape(n_cells, n_clusters) / np.maximum(n_own, 1)


def curve_points(genes):
    """Points along the fitted curve of each gene, from the origin up and down again: (n_genes, n_points, 2), u then s.

    Counts are in their own units; NaN for genes without a fit.
    """
    alpha, gamma, switch, scaling = (genes[f"fit_{name}"][:, None] for name in ("alpha", "gamma", "t_", "scaling"))
    beta = genes["fit_beta"][:, None] * scaling
    up, down = (
        np.sort(np.concatenate([_even_decay(rate, duration) for rate in (beta, gamma)], axis=1), axis=1)
        for duration in (switch, np.inf)
    )
    up = np.concatenate([up, switch], axis=1)
    u_up, s_up = unspliced_at(up, 0.0, alpha, beta), spliced_at(up, 0.0, 0.0, alpha, beta, gamma)
    u0, s0 = u_up[:, -1:], s_up[:, -1:]
    u_down, s_down = unspliced_at(down, u0, 0.0, beta), spliced_at(down, s0, u0, 0.0, beta, gamma)
    origin = np.zeros_like(u0)
    u, s = (np.concatenate(parts, axis=1) for parts in ((u_up, u_down, origin), (s_up, s_down, origin)))
    return np.stack([u * scaling, s], axis=2)


def _even_decay(rate, duration):
    """Times between 0 and `duration` at which exp(-rate t) falls evenly, until `END` of it is left, (n_genes, n)."""
    left = np.maximum(np.exp(-rate * duration), END)
    return -np.log1p(-np.linspace(0.0, 1.0, N_POINTS // 2) * (1.0 - left)) / rate


@njit(cache=True, parallel=True, error_model="numpy")
def mean_places(unspliced, spliced, curves, codes, n_clusters):
    """Mean over each cluster of its cells' nearest points on the curve of each gene, (n_genes, n_clusters, 2).

    unspliced, spliced : (n_genes, n_cells).   curves : (n_genes, n_points, 2), joined by straight lines.
    NaN for clusters without cells.
    """
    means = np.zeros((len(curves), n_clusters, 2))
    for gene in prange(len(curves)):
        n_own = np.zeros(n_clusters)
        for cell in range(len(codes)):
            cluster = codes[cell]
            if cluster >= 0:
                u, s = nearest_point(unspliced[gene, cell], spliced[gene, cell], curves[gene])
                means[gene, cluster, 0] += u
                means[gene, cluster, 1] += s
                n_own[cluster] += 1.0
        for cluster in range(n_clusters):
            means[gene, cluster] /= n_own[cluster]
    return means


@njit(cache=True, error_model="numpy")
def nearest_point(u, s, points):
    """Point (u, s) nearest to a given one on the lines that join points, (n_points, 2), in their order."""
    least, nearest_u, nearest_s = np.inf, np.nan, np.nan
    for k in range(len(points) - 1):
        from_u, from_s = points[k, 0], points[k, 1]
        along_u, along_s = points[k + 1, 0] - from_u, points[k + 1, 1] - from_s
        square = along_u**2 + along_s**2
        part = 0.0
        if square > 0.0:
            part = min(max(((u - from_u) * along_u + (s - from_s) * along_s) / square, 0.0), 1.0)
        on_u, on_s = from_u + part * along_u, from_s + part * along_s
        distance = (u - on_u) ** 2 + (s - on_s) ** 2
        if distance < least:
            least, nearest_u, nearest_s = distance, on_u, on_s
    return nearest_u, nearest_s


def with_common_cells(differs, codes):
    """The genes and clusters that differ, but for genes in which no cell is left that follows common kinetics.

    differs : bool (n_genes, n_clusters).   codes : int (n_cells,), -1 for cells of no cluster, which are left.
    """
    n_left = np.append(~differs, np.ones((len(differs), 1), dtype=bool), axis=1)[:, codes].sum(axis=1)
    return differs & (n_left >= MIN_CELLS)[:, None]


def refit(block, differs, codes, **options):
    """`Fit` of genes of which some clusters have kinetics of their own: the curve without those, and their own slopes.

    The curve is fitted to the other cells and their neighbors among each other.  A cluster with its own kinetics has
    the velocity rate (u - slope s) of its observed moments, at least -s: the slope that of the steady-state model for
    this cluster alone, the rate beta that of the others' curve, which has the time unit of all genes.  (An orthogonal
    line through the cluster, as in scVelo's test, would have it stand still on average, and of simulated clusters,
    which do not, it got 61 % of the signs right, this 74 %, the common curve 70 %.)
    Nothing is known of its transcription: `velocity_u` is 0.  Its cells have the times of the others' curve at the
    places that a fit would give them there: without, latent time would lose the gene for all cells.

    block : `GeneBlock`.   differs : bool (n_genes, n_clusters).   codes : int (n_cells,), -1 for none.
    options : of `methods.dynamical.fit`; its bounds on r2 and slope do not count.
    Returns the genes for which some cluster differs, in their order; columns are those of the others' curve.  A gene
    that cannot be fitted without those clusters is a row with a reason.
    """
    block, differs = _rows(block, np.flatnonzero(differs.any(axis=1))), differs[differs.any(axis=1)]
    options = options | {"method": "dynamical", "fit_all_genes": True}
    patterns, pattern_of = np.unique(differs, axis=0, return_inverse=True)
    if len(patterns) == 0:
        return methods.run(block, **options)
    parts, rows = [], []
    for k, pattern in enumerate(patterns):
        rows.append(np.flatnonzero(pattern_of.ravel() == k))
        left_out = np.append(pattern, False)[codes]  # -1 is the last: cells without a cluster stay
        parts.append(_refit_without(_rows(block, rows[-1]), left_out, codes, options))
    order = np.argsort(np.concatenate(rows))
    genes, layers = zip(*parts, strict=True)
    return contract.Fit(
        *({name: np.concatenate([part[name] for part in kind])[order] for name in kind[0]} for kind in (genes, layers))
    )


def _refit_without(block, left_out, codes, options):
    """`Fit` of genes to all cells but those `left_out`, bool (n_cells,), which follow the slopes of their clusters."""
    kept = np.flatnonzero(~left_out)
    found = methods.run(_cells(block, kept), **options)
    layers = {name: np.full((len(block.names), len(codes)), np.nan, dtype=np.float32) for name in found.layers}
    for name, values in found.layers.items():
        layers[name][:, kept] = values
    unspliced, spliced = (first_moments(counts, block.around) for counts in (block.unspliced, block.spliced))
    slopes = np.zeros_like(spliced)
    for cluster in np.unique(codes[left_out]):
        own = codes == cluster
        slopes[:, own] = steady_state_ratio(spliced[:, own], unspliced[:, own], percentile=95)[:, None]
    for row in np.flatnonzero(found.genes["status"] == "ok"):
        columns = {name: values[row] for name, values in found.genes.items()}
        own = _with_slopes(unspliced[row], spliced[row], slopes[row], columns, block.around)
        for name, values in own.items():
            layers[name][row, left_out] = values[left_out]
    return contract.Fit(found.genes, layers)


def _with_slopes(unspliced, spliced, slopes, columns, around):
    """Layers of a gene, (n_cells,) each, by the slope of each cell and the curve that the columns tell of."""
    scaling = columns["fit_scaling"]
    beta = columns["fit_beta"] * scaling
    parameters = np.array([columns["fit_alpha"], beta, columns["fit_gamma"], columns["fit_t_"], scaling])
    assigned = assign_times(describe_gene(unspliced, spliced, around), around, parameters, True)
    return {
        "fit_t": neighborhood_means(assigned.time, around),
        "fit_tau": assigned.tau[ON],
        "fit_tau_": assigned.tau[OFF],
        "velocity": np.maximum(columns["fit_beta"] * (unspliced - slopes * spliced), -spliced),
        "velocity_u": np.zeros(len(spliced)),
    }


def _cells(block, cells):
    """Some cells of a `GeneBlock`, by index, and their neighbors among each other, who all count alike."""
    n_cells = len(block.around.indptr) - 1
    indptr, indices = block.around.indptr.astype(np.int64), block.around.indices.astype(np.int64)
    joined = sparse.csr_matrix((block.around.weights, indices, indptr), shape=(n_cells, n_cells))[cells][:, cells]
    sizes = np.diff(joined.indptr)
    joined.data = np.repeat((1.0 / sizes).astype(np.float32), sizes)
    return block._replace(
        spliced=sparse.csc_matrix(block.spliced[cells]),
        unspliced=sparse.csc_matrix(block.unspliced[cells]),
        around=neighborhood(joined),
    )


def _rows(block, genes):
    """Some genes of a `GeneBlock`: a slice or indices."""
    return block._replace(
        names=block.names[genes], spliced=block.spliced[:, genes], unspliced=block.unspliced[:, genes]
    )
