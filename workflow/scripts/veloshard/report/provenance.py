"""Tables of a run: verdicts, quality, jobs, sources, versions and options of all results."""

import json
from pathlib import Path

import h5py
import pandas as pd

from veloshard.io.hdf5 import decode_text
from veloshard.io.text_files import load_json

# rules whose jobs fit a method; later rules are the same for all methods
FIT_RULES = ("fit_genes", "merge_fits", "refit_genes", "run_model", "import_model_output")

EXPLANATION = (
    "Results of the run, their inputs, and the time and memory of the jobs. Look at the verdicts first: figures of a "
    "result that should not be trusted look like any others. Click on the name of a column to sort by it."
)


def run_tables(results, quality, benchmarks, *, rules, trust=()):
    """Return the tables of a run, for `html_tables.html_page`.

    Parameters
    ----------
    results : sequence of path-like
        Files `velocity.h5ad`.
    quality : sequence of path-like
        Files `qc.json`, each in a folder with the name of the dataset.
    benchmarks : path-like
        Folder of Snakemake's benchmark files.
    rules : collection of str
        Names of all rules.
    trust : sequence of path-like
        Files `trust.json`, each in a folder with the name of the method in a folder with the name of the dataset.

    Returns
    -------
    dict of str to DataFrame
        Tables by caption.
    """
    records = [read_provenance(path) for path in results]
    summaries = {Path(path).parent.name: load_json(path) for path in quality}
    verdicts = {Path(path).parts[-3:-1]: load_json(path) for path in trust}
    jobs = jobs_table(benchmarks, rules=rules)
    return {
        "Results": results_table(records, verdicts),
        "Quality of the datasets": quality_table(summaries),
        "Checks of the datasets": checks_table(summaries),
        "Clusters": _rows_of("clusters", summaries),
        "Left out": pd.DataFrame({"dataset": name, **summary["left_out"]} for name, summary in summaries.items()),
        "Annotations from a second file": pd.DataFrame(
            {"dataset": name, **summary["annotations"]} for name, summary in summaries.items() if summary["annotations"]
        ),
        "Warnings": warnings_table(records),
        f"Jobs: {jobs['jobs'].sum()} jobs in {jobs['seconds'].sum():.0f} s, last run of each": jobs,
        "Sources": sources_table(records),
        "Versions": versions_table(records),
        "Options": options_table(records),
    }


def read_provenance(path):
    """Return the provenance and the size of a result.

    Parameters
    ----------
    path : path-like
        File `velocity.h5ad`.

    Returns
    -------
    dict
        `dataset` and `method`; the numbers of `cells`, `genes` and `velocity genes`; `options`, `versions`, `source`,
        `prepared_sha256` and `warnings` from `uns["provenance"]`.
    """
    with h5py.File(path) as file:
        stored = file["uns/provenance"]
        options = json.loads(decode_text(stored["options"]))
        return {
            "options": options,
            "dataset": options["dataset_name"],
            "method": options["method_name"],
            "versions": {name: decode_text(version) for name, version in stored["versions"].items()},
            "source": {name: decode_text(value) for name, value in stored["source"].items()},
            "prepared_sha256": decode_text(stored["prepared_sha256"]),
            "warnings": list(decode_text(stored["warnings"])),
            "cells": len(file["obs"][file["obs"].attrs["_index"]]),
            "genes": len(file["var"][file["var"].attrs["_index"]]),
            "velocity genes": int(file["var/velocity_genes"][()].sum()),
        }


def results_table(records, verdicts):
    """Return a table with one row per result: its verdict, its size and its number of warnings.

    Parameters
    ----------
    records : sequence of dict
        Provenance of the results, from `read_provenance`.
    verdicts : dict of (str, str) to dict
        Contents of `trust.json` by dataset and method. The verdict of a result without one is empty.

    Returns
    -------
    DataFrame
        The table.
    """
    rows = []
    for record in records:
        verdict = verdicts.get((record["dataset"], record["method"]), {})
        rows.append(
            {
                "dataset": record["dataset"],
                "method": record["method"],
                "verdict": verdict.get("verdict"),
                "reasons": verdict.get("words"),
                "cells": record["cells"],
                "genes": record["genes"],
                "velocity genes": record["velocity genes"],
                "warnings": len(record["warnings"]),
            }
        )
    return pd.DataFrame(rows)


def quality_table(summaries):
    """Return a table with one row per dataset: the verdict on its quality, its size and its medians.

    Parameters
    ----------
    summaries : dict of str to dict
        Contents of `qc.json` by dataset.

    Returns
    -------
    DataFrame
        The table.
    """
    return pd.DataFrame(
        {
            "dataset": name,
            "quality": summary["verdict"],
            "format": summary["format"],
            **summary["dataset"],
            "unlabeled cells": summary["unlabeled_cells"],
        }
        for name, summary in summaries.items()
    )


def checks_table(summaries):
    """Return a table with one row per check of a dataset: its value, its expected range and its outcome."""
    return _rows_of("checks", summaries)


def _rows_of(part, summaries):
    return pd.DataFrame({"dataset": name, **row} for name, summary in summaries.items() for row in summary[part])


def warnings_table(records):
    """Return a table with one row per warning of a result."""
    rows = [(record["dataset"], record["method"], text) for record in records for text in record["warnings"]]
    return pd.DataFrame(rows, columns=["dataset", "method", "warning"])


def sources_table(records):
    """Return a table with one row per result: its source, and the hashes of the source and of the prepared data."""
    return pd.DataFrame(
        {
            "dataset": record["dataset"],
            "method": record["method"],
            **record["source"],
            "sha256 of the prepared data": record["prepared_sha256"],
        }
        for record in records
    )


def versions_table(records):
    """Return a table with one row per package: its version, or all versions if results differ."""
    pairs = pd.DataFrame(sorted({pair for record in records for pair in record["versions"].items()}))
    return pairs.set_axis(["package", "version"], axis=1).groupby("package", as_index=False).agg(", ".join)


def options_table(records):
    """Return a table with one row per option of a result, named by its path in the config."""
    rows = [
        {"dataset": record["dataset"], "method": record["method"], "option": path, "value": json.dumps(value)}
        for record in records
        for path, value in _flatten(record["options"])
        if path not in ("dataset_name", "method_name")
    ]
    return pd.DataFrame(rows)


def _flatten(options, prefix=""):
    """Yield paths and values of the leaves of nested options."""
    for name, value in options.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def jobs_table(benchmarks, *, rules):
    """Return a table with one row per rule and result: number, time and memory of the jobs.

    The path of a benchmark file is `[dataset/][method/]rule[/wildcards].jsonl`.

    Parameters
    ----------
    benchmarks : path-like
        Folder of Snakemake's benchmark files. Only the last line of a file counts.
    rules : collection of str
        Names of all rules.

    Returns
    -------
    DataFrame
        Columns `dataset`, `method`, `rule`, `jobs`, `seconds`, `seconds of the longest job` and `peak MB`, the longest
        total time first. The memory is missing for jobs that were too short to be measured.
    """
    rows = []
    for path in sorted(Path(benchmarks).rglob("*.jsonl")):
        names = path.relative_to(benchmarks).with_suffix("").parts
        lines = path.read_text(encoding="utf-8").splitlines()
        if not lines:  # the job did not end
            continue
        last = json.loads(lines[-1])
        # the last rule name in the path: datasets and methods can have the name of a rule
        position = next((i for i in range(len(names) - 1, -1, -1) if names[i] in rules), len(names) - 1)
        dataset, method = (*names[:position], "", "")[:2]
        rows.append((dataset, method, names[position], last["s"], last["max_rss"]))
    jobs = pd.DataFrame(rows, columns=["dataset", "method", "rule", "s", "max_rss"])
    # max_rss is NA for a job that was too short to be measured
    jobs["max_rss"] = pd.to_numeric(jobs["max_rss"], errors="coerce")
    by_rule = jobs.groupby(["dataset", "method", "rule"])
    table = pd.DataFrame(
        {
            "jobs": by_rule.size(),
            "seconds": by_rule["s"].sum().round(1),
            "seconds of the longest job": by_rule["s"].max().round(1),
            "peak MB": by_rule["max_rss"].max().round().astype("Int64"),
        }
    )
    return table.sort_values("seconds", ascending=False).reset_index()


def costs_of_methods(jobs, dataset):
    """Return a table with one row per method of a dataset: time and memory of its fit, and time of all its jobs.

    Parameters
    ----------
    jobs : DataFrame
        Table of `jobs_table`.
    dataset : str
        Name of the dataset.

    Returns
    -------
    DataFrame
        Columns `method`, `seconds of the fit`, `peak MB of the fit` and `seconds of all jobs`. Seconds are summed over
        jobs, some of which may have run at the same time.
    """
    jobs = jobs[(jobs["dataset"] == dataset) & (jobs["method"] != "")]
    fits = jobs[jobs["rule"].isin(FIT_RULES)].groupby("method")
    columns = {
        "seconds of the fit": fits["seconds"].sum(),
        "peak MB of the fit": fits["peak MB"].max(),
        "seconds of all jobs": jobs.groupby("method")["seconds"].sum(),
    }
    return pd.DataFrame(columns).rename_axis("method").reset_index()
