"""Import of precomputed velocities: their values, and the errors for unusable input."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from veloshard import contract
from veloshard.errors import InputError
from veloshard.io.prepared import load_gene_block, save_prepared
from veloshard.kinetics.precomputed import import_precomputed
from veloshard.kinetics.units import MIN_GENES, scaling_exponent
from veloshard.preprocessing.moments import first_moments
from veloshard.preprocessing.prepare import prepare_data
from veloshard.simulation import simulate_counts

KEY = "methods.other"


@pytest.fixture(scope="module")
def truth():
    """Return simulated counts with their true velocities."""
    return simulate_counts(seed=0, n_cells=200, n_genes=60)


@pytest.fixture(scope="module")
def dataset(truth, tmp_path_factory):
    """Return the block of all genes of the prepared simulation, and `obs` of its cells."""
    counts = AnnData(obs=truth.obs, var=pd.DataFrame(index=truth.var_names), uns={"ingest": {}})
    counts.layers["spliced"], counts.layers["unspliced"] = truth.layers["spliced"], truth.layers["unspliced"]
    prepared = prepare_data(counts, dataset="d", n_pcs=10, n_neighbors=15)
    path = tmp_path_factory.mktemp("prepared") / "prepared.h5ad"
    save_prepared(path, prepared)
    return load_gene_block(path)[0], prepared.obs


@pytest.fixture(scope="module")
def expected(truth, dataset):
    """Return the true velocities in the order of the dataset, (n_genes, n_cells)."""
    block, obs = dataset
    return truth[obs.index, block.names].layers["true_velocity"].T


@pytest.fixture
def import_file(dataset):
    """Return a function that imports a file: its fit, and the columns of the cells."""
    block, obs = dataset

    def import_for_dataset(path, *, obs=obs, **options):
        return import_precomputed(str(path), block=block, obs=obs, where="other", key=KEY, **options)

    return import_for_dataset


@pytest.fixture
def adata(truth):
    """Return an AnnData with the true velocities in the layer `velocity`, and cells and genes in reverse order."""
    reverse = truth[::-1, ::-1].copy()
    return AnnData(
        obs=reverse.obs, var=pd.DataFrame(index=reverse.var_names), layers={"velocity": reverse.layers["true_velocity"]}
    )


def write(adata, path, **tables):
    """Write velocities in the format of the suffix of a path, and return the path."""
    velocity = pd.DataFrame(adata.layers["velocity"], index=adata.obs_names, columns=adata.var_names).assign(**tables)
    if path.suffix == ".h5ad":
        adata.write_h5ad(path)
    elif path.suffix == ".npz":
        np.savez(
            path, velocity=adata.layers["velocity"], **tables,
            cells=adata.obs_names.to_numpy(dtype=str), genes=adata.var_names.to_numpy(dtype=str),
        )  # fmt: skip
    elif path.suffix == ".parquet":
        velocity.to_parquet(path)
    else:
        velocity.to_csv(path, sep="," if ".csv" in path.name else "\t")
    return path


@pytest.mark.parametrize("name", ["v.h5ad", "v.csv", "v.tsv", "v.csv.gz", "v.parquet", "v.npz"])
def test_every_format_gives_the_same_velocities(adata, import_file, expected, tmp_path, name):
    time = adata.obs["true_time"].to_numpy()
    path = write(adata, tmp_path / name, **({} if name.endswith("h5ad") else {"true_time": time}))
    fit, cell_columns = import_file(path, time="true_time")
    # tables have the decimals of single precision
    np.testing.assert_allclose(fit.layers["velocity"], expected, rtol=1e-6)
    np.testing.assert_allclose(cell_columns["time"], time[::-1])
    contract.check(fit, *expected.shape)
    assert fit.genes["velocity_genes"].all()


def test_sparse_velocities_are_imported(adata, import_file, expected, tmp_path):
    adata.layers["velocity"] = sparse.csc_matrix(adata.layers["velocity"])
    adata.write_h5ad(tmp_path / "v.h5ad")
    np.testing.assert_array_equal(import_file(tmp_path / "v.h5ad")[0].layers["velocity"], expected)


def test_genes_without_velocities_stay_in_the_table_with_a_reason(adata, import_file, dataset, tmp_path):
    names = dataset[0].names[:4]
    zero, missing, broken, absent = adata.var_names.get_indexer(names)
    adata.layers["velocity"][:, zero], adata.layers["velocity"][:, missing] = 0, np.nan
    adata.layers["velocity"][3, broken] = np.inf
    adata = adata[:, np.delete(np.arange(adata.n_vars), absent)].copy()
    fit, _ = import_file(write(adata, tmp_path / "v.h5ad"))
    assert list(fit.genes["reason"][:4]) == [
        "left out by the model", "left out by the model", "velocities that are not finite",
        "left out by the model",
    ]  # fmt: skip
    assert (fit.genes["status"][4:] == "ok").all()
    assert np.isnan(fit.layers["velocity"][:4]).all()


@pytest.mark.parametrize("column", ["velocity_genes", "mine_genes"])
def test_a_mask_of_velocity_genes_is_imported(adata, import_file, dataset, tmp_path, column):
    adata.layers["mine"] = adata.layers.pop("velocity")
    adata.var[column] = np.arange(adata.n_vars) % 2 == 0
    adata.write_h5ad(tmp_path / "v.h5ad")
    fit, _ = import_file(tmp_path / "v.h5ad", layer="mine")
    np.testing.assert_array_equal(fit.genes["velocity_genes"], adata.var[column][dataset[0].names])


def test_cells_are_matched_as_annotations_are(adata, import_file, expected, tmp_path, caplog):
    adata.obs_names = adata.obs_names + "-1"
    with caplog.at_level(logging.INFO):
        fit, _ = import_file(write(adata, tmp_path / "v.h5ad"))
    np.testing.assert_array_equal(fit.layers["velocity"], expected)
    assert "by the rule 'names without the suffix -1'" in caplog.text


def test_cells_of_samples_are_matched_by_sample_and_barcode(adata, import_file, dataset, expected, tmp_path):
    sample = np.where(np.arange(adata.n_obs) % 2, "day1", "day2")
    names = adata.obs_names
    adata.obs_names = [f"{name}-1_{of}" for name, of in zip(names, sample, strict=True)]
    of_cell = dict(zip(names, sample, strict=True))
    obs = dataset[1].assign(sample=[of_cell[name] for name in dataset[1].index])
    obs.index = obs["sample"] + ":" + obs.index
    fit, _ = import_file(write(adata, tmp_path / "v.h5ad"), obs=obs)
    np.testing.assert_array_equal(fit.layers["velocity"], expected)


def scaled(adata, dataset, scale_of):
    """Return velocities divided by a scale of each gene, a function of its moments."""
    block, _ = dataset
    moments = first_moments(block.spliced, block.neighborhood)
    scale = pd.Series(scale_of(moments), index=block.names).reindex(adata.var_names, fill_value=1)
    adata.layers["velocity"] = adata.layers["velocity"] / scale.to_numpy(dtype=np.float32)
    return adata


SCALES = {"minmax": lambda moments: np.ptp(moments, axis=1), "standardized": lambda moments: moments.std(axis=1)}


@pytest.mark.parametrize("kind", SCALES)
def test_scaled_velocities_are_refused_as_counts_and_converted_from_their_units(
    adata, import_file, dataset, expected, tmp_path, kind
):
    path = write(scaled(adata, dataset, SCALES[kind]), tmp_path / "v.h5ad")
    with pytest.raises(InputError, match=rf"(?s)grow with the power -?0\.[0-2].*{KEY}\.units: minmax"):
        import_file(path)
    np.testing.assert_allclose(import_file(path, units=kind)[0].layers["velocity"], expected, rtol=1e-5)


def test_velocities_in_counts_that_are_declared_as_scaled_are_warned_of(adata, import_file, tmp_path, caplog):
    import_file(write(adata, tmp_path / "v.h5ad"), units="minmax")
    assert f"not in the units 'minmax' but in those of counts, set {KEY}.units: counts" in caplog.text


def test_scaling_exponent_is_the_degree_of_the_velocity_in_the_counts():
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1, (80, 1))
    spliced, unspliced = (level * rng.lognormal(0, 0.5, (80, 1)) * rng.gamma(2, size=(80, 50)) for _ in range(2))
    for degree in (0, 1, 2):
        for moments in (spliced, unspliced):
            spread = moments.std(axis=1, keepdims=True)
            velocity = rng.normal(size=(80, 50)) * spread * level ** (degree - 1)
            exponent, error = scaling_exponent(velocity, spliced, unspliced)
            assert abs(exponent - degree) < 4 * error
            assert error < 0.15


def test_scaling_exponent_of_few_genes_is_nan():
    few = np.random.default_rng(0).gamma(2, size=(MIN_GENES - 1, 50))
    assert np.isnan(scaling_exponent(few, few, few)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda adata: adata[5:].copy(), "5 of 200 cells are not in it, such as"),
        (lambda adata: adata.T.copy(), r"the file is genes x cells\. Transpose it"),
        (lambda adata: adata[:, :5].copy(), r"velocities of [0-5] of the dataset's \d+ genes, fewer than .*coverage"),
    ],
)
def test_files_that_do_not_match_the_dataset_are_refused(adata, import_file, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        import_file(write(change(adata), tmp_path / "v.csv"))


def test_duplicate_genes_are_refused(adata, import_file, dataset, tmp_path):
    names = adata.var_names.to_numpy(dtype=str)
    names[names != dataset[0].names[0]] = np.where(
        np.arange(len(names) - 1) < 1, dataset[0].names[0], names[names != dataset[0].names[0]]
    )
    adata.var_names = names
    with pytest.raises(InputError, match=f"1 genes are in it more than once, such as {dataset[0].names[0]}"):
        import_file(write(adata, tmp_path / "v.npz"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "velocty"}, rf"no 'velocty' .*did you mean 'velocity'.*{KEY}.layer"),
        ({"time": "tru_time"}, rf"no 'tru_time' .*did you mean 'true_time'.*{KEY}.time"),
        ({"time": "lineage"}, "'lineage' are not numbers"),
    ],
)
def test_missing_layers_and_times_are_refused(adata, import_file, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        import_file(write(adata, tmp_path / "v.h5ad"), **options)


def test_unknown_formats_and_damaged_files_are_refused(import_file, tmp_path):
    for name, message in (
        ("v.rds", "expected one of .*h5ad"),
        ("v.h5ad", "damaged, cannot be read"),
        ("v.npz", "damaged"),
    ):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(InputError, match=message):
            import_file(tmp_path / name)


def test_text_among_the_velocities_is_refused(adata, import_file, tmp_path):
    write(adata, tmp_path / "v.csv", strange="text")
    with pytest.raises(InputError, match="velocities are not numbers"):
        import_file(tmp_path / "v.csv")
