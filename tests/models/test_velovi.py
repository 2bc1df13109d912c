"""What velovi.py returns against what scvi-tools says of the saved model, in units of the moments."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from veloshard import assemble, exchange, preprocess
from veloshard.splicing import state_at

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".envs/velovi/bin/python"
RUN_MODEL = ROOT / "workflow/scripts/run_model.py"
RELOADED = Path(__file__).parent / "clients/velovi_reloaded.py"
SEED, N_SAMPLES = 5, 3
OPTIONS = {"random_state": SEED, "max_epochs": 15, "n_samples": N_SAMPLES, "batch_size": 64, "accelerator": "cpu"}

pytestmark = pytest.mark.methods


def run(*command):
    """A finished process of the model's own Python."""
    return subprocess.run([PYTHON, "-I", *command], capture_output=True, text=True)


def run_velovi(cells, folder):
    """A finished run of the model on a file, with results in a folder."""
    return run(
        RUN_MODEL, "--model", "velovi", "--cells", cells, "--options", json.dumps(OPTIONS),
        "--result", folder / "model.h5", "--samples", folder / "samples.h5", "--folder", folder / "model",
    )  # fmt: skip


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """File of a simulation's cells, as a model is given it."""
    counts = assemble.simulated_counts(seed=3, n_cells=150, n_genes=30)
    prepared = preprocess.prepare(counts, dataset="made_up", n_pcs=8, n_neighbors=12)
    path = tmp_path_factory.mktemp("cells") / "cells.h5"
    embedding = prepared.obsm["X_pca"][:, :2]
    exchange.save_cells(path, prepared, counts, embedding=embedding, clusters="clusters")
    return path


@pytest.fixture(scope="module")
def fitted(cells, tmp_path_factory):
    """What a run returned, the moments that it was given, and the folder in which all of it lies."""
    folder = tmp_path_factory.mktemp("fitted")
    process = run_velovi(cells, folder)
    assert process.returncode == 0, process.stderr
    found = exchange.load_modelled(folder / "model.h5")
    with h5py.File(cells) as file, h5py.File(folder / "samples.h5") as samples:
        columns = pd.Index(file["genes"].asstr()[()]).get_indexer(found.genes)
        Ms, Mu = (file[name][()][:, columns] for name in ("Ms", "Mu"))
        return SimpleNamespace(**found._asdict(), Ms=Ms, Mu=Mu, samples=samples["velocity"][()], folder=folder)


@pytest.fixture(scope="module")
def library(cells, fitted):
    """What scvi-tools says of the saved model, of scaled moments."""
    answers = fitted.folder / "answers.npz"
    process = run(RELOADED, RUN_MODEL, cells, fitted.folder / "model", str(SEED), answers)
    assert process.returncode == 0, process.stderr
    with np.load(answers) as file:
        return SimpleNamespace(**file)


@pytest.fixture(scope="module")
def units(fitted, library):
    """Ranges of the moments, and the factor by which each gene's time is stretched."""
    stretch = library.gamma / fitted.of_genes["fit_gamma"]
    return SimpleNamespace(s=np.ptp(fitted.Ms, axis=0), u=np.ptp(fitted.Mu, axis=0), stretch=stretch)


def test_saved_model_has_the_rates_that_were_returned(fitted, library, units):
    assert fitted.layers["fit_t"].max(axis=0) == pytest.approx(20, rel=1e-5)
    alpha, beta = library.alpha * units.s / units.stretch, library.beta / units.stretch
    assert fitted.of_genes["fit_alpha"] == pytest.approx(alpha, rel=1e-5)
    assert fitted.of_genes["fit_beta"] * fitted.of_genes["fit_scaling"] == pytest.approx(beta, rel=1e-5)


def test_samples_are_those_of_the_library_in_units_of_the_moments(fitted, library, units):
    assert len(fitted.samples) == N_SAMPLES
    expected = library.velocity * units.s / units.stretch
    np.testing.assert_allclose(fitted.samples, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert np.abs(fitted.samples[0] - fitted.samples[1]).max() > 0.01 * np.abs(expected).max()


def test_velocity_is_the_mean_of_the_samples(fitted):
    np.testing.assert_allclose(fitted.layers["velocity"], fitted.samples.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_rates_draw_the_expression_that_the_model_fits(fitted, library):
    """The curve of the README, at the times of a sample and averaged over its states, is the library's own fit."""
    gene, course = fitted.of_genes, np.vectorize(state_at)
    alpha, gamma, scaling = gene["fit_alpha"], gene["fit_gamma"], gene["fit_scaling"]
    beta, switch = gene["fit_beta"] * scaling, gene["fit_t_"]
    stretch = library.gamma / gamma
    at_switch = course(switch, 0.0, 0.0, alpha, beta, gamma)
    states = [
        course(library.rho * switch, 0.0, 0.0, alpha, beta, gamma),
        (alpha / beta, alpha / gamma),
        course(library.tau * (20 * stretch - switch), *at_switch, 0.0, beta, gamma),
        (0.0, 0.0),
    ]
    u, s = (sum(library.pi[..., k] * states[k][which] for k in range(4)) for which in (0, 1))
    for drawn, of_library, moments in (
        (gene["fit_s0"] + s, library.fitted_s, fitted.Ms),
        (gene["fit_u0"] + scaling * u, library.fitted_u, fitted.Mu),
    ):
        extent = np.ptp(moments, axis=0)
        np.testing.assert_allclose((drawn - moments.min(axis=0)) / extent, of_library, atol=1e-3)


def test_directional_uncertainty_is_that_of_the_library(fitted, library):
    """Which keeps all samples at once; its angles are of single precision."""
    for name in ("cosine_sim_mean", "cosine_sim_variance", "cosine_sim_difference", "variance", "difference"):
        name = f"directional_{name}"
        np.testing.assert_allclose(fitted.of_cells[name], getattr(library, name), rtol=1e-3, atol=1e-5)


def test_permutation_score_is_high_only_where_u_and_s_go_together(fitted, library):
    table = pd.read_csv(fitted.folder / "model/permutation_scores.csv", index_col="gene")
    assert list(table.index) == list(fitted.genes)
    np.testing.assert_allclose(fitted.of_genes["permutation_score"], table.max(axis=1), rtol=1e-6)
    # of what is permuted already the scores are as Student's t, with a variance near 1 and a mean of 0
    error = 1 / np.sqrt(library.scores_permuted.size)
    assert abs(library.scores_permuted.mean()) < 4 * error
    assert library.scores_permuted.var() < 2
    assert library.scores_true.mean() > 4 * error


def test_same_seed_gives_the_same_bits(cells, fitted, tmp_path):
    assert run_velovi(cells, tmp_path).returncode == 0
    for name in ("model.h5", "samples.h5", "model/history.csv", "model/permutation_scores.csv"):
        assert (tmp_path / name).read_bytes() == (fitted.folder / name).read_bytes(), name


def test_cells_without_unspliced_signal_are_refused(cells, tmp_path):
    with h5py.File(cells) as file, h5py.File(tmp_path / "cells.h5", "w") as flat:
        for name in file:
            file.copy(name, flat)
        flat.attrs.update(file.attrs)
        flat["Mu"][...] = 0
    process = run_velovi(tmp_path / "cells.h5", tmp_path)
    assert process.returncode == 1
    assert "there are 0" in process.stderr.splitlines()[-1]
