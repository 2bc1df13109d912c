import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from support.cells import nearest
from veloshard.analysis.cluster_likelihoods import cluster_likelihoods
from veloshard.analysis.effective_cells import effective_cells
from veloshard.analysis.rank_genes import (
    ClusterComparison,
    rank_velocity_genes,
    ranking_table,
)
from veloshard.kinetics.methods.dynamical.gene import describe_gene
from veloshard.kinetics.splicing import spliced_at, unspliced_at
from veloshard.labels import cluster_codes
from veloshard.neighborhood import as_neighborhood, averaging_weights
from veloshard.output.rankings import load_ranking, rankings_for_anndata
from veloshard.statistics import false_discovery_rates

rng = np.random.default_rng


def identity_weights(n_cells):
    """Return the averaging weights of cells that are not averaged."""
    return sparse.identity(n_cells, dtype=np.float32, format="csr")


def cliques(n_cliques, size):
    """Return the averaging weights of cells that share all counts within their clique and none with other cells."""
    return sparse.block_diag([sparse.csr_matrix(np.full((size, size), 1 / size))] * n_cliques, format="csr")


def random_cells(n_cells=1500, n_neighbors=20, seed=0):
    """Return coordinates of cells, and the averaging weights of their neighbor graph."""
    coordinates = rng(seed).normal(size=(n_cells, 4))
    distances = nearest(coordinates, n_neighbors)
    return coordinates, averaging_weights(distances + distances.T)


def assign_to_centers(coordinates, n_clusters, seed=0):
    """Return the cluster of each cell, which is the nearest of some randomly chosen cells."""
    centers = coordinates[rng(seed).choice(len(coordinates), n_clusters, replace=False)]
    return ((coordinates[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)


def compare_clusters(velocity, codes, weights=None):
    weights = identity_weights(len(codes)) if weights is None else weights
    return rank_velocity_genes(velocity, codes, codes.max() + 1, weights)


def test_independent_cells_are_compared_by_welchs_test():
    codes = np.repeat([0, 1, 2, -1], [15, 40, 25, 10])
    velocity = rng(0).normal(size=(30, 90), loc=0.2 * codes, scale=1 + codes).astype(np.float32)
    comparison = compare_clusters(velocity, codes)
    for cluster in range(3):
        inside, outside = codes == cluster, (codes != cluster) & (codes >= 0)
        velocities = [velocity[:, cells].astype(np.float64) for cells in (inside, outside)]
        expected = stats.ttest_ind(*velocities, axis=1, equal_var=False)
        np.testing.assert_allclose(comparison.score[cluster], expected.statistic, rtol=1e-9)
        np.testing.assert_allclose(comparison.p_value[cluster], expected.pvalue, rtol=1e-9)
        np.testing.assert_allclose(
            comparison.difference[cluster], velocities[0].mean(1) - velocities[1].mean(1), rtol=1e-9
        )


def test_cells_that_share_all_counts_count_as_one_cell():
    values = rng(0).normal(size=(5, 20)).astype(np.float32)
    codes = np.repeat([0, 1], [8, 12])
    expected = stats.ttest_ind(values[:, :8].astype(float), values[:, 8:].astype(float), axis=1, equal_var=False)
    comparison = compare_clusters(np.repeat(values, 7, axis=1), np.repeat(codes, 7), cliques(20, 7))
    np.testing.assert_allclose(comparison.score[0], expected.statistic, rtol=1e-6)
    np.testing.assert_allclose(comparison.p_value[0], expected.pvalue, rtol=1e-6)


def test_effective_cells_equal_those_from_the_dense_covariance():
    # all formulas from the dense covariance of the velocities, W W'
    coordinates, weights = random_cells(n_cells=120, n_neighbors=8)
    codes = assign_to_centers(coordinates, 3)
    codes[::11] = -1
    covariance = (weights @ weights.T).toarray().astype(np.float64)
    effective = effective_cells(weights, codes, 3)
    for cluster in range(3):
        sides = [np.flatnonzero(codes == cluster), np.flatnonzero((codes >= 0) & (codes != cluster))]
        variances = []
        for side, cells in enumerate(sides):
            side_covariance = covariance[np.ix_(cells, cells)]
            centering = np.eye(len(cells)) - 1 / len(cells)
            deviations = centering @ side_covariance @ centering
            variances.append(side_covariance.mean())
            variance_between_cells = np.trace(deviations) / (len(cells) - 1)
            assert effective.effective[side, cluster] == pytest.approx(
                variance_between_cells / side_covariance.mean(), rel=1e-5
            )
            freedom = np.trace(deviations) ** 2 / np.trace(deviations @ deviations)
            assert effective.freedom[side, cluster] == pytest.approx(freedom, rel=1e-5)
        correlation = covariance[np.ix_(*sides)].mean() / np.sqrt(np.prod(variances))
        assert effective.correlation[cluster] == pytest.approx(correlation, rel=1e-5)
    assert (effective.reason == "").all()


def test_the_effective_number_is_about_cells_over_neighborhood_size():
    # cells on a ring that are averaged over 21 cells, with an error from neighborhoods across the boundary
    offsets = np.arange(-10, 11)
    cells = np.repeat(np.arange(1000), 21)
    ring = sparse.csr_matrix((np.full(21_000, 1 / 21), (cells, (cells + np.tile(offsets, 1000)) % 1000)))
    effective = effective_cells(ring, np.repeat([0, 1], 500), 2)
    np.testing.assert_allclose(effective.effective, 500 / 21, rtol=0.05)


def test_p_values_of_noise_are_uniform_and_those_without_effective_cells_are_not():
    # counts that differ between cells by chance only, averaged over neighbors; clusters are regions of the graph
    coordinates, weights = random_cells()
    codes = assign_to_centers(coordinates, 6)
    spliced, unspliced = (rng(seed).poisson(mean, size=(len(codes), 600)) for seed, mean in ((1, 1.0), (2, 0.4)))
    velocity = (weights @ (unspliced - 0.4 * spliced)).T.astype(np.float32)
    p_value = compare_clusters(velocity, codes, weights).p_value
    p_value_of_independent_cells = compare_clusters(velocity, codes).p_value
    for cluster in range(6):
        # one in a thousand tests of uniform p-values fails
        assert stats.kstest(p_value[cluster], "uniform").pvalue > 1e-3
        # 600 genes: 0.05 +- 3.3 standard deviations of 0.009
        assert np.mean(p_value[cluster] < 0.05) == pytest.approx(0.05, abs=0.03)
        assert np.mean(p_value_of_independent_cells[cluster] < 0.05) > 0.3


def test_p_values_of_noise_are_no_smaller_than_uniform_in_small_clusters():
    coordinates, weights = random_cells()
    codes = np.where(np.isin(np.arange(1500), np.argsort(coordinates[:, 0])[:15]), 0, 1)
    velocity = (weights @ rng(3).normal(size=(1500, 2000))).T.astype(np.float32)
    p_value = compare_clusters(velocity, codes, weights).p_value[0]
    # 2000 genes: 0.05 + 3 standard deviations of 0.005
    assert np.mean(p_value < 0.05) < 0.065
    assert np.mean(p_value < 0.5) == pytest.approx(0.5, abs=0.06)


def test_a_gene_with_a_velocity_in_one_cluster_ranks_first_there():
    coordinates, weights = random_cells(n_cells=600)
    codes = assign_to_centers(coordinates, 3)
    noise = rng(0).normal(size=(600, 40))
    noise[:, 7] += 2.0 * (codes == 1)
    comparison = compare_clusters((weights @ noise).T.astype(np.float32), codes, weights)
    assert comparison.score[1].argmax() == 7
    assert comparison.q_value[1, 7] < 1e-4
    assert np.sum(comparison.q_value < 0.05) <= 5


def test_false_discovery_rates_are_over_the_genes_of_a_cluster():
    p_values = np.array([[0.01, 0.04, np.nan, 0.03, 0.5], [np.nan] * 5])
    # from the largest: 0.5, 0.04 * 4 / 3, the same again because 0.03 * 4 / 2 is larger, and 0.01 * 4 / 1
    expected = [0.04, 0.16 / 3, np.nan, 0.16 / 3, 0.5]
    q_values = false_discovery_rates(p_values, axis=1)
    np.testing.assert_allclose(q_values[0], expected, rtol=1e-12)
    assert np.isnan(q_values[1]).all()


def test_clusters_that_cannot_be_tested_are_nan_with_a_reason():
    codes = np.array([0, 1, 1, 1, 1, 2, 2, 2, -1])
    weights = sparse.block_diag([sparse.eye(5), np.full((3, 3), 1 / 3), np.eye(1)], format="csr")
    assert effective_cells(weights, codes, 4).reason.tolist() == [
        "it has only one cell",
        "",
        "its cells or all others have identical neighborhoods",
        "it has no cells",
    ]
    comparison = rank_velocity_genes(rng(0).normal(size=(6, 9)).astype(np.float32), codes, 4, weights)
    for values in comparison:
        assert np.isfinite(values).all(axis=1).tolist() == [False, True, False, False]
        assert np.isnan(values[[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ([0, 0, 0, 0], "there are no other labeled cells"),
        ([0, 0, 0, 1], "there is only one other labeled cell"),
    ],
)
def test_a_cluster_without_other_cells_is_not_tested(codes, reason):
    assert effective_cells(identity_weights(4), np.array(codes), 1 + max(codes)).reason[0] == reason
    assert np.isnan(compare_clusters(np.ones((2, 4), np.float32), np.array(codes)).score).all()


def test_constant_genes_have_score_zero_and_p_value_one():
    codes = np.repeat([0, 1], 10)
    # sums of 0.1 are not exact
    comparison = compare_clusters(np.full((1, 20), 0.1, np.float32), codes)
    assert comparison.score.tolist() == [[0], [0]]
    assert comparison.p_value.tolist() == [[1], [1]]


def test_a_difference_without_variance_has_p_value_zero():
    comparison = compare_clusters(np.repeat([[0, 1]], 10, axis=1).astype(np.float32), np.repeat([0, 1], 10))
    assert comparison.score.tolist() == [[-np.inf], [np.inf]]
    assert comparison.p_value.tolist() == [[0], [0]]


def test_genes_without_velocities_have_no_score_and_do_not_affect_other_genes():
    codes = np.repeat([0, 1, -1], 10)
    velocity = rng(0).normal(size=(6, 30)).astype(np.float32)
    missing = velocity.copy()
    missing[2] = np.nan
    missing[3, 13] = np.nan
    missing[4, 23] = np.nan  # in a cell without a label
    comparison, complete = compare_clusters(missing, codes), compare_clusters(velocity, codes)
    assert np.isnan(comparison.p_value).any(axis=0).tolist() == [False, False, True, True, False, False]
    assert np.isnan(comparison.q_value[:, [2, 3]]).all()
    np.testing.assert_array_equal(comparison.score[:, [0, 1, 4, 5]], complete.score[:, [0, 1, 4, 5]])


def test_scores_do_not_depend_on_the_block_size(monkeypatch):
    coordinates, weights = random_cells(n_cells=300, n_neighbors=6)
    codes, velocity = assign_to_centers(coordinates, 4), rng(0).normal(size=(50, 300)).astype(np.float32)
    whole = compare_clusters(velocity, codes, weights)
    monkeypatch.setattr("veloshard.analysis.rank_genes._BLOCK", 7 * 300)
    for values, expected in zip(compare_clusters(velocity, codes, weights), whole, strict=True):
        assert values.tobytes() == expected.tobytes()
    monkeypatch.setattr("veloshard.analysis.effective_cells._ROWS", 17)
    for values, expected in zip(compare_clusters(velocity, codes, weights), whole, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-12)


# alpha, beta, gamma, switching time and scaling
KINETICS = (3.0, 0.8, 0.4, 6.0, 1.5)


def noisy_gene(noise=0.1, seed=0):
    """Return moments of 400 cells near a curve, the columns of the fit, the times on both branches, and the curve.

    Every other cell is in induction. The noise of the last hundred cells is three times larger.
    """
    alpha, beta, gamma, switching_time, scaling = KINETICS
    off = np.linspace(0, 4, 400)
    on = np.linspace(0.5, 6, 400)
    in_induction = np.arange(400) % 2 == 0
    u0, s0 = unspliced_at(6.0, 0.0, alpha, beta), spliced_at(6.0, 0.0, 0.0, alpha, beta, gamma)
    u = np.where(in_induction, unspliced_at(on, 0.0, alpha, beta), unspliced_at(off, u0, 0.0, beta))
    s = np.where(in_induction, spliced_at(on, 0.0, 0.0, alpha, beta, gamma), spliced_at(off, s0, u0, 0.0, beta, gamma))
    deviations = noise * np.where(np.arange(400) < 300, 1, 3) * rng(seed).normal(size=(2, 400))
    unspliced, spliced = (
        np.maximum(moments, 0.01).astype(np.float32)[None]
        for moments in ((u + deviations[0]) * scaling, s + deviations[1])
    )
    columns = {
        "fit_alpha": np.array([alpha]),
        "fit_beta": np.array([beta / scaling]),
        "fit_gamma": np.array([gamma]),
        "fit_t_": np.array([switching_time]),
        "fit_scaling": np.array([scaling]),
    }
    return unspliced, spliced, columns, np.stack([off, on])[:, None].astype(np.float32), np.stack([u * scaling, s])


QUARTERS = np.repeat([0, 1, 2, 3], 100)


def compute_likelihoods(columns, unspliced, spliced, tau, codes=QUARTERS):
    return cluster_likelihoods(
        columns,
        unspliced=unspliced,
        spliced=spliced,
        tau=tau,
        codes=codes,
        n_clusters=4,
        neighborhood=as_neighborhood(identity_weights(len(codes))),
    )


def test_the_likelihood_of_a_cluster_follows_from_its_distances_to_the_curve():
    unspliced, spliced, columns, tau, _ = noisy_gene()
    likelihoods = compute_likelihoods(columns, unspliced, spliced, tau)[:, 0]
    alpha, beta, gamma, _, scaling = KINETICS
    gene = describe_gene(unspliced[0], spliced[0])
    u0, s0 = unspliced_at(6.0, 0.0, alpha, beta), spliced_at(6.0, 0.0, 0.0, alpha, beta, gamma)
    off, on = tau[:, 0].astype(float)
    branches = [
        (unspliced_at(on, 0.0, alpha, beta), spliced_at(on, 0.0, 0.0, alpha, beta, gamma)),
        (unspliced_at(off, u0, 0.0, beta), spliced_at(off, s0, u0, 0.0, beta, gamma)),
    ]
    # steady states where induction and repression start
    steady_states = [(0, 0), (alpha / beta, alpha / gamma)]
    residuals = [
        ((gene.unspliced - scaling * u) / gene.std_u, (gene.spliced - s) / gene.std_s)
        for u, s in branches + steady_states
    ]
    squares = np.array([du**2 + ds**2 for du, ds in residuals])
    branch = squares.argmin(axis=0) % 2
    every_cell = np.arange(400)
    square = squares[branch, every_cell]
    sign = np.sign([residuals[0][1], residuals[1][1]])[branch, every_cell]
    high = (gene.unspliced > gene.unspliced.max() / 5) & (gene.spliced > gene.spliced.max() / 5)
    variance = np.var(sign[high] * np.sqrt(square[high]))
    for cluster in range(4):
        cells = high & (cluster == QUARTERS)
        if cells.sum() < 21:
            assert np.isnan(likelihoods[cluster])
            continue
        mean = square[cells].sum() / (cells.sum() - 1)
        expected = np.exp(-0.5 * mean / variance) / np.sqrt(2 * np.pi * variance)
        assert likelihoods[cluster] == pytest.approx(expected, rel=1e-9)
    assert likelihoods[3] < 0.7 * np.nanmin(likelihoods[:3])


def test_a_cluster_with_low_expression_of_a_gene_has_no_likelihood():
    unspliced, spliced, columns, tau, _ = noisy_gene()
    spliced[0, 200:285] = 0.001
    likelihoods = compute_likelihoods(columns, unspliced, spliced, tau)[:, 0]
    assert np.isnan(likelihoods[2])
    assert np.isfinite(likelihoods[[1, 3]]).all()


def test_genes_without_a_fit_have_no_likelihood():
    unspliced, spliced, columns, tau, _ = noisy_gene()
    columns = {name: np.append(values, np.nan) for name, values in columns.items()}
    unspliced, spliced, tau = (np.repeat(values, 2, axis=-2) for values in (unspliced, spliced, tau))
    likelihoods = compute_likelihoods(columns, unspliced, spliced, tau)
    assert np.isnan(likelihoods[:, 1]).all()
    assert np.isfinite(likelihoods[3, 0])


def example_ranking(dynamical=True):
    score = np.array([[1.5, np.nan, -2.0, 3.0], [0.0, np.nan, 0.5, -1.0], [np.nan] * 4])
    comparison = ClusterComparison(score, score / 3, np.abs(score) / 10 + 1 / 3, np.abs(score) / 8 + 1 / 3)
    likelihood = np.array([[0.1, 0.3, np.nan, np.nan], [0.2, np.nan, np.nan, np.nan], [0.7, 0.6, np.nan, np.nan]])
    return ranking_table(
        ["1", "b/c", "NA"],
        np.array(["Actb", "nan", "3", "Sox9"]),
        comparison,
        likelihood if dynamical else None,
    )


def test_the_table_lists_genes_by_score_within_each_cluster():
    ranking = example_ranking()
    numbers = ["score", "difference", "p_value", "q_value", "likelihood"]
    assert ranking.columns.tolist() == ["cluster", "gene", "rank", *numbers]
    assert ranking["cluster"].tolist() == ["1"] * 4 + ["b/c"] * 4 + ["NA"] * 4
    assert ranking["gene"].tolist()[:4] == ["Sox9", "Actb", "3", "nan"]
    assert ranking["rank"].tolist()[:3] == [1, 2, 3]
    assert ranking["rank"].isna().tolist() == [False] * 3 + [True] + [False] * 3 + [True] * 5
    assert "likelihood" not in example_ranking(dynamical=False)
    # a gene without a score and a likelihood is left out
    assert "nan" not in example_ranking(dynamical=False)["gene"].tolist()


def test_the_table_is_unchanged_by_writing_and_reading(tmp_path):
    for ranking in (example_ranking(), example_ranking(dynamical=False)):
        ranking.to_csv(tmp_path / "ranking.csv", index=False)
        pd.testing.assert_frame_equal(load_ranking(tmp_path / "ranking.csv"), ranking, check_exact=True)


def test_without_clusters_the_table_is_empty(tmp_path):
    labels, codes = cluster_codes(pd.DataFrame(index=["a", "b"]), "")
    assert labels == []
    comparison = rank_velocity_genes(np.ones((3, 2), np.float32), codes, 0, identity_weights(2))
    ranking = ranking_table(labels, np.array(["x", "y", "z"]), comparison, np.empty((0, 3)))
    assert ranking.empty
    assert ranking.columns.tolist() == example_ranking().columns.tolist()
    ranking.to_csv(tmp_path / "ranking.csv", index=False)
    assert rankings_for_anndata(load_ranking(tmp_path / "ranking.csv"), clusters="") == {}


def test_rankings_in_an_anndata_are_unchanged_by_writing_and_reading(tmp_path):
    adata = anndata.AnnData(np.ones((2, 4), np.float32))
    adata.uns.update(rankings_for_anndata(example_ranking(), clusters="clusters"))
    adata.write_h5ad(tmp_path / "result.h5ad")
    uns = anndata.read_h5ad(tmp_path / "result.h5ad").uns
    velocity, dynamical = uns["rank_velocity_genes"], uns["rank_dynamical_genes"]
    # fields are the clusters that were tested
    assert velocity["names"].dtype.names == ("1", "b/c")
    assert velocity["names"]["1"].tolist() == ["Sox9", "Actb", "3"]
    np.testing.assert_array_equal(velocity["scores"]["1"], np.array([3.0, 1.5, -2.0], np.float32))
    np.testing.assert_array_equal(velocity["pvals"]["b/c"], [0.05 + 1 / 3, 1 / 3, 0.1 + 1 / 3])
    np.testing.assert_array_equal(velocity["pvals_adj"]["1"], [0.375 + 1 / 3, 1.5 / 8 + 1 / 3, 0.25 + 1 / 3])
    assert dynamical["names"]["1"].tolist() == ["nan", "Actb"]
    np.testing.assert_array_equal(dynamical["scores"]["b/c"], np.array([0.2, 0], np.float32))
    assert dynamical["names"].dtype.names == ("1", "b/c", "NA")


def test_rankings_in_an_anndata_have_the_first_hundred_genes():
    score = np.stack([np.arange(150.0), -np.arange(150.0)])
    comparison = ClusterComparison(*[score] * 4)
    names = np.array([f"gene{k}" for k in range(150)])
    ranking = ranking_table(["a", "b"], names, comparison)
    listed = rankings_for_anndata(ranking, clusters="clusters")["rank_velocity_genes"]["names"]
    assert listed["a"].tolist() == names[:49:-1].tolist()
    assert listed["b"].tolist() == names[:100].tolist()
