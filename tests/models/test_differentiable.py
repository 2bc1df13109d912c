"""The model `differentiable`: its equations, gradients, training, results and saved model."""

import json
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from support.models import ROOT, python_of
from veloshard.io.model_io import load_model_output
from veloshard.kinetics.splicing import spliced_at, unspliced_at
from veloshard.preprocessing.model_input import save_model_input
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts

pytestmark = pytest.mark.methods

CLIENT = ROOT / "tests/models/clients/differentiable_velocity.py"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return model_input.h5 of a simulation whose fates branch, and true time and velocities of its cells."""
    counts = simulate_counts(seed=4, n_cells=250, n_genes=50)
    truth = pd.DataFrame(counts.layers.pop("true_velocity"), counts.obs_names, counts.var_names)
    prepared = prepare_data(counts, dataset="simulated", n_pcs=10, n_neighbors=20)
    path = tmp_path_factory.mktemp("differentiable") / "model_input.h5"
    save_model_input(path, prepared, counts, embedding=prepared.obsm["X_pca"][:, :2])
    return path, prepared.obs["true_time"].to_numpy(), truth.loc[prepared.obs_names]


@pytest.fixture
def ask(simulated, tmp_path):
    """Return a function that runs a task of the client in the model's environment, and returns its answers."""

    def answer(task):
        command = [python_of("differentiable"), "-I", CLIENT, ROOT / "workflow/scripts", task, simulated[0], tmp_path]
        process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        return json.loads((tmp_path / "answers.json").read_text())

    return answer


def test_closed_form_equals_numerical_integration(ask):
    answers = ask("closed_form")
    # abundances are up to 7; the integrator's steps across a switch have errors up to 1e-5
    assert max(answers["errors"].values()) < 1e-4, answers["errors"]
    # the gradient is smooth where the rates are equal: it is the mean of those on both sides
    below, equal, above = answers["gradients"].values()
    assert equal == pytest.approx((below + above) / 2, rel=1e-4)


def test_gradients_of_both_losses_reach_the_encoder_and_equal_finite_differences(ask):
    for name, gradient in ask("gradients").items():
        assert gradient["norm"] > 1e-8, name
        assert gradient["exact"] == pytest.approx(gradient["finite"], rel=1e-3, abs=1e-7), name


def test_encoder_learns_the_time_through_the_equations(ask, simulated):
    answers = ask("learning")
    untrained, trained = (
        [spearmanr(time, simulated[1]).statistic for time in answers[state]] for state in ("untrained", "trained")
    )
    # a random encoder may order cells well, but in a random direction
    assert min(trained) > 0.9
    assert np.mean(trained) > np.mean(untrained) + 0.2


def run(simulated, folder, **options):
    """Run the model on the simulation, and return its output."""
    command = [
        python_of("differentiable"), "-I", ROOT / "workflow/scripts/run_model.py", "--model", "differentiable",
        "--cells", simulated[0], "--options", json.dumps({"velocity": "fitted"} | options),
        "--result", folder / "model_output.h5", "--samples", folder / "posterior_samples.h5",
        "--folder", folder / "model",
    ]  # fmt: skip
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return load_model_output(folder / "model_output.h5")


def test_time_and_velocities_agree_with_the_simulation(simulated, tmp_path):
    path, time, truth = simulated
    output = run(simulated, tmp_path, n_steps=400, batch_size=128, n_hidden=32)
    assert spearmanr(output.cell_columns["time"], time).statistic > 0.95
    velocity, truth = output.layers["velocity"], truth[output.genes].to_numpy()
    products = np.sum(velocity * truth, axis=1)
    cosines = products / np.linalg.norm(velocity, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.mean(cosines) > 0.7


def test_gene_columns_describe_the_curve_of_the_velocities(simulated, tmp_path):
    output = run(simulated, tmp_path, n_curves=1, n_steps=50, n_hidden=8)
    gene, gene_times = output.gene_columns, output.layers["fit_t"]
    beta = gene["fit_beta"] * gene["fit_scaling"]
    time_on, time_off = np.clip(gene_times, 0, gene["fit_t_"]), np.maximum(gene_times - gene["fit_t_"], 0)
    u = unspliced_at(time_on, 0.0, gene["fit_alpha"], beta)
    s = spliced_at(time_on, 0.0, 0.0, gene["fit_alpha"], beta, gene["fit_gamma"])
    s = spliced_at(time_off, s, u, 0.0, beta, gene["fit_gamma"])
    u = unspliced_at(time_off, u, 0.0, beta)
    # the abundance before the switch is in a steady state, and does not contribute
    velocity = beta * u - gene["fit_gamma"] * s
    # relative to the rate of degradation, because the velocity of a gene that is always on is a rounding error
    scale = gene["fit_gamma"] * s.max(axis=0)
    assert (time_on > 0).any()
    assert (time_off > 0).any()
    np.testing.assert_allclose(output.layers["velocity"] / scale, velocity / scale, atol=1e-3)
    # unspliced moments are the scaled curve plus the abundance before the switch
    with h5py.File(simulated[0]) as file:
        columns = [list(file["genes"].asstr()[()]).index(name) for name in output.genes]
        residuals = gene["fit_u0"] + gene["fit_scaling"] * u - file["Mu"][()][:, columns]
        variance = file["Mu"][()][:, columns].var(axis=0)
    assert np.all(1 - np.mean(residuals**2, axis=0) / variance >= gene["fit_r2"] - 1e-3)


def test_saved_model_gives_the_same_velocities(ask):
    assert ask("reloading") == {"same": True, "genes": True}
