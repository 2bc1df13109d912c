"""Differential kinetics (Bergen et al. 2020): test for clusters that deviate from the curve of a gene, and refit.

As in scVelo, the test asks if a cluster follows the common curve of a gene or a line of its own. The test statistic
differs: it is the distance of the cluster's mean from the ray through its mean fitted abundances. The sampling variance
of that distance follows from the counts, each with its weight in all moments of the cluster. The moments of about
thirty cells share each count. Treating them as independent, as in scVelo, makes nearly every test significant.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from scipy import sparse, stats

from veloshard import contract
from veloshard.kinetics import methods
from veloshard.kinetics.methods.dynamical.gene import describe_gene, neighborhood_means
from veloshard.kinetics.methods.dynamical.time_assignment import OFF, ON, assign_times
from veloshard.kinetics.methods.steady_state import steady_state_ratio
from veloshard.kinetics.splicing import spliced_at, unspliced_at
from veloshard.neighborhood import as_neighborhood
from veloshard.preprocessing.moments import first_moments
from veloshard.progress import report_progress
from veloshard.statistics import false_discovery_rates

# Number of genes whose moments are in memory at a time.
GENES_AT_A_TIME = 64


# Points per branch of a curve, half of them evenly spaced in the relaxation of u and half in that of s, and the
# fraction of the relaxation that remains where the curve of repression is continued by a line to the origin.
N_POINTS, END_FRACTION = 48, 0.02


# Clusters with fewer cells are not tested, because their variance is estimated from too few counts.
MIN_CELLS = 10


# Prior of the misfit, the standard deviation of the distance between clusters with common kinetics and the fitted
# curve, in standard deviations of the moments, and its weight as a number of clusters. With these values the p-values
# are nearly valid on deep simulated counts with Poisson noise alone, where the fit is the only other source of error
# (false discovery rates are in benchmarks/README.md). They are conservative on noisier counts.
MISFIT, N_PRIOR = 0.05, 10


class Statistics(NamedTuple):
    """Test statistics and p-values.

    Attributes
    ----------
    statistic : ndarray of float64, shape (n_genes, n_clusters)
        Positive where a cluster has more unspliced counts than the common kinetics explain. NaN where not tested.
    p_value : ndarray of float64, shape (n_genes, n_clusters)
        Two-sided p-value. NaN where not tested.
    """

    statistic: np.ndarray
    p_value: np.ndarray


class DifferentialKinetics(NamedTuple):
    """Results of the test for differential kinetics of a dataset.

    Attributes
    ----------
    pairs : dict of ndarray
        Columns `gene`, `cluster`, `statistic`, `p_value` and `q_value`, with one row per tested pair.
    genes : dict of ndarray, shape (n_genes,)
        Columns `fit_diff_kinetics`, names of the clusters that differ, joined by commas, and `fit_pval_kinetics`, the
        largest of their p-values, or NaN.
    p_values : ndarray of float64, shape (n_genes, n_clusters)
        P-values; NaN where not tested.
    differs : ndarray of bool, shape (n_genes, n_clusters)
        True for clusters with kinetics of their own.
    """

    pairs: dict
    genes: dict
    p_values: np.ndarray
    differs: np.ndarray


def find_differential_kinetics(block, genes, codes, names, *, max_q=0.05):
    """Test which clusters have kinetics that differ from the common kinetics of a gene.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of all genes.
    genes : dict of ndarray, shape (n_genes,)
        Columns of their dynamical fit.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for none.
    names : sequence of str
        Names of the clusters.
    max_q : float
        False discovery rate over all genes and clusters.

    Returns
    -------
    DifferentialKinetics
        Tested pairs, and clusters that differ.
    """
    parts = []
    starts = range(0, len(block.names), GENES_AT_A_TIME)
    for first in report_progress(starts, len(starts), "blocks of genes"):
        rows = slice(first, first + GENES_AT_A_TIME)
        parts.append(
            cluster_statistics(_select_genes(block, rows), {k: v[rows] for k, v in genes.items()}, codes, len(names))
        )
    statistic, p = (np.concatenate(values) for values in zip(*parts, strict=True))
    q = false_discovery_rates(p)
    differs = q < max_q
    gene, cluster = np.nonzero(np.isfinite(p))
    names = np.asarray(names, dtype=str)
    return DifferentialKinetics(
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


def cluster_statistics(block, genes, codes, n_clusters):
    """Test each cluster against the common curve of a gene and against the line through the mean of all cells.

    Abundances are in standard deviations (`fit_std_u`, `fit_std_s`). The distance d of a cluster is that of its mean
    (u, s) from the ray through the mean of the nearest points on the curve to its cells, or from the ray through the
    mean of all cells if that is smaller. Velocities derive from the curve and from the line (`shrunken_velocity`), so
    a cluster differs only if it follows neither. The larger of the two p-values is that of an intersection-union test
    (Berger 1982). With the sampling variance v of d, the statistic is

        t = d / sqrt(v + m^2),   m^2 = (N m0^2 + sum_k w_k (d_k^2 - v_k)) / n,   n = N + sum_k w_k,

    compared two-sidedly with the t distribution with n degrees of freedom (a moderated t, Smyth 2004). m is the misfit
    of the curve: a prior, m0 = `MISFIT` with N = `N_PRIOR`, and the distances of the other clusters k of the gene, with
    weights w_k = m0^2 / (v_k + m0^2), which are small for clusters whose sampling variance is large.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes.
    genes : dict of ndarray, shape (n_genes,)
        Columns of their dynamical fit.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for none.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    Statistics
        NaN for genes without a fit, clusters below `MIN_CELLS` cells, and clusters whose mean, or the mean of whose
        nearest points, is 0. scVelo sets p = 1 for small clusters, but tests that were not done must not be counted in
        the control of the false discovery rate.
    """
    statistics = Statistics(*np.full((2, len(block.names), n_clusters), np.nan))
    fitted = np.flatnonzero(np.isfinite(genes["fit_alpha"]))
    block, genes = _select_genes(block, fitted), {name: values[fitted] for name, values in genes.items()}
    scale_u, scale_s = genes["fit_std_u"][:, None], genes["fit_std_s"][:, None]
    unspliced = first_moments(block.unspliced, block.neighborhood) / scale_u
    spliced = first_moments(block.spliced, block.neighborhood) / scale_s
    curves = curve_points(genes) / np.stack([scale_u, scale_s], axis=2)
    on_curve = cluster_mean_abundances(unspliced, spliced, curves, codes, n_clusters)

    cluster_sizes = np.bincount(codes[codes >= 0], minlength=n_clusters)
    weights = _weights_in_means(block.neighborhood, codes, n_clusters)
    u, s = (sparse.csc_matrix(counts, dtype=np.float64) for counts in (block.unspliced, block.spliced))
    mean_u, mean_s = (u.T @ weights) / scale_u, (s.T @ weights) / scale_s
    # sums of products of counts, each count with the square of its weight
    uu, us, ss = (a.multiply(b).T @ weights**2 for a, b in ((u, u), (u, s), (s, s)))

    def distance_from_ray(ray_u, ray_s):
        """Return the distance of the mean from a ray, and its sampling variance; NaN for a ray without direction."""
        length = np.hypot(ray_u, ray_s)
        a, b = ray_s / length, ray_u / length
        variance = uu * (a / scale_u) ** 2 - 2 * us * a * b / (scale_u * scale_s) + ss * (b / scale_s) ** 2
        return np.array([a * mean_u - b * mean_s, variance])

    with np.errstate(invalid="ignore"):
        from_curve = distance_from_ray(on_curve[..., 0], on_curve[..., 1])
        from_line = distance_from_ray(unspliced.mean(axis=1)[:, None], spliced.mean(axis=1)[:, None])
    nearer = np.abs(from_line[0]) < np.abs(from_curve[0])
    distance, variance = np.where(nearer, from_line, from_curve)
    tested = (cluster_sizes >= MIN_CELLS) & np.isfinite(distance) & (variance > 0)
    for whole, part in zip(statistics, _moderated(distance, variance, tested), strict=True):
        whole[fitted] = part
    return statistics


def _moderated(distance, variance, tested):
    """Return the `Statistics` of distances with sampling variances, (n_genes, n_clusters); NaN where not `tested`."""
    distance, variance = (np.where(tested, values, np.nan) for values in (distance, variance))
    weight = np.where(tested, MISFIT**2 / (variance + MISFIT**2), 0.0)
    excess = np.where(tested, weight * (distance**2 - variance), 0.0)
    n = N_PRIOR + weight.sum(axis=1, keepdims=True) - weight
    others = excess.sum(axis=1, keepdims=True) - excess
    # distances of the others below their sampling error do not reduce the prior misfit
    misfit = (N_PRIOR * MISFIT**2 + np.maximum(others, 0.0)) / n
    statistic = distance / np.sqrt(variance + misfit)
    return Statistics(statistic, 2.0 * stats.t.sf(np.abs(statistic), n))


def _weights_in_means(neighborhood, codes, n_clusters):
    """Return the weight of each cell's count in the mean moment of each cluster, (n_cells, n_clusters)."""
    n_cells = len(codes)
    cluster = np.repeat(codes, np.diff(neighborhood.indptr))
    labeled = cluster >= 0
    # 64 bits, because cells times clusters may exceed 32 bits
    position = neighborhood.indices[labeled].astype(np.int64) * n_clusters + cluster[labeled]
    sums = np.bincount(position, weights=neighborhood.weights[labeled], minlength=n_cells * n_clusters)
    cluster_sizes = np.bincount(codes[codes >= 0], minlength=n_clusters)
    return sums.reshape(n_cells, n_clusters) / np.maximum(cluster_sizes, 1)


def curve_points(genes):
    """Return points along the fitted curve of each gene, through induction and repression back to the origin.

    Parameters
    ----------
    genes : dict of ndarray, shape (n_genes,)
        Columns of a dynamical fit.

    Returns
    -------
    ndarray of float64, shape (n_genes, n_points, 2)
        u and s in the units of the moments; NaN for genes without a fit.
    """
    alpha, gamma, switch, scaling = (genes[f"fit_{name}"][:, None] for name in ("alpha", "gamma", "t_", "scaling"))
    beta = genes["fit_beta"][:, None] * scaling
    induction, repression = (
        np.sort(np.concatenate([_even_decay(rate, duration) for rate in (beta, gamma)], axis=1), axis=1)
        for duration in (switch, np.inf)
    )
    induction = np.concatenate([induction, switch], axis=1)
    u_on, s_on = unspliced_at(induction, 0.0, alpha, beta), spliced_at(induction, 0.0, 0.0, alpha, beta, gamma)
    u0, s0 = u_on[:, -1:], s_on[:, -1:]
    u_off, s_off = unspliced_at(repression, u0, 0.0, beta), spliced_at(repression, s0, u0, 0.0, beta, gamma)
    origin = np.zeros_like(u0)
    u, s = (np.concatenate(parts, axis=1) for parts in ((u_on, u_off, origin), (s_on, s_off, origin)))
    return np.stack([u * scaling, s], axis=2)


def _even_decay(rate, duration):
    """Return times up to `duration` that are evenly spaced in exp(-rate t), down to `END_FRACTION`, (n_genes, n)."""
    remaining = np.maximum(np.exp(-rate * duration), END_FRACTION)
    return -np.log1p(-np.linspace(0.0, 1.0, N_POINTS // 2) * (1.0 - remaining)) / rate


@njit(cache=True, parallel=True, error_model="numpy")
def cluster_mean_abundances(unspliced, spliced, curves, codes, n_clusters):
    """Return the mean over each cluster of the nearest points to its cells on the curve of each gene.

    Parameters
    ----------
    unspliced, spliced : ndarray of float, shape (n_genes, n_cells)
        First moments.
    curves : ndarray of float64, shape (n_genes, n_points, 2)
        Points (u, s) of each curve, connected by line segments.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for none.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    ndarray of float64, shape (n_genes, n_clusters, 2)
        Mean u and s; NaN for clusters without cells.
    """
    means = np.zeros((len(curves), n_clusters, 2))
    for gene in prange(len(curves)):
        cluster_sizes = np.zeros(n_clusters)
        for cell in range(len(codes)):
            cluster = codes[cell]
            if cluster >= 0:
                u, s = nearest_point(unspliced[gene, cell], spliced[gene, cell], curves[gene])
                means[gene, cluster, 0] += u
                means[gene, cluster, 1] += s
                cluster_sizes[cluster] += 1.0
        for cluster in range(n_clusters):
            means[gene, cluster] /= cluster_sizes[cluster]
    return means


@njit(cache=True, error_model="numpy")
def nearest_point(u, s, points):
    """Return the point nearest to (u, s) on the line segments between successive `points`, (n_points, 2)."""
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


def drop_genes_without_common_cells(differs, codes):
    """Return `differs` without the genes in which too few cells with common kinetics remain for a refit.

    Parameters
    ----------
    differs : ndarray of bool, shape (n_genes, n_clusters)
        True for clusters with kinetics of their own.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for none. Cells without a cluster have common kinetics.

    Returns
    -------
    ndarray of bool, shape (n_genes, n_clusters)
        All False for genes with fewer than `MIN_CELLS` cells of common kinetics.
    """
    n_common = np.append(~differs, np.ones((len(differs), 1), dtype=bool), axis=1)[:, codes].sum(axis=1)
    return differs & (n_common >= MIN_CELLS)[:, None]


def refit(block, differs, codes, **options):
    """Refit genes without the clusters that have kinetics of their own, and give those clusters their own slopes.

    The curve is fitted to the other cells, with neighborhoods among these. A cluster with kinetics of its own has the
    velocity beta (u - slope s) of its observed moments, at least -s. The slope is that of the steady-state model for
    this cluster. The rate beta is that of the curve of the other cells, which has the time unit of all genes. With the
    orthogonal line through the cluster of scVelo's test, its mean velocity would be near 0. In simulations that line
    has 61 % of the signs right, the slope of the steady-state model 74 % and the common curve 70 %.

    `velocity_u` is 0 in these clusters, because their transcription rate is unknown. Their cells are assigned to times
    on the curve of the other cells, because latent time requires gene times of all cells.

    Parameters
    ----------
    block : veloshard.contract.GeneBlock
        Normalized counts of the genes.
    differs : ndarray of bool, shape (n_genes, n_clusters)
        True for clusters with kinetics of their own.
    codes : ndarray of int, shape (n_cells,)
        Cluster of each cell, -1 for none.
    **options
        Options of `methods.run`, with the name of a method that fits curves as `method`. It takes `fit_all_genes`, so
        that its bounds on r2 and slope are not applied.

    Returns
    -------
    veloshard.contract.Fit
        Genes with some True in `differs`, in their order. Columns are those of the curve of the other cells. Genes that
        could not be fitted without those clusters have a reason in `reason`.
    """
    block, differs = _select_genes(block, np.flatnonzero(differs.any(axis=1))), differs[differs.any(axis=1)]
    options = options | {"fit_all_genes": True}
    patterns, pattern_of = np.unique(differs, axis=0, return_inverse=True)
    if len(patterns) == 0:
        return methods.run(block, **options)
    parts, rows = [], []
    for k, pattern in enumerate(patterns):
        rows.append(np.flatnonzero(pattern_of.ravel() == k))
        left_out = np.append(pattern, False)[codes]  # code -1 is the last entry: cells without a cluster are fitted
        parts.append(_refit_without(_select_genes(block, rows[-1]), left_out, codes, options))
    order = np.argsort(np.concatenate(rows))
    genes, layers = zip(*parts, strict=True)
    return contract.Fit(
        *({name: np.concatenate([part[name] for part in kind])[order] for name in kind[0]} for kind in (genes, layers))
    )


def _refit_without(block, left_out, codes, options):
    """Return the `Fit` without the cells `left_out`, bool (n_cells,), which get the slopes of their clusters."""
    kept = np.flatnonzero(~left_out)
    fit = methods.run(_select_cells(block, kept), **options)
    layers = {name: np.full((len(block.names), len(codes)), np.nan, dtype=np.float32) for name in fit.layers}
    for name, values in fit.layers.items():
        layers[name][:, kept] = values
    unspliced, spliced = (first_moments(counts, block.neighborhood) for counts in (block.unspliced, block.spliced))
    slopes = np.zeros_like(spliced)
    for cluster in np.unique(codes[left_out]):
        own = codes == cluster
        slopes[:, own] = steady_state_ratio(spliced[:, own], unspliced[:, own], percentile=95)[:, None]
    for row in np.flatnonzero(fit.genes["status"] == "ok"):
        columns = {name: values[row] for name, values in fit.genes.items()}
        cluster_layers = _layers_by_slope(unspliced[row], spliced[row], slopes[row], columns, block.neighborhood)
        for name, values in cluster_layers.items():
            layers[name][row, left_out] = values[left_out]
    return contract.Fit(fit.genes, layers)


def _layers_by_slope(unspliced, spliced, slopes, columns, neighborhood):
    """Return the layers of a gene, (n_cells,) each, by the slope of each cell and the fitted curve in `columns`."""
    scaling = columns["fit_scaling"]
    beta = columns["fit_beta"] * scaling
    parameters = np.array([columns["fit_alpha"], beta, columns["fit_gamma"], columns["fit_t_"], scaling])
    assignment = assign_times(describe_gene(unspliced, spliced, neighborhood), neighborhood, parameters, True)
    return {
        "fit_t": neighborhood_means(assignment.time, neighborhood),
        "fit_tau": assignment.tau[ON],
        "fit_tau_": assignment.tau[OFF],
        "velocity": np.maximum(columns["fit_beta"] * (unspliced - slopes * spliced), -spliced),
        "velocity_u": np.zeros(len(spliced)),
    }


def _select_cells(block, cells):
    """Return a `GeneBlock` of some cells, by index, with equal weights of the neighbors among them."""
    n_cells = len(block.neighborhood.indptr) - 1
    indptr, indices = block.neighborhood.indptr.astype(np.int64), block.neighborhood.indices.astype(np.int64)
    shape = (n_cells, n_cells)
    averaging_weights = sparse.csr_matrix((block.neighborhood.weights, indices, indptr), shape=shape)[cells][:, cells]
    sizes = np.diff(averaging_weights.indptr)
    averaging_weights.data = np.repeat((1.0 / sizes).astype(np.float32), sizes)
    return block._replace(
        spliced=sparse.csc_matrix(block.spliced[cells]),
        unspliced=sparse.csc_matrix(block.unspliced[cells]),
        neighborhood=as_neighborhood(averaging_weights),
    )


def _select_genes(block, genes):
    """Return a `GeneBlock` of some genes, by a slice or indices."""
    return block._replace(
        names=block.names[genes], spliced=block.spliced[:, genes], unspliced=block.unspliced[:, genes]
    )
