"""Tables of a run: each value is below the name of its column and in the row of its dataset and method."""

import json

import h5py
import numpy as np
import pytest
from veloshard.io.text_files import save_json
from veloshard.report.provenance import (
    costs_of_methods,
    jobs_table,
    options_table,
    results_table,
    run_tables,
    versions_table,
)

RULES = [
    "compile_fit",
    "fit_genes",
    "merge_fits",
    "merge_velocity_graph",
    "prepare_data",
    "compute_velocity_embedding",
    "run_model",
]


def write_benchmarks(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_jobs_are_summed_by_rule_and_result(tmp_path):
    write_benchmarks(
        tmp_path,
        {
            "d/m/fit_genes/1-of-2.jsonl": '{"s": 2.0, "max_rss": 200.4}\n',
            "d/m/fit_genes/2-of-2.jsonl": '{"s": 9.0, "max_rss": 1.0}\n{"s": 3.0, "max_rss": "NA"}\n',
            "d/merge_fits/merge_fits.jsonl": '{"s": 1.0, "max_rss": "NA"}\n',
            "d/prepare_data.jsonl": '{"s": 4.0, "max_rss": 50.0}\n',
            "compile_fit/m.jsonl": '{"s": 20.0, "max_rss": 300.0}\n',
            "d/m/merge_velocity_graph.jsonl": "",
        },
    )
    table = jobs_table(tmp_path, rules=RULES)
    columns = ["dataset", "method", "rule", "jobs", "seconds", "seconds of the longest job"]
    assert table[columns].to_numpy().tolist() == [
        ["", "", "compile_fit", 1, 20.0, 20.0],
        ["d", "m", "fit_genes", 2, 5.0, 3.0],
        ["d", "", "prepare_data", 1, 4.0, 4.0],
        # a method can have the name of a rule
        ["d", "merge_fits", "merge_fits", 1, 1.0, 1.0],
    ]
    assert table["peak MB"].fillna(-1).tolist() == [300, 200, 50, -1]


def test_costs_of_a_method_are_those_of_its_fit_and_of_all_its_jobs(tmp_path):
    write_benchmarks(
        tmp_path,
        {
            "d/m/fit_genes/1-of-2.jsonl": '{"s": 2.0, "max_rss": 200.4}\n',
            "d/m/fit_genes/2-of-2.jsonl": '{"s": 3.0, "max_rss": 250}\n',
            "d/m/compute_velocity_embedding.jsonl": '{"s": 1.0, "max_rss": 900}\n',
            "d/other/run_model.jsonl": '{"s": 70.0, "max_rss": "NA"}\n',
            "d/prepare_data.jsonl": '{"s": 4.0, "max_rss": 50.0}\n',
            "e/m/run_model.jsonl": '{"s": 5.0, "max_rss": 50.0}\n',
        },
    )
    costs = costs_of_methods(jobs_table(tmp_path, rules=RULES), "d").set_index("method")
    assert costs["seconds of the fit"].to_dict() == {"m": 5, "other": 70}
    assert costs["seconds of all jobs"].to_dict() == {"m": 6, "other": 70}
    assert costs["peak MB of the fit"].fillna(-1).to_dict() == {"m": 250, "other": -1}


@pytest.fixture
def record():
    options = {"dataset_name": "d", "dataset": {"pca": {}, "cells": {"from": [1, "a"]}}, "seed": 0}
    sizes = {"cells": 3, "genes": 2, "velocity genes": 1}
    return {
        "dataset": "d",
        "method": "m",
        "options": options,
        "warnings": ["w"],
        "versions": {"numpy": "2.4"},
        **sizes,
    }


def test_results_have_the_verdict_of_their_own_method(record):
    verdicts = {("d", "m"): {"verdict": "doubtful", "words": "because"}, ("d", "other"): {"verdict": "trust"}}
    table = results_table([record, {**record, "dataset": "e"}], verdicts)
    assert table["verdict"].fillna("none").tolist() == ["doubtful", "none"]
    assert table["reasons"].fillna("none").tolist() == ["because", "none"]
    assert table[["cells", "genes", "velocity genes", "warnings"]].to_numpy().tolist() == [[3, 2, 1, 1]] * 2


def test_options_are_named_by_their_path(record):
    rows = options_table([record])[["option", "value"]].to_numpy().tolist()
    assert rows == [["dataset.pca", "{}"], ["dataset.cells.from", '[1, "a"]'], ["seed", "0"]]


def test_all_versions_of_a_package_are_listed(record):
    table = versions_table([record, record, {**record, "versions": {"numpy": "2.5", "scipy": "1"}}])
    assert table.to_numpy().tolist() == [["numpy", "2.4, 2.5"], ["scipy", "1"]]


def write_result(path, dataset, method):
    """Write a file with the parts of `velocity.h5ad` that the tables read: 5 cells, 4 genes, 3 velocity genes."""
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        for group, n_names in (("obs", 5), ("var", 4)):
            file.create_group(group).attrs["_index"] = "_index"
            file[group]["_index"] = np.array([f"{group}{k}" for k in range(n_names)], dtype="S")
        file["var/velocity_genes"] = [True, True, True, False]
        options = {"dataset_name": dataset, "method_name": method, "seed": 7}
        file["uns/provenance/options"] = json.dumps(options)
        file["uns/provenance/versions/numpy"] = "2.4"
        file["uns/provenance/source/source"] = f"{dataset}.h5ad"
        file["uns/provenance/source/sha256"] = "hash of the source"
        file["uns/provenance/prepared_sha256"] = "hash of the prepared data"
        file["uns/provenance/warnings"] = np.array([f"warning of {method}"], dtype="S")


@pytest.fixture
def run(tmp_path):
    """Return the tables of a run with two methods."""
    for method, verdict in (("m", "trust"), ("n", "doubtful")):
        write_result(tmp_path / "d" / method / "velocity.h5ad", "d", method)
        save_json(tmp_path / "d" / method / "trust.json", {"verdict": verdict, "words": f"reason of {method}"})
    summary = {"cells": 5, "spliced_counts": 900.0, "unspliced_counts": 250.0, "genes": 40.0, "unspliced_fraction": 0.2}
    quality = {
        "verdict": "usual",
        "format": "h5ad",
        "dataset": summary,
        "unlabeled_cells": 1,
        "checks": [{"name": "median genes", "value": 40.0, "usual": "at least 100", "holds": False}],
        "clusters": [{"cluster": "a", **summary}],
        "left_out": {"cells": 2, "genes": 6},
        "annotations": {},
    }
    save_json(tmp_path / "d" / "qc.json", quality)
    write_benchmarks(tmp_path / "benchmarks", {"d/m/fit_genes/1-of-1.jsonl": '{"s": 2.0, "max_rss": 20}\n'})
    paths = [tmp_path / "d" / method for method in ("m", "n")]
    return run_tables(
        [path / "velocity.h5ad" for path in paths],
        [tmp_path / "d" / "qc.json"],
        tmp_path / "benchmarks",
        rules=RULES,
        trust=[path / "trust.json" for path in paths],
    )


def test_each_table_of_a_run_holds_what_its_caption_names(run):
    records = {caption.split(":")[0]: table.to_dict("records") for caption, table in run.items()}
    sizes = {"cells": 5, "genes": 4, "velocity genes": 3, "warnings": 1}
    assert records["Results"] == [
        {"dataset": "d", "method": "m", "verdict": "trust", "reasons": "reason of m", **sizes},
        {"dataset": "d", "method": "n", "verdict": "doubtful", "reasons": "reason of n", **sizes},
    ]
    summary = {"cells": 5, "spliced_counts": 900.0, "unspliced_counts": 250.0, "genes": 40.0, "unspliced_fraction": 0.2}
    assert records["Quality of the datasets"] == [
        {"dataset": "d", "quality": "usual", "format": "h5ad", **summary, "unlabeled cells": 1}
    ]
    assert records["Checks of the datasets"] == [
        {"dataset": "d", "name": "median genes", "value": 40.0, "usual": "at least 100", "holds": False}
    ]
    assert records["Clusters"] == [{"dataset": "d", "cluster": "a", **summary}]
    assert records["Left out"] == [{"dataset": "d", "cells": 2, "genes": 6}]
    assert records["Annotations from a second file"] == []
    assert records["Warnings"] == [
        {"dataset": "d", "method": method, "warning": f"warning of {method}"} for method in ("m", "n")
    ]
    assert records["Sources"] == [
        {
            "dataset": "d",
            "method": method,
            "source": "d.h5ad",
            "sha256": "hash of the source",
            "sha256 of the prepared data": "hash of the prepared data",
        }
        for method in ("m", "n")
    ]
    assert records["Versions"] == [{"package": "numpy", "version": "2.4"}]
    assert records["Options"] == [
        {"dataset": "d", "method": method, "option": "seed", "value": "7"} for method in ("m", "n")
    ]
    assert records["Jobs"][0]["rule"] == "fit_genes"
    assert "Jobs: 1 jobs in 2 s, last run of each" in run
