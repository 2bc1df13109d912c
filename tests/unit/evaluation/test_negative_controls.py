import numpy as np
import pytest
from scipy import sparse
from support.counts import two_clusters, unrelated_clusters
from veloshard.evaluation.negative_controls import (
    CONTROLS,
    N_GROUPS,
    draw_subsample,
    make_negative_control,
    permutation_groups,
    permutations_within,
    permute_cells,
    thin_counts,
)
from veloshard.evaluation.refits import refit_method, run_negative_controls
from veloshard.evaluation.verdict import compute_check_values, compute_verdict
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts


def prepare(counts):
    """Return counts as `ingest` writes them, and the prepared dataset."""
    counts.uns["ingest"] = {}
    return counts, prepare_data(counts, dataset="test", n_pcs=10, n_neighbors=20)


def run_controls(counts, method="steady_state", **options):
    counts, prepared = prepare(counts)
    subsample = draw_subsample(prepared, max_cells=options.pop("max_cells", 5000), random_state=0)
    return run_negative_controls(
        counts[subsample.obs_names],
        subsample,
        groups=permutation_groups(subsample, "clusters"),
        method={"method": method},
        references=("steady_state", "stochastic", "dynamical"),
        sqrt_transform=False,
        **options,
    )


@pytest.fixture(scope="module")
def with_motion():
    return run_controls(simulate_counts(seed=31, n_cells=600, n_genes=120), "dynamical")


@pytest.fixture(scope="module")
def without_motion():
    return run_controls(unrelated_clusters())


def test_coherence_is_high_with_motion_and_low_without(with_motion, without_motion):
    assert with_motion["observed"]["split_half_coherence"] > 0.5
    assert without_motion["observed"]["split_half_coherence"] < 0.1


def test_variation_that_survives_permutation_is_low_with_motion_and_high_without(with_motion, without_motion):
    assert with_motion["permuted"]["variation"] < 0.6
    assert without_motion["permuted"]["variation"] > 0.85


def test_permuted_counts_have_a_lower_likelihood(with_motion):
    assert with_motion["permuted"]["likelihood"] < 0.9 * with_motion["observed"]["likelihood"]


def test_thinned_counts_give_similar_velocities(with_motion):
    assert with_motion["thinned"]["cosine"] > 0.9


def test_velocities_are_compared_with_the_other_gene_wise_methods(with_motion, without_motion):
    assert set(with_motion["methods"]) == {"steady_state", "stochastic"}
    assert set(without_motion["methods"]) == {"stochastic", "dynamical"}
    assert with_motion["methods"]["stochastic"] > 0.5


def test_results_depend_on_the_seed_only():
    results = [run_controls(two_clusters(200, 30), random_state=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_large_datasets_are_subsampled_and_get_new_neighbors():
    scores = run_controls(simulate_counts(seed=32, n_cells=600, n_genes=120), max_cells=300)
    assert scores["cells"] == 300
    assert scores["observed"]["split_half_coherence"] > 0.3


def two_chemistries(counts, rng):
    """Return counts in two samples, where one sample has other capture rates of spliced counts for each gene."""
    in_first = rng.random(counts.n_obs) < 0.5
    factor = np.where(in_first[:, None], rng.lognormal(0, 0.3, counts.n_vars), 1.0)
    means = counts.layers["spliced"].toarray() * factor
    counts.layers["spliced"] = sparse.csr_matrix(rng.poisson(means).astype(np.int32))
    counts.obs["sample"] = np.where(in_first, "one", "two")
    return counts


def test_differences_between_samples_raise_the_coherence_but_not_that_within_samples():
    scores = run_controls(two_chemistries(unrelated_clusters(n_cells=900, n_clusters=3), np.random.default_rng(3)))
    assert scores["samples"]["samples"] == 2
    assert scores["samples"]["split_half_coherence"] < min(0.08, scores["observed"]["split_half_coherence"])


def test_a_single_sample_has_no_coherence_within_samples(without_motion):
    assert without_motion["samples"] == {"samples": 0, "split_half_coherence": None}


def test_counts_that_are_not_whole_numbers_are_not_thinned():
    counts = two_clusters(100, 20)
    counts.layers["spliced"] = counts.layers["spliced"] * 0.7
    assert "whole numbers" in run_controls(counts)["thinned"]["reason"]


def test_a_fit_of_a_model_is_scored_like_a_gene_wise_fit():
    counts, prepared = prepare(simulate_counts(seed=31, n_cells=300, n_genes=60))
    options = {
        "groups": permutation_groups(prepared, "clusters"),
        "method": {"method": "steady_state"},
        "references": ("steady_state", "stochastic"),
        "sqrt_transform": False,
    }
    expected = run_negative_controls(counts, prepared, **options)
    model_fits = {}
    for name in ("observed", *CONTROLS):
        data = prepared
        if name != "observed":
            data, raw = make_negative_control(counts, prepared, control=name, groups=options["groups"])
            # the counts of the control have the same cells, for models that use raw counts
            assert raw[:, data.var_names].shape == data.shape
            assert raw.layers["spliced"].sum() < counts.layers["spliced"].sum() or name == "permuted"
        refit = refit_method(data, options["method"])
        model_fits[name] = refit.fit._replace(genes={**refit.fit.genes, "velocity_genes": refit.velocity_genes})
    assert run_negative_controls(counts, prepared, **options, model_fits=model_fits) == expected

    observed_only = run_negative_controls(
        counts, prepared, **options, model_fits={"observed": model_fits["observed"]}, key="trust.refit_models.controls"
    )
    assert observed_only["observed"] == expected["observed"]
    assert observed_only["methods"] == expected["methods"]
    assert "add 'permuted' to trust.refit_models.controls" in observed_only["permuted"]["reason"]
    precomputed = run_negative_controls(
        counts, prepared, **options, model_fits={"observed": model_fits["observed"]}, key=""
    )
    assert "cannot be computed again" in precomputed["permuted"]["reason"]
    verdict = compute_verdict(
        compute_check_values({"dataset": {"cells": 400, "unspliced_fraction": 0.3}}, observed_only)
    )
    assert verdict["verdict"] == "trust"


def test_a_fit_of_a_model_is_scored_within_samples():
    counts, prepared = prepare(two_chemistries(unrelated_clusters(n_cells=900, n_clusters=3), np.random.default_rng(3)))
    refit = refit_method(prepared, {"method": "steady_state"})
    fit = refit.fit._replace(genes={**refit.fit.genes, "velocity_genes": refit.velocity_genes})
    scores = run_negative_controls(
        counts, prepared, groups=permutation_groups(prepared, "clusters"), method={"method": "steady_state"},
        sqrt_transform=False, model_fits={"observed": fit},
    )  # fmt: skip
    assert scores["samples"]["samples"] == 2
    assert scores["samples"]["split_half_coherence"] is not None


def test_a_result_without_velocity_genes_is_not_trusted():
    rng = np.random.default_rng(0)
    counts = two_clusters(100, 20)
    # unspliced counts that do not depend on the spliced counts
    counts.layers["unspliced"] = sparse.csr_matrix(rng.poisson(3, counts.shape).astype(np.float32))
    scores = run_controls(counts)
    assert scores["observed"]["velocity_genes"] < 2
    values = compute_check_values({"dataset": {"cells": 400, "unspliced_fraction": 0.3}}, scores)
    assert compute_verdict(values)["verdict"] == "do not trust"


def test_counts_are_permuted_within_groups_and_separately_for_each_layer():
    _, prepared = prepare(two_clusters(60, 15))
    groups = permutation_groups(prepared, "clusters")
    permuted = permute_cells(prepared, permutations_within(groups, np.random.default_rng(0)))
    source_cells = []
    for layer in ("spliced", "unspliced"):
        before, after = (data.layers[layer].toarray() for data in (prepared, permuted))
        for group in (0, 1):
            np.testing.assert_array_equal(np.sort(before[groups == group], 0), np.sort(after[groups == group], 0))
        source_cells.append([np.flatnonzero((before == row).all(axis=1))[0] for row in after])
    assert source_cells[0] != source_cells[1]


def test_groups_of_cells_without_clusters_follow_their_principal_components():
    _, prepared = prepare(unrelated_clusters(n_cells=200))
    groups, types = permutation_groups(prepared, ""), prepared.obs["clusters"]
    assert len(np.unique(groups)) == N_GROUPS
    # no group has cells of two distant types
    assert types.groupby(groups).nunique().max() == 1


def test_thinning_keeps_each_molecule_with_a_probability_of_one_half():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(5, (200, 50)))
    thinned = thin_counts(counts, np.random.default_rng(1))
    assert (thinned.toarray() <= counts.toarray()).all()
    # standard deviation of the sum of some 50,000 draws: 112
    assert abs(thinned.sum() - counts.sum() / 2) < 450
