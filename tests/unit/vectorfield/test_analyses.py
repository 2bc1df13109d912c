"""Analyses of a vector field return values for the requested cells, genes and clusters."""

import numpy as np
import pandas as pd
import pytest
from support.cells import nearest
from veloshard.errors import InputError
from veloshard.io.prepared import load_pcs, load_prepared, save_prepared
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts
from veloshard.vectorfield.analyses.geometry import compute_cell_geometry, tabulate_cells, tabulate_genes
from veloshard.vectorfield.analyses.least_action_paths import find_least_action_paths
from veloshard.vectorfield.analyses.perturbation import predict_perturbation
from veloshard.vectorfield.analyses.regulation import rank_regulators
from veloshard.vectorfield.analyses.topography import compute_topography
from veloshard.vectorfield.analyses.trajectories import integrate_trajectories
from veloshard.vectorfield.dataset import ALL_CELLS, Dataset
from veloshard.vectorfield.perturbation import PCALoadings
from veloshard.vectorfield.sparsevfc import fit_field

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

N_CELLS, N_GENES, N_DIMS = 150, 12, 4


@pytest.fixture(scope="module")
def dataset():
    """Cells along a curve from one cluster to the next, 3 of them in no cluster, 2 without an embedding."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 3, N_CELLS)
    pcs = np.column_stack([time, np.sin(time), *rng.normal(0, 0.1, (N_DIMS - 2, N_CELLS))])
    embedding = pcs[:, :2].copy()
    embedding[[5, 60]] = np.nan
    codes = (time > 1.5).astype(int)
    codes[[10, 70, 140]] = -1
    loadings = np.linalg.qr(rng.normal(size=(N_GENES, N_DIMS)))[0]
    return Dataset(
        cells=np.array([f"cell{n}" for n in range(N_CELLS)], dtype=object),
        genes=np.array([f"Gene{n}" for n in range(N_GENES)], dtype=object),
        pcs=pcs,
        embedding=embedding,
        pca=PCALoadings(loadings, np.ones(N_GENES)),
        clusters=["1", "late"],
        codes=codes,
        distances=nearest(pcs, 8),
    )


@pytest.fixture(scope="module")
def pca_field(dataset):
    velocity = np.zeros_like(dataset.pcs)
    velocity[:, 0], velocity[:, 1] = 0.5, 0.5 * np.cos(dataset.pcs[:, 0])
    return fit_field(dataset.pcs, velocity, dataset.pcs[::5]).field


@pytest.fixture(scope="module")
def embedding_field(dataset):
    embedded = np.isfinite(dataset.embedding).all(axis=1)
    velocity = np.tile([0.5, 0.1], (embedded.sum(), 1))
    return fit_field(dataset.embedding[embedded], velocity, dataset.embedding[embedded][::5]).field


def test_cells_without_embedding_have_no_derivatives_on_it_but_all_others(dataset, pca_field, embedding_field):
    arrays = compute_cell_geometry(dataset, pca_field, embedding_field)
    not_embedded = np.isnan(dataset.embedding[:, 0])
    for name, values in arrays.items():
        np.testing.assert_array_equal(
            np.isnan(values), not_embedded if name.endswith("_embedding") else np.zeros(N_CELLS, bool)
        )
    table = tabulate_cells(dataset, arrays)
    assert table["cell"].tolist() == dataset.cells.tolist()
    assert table["cluster"].iloc[[10, 70, 140, 0]].tolist() == ["", "", "", "1"]


def test_genes_are_sorted_by_acceleration_in_each_cluster(dataset, pca_field):
    table = tabulate_genes(dataset, pca_field)
    assert len(table) == 3 * N_GENES
    for _, rows in table.groupby("cluster", observed=True):
        assert rows["acceleration"].abs().is_monotonic_decreasing
    assert table["cluster"].iloc[0] == ALL_CELLS


def test_imported_components_without_loadings_give_no_values_by_gene(dataset, pca_field, caplog):
    without_loadings = dataset._replace(pca=None)
    assert len(tabulate_genes(without_loadings, pca_field)) == 0
    assert "the imported principal components have no loadings" in caplog.text
    *_, genes = find_least_action_paths(without_loadings, pca_field, [["1", "late"]])
    assert len(genes) == 0
    with pytest.raises(InputError, match="changes needs the PCA loadings of the genes"):
        predict_perturbation(without_loadings, pca_field, {"Gene1": "knock_out"}, name="none")


def test_fixed_points_of_both_fields_are_in_one_table(dataset, pca_field, embedding_field):
    arrays, table = compute_topography(dataset, pca_field, embedding_field, rng=np.random.default_rng(0))
    assert (table["space"] == "embedding").sum() == len(arrays["coordinates"])
    assert set(table["space"]) <= {"embedding", "pca"}
    assert set(table["nearest_cell"]) <= set(dataset.cells)
    assert arrays["near_cells"].any()
    assert not arrays["near_cells"].all()


def test_regulation_holds_the_requested_genes_and_the_strongest_others(dataset, pca_field, monkeypatch):
    monkeypatch.setattr("veloshard.vectorfield.analyses.regulation.N_STRONGEST", 2)
    arrays, table = rank_regulators(dataset, pca_field, ["Gene3", "Gene7"])
    assert arrays["jacobian"].shape == (3, 2, 2)
    over_all_cells = table[table["cluster"] == ALL_CELLS].set_index(["effector", "regulator"])["value"]
    assert over_all_cells[("Gene7", "Gene3")] == pytest.approx(arrays["jacobian"][0, 1, 0])
    # 4 pairs of the requested genes, and for each of them at most 2 regulators and 2 targets
    assert 4 <= len(over_all_cells) <= 4 + 2 * 2 * 2
    assert not table.duplicated(["cluster", "effector", "regulator"]).any()


@pytest.mark.parametrize(("backwards", "from_cluster", "to_cluster"), [(False, 1, "late"), (True, "late", "1")])
def test_trajectories_are_integrated_in_both_directions(dataset, pca_field, backwards, from_cluster, to_cluster):
    arrays, table = integrate_trajectories(
        dataset, pca_field, clusters=[from_cluster], n_cells=3, backwards=backwards, rng=np.random.default_rng(0)
    )
    assert arrays["coordinates"].shape == (3, 100, 2)
    assert np.isfinite(arrays["coordinates"]).all()
    assert (np.sign(arrays["times"][:, -1]) == (-1 if backwards else 1)).all()
    ends = table.groupby("cell")["nearest_cluster"].agg(["first", "last"])
    assert (ends["first"] == str(from_cluster)).all()
    assert (ends["last"] == to_cluster).all()


def test_a_path_starts_and_ends_at_the_centers_of_its_clusters(dataset, pca_field):
    arrays, table, genes = find_least_action_paths(dataset, pca_field, [[1, "late"]])
    assert arrays["names"].tolist() == ["1 to late"]
    assert table["nearest_cluster"].iloc[[0, -1]].tolist() == ["1", "late"]
    assert genes["spread"].is_monotonic_decreasing
    ends = (table[["embedding_1", "embedding_2"]].iloc[[0, -1]]).to_numpy()
    np.testing.assert_allclose(ends[:, 0], [0.75, 2.25], atol=0.3)


def test_clusters_that_the_neighbor_graph_does_not_connect_have_a_path(dataset, pca_field, caplog):
    disconnected = dataset.distances.copy().tolil()
    disconnected[: N_CELLS // 2, N_CELLS // 2 :] = 0
    disconnected[N_CELLS // 2 :, : N_CELLS // 2] = 0
    disconnected = disconnected.tocsr()
    disconnected.eliminate_zeros()
    arrays, *_ = find_least_action_paths(dataset._replace(distances=disconnected), pca_field, [["1", "late"]])
    assert "the search starts from a straight line" in caplog.text
    assert np.isfinite(arrays["coordinates"]).all()


def test_a_perturbation_describes_its_changes_and_is_nan_for_cells_without_embedding(dataset, pca_field):
    changes = {"Gene2": {"fold": 0.5}, "Gene4": {"absolute": 0}, "Gene6": "knock_out"}
    arrays, table = predict_perturbation(dataset, pca_field, changes, name="mixed")
    assert arrays["changes"].tolist() == ["Gene2: fold 0.5", "Gene4: absolute 0", "Gene6: knocked out"]
    np.testing.assert_array_equal(np.isnan(arrays["effect_embedding"][:, 0]), np.isnan(dataset.embedding[:, 0]))
    assert len(table) == 3 * N_GENES


def test_effects_of_two_changes_are_additive(dataset, pca_field):
    both, change, knock_out = (
        predict_perturbation(dataset, pca_field, changes, name="x")[0]["effect"]
        for changes in (
            {"Gene2": {"change": 1}, "Gene6": "knock_out"},
            {"Gene2": {"change": 1}},
            {"Gene6": "knock_out"},
        )
    )
    np.testing.assert_allclose(both, change + knock_out, atol=1e-12)


def test_the_error_for_a_missing_gene_names_it_and_the_remedy(dataset, pca_field):
    key = "datasets.demo.vector_field.perturbations.less"
    with pytest.raises(InputError, match=rf"^{key}: 'Gene99' is not among the 12 genes .*n_top_genes"):
        predict_perturbation(dataset, pca_field, {"Gene99": {"fold": 0}}, name="less", key=key)
    with pytest.raises(InputError, match=r"^genes: 'Gene99' is not among"):
        rank_regulators(dataset, pca_field, ["Gene99"])


def test_the_error_for_a_missing_cluster_names_it(dataset, pca_field):
    with pytest.raises(InputError, match=r"^pairs: no cluster is labeled 'lat' .*did you mean 'late'"):
        find_least_action_paths(dataset, pca_field, [["1", "lat"]])


def test_a_dataset_without_clusters_is_analyzed_over_all_cells(dataset, pca_field):
    without_clusters = dataset._replace(clusters=[], codes=np.full(N_CELLS, -1))
    assert set(tabulate_genes(without_clusters, pca_field)["cluster"]) == {ALL_CELLS}
    arrays, _ = rank_regulators(without_clusters, pca_field, ["Gene1"])
    assert arrays["groups"].tolist() == [ALL_CELLS]


def test_pcs_are_centered_expression_times_loadings(tmp_path):
    counts = simulate_counts(seed=0, n_cells=120, n_genes=40)
    counts.uns["ingest"] = {}
    prepared = prepare_data(counts, dataset="demo", n_pcs=5)
    save_prepared(tmp_path / "prepared.h5ad", prepared)
    pcs, loadings, means = load_pcs(tmp_path / "prepared.h5ad")
    expression = np.asarray(prepared.X.todense(), dtype=float)
    # principal components are stored in single precision
    np.testing.assert_allclose((expression - means) @ loadings, pcs, atol=1e-4)
    pd.testing.assert_index_equal(
        prepared.var_names, pd.Index(load_prepared(tmp_path / "prepared.h5ad").genes), check_names=False
    )
