"""Clusters with kinetics of their own: the test on curves that are known and on whole simulations, and the refit."""

from typing import NamedTuple

import anndata
import naive
import numpy as np
import pandas as pd
import pytest
from cells import with_threads
from scipy import sparse, stats
from veloshard import contract, methods, preprocess, simulate, store
from veloshard import differential_kinetics as kinetics
from veloshard.moments import neighborhood
from veloshard.neighbors import connectivity_weights

N_CELLS, N_CLUSTERS, SIZE = 600, 4, 31
ALPHA, BETA, GAMMA, SWITCH = 20.0, 1.0, 0.5, 4.0


def abundances(time, gamma=GAMMA):
    return simulate.abundances(time, 0.0, SWITCH, alpha=ALPHA, beta=BETA, gamma=gamma, starts_on=False)


def known_curve(*, n_genes=200, cluster=0, gamma=GAMMA, at_rest=False, seed=0):
    """Poisson counts of genes whose curve is known, in cells in order of time with neighborhoods of `SIZE` cells.

    cluster, gamma : one of the stages and what it has for a gamma.   at_rest : and whether it is at its steady state.
    Returns a `GeneBlock`, the columns of a fit that found the truth, and the codes of four stages.
    """
    rng = np.random.default_rng(seed)
    time = np.linspace(0.5, 8.0, N_CELLS)
    codes = np.arange(N_CELLS) * N_CLUSTERS // N_CELLS
    u, s = abundances(time, np.where(codes == cluster, gamma, GAMMA))
    if at_rest:
        u, s = (np.where(codes == cluster, ALPHA / rate, counts) for rate, counts in ((BETA, u), (gamma, s)))
    band = np.abs(np.subtract.outer(range(N_CELLS), range(N_CELLS))) <= SIZE // 2
    block = contract.GeneBlock(
        np.array([f"gene {k}" for k in range(n_genes)]),
        *(sparse.csc_matrix(rng.poisson(mean[:, None], (N_CELLS, n_genes)).astype(np.float32)) for mean in (s, u)),
        neighborhood(connectivity_weights(sparse.csr_matrix(band * 1.0))),
    )
    columns = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "t_": SWITCH, "scaling": 1.0}
    columns |= {"std_u": u.std(), "std_s": s.std()}
    return block, {f"fit_{name}": np.full(n_genes, value) for name, value in columns.items()}, codes


class Simulated(NamedTuple):
    block: contract.GeneBlock
    fit: contract.Fit
    codes: np.ndarray
    names: list
    altered: np.ndarray
    truth: np.ndarray


def simulated(folder, *, seed, fold):
    """A simulation in which some genes that are on in the last stage of fate B have their gamma changed there.

    truth : velocities (n_genes, n_cells).   altered : bool (n_genes,).
    """
    rng = np.random.default_rng(seed)
    known = simulate.simulate(rng, n_cells=1500, n_genes=200, depth=3000, noise=0.2)
    own = np.flatnonzero(known.cluster == "Fate B")
    level = known.spliced_abundance
    altered = (level[own].mean(axis=0) > 0.2 * level.mean(axis=0)) & (rng.random(200) < 0.2) & (fold != 1)
    gamma = known.gamma * np.where(rng.random(200) < 0.5, fold, 1 / fold)
    u, s = simulate.abundances(
        known.time[own, None],
        known.switch_on[1],
        known.switch_off[1],
        alpha=known.alpha,
        beta=known.beta,
        gamma=gamma,
        starts_on=known.kind == "down",
    )
    changed, velocity, layers = np.ix_(own, np.flatnonzero(altered)), known.velocity.copy(), {}
    velocity[changed] = (known.beta * u - gamma * s)[:, altered]
    for name, mean in (("spliced", s), ("unspliced", known.unspliced_capture * u)):
        counts = getattr(known, name).toarray()
        mean = known.size_factor[own, None] * mean[:, altered]
        counts[changed] = rng.poisson(mean * rng.gamma(25.0, 0.04, mean.shape))
        layers[name] = sparse.csr_matrix(counts)
    counts = anndata.AnnData(
        obs=pd.DataFrame({"clusters": pd.Categorical(known.cluster)}, index=known.cell_names),
        var=pd.DataFrame({"altered": altered}, index=known.gene_names),
        layers=layers,
        uns={"ingest": {}},
    )
    names = counts.var_names
    prepared = preprocess.prepare(counts, dataset="known")
    store.save_prepared(folder / "prepared.h5ad", prepared)
    block, _ = store.load_block(folder / "prepared.h5ad")
    labels = prepared.obs["clusters"].cat
    return Simulated(
        block,
        methods.run(block, method="dynamical"),
        labels.codes.to_numpy().astype(int),
        list(labels.categories),
        prepared.var["altered"].to_numpy(),
        velocity[:, names.get_indexer(prepared.var_names)].T,
    )


@pytest.fixture(scope="module", params=[1, 4], ids=["alike", "altered"])
def datasets(request, tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("kinetics"), seed=31, fold=request.param)


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("altered"), seed=31, fold=4)


def test_the_nearest_point_of_a_curve_equals_the_slow_twin():
    rng = np.random.default_rng(0)
    points = np.cumsum(rng.normal(size=(8, 2)), axis=0)
    for u, s in rng.normal(0, 2, size=(20, 2)):
        found = np.hypot(*(np.array(kinetics.nearest_point(u, s, points)) - [u, s]))
        expected = np.hypot(*(naive.nearest_on_lines(u, s, points) - [u, s]))
        # the twin has 2000 places on a line of length about 1
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("gamma", [0.05, 0.5, 1.0, 8.0])
def test_points_of_a_curve_are_dense_enough(gamma):
    columns = {"alpha": ALPHA, "beta": BETA, "gamma": gamma, "t_": SWITCH, "scaling": 1.0}
    points = kinetics.curve_points({f"fit_{name}": np.array([value]) for name, value in columns.items()})[0]
    for u, s in zip(*abundances(np.linspace(0, 15, 200), gamma), strict=True):
        gap = (np.array(kinetics.nearest_point(u, s, points)) - [u, s]) / points.max(axis=0)
        # a hundredth of the extent: a fifth of the least misfit that is reckoned with
        assert np.hypot(*gap) < 0.01


def test_statistics_equal_the_slow_twin():
    block, columns, codes = known_curve(n_genes=1)
    scale = np.array([columns["fit_std_u"][0], columns["fit_std_s"][0]])
    counts = [layer.toarray()[:, 0] / std for layer, std in zip((block.unspliced, block.spliced), scale, strict=True)]
    around = block.around
    weights = sparse.csr_matrix((around.weights, around.indices.astype(int), around.indptr.astype(int))).toarray()
    moments = [weights @ values for values in counts]
    curve = kinetics.curve_points(columns)[0] / scale
    all_cells = [values.mean() for values in moments]
    distance, variance = np.empty((2, N_CLUSTERS))
    for cluster in range(N_CLUSTERS):
        own = codes == cluster
        places = [naive.nearest_on_lines(u, s, curve) for u, s in zip(*(m[own] for m in moments), strict=True)]
        rays = np.mean(places, axis=0), all_cells
        distance[cluster], variance[cluster] = min(
            (naive.cluster_distance(*counts, weights, own, ray) for ray in rays), key=lambda found: abs(found[0])
        )
    weight = kinetics.MISFIT**2 / (variance + kinetics.MISFIT**2)
    for cluster in range(N_CLUSTERS):
        others = np.arange(N_CLUSTERS) != cluster
        excess = max(np.sum((weight * (distance**2 - variance))[others]), 0)
        n = kinetics.N_PRIOR + weight[others].sum()
        misfit = (kinetics.N_PRIOR * kinetics.MISFIT**2 + excess) / n
        expected = distance[cluster] / np.sqrt(variance[cluster] + misfit)
        found = kinetics.cluster_statistics(block, columns, codes, N_CLUSTERS)
        # the twin's places are as fine as its steps
        np.testing.assert_allclose(found.statistic[0, cluster], expected, atol=0.02)
        np.testing.assert_allclose(found.p_value[0, cluster], 2 * stats.t.sf(abs(found.statistic[0, cluster]), n))


def test_on_the_true_curve_p_values_hold_though_moments_share_counts(monkeypatch):
    monkeypatch.setattr(kinetics, "MISFIT", 1e-6)  # sampling noise alone
    block, columns, codes = known_curve()
    p = kinetics.cluster_statistics(block, columns, codes, N_CLUSTERS).p_value
    # 800 tests: three standard errors; who may also follow a line is found less often
    assert np.mean(p < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / p.size)
    # were moments independent, the standard error would be 1 / sqrt(31) of what it is and half of all found
    assert np.mean(p < 0.5) > 0.2


@pytest.mark.parametrize(("cluster", "gamma", "sign"), [(1, GAMMA * 3, 1), (3, GAMMA / 3, -1)])
def test_a_cluster_with_another_gamma_is_found_and_in_which_way(cluster, gamma, sign):
    block, columns, codes = known_curve(n_genes=20, cluster=cluster, gamma=gamma)
    found = kinetics.differing_clusters(block, columns, codes, list("abcd"))
    assert set(found.genes["fit_diff_kinetics"]) == {"abcd"[cluster]}
    assert (np.sign(found.pairs["statistic"][found.pairs["cluster"] == "abcd"[cluster]]) == sign).all()
    np.testing.assert_array_equal(found.genes["fit_pval_kinetics"], found.p_values[:, cluster])


def test_small_clusters_and_genes_without_a_fit_are_no_tests():
    block, columns, codes = known_curve(n_genes=3)
    columns = {name: np.where(np.arange(3) == 1, np.nan, values) for name, values in columns.items()}
    first = np.arange(N_CELLS) < kinetics.MIN_CELLS - 1
    codes = np.where(first, N_CLUSTERS, np.where(codes == 2, -1, codes))
    found = kinetics.differing_clusters(block, columns, codes, list("abcde"))
    tested = np.array([True, True, False, True, False]) & np.array([[True], [False], [True]])
    np.testing.assert_array_equal(np.isfinite(found.p_values), tested)
    assert len(found.pairs["q_value"]) == tested.sum()


def test_q_values_are_those_of_benjamini_and_hochberg():
    p = np.array([[0.01, np.nan, 0.02], [0.03, 0.5, np.nan]])
    # p times the number of tests, 4, over the rank, and never above the next one's
    np.testing.assert_allclose(kinetics.q_values(p), [[0.04, np.nan, 0.04], [0.04, 0.5, np.nan]])
    assert kinetics.q_values(np.full((2, 2), np.nan)).shape == (2, 2)


def test_a_gene_is_tested_alike_alone_among_others_and_on_any_number_of_threads():
    block, columns, codes = known_curve(n_genes=70)
    together = kinetics.differing_clusters(block, columns, codes, list("abcd")).p_values
    one = with_threads(1, kinetics.cluster_statistics, block, columns, codes, N_CLUSTERS).p_value
    last = kinetics._rows(block, slice(69, 70))
    alone = kinetics.cluster_statistics(last, {k: v[69:] for k, v in columns.items()}, codes, N_CLUSTERS).p_value
    assert together.tobytes() == one.tobytes()
    assert together[69:].tobytes() == alone.tobytes()


def test_few_clusters_are_found_that_do_not_differ(datasets):
    found = kinetics.differing_clusters(datasets.block, datasets.fit.genes, datasets.codes, datasets.names)
    p = found.p_values[~datasets.altered]
    p = p[np.isfinite(p)]
    # cautious on purpose: noise hides what `MISFIT` reckons with
    assert np.mean(p < 0.05) < 0.05
    assert np.mean(p < 0.01) < 0.01 + 3 * np.sqrt(0.01 / len(p))
    # at a false discovery rate of 5 %, and one more where few are found
    assert found.differs[~datasets.altered].sum() <= 1 + 0.05 * found.differs.sum()


def test_altered_genes_are_found_more_often_than_others(altered):
    found = kinetics.differing_clusters(altered.block, altered.fit.genes, altered.codes, altered.names)
    p = found.p_values[:, altered.names.index("Fate B")]
    tested = np.isfinite(p)
    assert np.mean(p[tested & altered.altered] < 0.05) > 5 * np.mean(p[tested & ~altered.altered] < 0.05)


def test_a_cluster_at_a_steady_state_of_its_own_stands_still_after_a_refit_and_others_move_as_they_did():
    at_rest, _, codes = known_curve(n_genes=20, cluster=3, gamma=2 * GAMMA, at_rest=True)
    own = codes == 3
    u, s = abundances(np.linspace(0.5, 8.0, N_CELLS))
    truth = np.where(own, 0.0, BETA * u - GAMMA * s)
    differs = np.tile(np.arange(N_CLUSTERS) == 3, (20, 1))
    before = methods.run(at_rest, method="dynamical", fit_all_genes=True)
    after = kinetics.refit(at_rest, differs, codes)
    contract.check(after, 20, N_CELLS)
    drift = [
        np.abs(fit.layers["velocity"][:, own].mean(axis=1)) / np.abs(fit.layers["velocity"][:, ~own]).max(axis=1)
        for fit in (before, after)
    ]
    # not 0, because a tenth of its cells share counts with those before them, which move
    assert np.median(drift[1]) < 0.1
    assert np.median(drift[1]) < np.median(drift[0])
    # what others are found to do is what a fit finds that never saw the cluster at rest
    outside = [cosines(fit.layers["velocity"][:, ~own], truth[~own]) for fit in (before, after)]
    assert np.median(outside[1]) > 0.95
    assert np.median(outside[1]) >= np.median(outside[0])


def cosines(found, truth):
    """Of the rows of two matrices, or of those of one with a vector."""
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(truth, axis=-1)
    return np.divide(np.sum(found * truth, axis=-1), norms, out=np.full(len(found), np.nan), where=norms > 0)


def test_a_refit_has_times_everywhere_and_the_genes_in_their_order(altered):
    differs = np.zeros((len(altered.block.names), len(altered.names)), dtype=bool)
    genes = np.flatnonzero(np.isfinite(altered.fit.genes["fit_alpha"]))[:4]
    differs[genes, [1, 2, 1, 2]] = True
    refitted = kinetics.refit(altered.block, differs, altered.codes)
    for row, gene in enumerate(genes):
        only = kinetics.refit(altered.block, differs & (np.arange(len(differs)) == gene)[:, None], altered.codes)
        for name, layer in only.layers.items():
            np.testing.assert_array_equal(refitted.layers[name][row], layer[0])
            assert np.isfinite(layer).all()


def test_no_cluster_that_differs_leaves_nothing_to_refit(altered):
    none = np.zeros((len(altered.block.names), len(altered.names)), dtype=bool)
    refitted = kinetics.refit(altered.block, none, altered.codes)
    contract.check(refitted, 0, len(altered.codes))


def test_a_gene_without_cells_of_common_kinetics_stays_as_it_is():
    codes = np.repeat([0, 1, -1], [20, 20, 3])
    differs = np.array([[True, True], [True, False], [False, False]])
    left = kinetics.with_common_cells(differs, codes)
    np.testing.assert_array_equal(left, [[False, False], [True, False], [False, False]])
