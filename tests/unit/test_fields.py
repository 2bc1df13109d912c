"""What is asked of vector fields is answered for the cells, genes and clusters that it was asked of."""

import numpy as np
import pandas as pd
import pytest
from cells import nearest
from veloshard import fields, preprocess, store
from veloshard.assemble import simulated_counts
from veloshard.errors import InputError
from veloshard.vectorfield.perturbation import Components
from veloshard.vectorfield.sparsevfc import fit_field

pytestmark = pytest.mark.usefixtures("linear_algebra_on_one_thread")

N_CELLS, N_GENES, N_DIMS = 150, 12, 4


@pytest.fixture(scope="module")
def dataset():
    """Cells that go from one cluster to the next, 3 of them in none, 2 without a place on the embedding."""
    rng = np.random.default_rng(0)
    along = np.linspace(0, 3, N_CELLS)
    components = np.column_stack([along, np.sin(along), *rng.normal(0, 0.1, (N_DIMS - 2, N_CELLS))])
    embedding = components[:, :2].copy()
    embedding[[5, 60]] = np.nan
    codes = (along > 1.5).astype(int)
    codes[[10, 70, 140]] = -1
    loadings = np.linalg.qr(rng.normal(size=(N_GENES, N_DIMS)))[0]
    return fields.Dataset(
        cells=np.array([f"cell{n}" for n in range(N_CELLS)], dtype=object),
        genes=np.array([f"Gene{n}" for n in range(N_GENES)], dtype=object),
        components=components,
        embedding=embedding,
        linear=Components(loadings, np.ones(N_GENES)),
        clusters=["1", "late"],
        codes=codes,
        distances=nearest(components, 8),
    )


@pytest.fixture(scope="module")
def field(dataset):
    arrows = np.zeros_like(dataset.components)
    arrows[:, 0], arrows[:, 1] = 0.5, 0.5 * np.cos(dataset.components[:, 0])
    return fit_field(dataset.components, arrows, dataset.components[::5]).field


@pytest.fixture(scope="module")
def plane(dataset):
    known = np.isfinite(dataset.embedding).all(axis=1)
    arrows = np.tile([0.5, 0.1], (known.sum(), 1))
    return fit_field(dataset.embedding[known], arrows, dataset.embedding[known][::5]).field


def test_cells_without_a_place_have_no_derivatives_there_and_all_others(dataset, field, plane):
    found = fields.geometry_of_cells(dataset, field, plane)
    lost = np.isnan(dataset.embedding[:, 0])
    for name, values in found.items():
        np.testing.assert_array_equal(
            np.isnan(values), lost if name.endswith("_embedding") else np.zeros(N_CELLS, bool)
        )
    table = fields.cells_table(dataset, found)
    assert table["cell"].tolist() == dataset.cells.tolist()
    assert table["cluster"].iloc[[10, 70, 140, 0]].tolist() == ["", "", "", "1"]


def test_genes_are_ranked_within_each_cluster(dataset, field):
    table = fields.genes_table(dataset, field)
    assert len(table) == 3 * N_GENES
    for _, rows in table.groupby("cluster", observed=True):
        assert rows["acceleration"].abs().is_monotonic_decreasing
    assert table["cluster"].iloc[0] == fields.ALL_CELLS


def test_components_that_were_brought_say_nothing_of_genes(dataset, field, caplog):
    brought = dataset._replace(linear=None)
    assert len(fields.genes_table(brought, field)) == 0
    assert "do not say what they are of genes" in caplog.text
    *_, genes = fields.find_paths(brought, field, [["1", "late"]])
    assert len(genes) == 0
    with pytest.raises(InputError, match="do not say what they are of genes"):
        fields.perturb(brought, field, {"Gene1": "knock_out"}, name="none")


def test_fixed_points_of_both_fields_are_in_one_table(dataset, field, plane):
    found, table = fields.portrait(dataset, field, plane, rng=np.random.default_rng(0))
    assert (table["space"] == "embedding").sum() == len(found["places"])
    assert set(table["nearest_cell"]) <= set(dataset.cells)
    assert found["near_cells"].any()
    assert not found["near_cells"].all()


def test_regulation_holds_the_named_genes_and_the_strongest_others(dataset, field, monkeypatch):
    monkeypatch.setattr(fields, "STRONGEST", 2)
    found, table = fields.regulation(dataset, field, ["Gene3", "Gene7"])
    assert found["values"].shape == (3, 2, 2)
    of_all = table[table["cluster"] == fields.ALL_CELLS].set_index(["effector", "regulator"])["value"]
    assert of_all[("Gene7", "Gene3")] == pytest.approx(found["values"][0, 1, 0])
    # two pairs of the named and themselves, and at most two others of each, either way
    assert 4 <= len(of_all) <= 4 + 2 * 2 * 2
    assert not table.duplicated(["cluster", "effector", "regulator"]).any()


@pytest.mark.parametrize(("backwards", "from_cluster", "to_cluster"), [(False, 1, "late"), (True, "late", "1")])
def test_cells_are_followed_either_way(dataset, field, backwards, from_cluster, to_cluster):
    found, table = fields.follow_cells(
        dataset, field, clusters=[from_cluster], n_cells=3, backwards=backwards, rng=np.random.default_rng(0)
    )
    assert found["places"].shape == (3, 100, 2)
    assert np.isfinite(found["places"]).all()
    assert (np.sign(found["times"][:, -1]) == (-1 if backwards else 1)).all()
    ends = table.groupby("cell")["cluster_there"].agg(["first", "last"])
    assert (ends["first"] == str(from_cluster)).all()
    assert (ends["last"] == to_cluster).all()


def test_a_path_begins_and_ends_in_the_middle_of_its_clusters(dataset, field):
    found, table, genes = fields.find_paths(dataset, field, [[1, "late"]])
    assert found["names"].tolist() == ["1 to late"]
    assert table["cluster_there"].iloc[[0, -1]].tolist() == ["1", "late"]
    assert genes["spread"].is_monotonic_decreasing
    moved = (table[["embedding_1", "embedding_2"]].iloc[[0, -1]]).to_numpy()
    np.testing.assert_allclose(moved[:, 0], [0.75, 2.25], atol=0.3)


def test_clusters_that_no_neighbors_join_still_have_a_path(dataset, field, caplog):
    apart = dataset.distances.copy().tolil()
    apart[: N_CELLS // 2, N_CELLS // 2 :] = 0
    apart[N_CELLS // 2 :, : N_CELLS // 2] = 0
    apart = apart.tocsr()
    apart.eliminate_zeros()
    found, *_ = fields.find_paths(dataset._replace(distances=apart), field, [["1", "late"]])
    assert "the search begins with a straight line" in caplog.text
    assert np.isfinite(found["places"]).all()


def test_a_perturbation_names_its_changes_and_spares_cells_without_a_place(dataset, field):
    changes = {"Gene2": {"fold": 0.5}, "Gene4": {"absolute": 0}, "Gene6": "knock_out"}
    found, table = fields.perturb(dataset, field, changes, name="mixed")
    assert found["changes"].tolist() == ["Gene2: fold 0.5", "Gene4: absolute 0", "Gene6: knocked out"]
    np.testing.assert_array_equal(np.isnan(found["arrows"][:, 0]), np.isnan(dataset.embedding[:, 0]))
    assert len(table) == 3 * N_GENES


def test_effects_of_two_changes_add_up(dataset, field):
    both, one, other = (
        fields.perturb(dataset, field, changes, name="x")[0]["effect"]
        for changes in (
            {"Gene2": {"change": 1}, "Gene6": "knock_out"},
            {"Gene2": {"change": 1}},
            {"Gene6": "knock_out"},
        )
    )
    np.testing.assert_allclose(both, one + other, atol=1e-12)


def test_a_gene_that_was_not_kept_is_named_with_what_to_do(dataset, field):
    with pytest.raises(InputError, match=r"perturbations.less: 'Gene99' is not among the 12 genes .*n_top_genes"):
        fields.perturb(dataset, field, {"Gene99": {"fold": 0}}, name="less")


def test_a_cluster_that_is_none_is_named(dataset, field):
    with pytest.raises(InputError, match="'lat' is no cluster"):
        fields.find_paths(dataset, field, [["1", "lat"]])


def test_a_dataset_without_clusters_has_fields_all_the_same(dataset, field):
    bare = dataset._replace(clusters=[], codes=np.full(N_CELLS, -1))
    assert set(fields.genes_table(bare, field)["cluster"]) == {fields.ALL_CELLS}
    found, _ = fields.regulation(bare, field, ["Gene1"])
    assert found["groups"].tolist() == [fields.ALL_CELLS]


def test_components_are_what_loadings_make_of_genes(tmp_path):
    counts = simulated_counts(seed=0, n_cells=120, n_genes=40)
    counts.uns["ingest"] = {}
    prepared = preprocess.prepare(counts, dataset="demo", n_pcs=5)
    store.save_prepared(tmp_path / "prepared.h5ad", prepared)
    components, loadings, means = store.load_components(tmp_path / "prepared.h5ad")
    expression = np.asarray(prepared.X.todense(), dtype=float)
    # single precision of the stored components
    np.testing.assert_allclose((expression - means) @ loadings, components, atol=1e-4)
    pd.testing.assert_index_equal(
        prepared.var_names, pd.Index(store.load_prepared(tmp_path / "prepared.h5ad").genes), check_names=False
    )
