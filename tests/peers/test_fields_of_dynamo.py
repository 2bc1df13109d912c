"""Our vector fields equal those of Dynamo for the same velocities and control points, where Dynamo converged."""

from pathlib import Path

import numpy as np
import pytest
from veloshard.graph.velocity_embedding import unscaled_velocity_embedding
from veloshard.io.prepared import load_prepared
from veloshard.simulation import simulate_counts
from veloshard.vectorfield import geometry, perturbation, topography
from veloshard.vectorfield.sparsevfc import INLIER_THRESHOLD, VectorField, fit_field, mean_cosine, velocity_at

pytestmark = pytest.mark.peers
PANCREAS = Path(__file__).parents[2] / "../shared/data/pancreas.h5ad"
KINDS = {-1: "attractor", 0: "saddle", 1: "repeller"}
BASES = ("pca", "umap")


@pytest.fixture(scope="module", params=["simulation", "pancreas"])
def dynamo(request, small_config, run_workflow, ask_client, tmp_path_factory):
    """Return the arrays of Dynamo's analyses by name, and the neighbor graph of the cells."""
    folder = tmp_path_factory.mktemp("fields")
    options = {"source": "counts.h5ad", "clusters": "clusters"}
    if request.param == "pancreas":
        if not PANCREAS.exists():
            pytest.skip("needs ../shared/data/pancreas.h5ad")
        options |= {"source": str(PANCREAS.resolve()), "embedding": "X_umap"}
    else:
        simulate_counts(seed=0, n_cells=400, n_genes=60).write_h5ad(folder / "counts.h5ad")
    config = small_config(datasets={"cells": options}, methods={"stochastic": {}}, dynamo=True, genes_per_shard=1000)
    result = folder / "results/cells"
    process = run_workflow(config, folder, "--", "results/cells/stochastic/dynamo.h5ad")
    assert process.returncode == 0, process.stdout + process.stderr
    ask_client("dynamo", result / "stochastic/dynamo.h5ad", folder, task="field")
    return {**np.load(folder / "arrays.npz"), "distances": load_prepared(result / "prepared.h5ad").distances}


def field_of(dynamo, basis):
    """Return Dynamo's vector field on a basis."""
    return VectorField(dynamo[f"{basis}_X_ctrl"], dynamo[f"{basis}_C"], float(dynamo[f"{basis}_beta"]))


@pytest.mark.parametrize("basis", BASES)
def test_vector_fields_are_equal_to_the_precision_of_dynamos_solver(dynamo, basis):
    learned = fit_field(dynamo[f"{basis}_X"], dynamo[f"{basis}_Y"], dynamo[f"{basis}_X_ctrl"])
    velocity, expected = velocity_at(learned.field, dynamo[f"{basis}_X"]), dynamo[f"{basis}_V"]
    assert learned.field.width == pytest.approx(dynamo[f"{basis}_beta"], rel=1e-12)
    assert len(learned.energies) == len(dynamo[f"{basis}_E_traj"])
    np.testing.assert_allclose(learned.energies[1:], dynamo[f"{basis}_E_traj"][1:], rtol=1e-6)
    np.testing.assert_allclose(velocity, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(learned.inlier_probability, dynamo[f"{basis}_P"].ravel(), atol=1e-6)
    is_inlier = learned.inlier_probability > INLIER_THRESHOLD
    assert mean_cosine(velocity[is_inlier], expected[is_inlier]) > 0.99


@pytest.mark.parametrize("basis", BASES)
def test_derivatives_of_dynamos_field_are_equal(dynamo, basis):
    field, coordinates = field_of(dynamo, basis), dynamo[f"{basis}_X"]
    derivatives = {
        "acceleration": np.linalg.norm(geometry.acceleration(field, coordinates), axis=1),
        "curvature": np.linalg.norm(geometry.curvature(field, coordinates), axis=1),
        "divergence": geometry.divergence(field, coordinates),
    }
    if basis == "umap":
        derivatives["curl"] = geometry.curl(field, coordinates)
    for name, values in derivatives.items():
        expected = dynamo[f"{basis}_{name}"]
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max(), err_msg=name)


def test_jacobians_of_dynamos_field_are_equal(dynamo):
    jacobians = geometry.jacobian(field_of(dynamo, "pca"), dynamo["pca_X"])
    np.testing.assert_allclose(jacobians, dynamo["pca_jacobian"], atol=1e-8 * np.abs(jacobians).max())


def test_fixed_points_include_those_at_which_dynamos_search_converged(dynamo):
    field, coordinates = field_of(dynamo, "umap"), dynamo["umap_X"]
    points = topography.find_fixed_points(
        lambda x: velocity_at(field, x),
        lambda x: geometry.jacobian(field, x),
        topography.domain_of(coordinates),
        rng=np.random.default_rng(0),
        cells=coordinates,
    )
    mean_speed = np.mean(np.linalg.norm(velocity_at(field, coordinates), axis=1))
    converged = dynamo["speed_at_points"] < 1e-6 * mean_speed
    assert converged.any()
    extent = np.ptp(coordinates, axis=0).max()
    for point, kind in zip(dynamo["points"][converged], dynamo["kinds"][converged], strict=True):
        distances = np.linalg.norm(points.coordinates - point, axis=1)
        nearest = np.argmin(distances)
        assert distances[nearest] < 1e-4 * extent
        assert points.kinds[nearest] == KINDS[int(kind)]
    # Confidence is relative to the largest of all points, and a random search does not always find that one: compare
    # on dynamo's points. The sets of 50 nearest cells may differ by one cell.
    confidence, _ = topography._confidence(dynamo["points"], coordinates)
    np.testing.assert_allclose(confidence, dynamo["confidence"], atol=0.05)
    # all our fixed points have converged
    assert np.linalg.norm(velocity_at(field, points.coordinates), axis=1).max() < 1e-6 * mean_speed


def test_effect_of_a_perturbation_equals_dynamos_on_components_and_embedding(dynamo):
    field, pcs, gene = field_of(dynamo, "pca"), dynamo["pca_X"], int(dynamo["gene"])
    pca = perturbation.PCALoadings(dynamo["loadings"], dynamo["means"])
    effect = perturbation.perturbation_effect(
        field, pcs, perturbation.perturb_pcs(pcs, pca, {gene: ("absolute", -100)})
    )
    assert mean_cosine(dynamo["effect"], effect) > 0.9999
    transition_matrix = perturbation.perturbation_transition_matrix(pcs, effect, dynamo["distances"])
    effect_embedding = unscaled_velocity_embedding(transition_matrix, dynamo["umap_X"])
    assert mean_cosine(dynamo["effect_embedding"], effect_embedding) > 0.95


def test_velocities_after_a_knock_out_equal_dynamos(dynamo):
    pca = perturbation.PCALoadings(dynamo["loadings"], dynamo["means"])
    effect = perturbation.knock_out_effect(dynamo["pca_X"], pca, [int(dynamo["gene"])])
    velocity = velocity_at(field_of(dynamo, "pca"), dynamo["pca_X"]) + effect
    np.testing.assert_allclose(velocity, dynamo["knock_out"], atol=1e-6 * np.abs(velocity).max())
