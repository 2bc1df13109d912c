"""Result files of a run are complete, and have the keys that scVelo and CellRank read."""

import importlib
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from PIL import Image
from test_reruns import FIT, GRAPH, planned_rules
from veloshard import plotting
from veloshard.evaluation.verdict import CHECKS, VERDICTS
from veloshard.io.fits import fit_layer_names, load_fit_layer
from veloshard.io.results import open_result
from veloshard.output.figure_data import open_figure_data
from veloshard.preprocessing.moments import load_moments

FIT_COLUMNS = {
    "fit_alpha", "fit_beta", "fit_gamma", "fit_t_", "fit_scaling", "fit_std_u", "fit_std_s", "fit_likelihood",
    "fit_variance", "fit_alignment_scaling", "fit_curve_weight", "fit_r2", "fit_u0", "fit_s0", "fit_noise",
    "fit_iterations", "fit_gradient", "fit_spread", "fit_bound",
    "fit_alpha_error", "fit_beta_error", "fit_gamma_error", "fit_t__error", "fit_ratio_error",
}  # fmt: skip

# files of the analyses, seen from the folder of a method
ANALYSES = {
    "fit": "fit.h5",
    "embedding": "../embedding.h5",
    "velocity_embedding": "velocity_embedding.h5",
    "confidence": "confidence.h5",
    "pseudotime": "pseudotime.h5",
    "differential_kinetics": "differential_kinetics.h5",
    "ranking": "ranking.csv",
    "paga": "paga.h5",
}


@pytest.fixture(scope="module", params=["steady_state", "stochastic", "dynamical"])
def folder(request, small_run):
    return small_run / "demo" / request.param


@pytest.fixture(scope="module")
def result(folder):
    return read_h5ad(folder / "velocity.h5ad")


def test_the_result_has_the_keys_of_scvelo_and_cellrank(result, folder):
    assert {"spliced", "unspliced", "Ms", "Mu", "velocity"} <= set(result.layers)
    assert {"velocity_genes", "status", "reason"} <= set(result.var)
    assert {"velocity_params", "neighbors", "velocity_graph", "velocity_graph_neg", "provenance"} <= set(result.uns)
    assert {"distances", "connectivities"} <= set(result.obsp)
    assert {"X_pca", "X_umap", "velocity_umap"} <= set(result.obsm)
    assert {
        "clusters",
        "initial_size_spliced",
        "initial_size_unspliced",
        "velocity_self_transition",
        "velocity_confidence",
        "velocity_length",
        "velocity_pseudotime",
        "root_cells",
        "end_points",
    } <= set(result.obs)
    if folder.name == "dynamical":
        assert {"velocity_u", "fit_t", "fit_tau", "fit_tau_"} <= set(result.layers)
        assert set(result.var) >= FIT_COLUMNS
        assert "latent_time" in result.obs
    else:
        assert {"velocity_gamma", "velocity_r2"} <= set(result.var)


def test_dense_layers_are_those_of_the_fit_in_single_precision(result, folder):
    for name in fit_layer_names(folder / "fit.h5"):
        assert result.layers[name].dtype == np.float32
        np.testing.assert_array_equal(result.layers[name], load_fit_layer(folder / "fit.h5", name).T)
    moments = load_moments(folder.parent / "prepared.h5ad", np.ones(result.n_vars, bool))
    np.testing.assert_array_equal(result.layers["Ms"], moments)


def test_velocity_graphs_are_sparse_and_of_one_sign(result):
    positive, negative = result.uns["velocity_graph"], result.uns["velocity_graph_neg"]
    for graph in (positive, negative):
        assert graph.format == "csr"
        assert graph.dtype == np.float32
        assert graph.shape == (result.n_obs, result.n_obs)
    assert positive.data.min() > 0
    assert negative.data.max() < 0


def test_every_gene_has_a_row_with_a_status(result, folder):
    genes = pd.read_csv(folder / "genes.csv", index_col="gene")
    assert genes.index.tolist() == result.var_names.tolist()
    assert set(genes["status"]) <= {"ok", "not_fitted"}
    assert (genes["reason"].notna() == (genes["status"] != "ok")).all()
    assert genes["velocity_genes"].sum() > 20


def test_every_cell_has_a_row(result, folder):
    cells = pd.read_csv(folder / "cells.csv", index_col="cell")
    assert cells.index.tolist() == result.obs_names.tolist()
    assert cells["velocity_pseudotime"].between(0, 1).all()
    assert cells["velocity_confidence"].between(0, 1).all()


def test_provenance_has_source_versions_and_options(result):
    provenance = result.uns["provenance"]
    assert len(provenance["source"]["sha256"]) == 64
    assert {"numpy", "numba", "scanpy"} <= set(provenance["versions"])
    options = json.loads(provenance["options"])
    assert options["preprocess"]["min_shared_counts"] == 20
    # also defaults, which can change in the next version
    assert options["method"]["min_r2"] == 0.01


def test_provenance_does_not_depend_on_the_machine(folder):
    # the file is the same on another machine and with another number of shards
    with h5py.File(folder / "velocity.h5ad") as file:
        options = file["uns/provenance/options"].asstr()[()]
        keys = []
        file["uns/provenance"].visit(keys.append)
    text = f"{options} {' '.join(keys)}".replace("veloshard", "")
    assert not [word for word in ("shard", "thread", "cores", "/tmp") if word in text]


def test_the_file_has_no_null_values(folder):
    encodings = []
    with h5py.File(folder / "velocity.h5ad") as file:
        file.visititems(lambda _, item: encodings.append(item.attrs.get("encoding-type")))
    assert "null" not in encodings


def test_latent_time_follows_the_true_time(small_run):
    cells = pd.read_csv(small_run / "demo/dynamical/cells.csv")
    # there are fewer genes and cells than in the demo, where the bound is 0.8 in each lineage
    assert cells["latent_time"].corr(cells["true_time"], method="spearman") > 0.7


def test_quality_has_numbers_of_the_dataset_and_its_clusters(small_run):
    quality = json.loads((small_run / "demo/qc.json").read_text())
    assert quality["dataset"]["cells"] == 300
    assert sum(row["cells"] for row in quality["clusters"]) == 300
    assert 0.05 < quality["dataset"]["unspliced_fraction"] < 0.5


def test_figures_are_drawn_as_png_and_pdf(folder, small_config):
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == set(small_config()["figures"]["draw"])
    for name in drawn:
        with Image.open(folder / f"figures/{name}.png") as image:
            # an empty figure has few colors
            assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 50
        assert (folder / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", plotting.names())
def test_a_figure_of_its_analyses_has_the_bytes_of_one_of_the_complete_result(folder, name, tmp_path):
    declared = importlib.import_module(f"veloshard.plotting.result.{name}").INPUTS
    # methods without curves have no differential kinetics, and methods without a posterior no scores of it
    lacking = {"posterior_scores"} | ({"differential_kinetics"} if folder.name != "dynamical" else set())
    files = {analysis: folder / ANALYSES[analysis] for analysis in set(declared) - lacking}
    names = {"dataset": "demo", "method": folder.name, "clusters": "clusters"}
    draw, style = plotting.load(name), plotting.Style(panel_size=2)
    data = open_figure_data(prepared=folder.parent / "prepared.h5ad", **files, **names)
    plotting.save(draw(data, style=style), tmp_path / "analyses.png", 50)
    with open_result(folder / "velocity.h5ad") as result:
        plotting.save(draw(result, style=style), tmp_path / "result.png", 50)
    assert (tmp_path / "analyses.png").read_bytes() == (tmp_path / "result.png").read_bytes()


@pytest.mark.parametrize(
    ("figure", "needed"),
    [
        ("stream", GRAPH | {"compute_velocity_embedding"}),
        ("paga", GRAPH | {"compute_pseudotime", "compute_paga"}),
        ("latent_time", GRAPH | {"compute_pseudotime"}),
        ("phase_portraits", set()),
    ],
)
def test_a_figure_needs_no_analysis_that_it_does_not_show(small_run, small_config, run_workflow, figure, needed):
    target = f"results/demo/dynamical/figures/{figure}.png"
    arguments = ["--dry-run", "--forcerun", "merge_fits", "--", target]
    planned = planned_rules(run_workflow(small_config(), small_run.parent, *arguments))
    assert planned == FIT | needed | {"draw_figure"}


def test_a_figure_of_a_vector_field_needs_no_analysis_that_it_does_not_show(small_run, small_config, run_workflow):
    config = small_config()
    config["datasets"]["demo"]["vector_field"] = {}
    target = "results/demo/dynamical/vector_field/figures/streamlines.png"
    arguments = ["--dry-run", "--forcerun", "merge_fits", "--", target]
    planned = planned_rules(run_workflow(config, small_run.parent, *arguments))
    assert planned == FIT | GRAPH | {"learn_vector_field", "compute_topography", "draw_vector_field"}


def test_a_figure_of_a_comparison_needs_no_verdict(small_run, small_config, run_workflow):
    arguments = ["--dry-run", "--forcerun", "merge_fits", "--", "results/demo/figures/agreement.png"]
    planned = planned_rules(run_workflow(small_config(), small_run.parent, *arguments))
    assert {"compare_methods", "draw_comparison"} <= planned
    assert planned.isdisjoint({"compute_verdict", "run_negative_controls", "compute_confidence", "compute_paga"})


def test_a_figure_of_the_counts_needs_no_fit(small_run, small_config, run_workflow):
    target = "results/demo/dynamical/figures/quality.png"
    arguments = ["--dry-run", "--forcerun", "prepare_data", "--", target]
    assert planned_rules(run_workflow(small_config(), small_run.parent, *arguments)) == {"prepare_data", "draw_figure"}


def test_rankings_and_paga_have_the_keys_of_scvelo(result):
    clusters = result.obs["clusters"].cat.categories.tolist()
    assert list(result.uns["rank_velocity_genes"]["names"].dtype.names) == clusters
    assert result.uns["paga"]["groups"] == "clusters"
    assert result.uns["paga"]["transitions_confidence"].shape == (len(clusters), len(clusters))


def test_differential_kinetics_are_tested_for_methods_with_curves(result, folder):
    has_curves = folder.name == "dynamical"
    assert ("fit_pvals_kinetics" in result.varm) == has_curves
    assert (folder / "differential_kinetics.csv").exists() == has_curves


def test_the_verdict_has_a_row_for_each_check(folder):
    verdict = json.loads((folder / "trust.json").read_text())
    assert verdict["verdict"] in VERDICTS
    assert len(verdict["checks"]) == len(CHECKS)
    controls = json.loads((folder / "negative_controls.json").read_text())
    assert controls["cells"] == 300
    assert 0 < controls["survives"]["confidence"] < 2


def test_root_sensitivity_has_a_row_for_each_root(folder):
    roots = pd.read_csv(folder / "root_sensitivity.csv", index_col="root")["spearman"]
    assert roots["Progenitor"] == pytest.approx(1)
    assert {"(detected)", "Fate A", "Fate B"} < set(roots.index)


def test_each_job_has_a_log(small_run):
    logs = small_run.parent / "logs/demo"
    assert "fitted" in (logs / "dynamical/merge_fits.log").read_text()
    assert len(list((logs / "dynamical/fit_genes").glob("*.log"))) == 3


@pytest.fixture(scope="module")
def pairs(small_run):
    return pd.read_csv(small_run / "demo/comparison.csv").set_index(["method", "other"])


def velocity_of(small_run, method):
    """Return the velocities of a method, NaN except in its velocity genes."""
    result = read_h5ad(small_run / "demo" / method / "velocity.h5ad")
    return np.where(result.var["velocity_genes"], result.layers["velocity"], np.nan)


def test_methods_are_compared_in_the_genes_of_both(small_run, pairs):
    first, second = (velocity_of(small_run, method) for method in ("dynamical", "stochastic"))
    both = np.isfinite(first[0] + second[0])
    a, b = first[:, both].astype(float), second[:, both].astype(float)
    cosines = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    row = pairs.loc[("dynamical", "stochastic")]
    assert row["genes"] == both.sum()
    assert row["cosine"] == pytest.approx(np.median(cosines), rel=1e-5)
    moving = (a != 0) & (b != 0)
    shares = np.sum((np.sign(a) == np.sign(b)) & moving, axis=0) / moving.sum(axis=0)
    assert row["sign"] == pytest.approx(np.median(shares))


def test_methods_are_compared_with_the_true_velocities_of_a_simulation(small_run, pairs):
    truth = read_h5ad(small_run / "demo/simulated.h5ad")
    result = read_h5ad(small_run / "demo/dynamical/velocity.h5ad")
    true = truth[result.obs_names, result.var_names].layers["true_velocity"].astype(float)
    estimated = np.nan_to_num(velocity_of(small_run, "dynamical")).astype(float)
    is_velocity_gene = result.var["velocity_genes"].to_numpy()
    cosines = (
        np.sum(estimated * true, axis=1)
        / np.linalg.norm(estimated, axis=1)
        / np.linalg.norm(true[:, is_velocity_gene], axis=1)
    )
    row = pairs.loc[("dynamical", "(truth)")]
    assert row["cosine"] == pytest.approx(np.median(cosines), rel=1e-5)
    times = result.obs[["latent_time", "true_time"]].corr(method="spearman").iloc[0, 1]
    assert row["latent_time"] == pytest.approx(times)


def test_methods_and_cells_have_rows_with_their_agreement(small_run, pairs):
    methods = pd.read_csv(small_run / "demo/methods.csv", index_col="method")
    assert sorted(methods.index) == ["dynamical", "steady_state", "stochastic"]
    assert methods["coherence_in_clusters"].between(0.3, 1).all()
    # velocities lead away from the progenitors
    assert (methods["direction_from_root"] > 0.3).all()
    for method, row in methods.iterrows():
        assert row["verdict"] == json.loads((small_run / f"demo/{method}/trust.json").read_text())["verdict"]
    cells = pd.read_csv(small_run / "demo/agreement.csv", index_col="(cell)")
    assert len(cells) == 300
    np.testing.assert_allclose(cells["(all)"], cells[list(methods.index)].mean(axis=1))
    assert cells["dynamical (truth)"].median() == pytest.approx(pairs.loc[("dynamical", "(truth)"), "cosine"])


@pytest.mark.parametrize("name", plotting.names("comparison"))
def test_figures_of_all_methods_are_drawn(small_run, name):
    with Image.open(small_run / f"demo/figures/{name}.png") as image:
        assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 50
    assert (small_run / f"demo/figures/{name}.pdf").read_bytes().startswith(b"%PDF")
