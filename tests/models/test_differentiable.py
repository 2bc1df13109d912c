"""The model `differentiable`: its equations, its gradients, what training adds, and what it keeps."""

import json
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from described import ROOT, python_of
from scipy.stats import spearmanr
from veloshard import assemble, exchange, preprocess
from veloshard.splicing import spliced_at, unspliced_at

pytestmark = pytest.mark.methods

CLIENT = ROOT / "tests/models/clients/differentiable_velocity.py"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """File of what models are given of a simulation, whose fates branch; true time and velocities of its cells."""
    counts = assemble.simulated_counts(seed=4, n_cells=250, n_genes=50)
    truth = pd.DataFrame(counts.layers.pop("true_velocity"), counts.obs_names, counts.var_names)
    prepared = preprocess.prepare(counts, dataset="simulated", n_pcs=10, n_neighbors=20)
    path = tmp_path_factory.mktemp("differentiable") / "cells.h5"
    exchange.save_cells(path, prepared, counts, embedding=prepared.obsm["X_pca"][:, :2])
    return path, prepared.obs["true_time"].to_numpy(), truth.loc[prepared.obs_names]


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


def run(simulated, folder, **options):
    """What the model returns of the simulation."""
    command = [
        python_of("differentiable"), "-I", ROOT / "workflow/scripts/run_model.py", "--model", "differentiable",
        "--cells", simulated[0], "--options", json.dumps({"velocity": "fitted"} | options),
        "--result", folder / "model.h5", "--samples", folder / "samples.h5", "--folder", folder / "model",
    ]  # fmt: skip
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return exchange.load_modelled(folder / "model.h5")


def test_direction_and_velocities_are_those_of_the_simulation(simulated, tmp_path):
    path, time, truth = simulated
    found = run(simulated, tmp_path, n_steps=400, batch_size=128, n_hidden=32)
    assert spearmanr(found.of_cells["time"], time).statistic > 0.95
    velocity, truth = found.layers["velocity"], truth[found.genes].to_numpy()
    products = np.sum(velocity * truth, axis=1)
    cosines = products / np.linalg.norm(velocity, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.mean(cosines) > 0.7


def test_columns_describe_the_curve_that_velocities_are_of(simulated, tmp_path):
    found = run(simulated, tmp_path, n_courses=1, n_steps=50, n_hidden=8)
    gene = found.of_genes
    beta = gene["fit_beta"] * gene["fit_scaling"]
    on, off = np.clip(found.layers["fit_t"], 0, gene["fit_t_"]), np.maximum(found.layers["fit_t"] - gene["fit_t_"], 0)
    u = unspliced_at(on, 0.0, gene["fit_alpha"], beta)
    s = spliced_at(on, 0.0, 0.0, gene["fit_alpha"], beta, gene["fit_gamma"])
    s = spliced_at(off, s, u, 0.0, beta, gene["fit_gamma"])
    u = unspliced_at(off, u, 0.0, beta)
    # what is there before the switch is in a steady state
    velocity = beta * u - gene["fit_gamma"] * s
    # that of degradation: single precision leaves something of the velocity of a gene that is on all the time
    scale = gene["fit_gamma"] * s.max(axis=0)
    assert (on > 0).any()
    assert (off > 0).any()
    np.testing.assert_allclose(found.layers["velocity"] / scale, velocity / scale, atol=1e-3)
    # unspliced moments are the scaled curve and what is there before
    with h5py.File(simulated[0]) as file:
        columns = [list(file["genes"].asstr()[()]).index(name) for name in found.genes]
        missed = gene["fit_u0"] + gene["fit_scaling"] * u - file["Mu"][()][:, columns]
        variance = file["Mu"][()][:, columns].var(axis=0)
    assert np.all(1 - np.mean(missed**2, axis=0) / variance >= gene["fit_r2"] - 1e-3)


def test_a_saved_model_says_the_same_again(ask):
    assert ask("reloading") == {"same": True, "genes": True}
