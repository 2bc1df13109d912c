"""Requested memory, time and threads are computed from the table in resources.smk."""

import json
import re
from pathlib import Path

import pytest
from veloshard_planning.configuration import complete_config
from veloshard_planning.disk import estimate_disk
from veloshard_planning.methods import load_descriptions, resolve_traits
from veloshard_planning.sources import MATRIX_SUFFIXES

RULES = Path(__file__).parents[2] / "workflow/rules"
SCHEMAS = Path(__file__).parents[2] / "workflow/schemas"
DESCRIPTIONS = load_descriptions(SCHEMAS)
VECTOR_FIELD = {"trajectories": {"clusters": ["a", "b"], "n_cells": 3}, "paths": [["a", "b"]]}


class Named(dict):
    """Names as attributes, as those of wildcards and inputs in Snakemake."""

    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def rules():
    """Return the names that resources.smk defines, which is Python without rules."""
    config = {
        "datasets": {
            "demo": {"simulate": {"n_cells": 200, "n_genes": 50}, "vector_field": VECTOR_FIELD},
            "named": {"source": "x.h5ad", "terminal_states": ["a", "b"]},
        },
        "methods": {"dynamical": {}, "velovi": {"n_samples": 10}},
    }
    completed = complete_config(config, SCHEMAS, DESCRIPTIONS)
    names = {
        "config": completed,
        "traits": resolve_traits(completed, DESCRIPTIONS),
        "estimate_disk": estimate_disk,
        "MATRIX_SUFFIXES": MATRIX_SUFFIXES,
        "get_source_files": lambda wildcards: [],
        "Path": Path,
        "json": json,
    }
    exec(compile((RULES / "resources.smk").read_text(), "resources.smk", "exec"), names)
    return Named(names)


@pytest.fixture
def job(tmp_path):
    """Return a function that gives wildcards and input of a job, for a dataset of some size."""

    def describe(n_cells=10_000, n_genes=1000, *, dataset="demo", method="velovi", control=None):
        sizes = {"n_cells": n_cells, "n_genes": n_genes, "n_counts": 300 * n_cells, "n_edges": 29 * n_cells}
        path = tmp_path / f"{n_cells}.json"
        path.write_text(json.dumps(sizes))
        source = tmp_path / "source.h5ad"
        source.write_bytes(b"x" * 1000)
        shards = {"gene_shard": "1-of-4", "cell_shard": "1-of-3"}
        wildcards = Named(dataset=dataset, method=method, **shards, **({"control": control} if control else {}))
        return wildcards, Named(sizes=str(path), source=str(source))

    return describe


def requested_rows(resource):
    """Return the rows of the table that rules request."""
    text = "".join(path.read_text() for path in RULES.glob("*.smk"))
    return set(re.findall(rf'get_{resource}\("(\w+)"\)', text)) - {"run_model"}


def test_the_table_has_the_rows_that_rules_request_and_no_others(rules):
    rows = {
        name: {row for row, values in rules.RESOURCES.items() if key in values}
        for name, key in (("memory", "memory"), ("runtime", "time"), ("threads", "threads"))
    }
    for name, rows_of_table in rows.items():
        assert rows_of_table == requested_rows(name)


def test_every_row_grows_with_the_data(rules, job):
    for rule, row in rules.RESOURCES.items():
        if rule == "ingest_counts":  # its input has no file of sizes, see below
            continue
        for resource in row:
            small, large = (rules.get_amount(rule, resource, *job(n_cells)) for n_cells in (10_000, 100_000))
            assert 0 <= small <= large, (rule, resource)


def test_ingestion_takes_more_memory_for_files_that_can_be_compressed(rules, job, tmp_path):
    wildcards, _ = job()
    memory = []
    for name in ("matrix.mtx", "matrix.h5ad"):
        (tmp_path / name).write_bytes(b"x" * 10**7)
        memory.append(rules.get_memory("ingest_counts")(wildcards, Named(source=[tmp_path / name]), attempt=1))
    assert memory == [int(700 + 1.2 * 2 * 10), int(700 + 1.2 * 10 * 10)]


def test_memory_and_time_are_those_of_the_table(rules, job):
    # 40 bytes per cell and gene of the shard, 250 of 1000 genes, and 40 per edge
    n_bytes = 40 * 10_000 * 250 + 40 * 29 * 10_000
    assert rules.get_memory("fit_genes")(*job(), attempt=1) == int(700 + 1.2 * n_bytes / 1e6)
    assert rules.get_memory("fit_genes")(*job(), attempt=2) == int((700 + 1.2 * n_bytes / 1e6) * 1.5)
    # 5 microseconds per cell and gene are 12.5 s, ten times that are requested, and ten minutes
    assert rules.get_runtime("fit_genes")(*job(), attempt=1) == 13


def test_threads_are_one_to_four(rules, job, tmp_path):
    threads = rules.get_threads("fit_genes")
    assert threads(*job(1000)) == 1
    assert threads(*job(200_000)) == 2
    assert threads(*job(10_000_000)) == 4
    wildcards, files = job()
    assert threads(wildcards, Named(files | {"sizes": str(tmp_path / "none.json")})) == 1


def test_the_needs_of_a_model_are_those_of_its_description(rules, job):
    needs = DESCRIPTIONS["velovi"]["resources"]
    n_bytes = 1e6 * needs["megabytes"] + needs["bytes_per_entry"] * 10_000 * 1000
    assert rules.get_memory("run_model")(*job(), attempt=1) == int(700 + 1.2 * n_bytes / 1e6)
    # negative controls have at most 5000 cells
    n_bytes = 1e6 * needs["megabytes"] + needs["bytes_per_entry"] * 5000 * 1000
    assert rules.get_memory("run_model")(*job(control="thinned"), attempt=1) == int(700 + 1.2 * n_bytes / 1e6)


def test_computing_terminal_states_takes_more_memory_than_given_ones(rules, job):
    memory = rules.get_memory("compute_fate_probabilities")
    assert memory(*job(), attempt=1) > memory(*job(dataset="named"), attempt=1)
