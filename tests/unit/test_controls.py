import numpy as np
import pytest
from counted import made_up, unrelated_clusters
from scipy import sparse
from veloshard import assemble, controls, trust
from veloshard.preprocess import prepare


def ready(counts):
    """Counts as `ingest` leaves them, and prepared."""
    counts.uns["ingest"] = {}
    return counts, prepare(counts, dataset="test", n_pcs=10, n_neighbors=20)


def controlled(counts, method="steady_state", **options):
    counts, prepared = ready(counts)
    sample = controls.take_sample(prepared, max_cells=options.pop("max_cells", 5000), random_state=0)
    return controls.run_controls(
        counts[sample.obs_names],
        sample,
        groups=controls.groups_of(sample, "clusters"),
        method={"method": method},
        sqrt_transform=False,
        **options,
    )


@pytest.fixture(scope="module")
def moving():
    return controlled(assemble.simulated_counts(seed=31, n_cells=600, n_genes=120), "dynamical")


@pytest.fixture(scope="module")
def still():
    return controlled(unrelated_clusters())


def test_genes_agree_where_cells_move_and_nowhere_else(moving, still):
    assert moving["observed"]["coherence"] > 0.5
    assert still["observed"]["coherence"] < 0.1


def test_within_clusters_little_survives_permutation_where_cells_move_and_all_where_not(moving, still):
    assert moving["permuted"]["variation"] < 0.6
    assert still["permuted"]["variation"] > 0.85


def test_the_likelihood_falls_where_counts_are_permuted(moving):
    assert moving["permuted"]["likelihood"] < 0.9 * moving["observed"]["likelihood"]


def test_half_of_the_counts_give_nearly_the_same_velocities(moving):
    assert moving["thinned"]["cosine"] > 0.9


def test_methods_are_compared_with_each_other_one(moving, still):
    assert set(moving["methods"]) == {"steady_state", "stochastic"}
    assert set(still["methods"]) == {"stochastic", "dynamical"}
    assert moving["methods"]["stochastic"] > 0.5


def test_the_seed_decides():
    runs = [controlled(made_up(200, 30), random_state=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_of_many_cells_some_are_drawn_with_neighbours_of_their_own():
    found = controlled(assemble.simulated_counts(seed=32, n_cells=600, n_genes=120), max_cells=300)
    assert found["cells"] == 300
    assert found["observed"]["coherence"] > 0.3


def two_chemistries(counts, rng):
    """Counts in two samples, in one of which each gene's spliced counts are seen by another factor."""
    sample = rng.random(counts.n_obs) < 0.5
    factor = np.where(sample[:, None], rng.lognormal(0, 0.3, counts.n_vars), 1.0)
    means = counts.layers["spliced"].toarray() * factor
    counts.layers["spliced"] = sparse.csr_matrix(rng.poisson(means).astype(np.int32))
    counts.obs["sample"] = np.where(sample, "one", "two")
    return counts


def test_samples_that_differ_make_genes_agree_but_not_within_one():
    found = controlled(two_chemistries(unrelated_clusters(n_cells=900, n_clusters=3), np.random.default_rng(3)))
    assert found["samples"]["samples"] == 2
    assert found["samples"]["coherence"] < min(0.08, found["observed"]["coherence"])


def test_of_a_single_sample_there_is_no_coherence_within(still):
    assert still["samples"] == {"samples": 0, "coherence": None}


def test_counts_that_are_no_whole_numbers_are_not_thinned():
    counts = made_up(100, 20)
    counts.layers["spliced"] = counts.layers["spliced"] * 0.7
    assert "whole numbers" in controlled(counts)["thinned"]["reason"]


def test_a_fit_made_elsewhere_is_scored_as_one_of_ours():
    counts, prepared = ready(assemble.simulated_counts(seed=31, n_cells=300, n_genes=60))
    options = {
        "groups": controls.groups_of(prepared, "clusters"),
        "method": {"method": "steady_state"},
        "sqrt_transform": False,
    }
    ours = controls.run_controls(counts, prepared, **options)
    modelled = {}
    for name in ("observed", *controls.CONTROLS):
        data = prepared
        if name != "observed":
            data, raw = controls.make_control(counts, prepared, control=name, groups=options["groups"])
            # as counts, of the same cells: what models want that count molecules
            assert raw[:, data.var_names].shape == data.shape
            assert raw.layers["spliced"].sum() < counts.layers["spliced"].sum() or name == "permuted"
        run = controls._run(data, options["method"])
        modelled[name] = run.fit._replace(genes={**run.fit.genes, "velocity_genes": run.velocity_genes})
    assert controls.run_controls(counts, prepared, **options, modelled=modelled) == ours

    alone = controls.run_controls(counts, prepared, **options, modelled={"observed": modelled["observed"]})
    assert alone["observed"] == ours["observed"]
    assert alone["methods"] == ours["methods"]
    assert "trust.model_controls" in alone["permuted"]["reason"]
    verdict = trust.judge(trust.measured({"dataset": {"cells": 400, "unspliced_fraction": 0.3}}, alone))
    assert verdict["verdict"] == "trust"


def test_of_several_samples_a_fit_made_elsewhere_is_scored_within_each():
    counts, prepared = ready(two_chemistries(unrelated_clusters(n_cells=900, n_clusters=3), np.random.default_rng(3)))
    run = controls._run(prepared, {"method": "steady_state"})
    fit = run.fit._replace(genes={**run.fit.genes, "velocity_genes": run.velocity_genes})
    found = controls.run_controls(
        counts, prepared, groups=controls.groups_of(prepared, "clusters"), method={"method": "steady_state"},
        sqrt_transform=False, modelled={"observed": fit},
    )  # fmt: skip
    assert found["samples"]["samples"] == 2
    assert found["samples"]["coherence"] is not None


def test_no_velocity_genes_are_a_finding():
    rng = np.random.default_rng(0)
    counts = made_up(100, 20)
    # the two layers have nothing to do with each other
    counts.layers["unspliced"] = sparse.csr_matrix(rng.poisson(3, counts.shape).astype(np.float32))
    found = controlled(counts)
    assert found["observed"]["velocity_genes"] < 2
    values = trust.measured({"dataset": {"cells": 400, "unspliced_fraction": 0.3}}, found)
    assert trust.judge(values)["verdict"] == "do not trust"


def test_permutation_keeps_what_each_group_has_and_parts_the_layers():
    _, prepared = ready(made_up(60, 15))
    groups = controls.groups_of(prepared, "clusters")
    permuted = controls.permuted(prepared, controls.permutations_within(groups, np.random.default_rng(0)))
    moved = []
    for layer in ("spliced", "unspliced"):
        before, after = (data.layers[layer].toarray() for data in (prepared, permuted))
        for group in (0, 1):
            np.testing.assert_array_equal(np.sort(before[groups == group], 0), np.sort(after[groups == group], 0))
        moved.append([np.flatnonzero((before == row).all(axis=1))[0] for row in after])
    assert moved[0] != moved[1]


def test_cells_without_clusters_fall_into_groups_by_their_components():
    _, prepared = ready(unrelated_clusters(n_cells=200))
    groups, types = controls.groups_of(prepared, ""), prepared.obs["clusters"]
    assert len(np.unique(groups)) == controls.N_GROUPS
    # types that are far apart share no group
    assert types.groupby(groups).nunique().max() == 1


def test_thinning_keeps_each_molecule_with_probability_one_half():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(5, (200, 50)))
    kept = controls.thin(counts, np.random.default_rng(1))
    assert (kept.toarray() <= counts.toarray()).all()
    # standard deviation of the sum of some 50,000 draws: 112
    assert abs(kept.sum() - counts.sum() / 2) < 450
