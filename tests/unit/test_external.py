"""Velocities that were made elsewhere are taken in as they are, and what cannot be right is refused in words."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from veloshard import contract, external, preprocess, store, units
from veloshard.assemble import simulated_counts
from veloshard.errors import InputError
from veloshard.moments import first_moments

KEY = "methods.elsewhere"


@pytest.fixture(scope="module")
def truth():
    """Simulated counts with their true velocities."""
    return simulated_counts(seed=0, n_cells=200, n_genes=60)


@pytest.fixture(scope="module")
def dataset(truth, tmp_path_factory):
    """The block of all genes of a prepared simulation, and its cells."""
    counts = AnnData(obs=truth.obs, var=pd.DataFrame(index=truth.var_names), uns={"ingest": {}})
    counts.layers["spliced"], counts.layers["unspliced"] = truth.layers["spliced"], truth.layers["unspliced"]
    prepared = preprocess.prepare(counts, dataset="d", n_pcs=10, n_neighbors=15)
    path = tmp_path_factory.mktemp("prepared") / "prepared.h5ad"
    store.save_prepared(path, prepared)
    return store.load_block(path)[0], prepared.obs


@pytest.fixture(scope="module")
def expected(truth, dataset):
    """True velocities in the order of the dataset, (n_genes, n_cells)."""
    block, obs = dataset
    return truth[obs.index, block.names].layers["true_velocity"].T


@pytest.fixture
def take_in(dataset):
    """Function that imports a file: its fit, and what it says of the cells."""
    block, obs = dataset

    def import_velocity(path, *, obs=obs, **options):
        return external.import_velocity(str(path), block=block, obs=obs, where="elsewhere", key=KEY, **options)

    return import_velocity


@pytest.fixture
def given(truth):
    """An AnnData with the true velocities, its cells and genes in another order and under the layer `velocity`."""
    turned = truth[::-1, ::-1].copy()
    return AnnData(
        obs=turned.obs, var=pd.DataFrame(index=turned.var_names), layers={"velocity": turned.layers["true_velocity"]}
    )


def write(given, path, **tables):
    """A result in the form that a path asks for."""
    velocity = pd.DataFrame(given.layers["velocity"], index=given.obs_names, columns=given.var_names).assign(**tables)
    if path.suffix == ".h5ad":
        given.write_h5ad(path)
    elif path.suffix == ".npz":
        np.savez(
            path, velocity=given.layers["velocity"], **tables,
            cells=given.obs_names.to_numpy(dtype=str), genes=given.var_names.to_numpy(dtype=str),
        )  # fmt: skip
    elif path.suffix == ".parquet":
        velocity.to_parquet(path)
    else:
        velocity.to_csv(path, sep="," if ".csv" in path.name else "\t")
    return path


@pytest.mark.parametrize("name", ["v.h5ad", "v.csv", "v.tsv", "v.csv.gz", "v.parquet", "v.npz"])
def test_every_form_of_file_gives_the_same(given, take_in, expected, tmp_path, name):
    time = given.obs["true_time"].to_numpy()
    path = write(given, tmp_path / name, **({} if name.endswith("h5ad") else {"true_time": time}))
    fit, of_cells = take_in(path, time="true_time")
    # decimals of a table are those of single precision
    np.testing.assert_allclose(fit.layers["velocity"], expected, rtol=1e-6)
    np.testing.assert_allclose(of_cells["time"], time[::-1])
    contract.check(fit, *expected.shape)
    assert fit.genes["velocity_genes"].all()


def test_sparse_velocities_are_taken(given, take_in, expected, tmp_path):
    given.layers["velocity"] = sparse.csc_matrix(given.layers["velocity"])
    given.write_h5ad(tmp_path / "v.h5ad")
    np.testing.assert_array_equal(take_in(tmp_path / "v.h5ad")[0].layers["velocity"], expected)


def test_genes_without_velocities_are_rows_with_a_reason(given, take_in, dataset, tmp_path):
    names = dataset[0].names[:4]
    zero, missing, broken, absent = given.var_names.get_indexer(names)
    given.layers["velocity"][:, zero], given.layers["velocity"][:, missing] = 0, np.nan
    given.layers["velocity"][3, broken] = np.inf
    given = given[:, np.delete(np.arange(given.n_vars), absent)].copy()
    fit, _ = take_in(write(given, tmp_path / "v.h5ad"))
    assert list(fit.genes["reason"][:4]) == [
        "left out by the model", "left out by the model", "velocities that are no finite numbers",
        "left out by the model",
    ]  # fmt: skip
    assert (fit.genes["status"][4:] == "ok").all()
    assert np.isnan(fit.layers["velocity"][:4]).all()


@pytest.mark.parametrize("column", ["velocity_genes", "mine_genes"])
def test_a_mask_of_velocity_genes_is_kept(given, take_in, dataset, tmp_path, column):
    given.layers["mine"] = given.layers.pop("velocity")
    given.var[column] = np.arange(given.n_vars) % 2 == 0
    given.write_h5ad(tmp_path / "v.h5ad")
    fit, _ = take_in(tmp_path / "v.h5ad", layer="mine")
    np.testing.assert_array_equal(fit.genes["velocity_genes"], given.var[column][dataset[0].names])


def test_cells_are_matched_as_annotations_are(given, take_in, expected, tmp_path, caplog):
    given.obs_names = given.obs_names + "-1"
    with caplog.at_level(logging.INFO):
        fit, _ = take_in(write(given, tmp_path / "v.h5ad"))
    np.testing.assert_array_equal(fit.layers["velocity"], expected)
    assert "by the rule 'without -1 at the end'" in caplog.text


def test_cells_of_samples_are_matched_by_sample_and_barcode(given, take_in, dataset, expected, tmp_path):
    sample = np.where(np.arange(given.n_obs) % 2, "day1", "day2")
    names = given.obs_names
    given.obs_names = [f"{name}-1_{of}" for name, of in zip(names, sample, strict=True)]
    of_cell = dict(zip(names, sample, strict=True))
    obs = dataset[1].assign(sample=[of_cell[name] for name in dataset[1].index])
    obs.index = obs["sample"] + ":" + obs.index
    fit, _ = take_in(write(given, tmp_path / "v.h5ad"), obs=obs)
    np.testing.assert_array_equal(fit.layers["velocity"], expected)


def scaled(given, dataset, by):
    """A result whose genes are divided by what scales of theirs are."""
    block, _ = dataset
    moments = first_moments(block.spliced, block.around)
    scale = pd.Series(by(moments), index=block.names).reindex(given.var_names, fill_value=1)
    given.layers["velocity"] = given.layers["velocity"] / scale.to_numpy(dtype=np.float32)
    return given


SCALES = {"minmax": lambda moments: np.ptp(moments, axis=1), "standardized": lambda moments: moments.std(axis=1)}


@pytest.mark.parametrize("kind", SCALES)
def test_scaled_velocities_are_refused_as_counts_and_right_as_what_they_are(
    given, take_in, dataset, expected, tmp_path, kind
):
    path = write(scaled(given, dataset, SCALES[kind]), tmp_path / "v.h5ad")
    with pytest.raises(InputError, match=rf"(?s)grow with the power -?0\.[0-2].*{KEY}\.units: minmax"):
        take_in(path)
    np.testing.assert_allclose(take_in(path, units=kind)[0].layers["velocity"], expected, rtol=1e-5)


def test_counts_that_are_said_to_be_scaled_are_warned_of(given, take_in, tmp_path, caplog):
    take_in(write(given, tmp_path / "v.h5ad"), units="minmax")
    assert "Are these velocities not minmax but counts?" in caplog.text


def test_growth_is_the_degree_in_which_counts_enter():
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1, (80, 1))
    spliced, unspliced = (level * rng.lognormal(0, 0.5, (80, 1)) * rng.gamma(2, size=(80, 50)) for _ in range(2))
    for degree in (0, 1, 2):
        for one in (spliced, unspliced):
            spread = one.std(axis=1, keepdims=True)
            velocity = rng.normal(size=(80, 50)) * spread * level ** (degree - 1)
            exponent, error = units.growth(velocity, spliced, unspliced)
            assert abs(exponent - degree) < 4 * error
            assert error < 0.15


def test_few_genes_say_nothing_of_units():
    few = np.random.default_rng(0).gamma(2, size=(units.MIN_GENES - 1, 50))
    assert np.isnan(units.growth(few, few, few)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: given[5:].copy(), "5 of 200 cells are not in it, such as"),
        (lambda given: given.T.copy(), "the file is genes x cells, turn it round"),
        (lambda given: given[:, :5].copy(), r"velocities of [0-5] of the dataset's \d+ genes, fewer than .*coverage"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(given, take_in, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        take_in(write(change(given), tmp_path / "v.csv"))


def test_a_gene_that_is_there_twice_is_refused(given, take_in, dataset, tmp_path):
    names = given.var_names.to_numpy(dtype=str)
    names[names != dataset[0].names[0]] = np.where(
        np.arange(len(names) - 1) < 1, dataset[0].names[0], names[names != dataset[0].names[0]]
    )
    given.var_names = names
    with pytest.raises(InputError, match=f"1 genes are there twice, such as {dataset[0].names[0]}"):
        take_in(write(given, tmp_path / "v.npz"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "velocty"}, rf"no 'velocty' .*did you mean 'velocity'.*{KEY}.layer"),
        ({"time": "tru_time"}, rf"no 'tru_time' .*did you mean 'true_time'.*{KEY}.time"),
        ({"time": "lineage"}, "'lineage' are no numbers"),
    ],
)
def test_what_is_asked_for_and_not_there_is_refused(given, take_in, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        take_in(write(given, tmp_path / "v.h5ad"), **options)


def test_a_file_of_no_known_form_and_a_damaged_one_are_refused(take_in, tmp_path):
    for name, said in (("v.rds", "none of .*h5ad"), ("v.h5ad", "damaged, cannot be read"), ("v.npz", "damaged")):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(InputError, match=said):
            take_in(tmp_path / name)


def test_texts_among_velocities_are_refused(given, take_in, tmp_path):
    write(given, tmp_path / "v.csv", strange="text")
    with pytest.raises(InputError, match="velocities are no numbers"):
        take_in(tmp_path / "v.csv")
