"""The AnnData result: each array is stored with the key of scVelo that names it."""

import json

import numpy as np
from matplotlib.colors import to_hex
from veloshard.output.anndata_result import assemble_result
from veloshard.output.cluster_colors import clusters_of


def test_arrays_of_a_result_have_the_keys_of_scvelo(prepared, arrays):
    result = assemble_result(prepared, **arrays)
    np.testing.assert_array_equal(result.obsm["X_umap"], arrays["embedding"]["X_umap"])
    np.testing.assert_array_equal(result.obsm["velocity_umap"], arrays["velocity_embedding"])
    np.testing.assert_array_equal(result.obsm["X_latent"], arrays["model_embeddings"]["X_latent"])
    np.testing.assert_array_equal(result.obs["velocity_self_transition"], arrays["self_transition"])
    np.testing.assert_array_equal(result.obs["velocity_length"], arrays["cells"]["velocity_length"])
    np.testing.assert_array_equal(result.var["fit_alpha"], arrays["genes"]["fit_alpha"])
    positive, negative = result.uns["velocity_graph"], result.uns["velocity_graph_neg"]
    assert positive.data.min() > 0 > negative.data.max()
    np.testing.assert_array_equal((positive + negative).toarray(), arrays["graph"].toarray())


def test_annotations_of_clusters_have_the_keys_of_scvelo(prepared, arrays):
    result = assemble_result(prepared, **arrays)
    columns, p_values, _ = arrays["differential_kinetics"]
    assert result.uns["paga"]["transitions_confidence"][1, 0] == 0.25
    assert result.uns["paga"]["connectivities"][0, 1] == 0.5
    assert result.uns["paga"]["groups"] == "clusters"
    np.testing.assert_array_equal(result.uns["clusters_sizes"], [20, 20])
    np.testing.assert_array_equal(result.varm["fit_pvals_kinetics"], p_values)
    np.testing.assert_array_equal(result.var["fit_pval_kinetics"], columns["fit_pval_kinetics"])
    ranking = result.uns["rank_velocity_genes"]
    assert {key: [ranking[key][name][0] for name in "ab"] for key in ("names", "scores", "pvals", "pvals_adj")} == {
        "names": ["gene1", "gene2"],
        "scores": [2.0, 3.0],
        "pvals": [0.01, 0.02],
        "pvals_adj": [0.03, 0.04],
    }


def test_the_stored_colors_are_those_of_the_figures(prepared, arrays):
    prepared.uns["clusters_colors"] = np.array(["#123456", "#abcdef"])
    prepared.obs["clusters"] = prepared.obs["clusters"].astype("category")
    result = assemble_result(prepared, **arrays)
    assert list(result.uns["clusters_colors"]) == ["#123456", "#abcdef"]
    clusters = clusters_of(result)
    assert dict(zip(clusters.names, map(to_hex, clusters.colors), strict=True)) == {"a": "#123456", "b": "#abcdef"}


def test_the_phase_is_the_one_of_the_code_and_scores_of_the_user_take_precedence(prepared, arrays):
    result = assemble_result(prepared.copy(), **arrays)
    assert result.obs["phase"].tolist()[:3] == ["G1", "S", "G2M"]
    np.testing.assert_array_equal(result.obs["S_score"], arrays["cell_cycle"]["S_score"])
    prepared.obs["phase"] = "own"
    result = assemble_result(prepared, **arrays)
    assert set(result.obs["phase"]) == {"own"}
    assert "S_score" not in result.obs


def test_settings_of_the_fit_are_stored_for_methods_with_curves(prepared, arrays):
    assert "recover_dynamics" not in assemble_result(prepared.copy(), **arrays).uns
    settings = assemble_result(prepared.copy(), **arrays, has_curves=True).uns["recover_dynamics"]
    assert settings["fit_connected_states"]


def test_provenance_has_source_hashes_options_and_versions(prepared, arrays):
    provenance = assemble_result(prepared, **arrays).uns["provenance"]
    assert provenance["source"] == {"source": "liver.h5ad", "format": "h5ad", "sha256": "hash of the source"}
    assert provenance["prepared_sha256"] == "hash of the prepared data"
    assert json.loads(provenance["options"]) == arrays["options"]
    assert provenance["versions"]["numpy"] == np.__version__
    assert list(provenance["model_versions"]) == ["torch 2.9"]
    assert list(provenance["warnings"]) == ["a warning"]
