"""The model `differentiable`: its equations, its gradients, what training adds, and what it keeps."""

import json
import subprocess

import numpy as np
import pytest
from described import ROOT, python_of
from scipy.stats import spearmanr
from veloshard import assemble, exchange, preprocess

pytestmark = pytest.mark.methods

CLIENT = ROOT / "tests/models/clients/differentiable_velocity.py"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """File of what models are given of a simulation, whose fates branch, and the true time of its cells."""
    counts = assemble.simulated_counts(seed=4, n_cells=250, n_genes=50)
    prepared = preprocess.prepare(counts, dataset="simulated", n_pcs=10, n_neighbors=20)
    path = tmp_path_factory.mktemp("differentiable") / "cells.h5"
    exchange.save_cells(path, prepared, counts, embedding=prepared.obsm["X_pca"][:, :2])
    return path, prepared.obs["true_time"].to_numpy()


@pytest.fixture
def ask(simulated, tmp_path):
    """Function that asks the model, in the Python of its environment."""

    def answer(task):
        command = [python_of("differentiable"), "-I", CLIENT, ROOT / "workflow/scripts", task, simulated[0], tmp_path]
        process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        return json.loads((tmp_path / "answers.json").read_text())

    return answer


def test_closed_form_is_what_an_integrator_finds(ask):
    answers = ask("closed_form")
    # of abundances up to 7; steps of the integrator across a switch leave up to 1e-5
    assert max(answers["errors"].values()) < 1e-4, answers["errors"]
    # smooth where the rates are equal: the slope there is the mean of those on both sides
    below, there, above = answers["gradients"].values()
    assert there == pytest.approx((below + above) / 2, rel=1e-4)


def test_time_and_shares_get_a_gradient_from_either_loss(ask):
    for name, found in ask("gradients").items():
        assert found["norm"] > 1e-8, name
        assert found["exact"] == pytest.approx(found["finite"], rel=1e-3, abs=1e-7), name


def test_training_through_the_equations_teaches_the_encoder_the_time(ask, simulated):
    answers = ask("learning")
    untrained, trained = (
        [spearmanr(time, simulated[1]).statistic for time in answers[state]] for state in ("untrained", "trained")
    )
    # a random encoder may order cells well, but in either direction
    assert min(trained) > 0.9
    assert np.mean(trained) > np.mean(untrained) + 0.2


def test_direction_and_velocities_are_those_of_the_simulation(simulated, run_small):
    found, truth = run_small
    assert spearmanr(found.of_cells["time"], simulated[1]).statistic > 0.95
    velocity = found.layers["velocity"]
    products = np.sum(velocity * truth, axis=1)
    cosines = products / np.linalg.norm(velocity, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.mean(cosines) > 0.7


@pytest.fixture(scope="module")
def run_small(simulated, tmp_path_factory):
    """What the model returns of the simulation, and the true velocities of its genes."""
    folder = tmp_path_factory.mktemp("run_small")
    options = {"n_steps": 400, "batch_size": 128, "n_hidden": 32, "velocity": "fitted"}
    command = [
        python_of("differentiable"), "-I", ROOT / "workflow/scripts/run_model.py", "--model", "differentiable",
        "--cells", simulated[0], "--options", json.dumps(options), "--result", folder / "model.h5",
        "--samples", folder / "samples.h5", "--folder", folder / "model",
    ]  # fmt: skip
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    counts = assemble.simulated_counts(seed=4, n_cells=250, n_genes=50)
    found = exchange.load_modelled(folder / "model.h5")
    return found, np.asarray(counts[found.cells.astype(str), found.genes.astype(str)].layers["true_velocity"])


def test_a_saved_model_says_the_same_again(ask):
    assert ask("reloading") == {"same": True, "genes": True}
