"""Samples in several formats are joined into one dataset by a table of samples, with annotations from a second file."""

import gzip

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from scipy.io import mmwrite
from veloshard.io.fits import load_fit_genes
from veloshard.io.text_files import load_json


def write_triples(path, adata):
    """Write the matrix, barcodes and features of each layer, as CellRanger does."""
    for layer in ("spliced", "unspliced"):
        folder = path / layer
        folder.mkdir(parents=True)
        mmwrite(folder / "matrix.mtx", adata.layers[layer].T.astype(int), field="integer", symmetry="general")
        for name, lines in (("barcodes", adata.obs_names), ("features", adata.var_names)):
            (folder / f"{name}.tsv.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


@pytest.fixture(scope="module")
def sampled(small_run, small_config, run_workflow, tmp_path_factory):
    """Return the folder of a run on the small counts in two samples of two formats."""
    folder = tmp_path_factory.mktemp("sampled")
    counts = read_h5ad(small_run / "demo/counts.h5ad")
    write_triples(folder / "first", counts[:150])
    bare = counts[150:].copy()
    bare.obs = bare.obs[[]]
    bare.write_h5ad(folder / "second.h5ad")
    sample = np.repeat(["one", "two"], 150)
    cells = counts.obs[["clusters"]].set_axis(sample + "_" + counts.obs_names + "-1")
    cells.sample(frac=1, random_state=0).to_csv(folder / "cells.csv")
    rows = [("demo", "one", "first", "cells.csv"), ("demo", "two", "second.h5ad", "cells.csv")]
    table = pd.DataFrame(rows, columns=["dataset", "sample", "source", "annotations"])
    table.to_csv(folder / "samples.tsv", sep="\t", index=False)
    config = small_config(
        datasets=None,
        samples="samples.tsv",
        defaults={"clusters": "clusters", "annotations": {"match": r"^(?P<sample>[^_]+)_(?P<barcode>.+)-1$"}},
        methods={"steady_state": {}},
        figures={"draw": ["proportions"], "dpi": 50},
        genes_per_shard=25,
    )
    process = run_workflow(config, folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


def test_the_fit_is_that_of_the_counts_in_one_file(sampled, small_run):
    actual, expected = (
        load_fit_genes(folder / "demo/steady_state/fit.h5") for folder in (sampled / "results", small_run)
    )
    for column in expected:
        np.testing.assert_array_equal(actual[column], expected[column])


def test_cells_have_their_clusters_and_samples(sampled, small_run):
    cells = pd.read_csv(sampled / "results/demo/steady_state/cells.csv", index_col="cell")
    expected = pd.read_csv(small_run / "demo/steady_state/cells.csv", index_col="cell")
    assert cells.index.tolist() == [f"{s}:{name}" for s, name in zip(cells["sample"], expected.index, strict=True)]
    assert cells["clusters"].tolist() == expected["clusters"].tolist()


def test_log_and_quality_report_formats_and_matches(sampled):
    log = (sampled / "logs/demo/ingest_counts.log").read_text()
    assert "first: read as triples, 150 cells, 60 genes" in log
    assert "second.h5ad: read as h5ad, 150 cells" in log
    assert "300 of 300 cells matched, with 300 rows, by the rule 'pattern " in log
    quality = load_json(sampled / "results/demo/qc.json")
    assert quality["annotations"]["matched"] == 300
    assert quality["verdict"]


def test_a_wrong_table_of_samples_stops_the_run(small_config, run_workflow, tmp_path):
    (tmp_path / "samples.tsv").write_text("dataset\tsuorce\nd\tx.h5ad\n")
    process = run_workflow(small_config(datasets=None, samples="samples.tsv"), tmp_path, "--dry-run")
    message = process.stdout + process.stderr
    assert process.returncode != 0
    assert "samples.tsv, line 2: 'suorce' is unknown; did you mean 'source'?" in message
    assert "Traceback" not in message


def test_annotations_of_a_row_take_precedence_over_defaults(small_config, run_workflow, tmp_path):
    (tmp_path / "samples.tsv").write_text("dataset\tsource\tannotations\na\tx.h5ad\town.csv\nb\tx.h5ad\t\n")
    for name in ("x.h5ad", "own.csv", "all.csv"):
        (tmp_path / name).touch()
    config = small_config(datasets=None, samples="samples.tsv", defaults={"annotations": {"source": "all.csv"}})
    process = run_workflow(config, tmp_path, "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "input: x.h5ad, own.csv" in process.stdout
    assert "input: x.h5ad, all.csv" in process.stdout
