"""The test for differential kinetics, on genes with known curves and on simulations, and the refit."""

from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from support import naive
from support.cells import with_threads
from veloshard import contract, simulation
from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.kinetics import methods
from veloshard.kinetics.differential_kinetics import (
    MIN_CELLS,
    MISFIT,
    N_PRIOR,
    _select_genes,
    cluster_statistics,
    curve_points,
    drop_genes_without_common_cells,
    find_differential_kinetics,
    nearest_point,
    refit,
)
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate
from veloshard.statistics import false_discovery_rates

N_CELLS, N_CLUSTERS, SIZE = 600, 4, 31
ALPHA, BETA, GAMMA, SWITCH = 20.0, 1.0, 0.5, 4.0


def abundances_of(time, gamma=GAMMA):
    return simulation.abundances(time, 0.0, SWITCH, alpha=ALPHA, beta=BETA, gamma=gamma, starts_on=False)


def known_curve(*, n_genes=200, cluster=0, gamma=GAMMA, at_rest=False, seed=0):
    """Simulate Poisson counts of genes with one curve, in cells ordered in time with neighborhoods of `SIZE` cells.

    Parameters
    ----------
    n_genes : int
        Number of genes.
    cluster : int
        Cluster with a degradation rate of its own. The clusters are four successive stages.
    gamma : float
        That rate.
    at_rest : bool
        Put this cluster into its steady state.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    block : contract.GeneBlock
        The counts.
    columns : dict of ndarray
        Columns of a fit with the true parameters.
    codes : ndarray of int
        Cluster of each cell.
    """
    rng = np.random.default_rng(seed)
    time = np.linspace(0.5, 8.0, N_CELLS)
    codes = np.arange(N_CELLS) * N_CLUSTERS // N_CELLS
    u, s = abundances_of(time, np.where(codes == cluster, gamma, GAMMA))
    if at_rest:
        u, s = (np.where(codes == cluster, ALPHA / rate, counts) for rate, counts in ((BETA, u), (gamma, s)))
    band = np.abs(np.subtract.outer(range(N_CELLS), range(N_CELLS))) <= SIZE // 2
    block = contract.GeneBlock(
        np.array([f"gene {k}" for k in range(n_genes)]),
        *(sparse.csc_matrix(rng.poisson(mean[:, None], (N_CELLS, n_genes)).astype(np.float32)) for mean in (s, u)),
        as_neighborhood(averaging_weights(sparse.csr_matrix(band * 1.0))),
    )
    columns = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "t_": SWITCH, "scaling": 1.0}
    columns |= {"std_u": u.std(), "std_s": s.std()}
    return block, {f"fit_{name}": np.full(n_genes, value) for name, value in columns.items()}, codes


class Simulation(NamedTuple):
    """Simulated genes with their fit, and the genes whose gamma differs in cluster Fate B."""

    block: contract.GeneBlock
    fit: contract.Fit
    codes: np.ndarray
    names: list
    altered: np.ndarray
    truth: np.ndarray


def simulate_altered(folder, *, seed, fold):
    """Return a simulation in which gamma of some genes is multiplied or divided by `fold` in cluster Fate B."""
    rng = np.random.default_rng(seed)
    truth = simulate(rng, n_cells=1500, n_genes=200, depth=3000, noise=0.2)
    own = np.flatnonzero(truth.cluster == "Fate B")
    level = truth.spliced_abundance
    altered = (level[own].mean(axis=0) > 0.2 * level.mean(axis=0)) & (rng.random(200) < 0.2) & (fold != 1)
    gamma = truth.gamma * np.where(rng.random(200) < 0.5, fold, 1 / fold)
    u, s = simulation.abundances(
        truth.time[own, None],
        truth.switch_on[1],
        truth.switch_off[1],
        alpha=truth.alpha,
        beta=truth.beta,
        gamma=gamma,
        starts_on=truth.kind == "down",
    )
    changed, velocity, layers = np.ix_(own, np.flatnonzero(altered)), truth.velocity.copy(), {}
    velocity[changed] = (truth.beta * u - gamma * s)[:, altered]
    for name, mean in (("spliced", s), ("unspliced", truth.unspliced_capture * u)):
        counts = getattr(truth, name).toarray()
        mean = truth.size_factor[own, None] * mean[:, altered]
        counts[changed] = rng.poisson(mean * rng.gamma(25.0, 0.04, mean.shape))
        layers[name] = sparse.csr_matrix(counts)
    counts = anndata.AnnData(
        obs=pd.DataFrame({"clusters": pd.Categorical(truth.cluster)}, index=truth.cell_names),
        var=pd.DataFrame({"altered": altered}, index=truth.gene_names),
        layers=layers,
        uns={"ingest": {}},
    )
    names = counts.var_names
    prepared = prepare_data(counts, dataset="simulation")
    save_prepared(folder / "prepared.h5ad", prepared)
    block, _ = load_gene_block(folder / "prepared.h5ad")
    labels = prepared.obs["clusters"].cat
    return Simulation(
        block,
        methods.run(block, method="dynamical"),
        labels.codes.to_numpy().astype(int),
        list(labels.categories),
        prepared.var["altered"].to_numpy(),
        velocity[:, names.get_indexer(prepared.var_names)].T,
    )


@pytest.fixture(scope="module", params=[1, 4], ids=["common", "altered"])
def datasets(request, tmp_path_factory):
    return simulate_altered(tmp_path_factory.mktemp("kinetics"), seed=31, fold=request.param)


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    return simulate_altered(tmp_path_factory.mktemp("altered"), seed=31, fold=4)


def test_nearest_point_equals_naive_implementation():
    rng = np.random.default_rng(0)
    points = np.cumsum(rng.normal(size=(8, 2)), axis=0)
    for u, s in rng.normal(0, 2, size=(20, 2)):
        distance = np.hypot(*(np.array(nearest_point(u, s, points)) - [u, s]))
        expected = np.hypot(*(naive.nearest_on_lines(u, s, points) - [u, s]))
        # the naive implementation tries 2001 points on a segment of length about 1
        np.testing.assert_allclose(distance, expected, atol=1e-3)


@pytest.mark.parametrize("gamma", [0.05, 0.5, 1.0, 8.0])
def test_line_segments_approximate_the_curve(gamma):
    columns = {"alpha": ALPHA, "beta": BETA, "gamma": gamma, "t_": SWITCH, "scaling": 1.0}
    points = curve_points({f"fit_{name}": np.array([value]) for name, value in columns.items()})[0]
    for u, s in zip(*abundances_of(np.linspace(0, 15, 200), gamma), strict=True):
        gap = (np.array(nearest_point(u, s, points)) - [u, s]) / points.max(axis=0)
        # 1 % of the extent, a fifth of `MISFIT`
        assert np.hypot(*gap) < 0.01


def test_statistics_equal_naive_implementation():
    block, columns, codes = known_curve(n_genes=1)
    scale = np.array([columns["fit_std_u"][0], columns["fit_std_s"][0]])
    counts = [layer.toarray()[:, 0] / std for layer, std in zip((block.unspliced, block.spliced), scale, strict=True)]
    neighborhood = block.neighborhood
    weights = sparse.csr_matrix(
        (neighborhood.weights, neighborhood.indices.astype(int), neighborhood.indptr.astype(int))
    ).toarray()
    moments = [weights @ values for values in counts]
    curve = curve_points(columns)[0] / scale
    all_cells = [values.mean() for values in moments]
    distance, variance = np.empty((2, N_CLUSTERS))
    for cluster in range(N_CLUSTERS):
        own = codes == cluster
        nearest = [naive.nearest_on_lines(u, s, curve) for u, s in zip(*(m[own] for m in moments), strict=True)]
        rays = np.mean(nearest, axis=0), all_cells
        distance[cluster], variance[cluster] = min(
            (naive.cluster_distance(*counts, weights, own, ray) for ray in rays), key=lambda result: abs(result[0])
        )
    weight = MISFIT**2 / (variance + MISFIT**2)
    for cluster in range(N_CLUSTERS):
        others = np.arange(N_CLUSTERS) != cluster
        excess = max(np.sum((weight * (distance**2 - variance))[others]), 0)
        n = N_PRIOR + weight[others].sum()
        misfit = (N_PRIOR * MISFIT**2 + excess) / n
        expected = distance[cluster] / np.sqrt(variance[cluster] + misfit)
        statistics = cluster_statistics(block, columns, codes, N_CLUSTERS)
        # the tolerance is that of the steps of the naive implementation
        np.testing.assert_allclose(statistics.statistic[0, cluster], expected, atol=0.02)
        p_value = 2 * stats.t.sf(abs(statistics.statistic[0, cluster]), n)
        np.testing.assert_allclose(statistics.p_value[0, cluster], p_value)


def test_p_values_are_valid_on_the_true_curve_although_moments_share_counts(monkeypatch):
    monkeypatch.setattr("veloshard.kinetics.differential_kinetics.MISFIT", 1e-6)  # sampling noise alone
    block, columns, codes = known_curve()
    p = cluster_statistics(block, columns, codes, N_CLUSTERS).p_value
    # 800 tests, three standard errors; the alternative of a line makes the test conservative
    assert np.mean(p < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / p.size)
    # standard errors are not far too large either: about half of the p-values are below 0.5
    assert np.mean(p < 0.5) > 0.2


@pytest.mark.parametrize(("cluster", "gamma", "sign"), [(1, GAMMA * 3, 1), (3, GAMMA / 3, -1)])
def test_a_cluster_with_another_gamma_is_detected_with_the_sign_of_the_difference(cluster, gamma, sign):
    block, columns, codes = known_curve(n_genes=20, cluster=cluster, gamma=gamma)
    result = find_differential_kinetics(block, columns, codes, list("abcd"))
    assert set(result.genes["fit_diff_kinetics"]) == {"abcd"[cluster]}
    assert (np.sign(result.pairs["statistic"][result.pairs["cluster"] == "abcd"[cluster]]) == sign).all()
    np.testing.assert_array_equal(result.genes["fit_pval_kinetics"], result.p_values[:, cluster])


def test_small_clusters_and_genes_without_a_fit_are_not_tested():
    block, columns, codes = known_curve(n_genes=3)
    columns = {name: np.where(np.arange(3) == 1, np.nan, values) for name, values in columns.items()}
    first = np.arange(N_CELLS) < MIN_CELLS - 1
    codes = np.where(first, N_CLUSTERS, np.where(codes == 2, -1, codes))
    result = find_differential_kinetics(block, columns, codes, list("abcde"))
    tested = np.array([True, True, False, True, False]) & np.array([[True], [False], [True]])
    np.testing.assert_array_equal(np.isfinite(result.p_values), tested)
    assert len(result.pairs["q_value"]) == tested.sum()


def test_q_values_are_those_of_benjamini_hochberg():
    p = np.array([[0.01, np.nan, 0.02], [0.03, 0.5, np.nan]])
    # p times the number of tests, 4, over the rank, at most that of the next rank
    np.testing.assert_allclose(false_discovery_rates(p), [[0.04, np.nan, 0.04], [0.04, 0.5, np.nan]])
    assert false_discovery_rates(np.full((2, 2), np.nan)).shape == (2, 2)


def test_p_values_are_bitwise_identical_for_any_number_of_genes_and_threads():
    block, columns, codes = known_curve(n_genes=70)
    all_genes = find_differential_kinetics(block, columns, codes, list("abcd")).p_values
    one_thread = with_threads(1, cluster_statistics, block, columns, codes, N_CLUSTERS).p_value
    last = _select_genes(block, slice(69, 70))
    alone = cluster_statistics(last, {k: v[69:] for k, v in columns.items()}, codes, N_CLUSTERS).p_value
    assert all_genes.tobytes() == one_thread.tobytes()
    assert all_genes[69:].tobytes() == alone.tobytes()


def test_false_positives_are_controlled(datasets):
    result = find_differential_kinetics(datasets.block, datasets.fit.genes, datasets.codes, datasets.names)
    p = result.p_values[~datasets.altered]
    p = p[np.isfinite(p)]
    # the test is conservative, because noise exceeds `MISFIT`
    assert np.mean(p < 0.05) < 0.05
    assert np.mean(p < 0.01) < 0.01 + 3 * np.sqrt(0.01 / len(p))
    # at a false discovery rate of 5 %, plus one
    assert result.differs[~datasets.altered].sum() <= 1 + 0.05 * result.differs.sum()


def test_altered_genes_are_detected_more_often_than_others(altered):
    result = find_differential_kinetics(altered.block, altered.fit.genes, altered.codes, altered.names)
    p = result.p_values[:, altered.names.index("Fate B")]
    tested = np.isfinite(p)
    assert np.mean(p[tested & altered.altered] < 0.05) > 5 * np.mean(p[tested & ~altered.altered] < 0.05)


def test_refit_gives_velocity_0_to_a_cluster_in_its_own_steady_state_and_does_not_worsen_the_others():
    at_rest, _, codes = known_curve(n_genes=20, cluster=3, gamma=2 * GAMMA, at_rest=True)
    own = codes == 3
    u, s = abundances_of(np.linspace(0.5, 8.0, N_CELLS))
    truth = np.where(own, 0.0, BETA * u - GAMMA * s)
    differs = np.tile(np.arange(N_CLUSTERS) == 3, (20, 1))
    before = methods.run(at_rest, method="dynamical", fit_all_genes=True)
    after = refit(at_rest, differs, codes, method="dynamical")
    contract.check(after, 20, N_CELLS)
    drift = [
        np.abs(fit.layers["velocity"][:, own].mean(axis=1)) / np.abs(fit.layers["velocity"][:, ~own]).max(axis=1)
        for fit in (before, after)
    ]
    # not 0, because a tenth of its cells share counts with the cluster before it
    assert np.median(drift[1]) < 0.1
    assert np.median(drift[1]) < np.median(drift[0])
    # the other clusters are fitted without the cluster at rest
    outside = [cosines(fit.layers["velocity"][:, ~own], truth[~own]) for fit in (before, after)]
    assert np.median(outside[1]) > 0.95
    assert np.median(outside[1]) >= np.median(outside[0])


def cosines(velocity, truth):
    """Return the cosines of the rows of a matrix with those of another one, or with a vector."""
    norms = np.linalg.norm(velocity, axis=-1) * np.linalg.norm(truth, axis=-1)
    return np.divide(np.sum(velocity * truth, axis=-1), norms, out=np.full(len(velocity), np.nan), where=norms > 0)


def test_refit_has_times_of_all_cells_and_keeps_the_order_of_the_genes(altered):
    differs = np.zeros((len(altered.block.names), len(altered.names)), dtype=bool)
    genes = np.flatnonzero(np.isfinite(altered.fit.genes["fit_alpha"]))[:4]
    differs[genes, [1, 2, 1, 2]] = True
    refitted = refit(altered.block, differs, altered.codes, method="dynamical")
    for row, gene in enumerate(genes):
        single = refit(
            altered.block, differs & (np.arange(len(differs)) == gene)[:, None], altered.codes, method="dynamical"
        )
        for name, layer in single.layers.items():
            np.testing.assert_array_equal(refitted.layers[name][row], layer[0])
            assert np.isfinite(layer).all()


def test_refit_without_differing_clusters_is_empty(altered):
    none = np.zeros((len(altered.block.names), len(altered.names)), dtype=bool)
    refitted = refit(altered.block, none, altered.codes, method="dynamical")
    contract.check(refitted, 0, len(altered.codes))


def test_genes_without_cells_of_common_kinetics_are_not_refitted():
    codes = np.repeat([0, 1, -1], [20, 20, 3])
    differs = np.array([[True, True], [True, False], [False, False]])
    refittable = drop_genes_without_common_cells(differs, codes)
    np.testing.assert_array_equal(refittable, [[False, False], [True, False], [False, False]])
