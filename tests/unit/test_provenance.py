"""The page of a run says what its jobs took, also of those too short or too broken to tell."""

import pytest
from veloshard.provenance import costs_of_methods, jobs_table, options_table, results_table, versions_table


def test_jobs_are_summed_up_by_rule_and_result(tmp_path):
    for name, content in {
        "d/m/fit_genes/1-of-2.jsonl": '{"s": 2.0, "max_rss": 200.4}\n',
        "d/m/fit_genes/2-of-2.jsonl": '{"s": 9.0, "max_rss": 1.0}\n{"s": 3.0, "max_rss": "NA"}\n',
        "d/merge_fits/merge_fits.jsonl": '{"s": 1.0, "max_rss": "NA"}\n',
        "d/prepare_data.jsonl": '{"s": 4.0, "max_rss": 50.0}\n',
        "compile_fit/m.jsonl": '{"s": 20.0, "max_rss": 300.0}\n',
        "d/m/merge_graphs.jsonl": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    table = jobs_table(tmp_path)
    assert table.drop(columns="peak MB").to_numpy().tolist() == [
        ["", "", "compile_fit", 1, 20.0, 20.0],
        ["d", "m", "fit_genes", 2, 5.0, 3.0],
        ["d", "", "prepare_data", 1, 4.0, 4.0],
        # a method may be called like a rule
        ["d", "merge_fits", "merge_fits", 1, 1.0, 1.0],
    ]
    assert table["peak MB"].fillna(-1).tolist() == [300, 200, 50, -1]


def test_a_method_costs_what_its_fit_took_and_all_its_jobs(tmp_path):
    for name, content in {
        "d/m/fit_genes/1-of-2.jsonl": '{"s": 2.0, "max_rss": 200.4}\n',
        "d/m/fit_genes/2-of-2.jsonl": '{"s": 3.0, "max_rss": 250}\n',
        "d/m/project_velocity.jsonl": '{"s": 1.0, "max_rss": 900}\n',
        "d/other/run_model.jsonl": '{"s": 70.0, "max_rss": "NA"}\n',
        "d/prepare_data.jsonl": '{"s": 4.0, "max_rss": 50.0}\n',
        "e/m/run_model.jsonl": '{"s": 5.0, "max_rss": 50.0}\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    costs = costs_of_methods(jobs_table(tmp_path), "d").set_index("method")
    assert costs["seconds of the fit"].to_dict() == {"m": 5, "other": 70}
    assert costs["seconds of all jobs"].to_dict() == {"m": 6, "other": 70}
    assert costs["peak MB of the fit"].fillna(-1).to_dict() == {"m": 250, "other": -1}


@pytest.fixture
def record():
    options = {"dataset_name": "d", "dataset": {"pca": {}, "cells": {"from": [1, "a"]}}, "seed": 0}
    sizes = {"cells": 3, "genes": 2, "velocity genes": 1}
    return {"dataset": "d", "method": "m", "options": options, "warnings": ["w"], "versions": {"numpy": "2.4"}, **sizes}


def test_results_have_the_verdict_of_their_own_method(record):
    verdicts = {("d", "m"): {"verdict": "doubtful", "words": "because"}, ("d", "other"): {"verdict": "trust"}}
    table = results_table([record, {**record, "dataset": "e"}], verdicts)
    assert table["verdict"].tolist() == ["doubtful", None]
    assert table["warnings"].tolist() == [1, 1]


def test_every_option_is_a_row_named_by_its_place(record):
    rows = options_table([record])[["option", "value"]].to_numpy().tolist()
    assert rows == [["dataset.pca", "{}"], ["dataset.cells.from", '[1, "a"]'], ["seed", "0"]]


def test_results_of_several_versions_are_told(record):
    table = versions_table([record, record, {**record, "versions": {"numpy": "2.5", "scipy": "1"}}])
    assert table.to_numpy().tolist() == [["numpy", "2.4, 2.5"], ["scipy", "1"]]
