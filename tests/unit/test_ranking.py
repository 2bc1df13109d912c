import anndata
import numpy as np
import pandas as pd
import pytest
from cells import nearest
from scipy import sparse, stats
from veloshard import ranking, selection
from veloshard.methods.dynamical.gene import describe_gene
from veloshard.moments import neighborhood
from veloshard.neighbors import connectivity_weights
from veloshard.splicing import spliced_at, unspliced_at

rng = np.random.default_rng


def on_their_own(n_cells):
    """Weights of cells that are not averaged."""
    return sparse.identity(n_cells, dtype=np.float32, format="csr")


def cliques(n_cliques, size):
    """Weights of cells that share all their counts with those of their clique, and none with others."""
    return sparse.block_diag([np.full((size, size), 1 / size)] * n_cliques, format="csr")


def neighbors_of(n_cells=1500, n_neighbors=20, seed=0):
    """Places of cells, and weights over their neighbour graph."""
    places = rng(seed).normal(size=(n_cells, 4))
    distances = nearest(places, n_neighbors)
    return places, connectivity_weights(distances + distances.T)


def regions(places, n_regions, seed=0):
    """Clusters that are the surroundings of some cells."""
    centres = places[rng(seed).choice(len(places), n_regions, replace=False)]
    return ((places[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)


def compared(velocity, codes, weights=None):
    weights = on_their_own(len(codes)) if weights is None else weights
    return ranking.rank_velocity_genes(velocity, codes, codes.max() + 1, weights)


def test_independent_cells_are_compared_by_the_test_of_welch():
    codes = np.repeat([0, 1, 2, -1], [15, 40, 25, 10])
    velocity = rng(0).normal(size=(30, 90), loc=0.2 * codes, scale=1 + codes).astype(np.float32)
    found = compared(velocity, codes)
    for cluster in range(3):
        inside, outside = codes == cluster, (codes != cluster) & (codes >= 0)
        there = [velocity[:, cells].astype(np.float64) for cells in (inside, outside)]
        expected = stats.ttest_ind(*there, axis=1, equal_var=False)
        np.testing.assert_allclose(found.score[cluster], expected.statistic, rtol=1e-9)
        np.testing.assert_allclose(found.p_value[cluster], expected.pvalue, rtol=1e-9)
        np.testing.assert_allclose(found.difference[cluster], there[0].mean(1) - there[1].mean(1), rtol=1e-9)


def test_cells_that_share_all_their_counts_count_once():
    values = rng(0).normal(size=(5, 20)).astype(np.float32)
    codes = np.repeat([0, 1], [8, 12])
    once = stats.ttest_ind(values[:, :8].astype(float), values[:, 8:].astype(float), axis=1, equal_var=False)
    found = compared(np.repeat(values, 7, axis=1), np.repeat(codes, 7), cliques(20, 7))
    np.testing.assert_allclose(found.score[0], once.statistic, rtol=1e-6)
    np.testing.assert_allclose(found.p_value[0], once.pvalue, rtol=1e-6)


def test_sharing_equals_that_of_the_covariances_written_out():
    # all of the formulas from the dense covariance of the velocities, W W'
    places, weights = neighbors_of(n_cells=120, n_neighbors=8)
    codes = regions(places, 3)
    codes[::11] = -1
    covariance = (weights @ weights.T).toarray().astype(np.float64)
    found = ranking.shared_counts(weights, codes, 3)
    for cluster in range(3):
        sides = [np.flatnonzero(codes == cluster), np.flatnonzero((codes >= 0) & (codes != cluster))]
        variances = []
        for side, cells in enumerate(sides):
            own = covariance[np.ix_(cells, cells)]
            centre = np.eye(len(cells)) - 1 / len(cells)
            deviations = centre @ own @ centre
            variances.append(own.mean())
            between_cells = np.trace(deviations) / (len(cells) - 1)
            assert found.effective[side, cluster] == pytest.approx(between_cells / own.mean(), rel=1e-5)
            freedom = np.trace(deviations) ** 2 / np.trace(deviations @ deviations)
            assert found.freedom[side, cluster] == pytest.approx(freedom, rel=1e-5)
        correlation = covariance[np.ix_(*sides)].mean() / np.sqrt(np.prod(variances))
        assert found.correlation[cluster] == pytest.approx(correlation, rel=1e-5)
    assert (found.reason == "").all()


def test_the_effective_number_is_about_cells_over_neighbourhood_size():
    # on a ring of 1000 cells that each average over 21, but for what reaches beyond the cluster
    offsets = np.arange(-10, 11)
    cells = np.repeat(np.arange(1000), 21)
    ring = sparse.csr_matrix((np.full(21_000, 1 / 21), (cells, (cells + np.tile(offsets, 1000)) % 1000)))
    found = ranking.shared_counts(ring, np.repeat([0, 1], 500), 2)
    np.testing.assert_allclose(found.effective, 500 / 21, rtol=0.05)


def test_p_values_of_noise_are_uniform_and_naive_ones_are_not():
    # counts that differ between cells by chance only, smoothed; clusters are regions of the graph
    places, weights = neighbors_of()
    codes = regions(places, 6)
    spliced, unspliced = (rng(seed).poisson(mean, size=(len(codes), 600)) for seed, mean in ((1, 1.0), (2, 0.4)))
    velocity = (weights @ (unspliced - 0.4 * spliced)).T.astype(np.float32)
    shared = compared(velocity, codes, weights).p_value
    naive = compared(velocity, codes).p_value
    for cluster in range(6):
        # one in a thousand such tests of a uniform sample
        assert stats.kstest(shared[cluster], "uniform").pvalue > 1e-3
        # 600 genes: 0.05 +- 3.3 standard deviations of 0.009
        assert np.mean(shared[cluster] < 0.05) == pytest.approx(0.05, abs=0.03)
        assert np.mean(naive[cluster] < 0.05) > 0.3


def test_p_values_of_noise_are_no_smaller_than_uniform_in_small_clusters():
    places, weights = neighbors_of()
    codes = np.where(np.isin(np.arange(1500), np.argsort(places[:, 0])[:15]), 0, 1)
    velocity = (weights @ rng(3).normal(size=(1500, 2000))).T.astype(np.float32)
    p_value = compared(velocity, codes, weights).p_value[0]
    # 2000 genes: 0.05 + 3 standard deviations of 0.005
    assert np.mean(p_value < 0.05) < 0.065
    assert np.mean(p_value < 0.5) == pytest.approx(0.5, abs=0.06)


def test_a_gene_that_moves_in_one_cluster_comes_first_there():
    places, weights = neighbors_of(n_cells=600)
    codes = regions(places, 3)
    noise = rng(0).normal(size=(600, 40))
    noise[:, 7] += 2.0 * (codes == 1)
    found = compared((weights @ noise).T.astype(np.float32), codes, weights)
    assert found.score[1].argmax() == 7
    assert found.q_value[1, 7] < 1e-4
    assert np.sum(found.q_value < 0.05) <= 5


def test_q_values_are_those_of_benjamini_and_hochberg_over_the_genes_of_a_cluster():
    p_values = np.array([[0.01, 0.04, np.nan, 0.03, 0.5], [np.nan] * 5])
    # the largest first: 0.5, then 0.04 * 4 / 3, that again where 0.03 * 4 / 2 is larger, and 0.01 * 4 / 1
    expected = [0.04, 0.16 / 3, np.nan, 0.16 / 3, 0.5]
    q_values = ranking.false_discovery_rates(p_values)
    np.testing.assert_allclose(q_values[0], expected, rtol=1e-12)
    assert np.isnan(q_values[1]).all()


def test_what_cannot_be_tested_is_nan_with_a_reason():
    codes = np.array([0, 1, 1, 1, 1, 2, 2, 2, -1])
    weights = sparse.block_diag([np.eye(5), np.full((3, 3), 1 / 3), np.eye(1)], format="csr")
    sharing = ranking.shared_counts(weights, codes, 4)
    assert sharing.reason.tolist() == ["it has one cell", "", "cells share all counts", "it has no cells"]
    found = ranking.rank_velocity_genes(rng(0).normal(size=(6, 9)).astype(np.float32), codes, 4, weights)
    for values in found:
        assert np.isfinite(values).all(axis=1).tolist() == [False, True, False, False]
        assert np.isnan(values[[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("codes", "reason"), [([0, 0, 0, 0], "there are no others"), ([0, 0, 0, 1], "there is one other cell")]
)
def test_a_cluster_without_others_is_not_tested(codes, reason):
    assert ranking.shared_counts(on_their_own(4), np.array(codes), 1 + max(codes)).reason[0] == reason
    assert np.isnan(compared(np.ones((2, 4), np.float32), np.array(codes)).score).all()


def test_constant_genes_have_no_score_and_p_value_one():
    codes = np.repeat([0, 1], 10)
    # a value that no sum of it is exact in
    found = compared(np.full((1, 20), 0.1, np.float32), codes)
    assert found.score.tolist() == [[0], [0]]
    assert found.p_value.tolist() == [[1], [1]]


def test_a_difference_without_any_scatter_is_certain():
    found = compared(np.repeat([[0, 1]], 10, axis=1).astype(np.float32), np.repeat([0, 1], 10))
    assert found.score.tolist() == [[-np.inf], [np.inf]]
    assert found.p_value.tolist() == [[0], [0]]


def test_genes_without_velocity_have_no_score_and_leave_others_alone():
    codes = np.repeat([0, 1, -1], 10)
    velocity = rng(0).normal(size=(6, 30)).astype(np.float32)
    missing = velocity.copy()
    missing[2] = np.nan
    missing[3, 13] = np.nan
    missing[4, 23] = np.nan  # of a cell without a label
    found, whole = compared(missing, codes), compared(velocity, codes)
    assert np.isnan(found.p_value).any(axis=0).tolist() == [False, False, True, True, False, False]
    assert np.isnan(found.q_value[:, [2, 3]]).all()
    np.testing.assert_array_equal(found.score[:, [0, 1, 4, 5]], whole.score[:, [0, 1, 4, 5]])


def test_scores_do_not_depend_on_the_blocks(monkeypatch):
    places, weights = neighbors_of(n_cells=300, n_neighbors=6)
    codes, velocity = regions(places, 4), rng(0).normal(size=(50, 300)).astype(np.float32)
    whole = compared(velocity, codes, weights)
    monkeypatch.setattr(ranking, "_BLOCK", 7 * 300)
    for one, other in zip(compared(velocity, codes, weights), whole, strict=True):
        assert one.tobytes() == other.tobytes()
    monkeypatch.setattr(ranking, "_ROWS", 17)
    for one, other in zip(compared(velocity, codes, weights), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# alpha, beta, gamma, switching time, scaling
GENE = (3.0, 0.8, 0.4, 6.0, 1.5)


def noisy_gene(noise=0.1, seed=0):
    """Moments of 400 cells about a curve at known times, its columns, and the times on both branches.

    Every other cell is on the way up; the last hundred scatter three times as far.
    """
    alpha, beta, gamma, switching_time, scaling = GENE
    off = np.linspace(0, 4, 400)
    on = np.linspace(0.5, 6, 400)
    up = np.arange(400) % 2 == 0
    u0, s0 = unspliced_at(6.0, 0.0, alpha, beta), spliced_at(6.0, 0.0, 0.0, alpha, beta, gamma)
    u = np.where(up, unspliced_at(on, 0.0, alpha, beta), unspliced_at(off, u0, 0.0, beta))
    s = np.where(up, spliced_at(on, 0.0, 0.0, alpha, beta, gamma), spliced_at(off, s0, u0, 0.0, beta, gamma))
    scatter = noise * np.where(np.arange(400) < 300, 1, 3) * rng(seed).normal(size=(2, 400))
    unspliced, spliced = (
        np.maximum(part, 0.01).astype(np.float32)[None] for part in ((u + scatter[0]) * scaling, s + scatter[1])
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


def likelihoods(columns, unspliced, spliced, tau, codes=QUARTERS):
    return ranking.cluster_likelihoods(
        columns,
        unspliced=unspliced,
        spliced=spliced,
        tau=tau,
        codes=codes,
        n_clusters=4,
        around=neighborhood(on_their_own(len(codes))),
    )


def test_a_clusters_likelihood_is_that_of_its_distances_from_the_curve():
    unspliced, spliced, columns, tau, _ = noisy_gene()
    found = likelihoods(columns, unspliced, spliced, tau)[:, 0]
    alpha, beta, gamma, _, scaling = GENE
    gene = describe_gene(unspliced[0], spliced[0])
    u0, s0 = unspliced_at(6.0, 0.0, alpha, beta), spliced_at(6.0, 0.0, 0.0, alpha, beta, gamma)
    off, on = tau[:, 0].astype(float)
    branches = [
        (unspliced_at(on, 0.0, alpha, beta), spliced_at(on, 0.0, 0.0, alpha, beta, gamma)),
        (unspliced_at(off, u0, 0.0, beta), spliced_at(off, s0, u0, 0.0, beta, gamma)),
    ]
    # and the steady states where they start
    starts = [(0, 0), (alpha / beta, alpha / gamma)]
    residuals = [
        ((gene.unspliced - scaling * u) / gene.std_u, (gene.spliced - s) / gene.std_s) for u, s in branches + starts
    ]
    squares = np.array([du**2 + ds**2 for du, ds in residuals])
    branch = squares.argmin(axis=0) % 2
    cells = np.arange(400)
    square, sign = squares[branch, cells], np.sign([residuals[0][1], residuals[1][1]])[branch, cells]
    high = (gene.unspliced > gene.unspliced.max() / 5) & (gene.spliced > gene.spliced.max() / 5)
    variance = np.var(sign[high] * np.sqrt(square[high]))
    for cluster in range(4):
        there = high & (cluster == QUARTERS)
        if there.sum() < 21:
            assert np.isnan(found[cluster])
            continue
        mean = square[there].sum() / (there.sum() - 1)
        expected = np.exp(-0.5 * mean / variance) / np.sqrt(2 * np.pi * variance)
        assert found[cluster] == pytest.approx(expected, rel=1e-9)
    assert found[3] < 0.7 * np.nanmin(found[:3])


def test_a_cluster_that_hardly_expresses_a_gene_has_no_likelihood():
    unspliced, spliced, columns, tau, _ = noisy_gene()
    spliced[0, 200:285] = 0.001
    found = likelihoods(columns, unspliced, spliced, tau)[:, 0]
    assert np.isnan(found[2])
    assert np.isfinite(found[[1, 3]]).all()


def test_genes_that_were_not_fitted_have_no_likelihood():
    unspliced, spliced, columns, tau, _ = noisy_gene()
    columns = {name: np.append(values, np.nan) for name, values in columns.items()}
    unspliced, spliced, tau = (np.repeat(values, 2, axis=-2) for values in (unspliced, spliced, tau))
    found = likelihoods(columns, unspliced, spliced, tau)
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[3, 0])


def made_up_table(dynamical=True):
    score = np.array([[1.5, np.nan, -2.0, 3.0], [0.0, np.nan, 0.5, -1.0], [np.nan] * 4])
    comparison = ranking.Comparison(score, score / 3, np.abs(score) / 10 + 1 / 3, np.abs(score) / 8 + 1 / 3)
    likelihood = np.array([[0.1, 0.3, np.nan, np.nan], [0.2, np.nan, np.nan, np.nan], [0.7, 0.6, np.nan, np.nan]])
    return ranking.table(
        ["1", "b/c", "NA"],
        np.array(["Actb", "nan", "3", "Sox9"]),
        comparison,
        likelihood if dynamical else None,
    )


def test_the_table_lists_genes_by_score_within_each_cluster():
    rows = made_up_table()
    numbers = ["score", "difference", "p_value", "q_value", "likelihood"]
    assert rows.columns.tolist() == ["cluster", "gene", "rank", *numbers]
    assert rows["cluster"].tolist() == ["1"] * 4 + ["b/c"] * 4 + ["NA"] * 4
    assert rows["gene"].tolist()[:4] == ["Sox9", "Actb", "3", "nan"]
    assert rows["rank"].tolist()[:3] == [1, 2, 3]
    assert rows["rank"].isna().tolist() == [False] * 3 + [True] + [False] * 3 + [True] * 5
    assert "likelihood" not in made_up_table(dynamical=False)
    # without a likelihood nothing is known of the gene without a score
    assert "nan" not in made_up_table(dynamical=False)["gene"].tolist()


def test_the_table_survives_a_file(tmp_path):
    for rows in (made_up_table(), made_up_table(dynamical=False)):
        rows.to_csv(tmp_path / "ranking.csv", index=False)
        pd.testing.assert_frame_equal(ranking.load_table(tmp_path / "ranking.csv"), rows, check_exact=True)


def test_without_clusters_the_table_is_empty(tmp_path):
    labels, codes = selection.cluster_codes(pd.DataFrame(index=["a", "b"]), "")
    assert labels == []
    found = ranking.rank_velocity_genes(np.ones((3, 2), np.float32), codes, 0, on_their_own(2))
    rows = ranking.table(labels, np.array(["x", "y", "z"]), found, np.empty((0, 3)))
    assert rows.empty
    assert rows.columns.tolist() == made_up_table().columns.tolist()
    rows.to_csv(tmp_path / "ranking.csv", index=False)
    assert ranking.rankings_for_anndata(ranking.load_table(tmp_path / "ranking.csv"), clusters="") == {}


def test_rankings_in_an_anndata_survive_a_file(tmp_path):
    adata = anndata.AnnData(np.ones((2, 4), np.float32))
    adata.uns.update(ranking.rankings_for_anndata(made_up_table(), clusters="clusters"))
    adata.write_h5ad(tmp_path / "result.h5ad")
    uns = anndata.read_h5ad(tmp_path / "result.h5ad").uns
    velocity, dynamical = uns["rank_velocity_genes"], uns["rank_dynamical_genes"]
    # of clusters that were tested
    assert velocity["names"].dtype.names == ("1", "b/c")
    assert velocity["names"]["1"].tolist() == ["Sox9", "Actb", "3"]
    np.testing.assert_array_equal(velocity["scores"]["1"], np.array([3.0, 1.5, -2.0], np.float32))
    np.testing.assert_array_equal(velocity["pvals"]["b/c"], [0.05 + 1 / 3, 1 / 3, 0.1 + 1 / 3])
    np.testing.assert_array_equal(velocity["pvals_adj"]["1"], [0.375 + 1 / 3, 1.5 / 8 + 1 / 3, 0.25 + 1 / 3])
    assert dynamical["names"]["1"].tolist() == ["nan", "Actb"]
    np.testing.assert_array_equal(dynamical["scores"]["b/c"], np.array([0.2, 0], np.float32))
    assert dynamical["names"].dtype.names == ("1", "b/c", "NA")


def test_rankings_in_an_anndata_hold_the_first_hundred_genes():
    score = np.stack([np.arange(150.0), -np.arange(150.0)])
    comparison = ranking.Comparison(*[score] * 4)
    names = np.array([f"gene{k}" for k in range(150)])
    rows = ranking.table(["a", "b"], names, comparison)
    listed = ranking.rankings_for_anndata(rows, clusters="clusters")["rank_velocity_genes"]["names"]
    assert listed["a"].tolist() == names[:49:-1].tolist()
    assert listed["b"].tolist() == names[:100].tolist()
