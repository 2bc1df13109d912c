"""scVelo's rankings and abstracted graph of our results are ours where its formulas are."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from veloshard import paga, ranking, store
from veloshard.selection import cluster_codes

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module", params=["steady_state", "dynamical"])
def folder(request, small_run):
    return small_run / "demo" / request.param


@pytest.fixture(scope="module")
def answers(ask_client, folder, tmp_path_factory):
    return ask_client("scvelo", folder / "velocity.h5ad", tmp_path_factory.mktemp(folder.name), task="rank")


@pytest.fixture(scope="module")
def clusters(folder):
    """Names of the clusters, and each cell's position among them."""
    return cluster_codes(store.load_annotations(folder.parent / "prepared.h5ad").obs, "clusters")


@pytest.fixture(scope="module")
def ranked(folder):
    return ranking.rank_genes(folder.parent / "prepared.h5ad", folder / "fit.h5", clusters="clusters")


def test_scores_with_scvelos_numbers_of_cells_are_scvelos(answers, folder, clusters):
    labels, codes = clusters
    names = store.load_fit_genes(folder / "fit.h5")["name"]
    velocity, mask = store.load_velocity(folder / "fit.h5")
    # as many cells outside as inside, none of which share counts
    size = np.tile(np.bincount(codes).astype(float), (2, 1))
    as_scvelo = ranking.Sharing(size, size, np.zeros(len(labels)), np.full(len(labels), ""))
    score = ranking.welch_test(velocity.T, codes, as_scvelo)[0]
    for cluster, label in enumerate(labels):
        theirs = dict(zip(answers["unfiltered"][label]["names"], answers["unfiltered"][label]["scores"], strict=True))
        assert set(theirs) == set(names[mask])
        # which are rounded to two decimals
        np.testing.assert_allclose([theirs[name] for name in names[mask]], score[cluster], atol=0.0051)


def test_genes_rank_much_as_in_scvelo(answers, ranked, clusters):
    for label in clusters[0]:
        ours = ranked[ranked["cluster"] == label].dropna(subset="rank").set_index("gene")["score"]
        theirs = answers["unfiltered"][label]
        # the same differences over other standard errors
        assert spearmanr(ours[theirs["names"]], theirs["scores"]).statistic > 0.9


@pytest.mark.parametrize("folder", ["dynamical"], indirect=True)
def test_scvelo_computes_the_same_likelihoods(answers, ranked, folder):
    for label, theirs in answers["likelihood"].items():
        ours = ranked[ranked["cluster"] == label].set_index("gene")["likelihood"].dropna()
        assert len(ours) > 10
        # times and deviations are stored in single precision
        np.testing.assert_allclose(ours, [theirs[gene] for gene in ours.index], atol=1e-6)
        # where we give none, scVelo gives one that keeps the gene at the end
        assert max([value for gene, value in theirs.items() if gene not in ours.index], default=0) < ours.max() / 2


@pytest.mark.parametrize("priors", ["time", "time_and_ends"])
def test_scvelo_computes_the_same_abstracted_graph(answers, folder, clusters, priors):
    if f"paga_{priors}" not in answers:
        pytest.skip("scVelo's environment has no igraph, without which it computes no PAGA")
    labels, codes = clusters
    times = store.load_arrays(folder / "time.h5")
    ends = {name: times[name] for name in ("root_cells", "end_points")} if priors == "time_and_ends" else {}
    ours = paga.abstract_graph(
        store.load_arrays(folder / "graph.h5")["graph"],
        store.load_prepared(folder.parent / "prepared.h5ad").distances,
        codes,
        len(labels),
        pseudotime=times["velocity_pseudotime"],
        **ends,
    )
    theirs = answers[f"paga_{priors}"]
    for matrix in ("connectivities", "connectivities_tree", "transitions_confidence"):
        np.testing.assert_allclose(getattr(ours, matrix).toarray(), theirs[matrix], atol=1e-12)
    assert ours.threshold == pytest.approx(theirs["threshold"])
