"""Dynamo runs its vector fields, topography and perturbation on dynamo.h5ad unchanged, whoever made the velocities."""

import h5py
import numpy as np
import pytest
from veloshard.assemble import simulated_counts

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def results(small_config, run_workflow, tmp_path_factory):
    """Folder with the results of a method of ours, and of the true velocities as if they had been made elsewhere."""
    folder = tmp_path_factory.mktemp("dynamo")
    simulated_counts(seed=0, n_cells=300, n_genes=60).write_h5ad(folder / "demo.h5ad")
    config = small_config(
        datasets={"demo": {"source": "demo.h5ad", "clusters": "clusters"}},
        methods={
            "stochastic": {},
            "truth": {"method": "external", "source": "{dataset}.h5ad", "layer": "true_velocity", "time": "true_time"},
        },
        dynamo=True,
        shards=1,
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


def test_dynamo_finds_a_vector_field_and_fixed_points_in_it(answers):
    assert answers["field_is_finite"]
    assert answers["fixed_points"] > 0
    assert set(answers["kinds"]) <= {-1, 0, 1}


def test_arrows_of_dynamo_are_ours(arrays, result):
    with h5py.File(result / "velocity.h5ad") as file:
        ours = file["obsm/velocity_umap"][()]
    theirs = arrays["velocity_umap"]
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    # of the stochastic method both take square roots; of others Dynamo does and we do not, which turns few cells
    assert np.median(cosine) > 0.99
    assert np.mean(cosine) > 0.95


@pytest.mark.parametrize(
    "name",
    ["velocity_pca", "j_delta_x_perturbation", "change_of_genes", "velocity_umap_perturbation", "velocity_umap_KO"],
)
def test_answers_are_finite_and_not_empty(arrays, name):
    assert np.isfinite(arrays[name]).all()
    assert arrays[name].any()


@pytest.mark.parametrize(
    ("theirs", "by_hand"), [("j_delta_x_perturbation", "by_hand"), ("jacobian_genes", "jacobian_by_hand")]
)
def test_dynamo_finds_each_genes_own_loadings(arrays, theirs, by_hand):
    # in single precision
    np.testing.assert_allclose(arrays[theirs], arrays[by_hand], atol=1e-5 * np.abs(arrays[by_hand]).max())


def test_result_of_elsewhere_has_its_time(results):
    with h5py.File(results / "truth/velocity.h5ad") as file, h5py.File(results.parents[1] / "demo.h5ad") as source:
        np.testing.assert_array_equal(file["obs/model_time"][()], source["obs/true_time"][()])
        assert file["uns/provenance/options"][()].decode().count("external_sha256") == 1
