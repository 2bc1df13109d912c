"""Dynamo computes vector fields, topography and perturbations from dynamo.h5ad, for any source of the velocities."""

import h5py
import numpy as np
import pytest
from veloshard.simulation import simulate_counts

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def results(small_config, run_workflow, tmp_path_factory):
    """Return the folder with results of a native method, and of the true velocities as precomputed ones."""
    folder = tmp_path_factory.mktemp("dynamo")
    simulate_counts(seed=0, n_cells=300, n_genes=60).write_h5ad(folder / "demo.h5ad")
    config = small_config(
        datasets={"demo": {"source": "demo.h5ad", "clusters": "clusters"}},
        methods={
            "stochastic": {},
            "truth": {
                "method": "precomputed",
                "source": "{dataset}.h5ad",
                "layer": "true_velocity",
                "time": "true_time",
            },
        },
        dynamo=True,
        genes_per_shard=1000,
    )
    files = [
        f"results/demo/{method}/{name}" for method in config["methods"] for name in ("dynamo.h5ad", "velocity.h5ad")
    ]
    process = run_workflow(config, folder, "--", *files)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results/demo"


@pytest.fixture(scope="module", params=["stochastic", "truth"])
def result(request, results):
    return results / request.param


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    return tmp_path_factory.mktemp(result.name)


@pytest.fixture(scope="module")
def answers(ask_client, result, folder):
    return ask_client("dynamo", result / "dynamo.h5ad", folder, task="topography")


@pytest.fixture(scope="module")
def arrays(answers, folder):
    return dict(np.load(folder / "arrays.npz"))


def test_dynamo_learns_a_vector_field_and_finds_fixed_points(answers):
    assert answers["field_is_finite"]
    assert answers["fixed_points"] > 0
    assert set(answers["kinds"]) <= {-1, 0, 1}


def test_velocity_embedding_of_dynamo_equals_ours(arrays, result):
    with h5py.File(result / "velocity.h5ad") as file:
        ours = file["obsm/velocity_umap"][()]
    theirs = arrays["velocity_umap"]
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    # Dynamo takes square roots for all methods, we only for the stochastic one; directions of few cells depend on it
    assert np.median(cosine) > 0.99
    assert np.mean(cosine) > 0.95


@pytest.mark.parametrize(
    "name",
    ["velocity_pca", "j_delta_x_perturbation", "change_of_genes", "velocity_umap_perturbation", "velocity_umap_KO"],
)
def test_results_are_finite_and_not_zero(arrays, name):
    assert np.isfinite(arrays[name]).all()
    assert arrays[name].any()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("j_delta_x_perturbation", "expected_effect"), ("jacobian_genes", "expected_jacobian_genes")],
)
def test_dynamo_uses_the_loadings_of_each_gene(arrays, name, expected):
    # in single precision
    np.testing.assert_allclose(arrays[name], arrays[expected], atol=1e-5 * np.abs(arrays[expected]).max())


def test_precomputed_result_has_its_time(results):
    with h5py.File(results / "truth/velocity.h5ad") as file, h5py.File(results.parents[1] / "demo.h5ad") as source:
        np.testing.assert_array_equal(file["obs/model_time"][()], source["obs/true_time"][()])
        assert file["uns/provenance/options"][()].decode().count("precomputed_sha256") == 1
