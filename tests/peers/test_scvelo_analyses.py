"""scVelo computes the same rankings and PAGA from our results, where formulas are the same."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from veloshard.analysis.effective_cells import EffectiveCells
from veloshard.analysis.paga import compute_paga
from veloshard.analysis.rank_genes import rank_genes, welch_test
from veloshard.io.fits import load_fit_genes, load_velocity
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_annotations, load_prepared
from veloshard.labels import cluster_codes

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module", params=["steady_state", "dynamical"])
def folder(request, small_run):
    return small_run / "demo" / request.param


@pytest.fixture(scope="module")
def answers(ask_client, folder, tmp_path_factory):
    return ask_client("scvelo", folder / "velocity.h5ad", tmp_path_factory.mktemp(folder.name), task="rank")


@pytest.fixture(scope="module")
def clusters(folder):
    """Return the names of the clusters, and the number of each cell's cluster."""
    return cluster_codes(load_annotations(folder.parent / "prepared.h5ad").obs, "clusters")


@pytest.fixture(scope="module")
def ranked(folder):
    return rank_genes(folder.parent / "prepared.h5ad", folder / "fit.h5", clusters="clusters")


def test_scores_by_numbers_of_cells_equal_those_of_scvelo(answers, folder, clusters):
    labels, codes = clusters
    names = load_fit_genes(folder / "fit.h5")["name"]
    velocity, mask = load_velocity(folder / "fit.h5")
    # scVelo uses the number of cells in the cluster for both groups, and ignores that cells share counts
    size = np.tile(np.bincount(codes).astype(float), (2, 1))
    as_scvelo = EffectiveCells(size, size, np.zeros(len(labels)), np.full(len(labels), ""))
    scores = welch_test(velocity.T, codes, as_scvelo)[0]
    for cluster, label in enumerate(labels):
        theirs = dict(zip(answers["unfiltered"][label]["names"], answers["unfiltered"][label]["scores"], strict=True))
        assert set(theirs) == set(names[mask])
        # scVelo rounds to two decimals
        np.testing.assert_allclose([theirs[name] for name in names[mask]], scores[cluster], atol=0.0051)


def test_ranks_are_similar_to_those_of_scvelo(answers, ranked, clusters):
    for label in clusters[0]:
        ours = ranked[ranked["cluster"] == label].dropna(subset="rank").set_index("gene")["score"]
        theirs = answers["unfiltered"][label]
        # the differences are the same, but standard errors differ
        assert spearmanr(ours[theirs["names"]], theirs["scores"]).statistic > 0.9


@pytest.mark.parametrize("folder", ["dynamical"], indirect=True)
def test_scvelo_computes_the_same_likelihoods(answers, ranked, folder):
    for label, theirs in answers["likelihood"].items():
        ours = ranked[ranked["cluster"] == label].set_index("gene")["likelihood"].dropna()
        assert len(ours) > 10
        # times and deviations are stored in single precision
        np.testing.assert_allclose(ours, [theirs[gene] for gene in ours.index], atol=1e-6)
        # genes without a likelihood of ours have low ones in scVelo, and rank last
        assert max([value for gene, value in theirs.items() if gene not in ours.index], default=0) < ours.max() / 2


@pytest.mark.parametrize("priors", ["time", "time_and_ends"])
def test_scvelo_computes_the_same_paga(answers, folder, clusters, priors):
    if f"paga_{priors}" not in answers:
        pytest.skip("scVelo needs igraph for PAGA, which is not in its environment")
    labels, codes = clusters
    times = load_arrays(folder / "pseudotime.h5")
    ends = {name: times[name] for name in ("root_cells", "end_points")} if priors == "time_and_ends" else {}
    ours = compute_paga(
        load_arrays(folder / "velocity_graph.h5")["graph"],
        load_prepared(folder.parent / "prepared.h5ad").distances,
        codes,
        len(labels),
        pseudotime=times["velocity_pseudotime"],
        **ends,
    )
    theirs = answers[f"paga_{priors}"]
    for matrix in ("connectivities", "connectivities_tree", "transitions_confidence"):
        np.testing.assert_allclose(getattr(ours, matrix).toarray(), theirs[matrix], atol=1e-12)
    assert ours.threshold == pytest.approx(theirs["threshold"])
