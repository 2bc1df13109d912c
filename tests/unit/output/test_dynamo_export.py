"""Export to Dynamo: its contents, and encodings that the older AnnData of Dynamo can read."""

import logging

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from support.counts import two_clusters
from veloshard import contract
from veloshard.io.fits import load_fit_genes, save_fit
from veloshard.io.hdf5 import save_anndata
from veloshard.io.prepared import save_prepared
from veloshard.output.anndata_result import add_dense_layers
from veloshard.output.dynamo_export import LAYERS, as_dynamo_input
from veloshard.preprocessing.moments import load_moments
from veloshard.preprocessing.prepare import prepare_data

N_CELLS = 40


@pytest.fixture(scope="module")
def counts():
    counts = two_clusters(N_CELLS)
    counts.uns["ingest"] = {}
    counts.obsm["X_own"] = np.random.default_rng(0).normal(size=(N_CELLS, 6)).astype(np.float32)
    counts.obs["text"] = pd.array(["one", None] * (N_CELLS // 2), dtype="string")
    counts.obs["labels"] = pd.Categorical(counts.obs["text"])
    return counts


@pytest.fixture
def export(counts, tmp_path):
    """Return a function that exports a random fit and returns the AnnData that is read back, and the fit."""

    def run(**options):
        prepared = prepare_data(counts, dataset="d", min_shared_counts=1, n_pcs=5, n_neighbors=6, **options)
        save_prepared(tmp_path / "prepared.h5ad", prepared)
        n_genes = prepared.n_vars
        velocity = np.random.default_rng(0).normal(size=(n_genes, N_CELLS)).astype(np.float32)
        velocity[0] = np.nan
        status, reason = contract.status_of((np.arange(n_genes) == 0, "left out"))
        is_velocity_gene = np.isin(np.arange(n_genes), [1, 2, 3])
        fit = contract.Fit(
            {"status": status, "reason": reason, "velocity_genes": is_velocity_gene},
            {"velocity": velocity, "fit_t": velocity},
        )
        save_fit(tmp_path / "fit.h5", fit, prepared.var_names.to_numpy(dtype=str), cell_columns={}, embeddings={})
        result = as_dynamo_input(
            anndata.read_h5ad(tmp_path / "prepared.h5ad"),
            genes=load_fit_genes(tmp_path / "fit.h5"),
            embedding={"X_umap": counts.obsm["X_umap"]},
        )
        path = tmp_path / "dynamo.h5ad"
        save_anndata(path, result)
        add_dense_layers(path, tmp_path / "prepared.h5ad", tmp_path / "fit.h5", names=LAYERS, missing=0)
        return anndata.read_h5ad(path), fit

    return run


def test_layers_are_those_of_the_fit_with_zeros_for_genes_without_a_fit(export, tmp_path):
    result, fit = export()
    assert set(result.layers) - {None} == {"M_s", "M_u", "velocity_S"}
    np.testing.assert_array_equal(result.layers["velocity_S"].T[1:], fit.layers["velocity"][1:])
    assert (result.layers["velocity_S"][:, 0] == 0).all()
    for layer, source in (("M_s", "spliced"), ("M_u", "unspliced")):
        moments = load_moments(tmp_path / "prepared.h5ad", np.ones(result.n_vars, dtype=bool), source)
        np.testing.assert_array_equal(result.layers[layer], moments)


def test_principal_components_are_the_product_of_centered_expression_and_loadings(export):
    result, _ = export()
    loadings, means = result.uns["PCs"], result.uns["pca_mean"]
    # single precision
    np.testing.assert_allclose((result.X.toarray() - means) @ loadings, result.obsm["X_pca"], atol=1e-5)
    assert loadings.shape == (result.var["use_for_pca"].sum(), result.obsm["X_pca"].shape[1])


def test_there_are_at_most_as_many_components_as_velocity_genes(export):
    result, _ = export()
    assert result.obsm["X_pca"].shape[1] == result.var["use_for_transition"].sum() == 3


def test_all_genes_with_loadings_are_used_for_dynamics(export):
    # Dynamo selects the rows of the loadings by `use_for_dynamics`
    result, _ = export()
    assert result.var["use_for_dynamics"].all()
    assert result.var["use_for_pca"].all()
    assert result.var["status"].iloc[0] == "not_fitted"


def test_components_without_loadings_are_exported_with_a_warning(export, caplog):
    with caplog.at_level(logging.WARNING):
        result, _ = export(pca="X_own")
    assert "perturbation, KO and gene-wise Jacobian of Dynamo cannot run" in caplog.text
    assert not {"PCs", "pca_mean"} & set(result.uns)
    assert "use_for_pca" not in result.var
    assert list(result.var["use_for_dynamics"][:2]) == [False, True]


def test_an_older_anndata_can_read_the_encodings_of_the_file(export, tmp_path):
    result, _ = export()
    encodings = set()
    with h5py.File(tmp_path / "dynamo.h5ad") as file:
        file.visititems(lambda _, item: encodings.add(item.attrs.get("encoding-type")))
    # the encodings of AnnData 0.8, without null and nullable-string-array, which were added later
    assert encodings <= {
        "anndata", "array", "string-array", "csr_matrix", "csc_matrix", "dataframe", "dict", "categorical",
        "numeric-scalar", "string", None,
    }  # fmt: skip
    assert list(result.obs["text"][:1]) == ["one"]
    assert result.obs[["text", "labels"]].isna().sum().tolist() == [N_CELLS // 2] * 2
