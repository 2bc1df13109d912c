"""Our vector fields are Dynamo's, where it is right, on its arrows and with its control points."""

from pathlib import Path

import numpy as np
import pytest
from veloshard.assemble import simulated_counts
from veloshard.projection import displacements
from veloshard.store import load_prepared
from veloshard.vectorfield import geometry, perturbation, topography
from veloshard.vectorfield.sparsevfc import INLIER, VectorField, fit_field, mean_cosine, velocity_at

pytestmark = pytest.mark.peers
PANCREAS = Path(__file__).parents[2] / "../shared/data/pancreas.h5ad"
KINDS = {-1: "attractor", 0: "saddle", 1: "repeller"}
BASES = ("pca", "umap")


@pytest.fixture(scope="module", params=["simulation", "pancreas"])
def found(request, small_config, run_workflow, ask_client, tmp_path_factory):
    """What Dynamo found, by name, and the neighbours of its cells."""
    folder = tmp_path_factory.mktemp("fields")
    options = {"source": "counts.h5ad", "clusters": "clusters"}
    if request.param == "pancreas":
        if not PANCREAS.exists():
            pytest.skip("needs ../shared/data/pancreas.h5ad")
        options |= {"source": str(PANCREAS.resolve()), "embedding": "X_umap"}
    else:
        simulated_counts(seed=0, n_cells=400, n_genes=60).write_h5ad(folder / "counts.h5ad")
    config = small_config(datasets={"cells": options}, methods={"stochastic": {}}, dynamo=True, shards=1)
    result = folder / "results/cells"
    process = run_workflow(config, folder, "--", "results/cells/stochastic/dynamo.h5ad")
    assert process.returncode == 0, process.stdout + process.stderr
    ask_client("dynamo", result / "stochastic/dynamo.h5ad", folder, task="field")
    return {**np.load(folder / "arrays.npz"), "distances": load_prepared(result / "prepared.h5ad").distances}


def field_of(found, basis):
    return VectorField(found[f"{basis}_X_ctrl"], found[f"{basis}_C"], float(found[f"{basis}_beta"]))


@pytest.mark.parametrize("basis", BASES)
def test_fields_are_equal_to_the_precision_of_its_solver(found, basis):
    learned = fit_field(found[f"{basis}_X"], found[f"{basis}_Y"], found[f"{basis}_X_ctrl"])
    field, theirs = velocity_at(learned.field, found[f"{basis}_X"]), found[f"{basis}_V"]
    assert learned.field.width == pytest.approx(found[f"{basis}_beta"], rel=1e-12)
    assert len(learned.energies) == len(found[f"{basis}_E_traj"])
    np.testing.assert_allclose(learned.energies[1:], found[f"{basis}_E_traj"][1:], rtol=1e-6)
    np.testing.assert_allclose(field, theirs, atol=1e-6 * np.abs(theirs).max())
    np.testing.assert_allclose(learned.inlier_probability, found[f"{basis}_P"].ravel(), atol=1e-6)
    holds = learned.inlier_probability > INLIER
    assert mean_cosine(field[holds], theirs[holds]) > 0.99


@pytest.mark.parametrize("basis", BASES)
def test_derivatives_of_its_field_are_equal(found, basis):
    field, places = field_of(found, basis), found[f"{basis}_X"]
    ours = {
        "acceleration": np.linalg.norm(geometry.acceleration(field, places), axis=1),
        "curvature": np.linalg.norm(geometry.curvature(field, places), axis=1),
        "divergence": geometry.divergence(field, places),
    }
    if basis == "umap":
        ours["curl"] = geometry.curl(field, places)
    for name, values in ours.items():
        theirs = found[f"{basis}_{name}"]
        np.testing.assert_allclose(values, theirs, rtol=1e-6, atol=1e-7 * np.abs(theirs).max(), err_msg=name)


def test_jacobians_of_its_field_are_equal(found):
    ours = geometry.jacobian(field_of(found, "pca"), found["pca_X"])
    np.testing.assert_allclose(ours, found["pca_jacobian"], atol=1e-8 * np.abs(ours).max())


def test_fixed_points_are_those_at_which_its_search_ended(found):
    field, places = field_of(found, "umap"), found["umap_X"]
    points = topography.fixed_points(
        lambda x: velocity_at(field, x),
        lambda x: geometry.jacobian(field, x),
        topography.domain_around(places),
        rng=np.random.default_rng(0),
        cells=places,
    )
    usual = np.mean(np.linalg.norm(velocity_at(field, places), axis=1))
    ended = found["speed_at_points"] < 1e-6 * usual
    assert ended.any()
    extent = np.ptp(places, axis=0).max()
    for place, kind, confidence in zip(
        found["points"][ended], found["kinds"][ended], found["confidence"][ended], strict=True
    ):
        ways = np.linalg.norm(points.places - place, axis=1)
        nearest = np.argmin(ways)
        assert ways[nearest] < 1e-4 * extent
        assert points.kinds[nearest] == KINDS[int(kind)]
        # by one cell more or less of fifty
        assert points.confidence[nearest] == pytest.approx(confidence, abs=0.05)
    # and none of ours is less of one
    assert np.linalg.norm(velocity_at(field, points.places), axis=1).max() < 1e-6 * usual


def test_a_knocked_down_gene_has_the_effect_and_the_arrows_that_it_has_there(found):
    field, places, gene = field_of(found, "pca"), found["pca_X"], int(found["gene"])
    linear = perturbation.Components(found["loadings"], found["means"])
    effect = perturbation.effect(field, places, perturbation.perturbed(places, linear, {gene: ("absolute", -100)}))
    assert mean_cosine(found["effect"], effect) > 0.9999
    arrows = displacements(perturbation.walk(places, effect, found["distances"]), found["umap_X"])
    assert mean_cosine(found["effect_arrows"], arrows) > 0.95


def test_a_knocked_out_gene_has_the_field_that_it_has_there(found):
    linear = perturbation.Components(found["loadings"], found["means"])
    lost = perturbation.loss(found["pca_X"], linear, [int(found["gene"])])
    ours = velocity_at(field_of(found, "pca"), found["pca_X"]) + lost
    np.testing.assert_allclose(ours, found["knock_out"], atol=1e-6 * np.abs(ours).max())
