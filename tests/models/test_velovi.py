"""Results of velovi.py compared with those of scvi-tools for the saved model, in units of the moments."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from veloshard.io.model_io import load_model_output
from veloshard.kinetics.splicing import state_at
from veloshard.preprocessing.model_input import save_model_input
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".envs/velovi/bin/python"
RUN_MODEL = ROOT / "workflow/scripts/run_model.py"
RELOADED = Path(__file__).parent / "clients/velovi_reloaded.py"
SEED, N_SAMPLES = 5, 3
OPTIONS = {"random_state": SEED, "max_epochs": 15, "n_samples": N_SAMPLES, "batch_size": 64, "accelerator": "cpu"}

pytestmark = pytest.mark.methods


def run(*command):
    """Run a command in the model's environment; return the finished process."""
    return subprocess.run([PYTHON, "-I", *command], capture_output=True, text=True)


def run_velovi(cells, folder):
    """Run the model on a file, with results in a folder; return the finished process."""
    return run(
        RUN_MODEL, "--model", "velovi", "--cells", cells, "--options", json.dumps(OPTIONS),
        "--result", folder / "model_output.h5", "--samples", folder / "posterior_samples.h5",
        "--folder", folder / "model",
    )  # fmt: skip


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Return the file model_input.h5 of a simulation."""
    counts = simulate_counts(seed=3, n_cells=150, n_genes=30)
    prepared = prepare_data(counts, dataset="simulated", n_pcs=8, n_neighbors=12)
    path = tmp_path_factory.mktemp("cells") / "model_input.h5"
    embedding = prepared.obsm["X_pca"][:, :2]
    save_model_input(path, prepared, counts, embedding=embedding, clusters="clusters")
    return path


@pytest.fixture(scope="module")
def fitted(cells, tmp_path_factory):
    """Return the output of a run, its moments and draws, and the output folder."""
    folder = tmp_path_factory.mktemp("fitted")
    process = run_velovi(cells, folder)
    assert process.returncode == 0, process.stderr
    output = load_model_output(folder / "model_output.h5")
    with h5py.File(cells) as file, h5py.File(folder / "posterior_samples.h5") as samples:
        columns = pd.Index(file["genes"].asstr()[()]).get_indexer(output.genes)
        Ms, Mu = (file[name][()][:, columns] for name in ("Ms", "Mu"))
        return SimpleNamespace(**output._asdict(), Ms=Ms, Mu=Mu, draws=samples["velocity"][()], folder=folder)


@pytest.fixture(scope="module")
def library(cells, fitted):
    """Return the results of scvi-tools for the saved model and scaled moments."""
    answers = fitted.folder / "answers.npz"
    process = run(RELOADED, RUN_MODEL, cells, fitted.folder / "model", str(SEED), answers)
    assert process.returncode == 0, process.stderr
    with np.load(answers) as file:
        return SimpleNamespace(**file)


@pytest.fixture(scope="module")
def units(fitted, library):
    """Return the ranges of the moments, and the factor by which the time of each gene is stretched."""
    stretch = library.gamma / fitted.gene_columns["fit_gamma"]
    return SimpleNamespace(s=np.ptp(fitted.Ms, axis=0), u=np.ptp(fitted.Mu, axis=0), stretch=stretch)


def test_rates_equal_those_of_the_saved_model(fitted, library, units):
    assert fitted.layers["fit_t"].max(axis=0) == pytest.approx(20, rel=1e-5)
    alpha, beta = library.alpha * units.s / units.stretch, library.beta / units.stretch
    assert fitted.gene_columns["fit_alpha"] == pytest.approx(alpha, rel=1e-5)
    assert fitted.gene_columns["fit_beta"] * fitted.gene_columns["fit_scaling"] == pytest.approx(beta, rel=1e-5)


def test_draws_equal_those_of_the_library_in_units_of_the_moments(fitted, library, units):
    assert len(fitted.draws) == N_SAMPLES
    expected = library.velocity * units.s / units.stretch
    np.testing.assert_allclose(fitted.draws, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert np.abs(fitted.draws[0] - fitted.draws[1]).max() > 0.01 * np.abs(expected).max()


def test_velocity_is_the_mean_of_the_draws(fitted):
    np.testing.assert_allclose(fitted.layers["velocity"], fitted.draws.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_rates_give_the_fitted_expression_of_the_library(fitted, library):
    # the splicing kinetics at the times of a draw, averaged over its states
    gene, abundances_at = fitted.gene_columns, np.vectorize(state_at)
    alpha, gamma, scaling = gene["fit_alpha"], gene["fit_gamma"], gene["fit_scaling"]
    beta, switch = gene["fit_beta"] * scaling, gene["fit_t_"]
    stretch = library.gamma / gamma
    at_switch = abundances_at(switch, 0.0, 0.0, alpha, beta, gamma)
    states = [
        abundances_at(library.rho * switch, 0.0, 0.0, alpha, beta, gamma),
        (alpha / beta, alpha / gamma),
        abundances_at(library.tau * (20 * stretch - switch), *at_switch, 0.0, beta, gamma),
        (0.0, 0.0),
    ]
    u, s = (sum(library.pi[..., k] * states[k][layer] for k in range(4)) for layer in (0, 1))
    for expression, expected, moments in (
        (gene["fit_s0"] + s, library.fitted_s, fitted.Ms),
        (gene["fit_u0"] + scaling * u, library.fitted_u, fitted.Mu),
    ):
        extent = np.ptp(moments, axis=0)
        np.testing.assert_allclose((expression - moments.min(axis=0)) / extent, expected, atol=1e-3)


def test_directional_uncertainty_equals_that_of_the_library(fitted, library):
    # the library computes angles in single precision
    for name in ("cosine_sim_mean", "cosine_sim_variance", "cosine_sim_difference", "variance", "difference"):
        name = f"directional_{name}"
        np.testing.assert_allclose(fitted.cell_columns[name], getattr(library, name), rtol=1e-3, atol=1e-5)


def test_permutation_scores_are_high_only_if_u_and_s_are_related(fitted, library):
    table = pd.read_csv(fitted.folder / "model/permutation_scores.csv", index_col="gene")
    assert list(table.index) == list(fitted.genes)
    np.testing.assert_allclose(fitted.gene_columns["permutation_score"], table.max(axis=1), rtol=1e-6)
    # scores of permuted moments follow Student's t, with mean 0 and a variance near 1
    error = 1 / np.sqrt(library.scores_permuted.size)
    assert abs(library.scores_permuted.mean()) < 4 * error
    assert library.scores_permuted.var() < 2
    assert library.scores_observed.mean() > 4 * error


def test_results_are_bitwise_identical_for_the_same_seed(cells, fitted, tmp_path):
    assert run_velovi(cells, tmp_path).returncode == 0
    for name in (
        "model_output.h5",
        "posterior_samples.h5",
        "model/history.csv",
        "model/permutation_scores.csv",
    ):
        assert (tmp_path / name).read_bytes() == (fitted.folder / name).read_bytes(), name


def test_cells_without_unspliced_signal_are_refused(cells, tmp_path):
    with h5py.File(cells) as file, h5py.File(tmp_path / "model_input.h5", "w") as flat:
        for name in file:
            file.copy(name, flat)
        flat.attrs.update(file.attrs)
        flat["Mu"][...] = 0
    process = run_velovi(tmp_path / "model_input.h5", tmp_path)
    assert process.returncode == 1
    assert "there are 0" in process.stderr.splitlines()[-1]
