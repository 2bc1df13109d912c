"""The data of a figure are the parts of the complete result that come from its analyses."""

import ast
import importlib
import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from veloshard import plotting
from veloshard.contract import Fit
from veloshard.io.fits import save_fit
from veloshard.io.hdf5 import save_arrays
from veloshard.io.prepared import save_prepared
from veloshard.io.results import open_result
from veloshard.output.anndata_result import add_dense_layers, assemble_result
from veloshard.output.figure_data import open_figure_data

NAMES = {"dataset": "liver", "method": "mine", "clusters": "clusters"}


@pytest.fixture
def files(tmp_path, prepared, arrays):
    """Write the files of all analyses and the complete result; return the paths of the analyses."""
    rng = np.random.default_rng(1)
    n_genes = prepared.n_vars
    names = ("prepared", "fit", "embedding", "velocity_embedding", "confidence", "paga", "ranking")
    paths = {name: tmp_path / name for name in names}
    prepared.uns["clusters_colors"] = np.array(["#123456", "#abcdef"])
    prepared.obs["clusters"] = prepared.obs["clusters"].astype("category")
    ring = sparse.csr_matrix(np.roll(np.eye(prepared.n_obs, dtype=np.float32), 1, axis=0))
    prepared.obsp["distances"], prepared.obsp["connectivities"] = ring, (ring + ring.T).tocsr()
    prepared.layers = {name: sparse.csc_matrix(prepared.layers[name]) for name in ("spliced", "unspliced")}
    save_prepared(paths["prepared"], prepared)
    genes = {
        "status": np.where(np.arange(n_genes) == 2, "not_fitted", "ok"),
        "reason": np.where(np.arange(n_genes) == 2, "few counts", ""),
        "velocity_genes": np.arange(n_genes) < 6,
        "fit_alpha": rng.random(n_genes),
    }
    layers = {"velocity": rng.normal(size=prepared.shape[::-1]).astype(np.float32)}
    layers["velocity"][2] = np.nan
    save_fit(paths["fit"], Fit(genes, layers), prepared.var_names, cell_columns={}, embeddings={})
    save_arrays(paths["embedding"], arrays["embedding"])
    save_arrays(paths["velocity_embedding"], {"velocity_embedding": arrays["velocity_embedding"]})
    save_arrays(paths["confidence"], arrays["cells"])
    save_arrays(paths["paga"], arrays["paga"])
    arrays["ranking"].to_csv(paths["ranking"], index=False)
    result = assemble_result(prepared, **{**arrays, "genes": genes, "differential_kinetics": None})
    result.write_h5ad(tmp_path / "velocity.h5ad")
    add_dense_layers(tmp_path / "velocity.h5ad", paths["prepared"], paths["fit"])
    return paths


def test_all_analyses_together_are_the_complete_result(files):
    data = open_figure_data(**files, **NAMES)
    with open_result(files["fit"].with_name("velocity.h5ad")) as result:
        for name in ("clusters", "velocity_length"):
            pd.testing.assert_series_equal(data.obs[name], result.obs[name], check_categorical=True)
        for name in ("velocity_genes", "fit_alpha"):
            np.testing.assert_array_equal(data.var[name], result.var[name])
        for name in ("X_umap", "velocity_umap"):
            np.testing.assert_array_equal(data.obsm[name], result.obsm[name])
        assert set(data.layers) == {"Ms", "Mu", "velocity"} <= set(result.layers)
        for name in data.layers:
            for gene in range(len(data.var)):
                np.testing.assert_array_equal(data.layers[name][:, gene], result.layers[name][:, gene])
        assert data.uns["velocity_params"].items() <= result.uns["velocity_params"].items()
        assert list(data.uns["clusters_colors"]) == list(result.uns["clusters_colors"]) == ["#123456", "#abcdef"]
        for name in ("connectivities", "transitions_confidence"):
            np.testing.assert_array_equal(data.uns["paga"][name].toarray(), result.uns["paga"][name].toarray())
        for name in ("names", "scores", "pvals_adj"):
            assert data.uns["rank_velocity_genes"][name].tolist() == result.uns["rank_velocity_genes"][name].tolist()


def test_data_without_an_analysis_have_no_trace_of_it(files):
    data = open_figure_data(prepared=files["prepared"], embedding=files["embedding"], **NAMES)
    assert set(data.obsm) == {"X_umap"}
    assert set(data.layers) == {"Ms", "Mu"}
    assert set(data.uns) == {"velocity_params", "clusters_colors"}
    assert "velocity_length" not in data.obs
    assert "velocity_genes" not in data.var


def test_a_dataset_without_clusters_has_no_cluster_in_its_figures(files):
    data = open_figure_data(**files, **{**NAMES, "clusters": ""})
    assert "clusters" not in data.uns["velocity_params"]
    assert "paga" not in data.uns


@pytest.mark.parametrize("name", plotting.names())
def test_a_figure_declares_analyses_that_can_be_read(name):
    module = importlib.import_module(f"veloshard.plotting.result.{name}")
    available = set(inspect.signature(open_figure_data).parameters) - {*NAMES, "prepared"}
    assert set(module.INPUTS) <= available
    # rules read the constant without importing the module
    values = [
        ast.literal_eval(node.value)
        for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INPUTS"
    ]
    assert values == [module.INPUTS]
