"""What each result was made from and how, and what the jobs took: tables of a run."""

import json
from pathlib import Path

import h5py
import pandas as pd

from veloshard import store

# rules whose jobs are the fit of a method; what comes after is alike for all
FITTING = ("fit_genes", "merge_fits", "refit_genes", "run_model", "import_model")

EXPLANATION = (
    "What was run, from what, and what it took. Look at the verdicts first: a result that is not to be trusted "
    "is drawn as neatly as any other. Click on a column's name to sort by it."
)


def run_tables(results, quality, benchmarks, trust=()):
    """Tables of a run by their captions, as `pages.table_page` takes them.

    results : paths of `velocity.h5ad`.   quality, trust : paths of `qc.json` and of `trust.json`, in folders of the
    dataset's and of the method's name.   benchmarks : folder of Snakemake's benchmark files.
    """
    records = [read_provenance(path) for path in results]
    found = {Path(path).parent.name: store.load_json(path) for path in quality}
    verdicts = {Path(path).parts[-3:-1]: store.load_json(path) for path in trust}
    jobs = jobs_table(benchmarks)
    return {
        "Results": results_table(records, verdicts),
        "Quality of the datasets": quality_table(found),
        "Checks of the datasets": checks_table(found),
        "Clusters": _rows_of("clusters", found),
        "Left out": pd.DataFrame({"dataset": name, **one["left_out"]} for name, one in found.items()),
        "Annotations from a second file": pd.DataFrame(
            {"dataset": name, **one["annotations"]} for name, one in found.items() if one["annotations"]
        ),
        "Warnings": warnings_table(records),
        f"Jobs: {jobs['jobs'].sum()} that took {jobs['seconds'].sum():.0f} s, as last run": jobs,
        "Sources": sources_table(records),
        "Versions": versions_table(records),
        "Options": options_table(records),
    }


def read_provenance(path):
    """What a `velocity.h5ad` says of its making, with the names of dataset and method, and its size."""
    with h5py.File(path) as file:
        stored = file["uns/provenance"]
        options = json.loads(store.text(stored["options"]))
        return {
            "options": options,
            "dataset": options["dataset_name"],
            "method": options["method_name"],
            "versions": {name: store.text(version) for name, version in stored["versions"].items()},
            "source": {name: store.text(value) for name, value in stored["source"].items()},
            "prepared_sha256": store.text(stored["prepared_sha256"]),
            "warnings": list(store.text(stored["warnings"])),
            "cells": len(file["obs"][file["obs"].attrs["_index"]]),
            "genes": len(file["var"][file["var"].attrs["_index"]]),
            "velocity genes": int(file["var/velocity_genes"][()].sum()),
        }


def results_table(records, verdicts):
    """A row a result: the verdict, sizes, and the number of warnings.

    verdicts : what `trust.json` says, by dataset and method; of those that have none the verdict is empty.
    """
    return pd.DataFrame(
        {
            "dataset": record["dataset"],
            "method": record["method"],
            **{
                name: verdicts.get((record["dataset"], record["method"]), {}).get(name) for name in ("verdict", "words")
            },
            **{name: record[name] for name in ("cells", "genes", "velocity genes")},
            "warnings": len(record["warnings"]),
        }
        for record in records
    )


def quality_table(quality):
    """A row a dataset: its size, medians, and the verdict."""
    return pd.DataFrame(
        {
            "dataset": name,
            "quality": found["verdict"],
            "format": found["format"],
            **found["dataset"],
            "unlabelled cells": found["unlabelled_cells"],
        }
        for name, found in quality.items()
    )


def checks_table(quality):
    """A row a check of a dataset: its value, what is usual and whether it holds."""
    return _rows_of("checks", quality)


def _rows_of(part, quality):
    return pd.DataFrame({"dataset": name, **row} for name, found in quality.items() for row in found[part])


def warnings_table(records):
    """A row a warning of a result."""
    rows = [(record["dataset"], record["method"], text) for record in records for text in record["warnings"]]
    return pd.DataFrame(rows, columns=["dataset", "method", "warning"])


def sources_table(records):
    """A row a result: what it was read from, and the hashes by which that and the prepared data are known."""
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
    """A row a package: the version that made the results, or all if there are several."""
    pairs = pd.DataFrame(sorted({pair for record in records for pair in record["versions"].items()}))
    return pairs.set_axis(["package", "version"], axis=1).groupby("package", as_index=False).agg(", ".join)


def options_table(records):
    """A row an option of a result, named by its place in the config."""
    rows = [
        {"dataset": record["dataset"], "method": record["method"], "option": name, "value": json.dumps(value)}
        for record in records
        for name, value in _flat(record["options"])
        if name not in ("dataset_name", "method_name")
    ]
    return pd.DataFrame(rows)


def _flat(nest, place=""):
    """Names and values of the leaves of a nest of options."""
    for name, value in nest.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def jobs_table(benchmarks):
    """A row a rule of a result: jobs, seconds in all and of the longest, peak memory, from the files of `benchmark:`.

    A file's path is that of the job's log: the rule's name ends it, or is the folder before its last wildcard;
    dataset and method, where it has them, are the folders before.
    """
    # a rule without a script of its own has that of another
    rules = {path.stem for path in Path(__file__).parents[1].glob("*.py")} | {"run_model_on_control"}
    rows = []
    for path in sorted(Path(benchmarks).rglob("*.jsonl")):
        names = path.relative_to(benchmarks).with_suffix("").parts
        lines = path.read_text(encoding="utf-8").splitlines()
        if not lines:  # of a job that did not end
            continue
        last = json.loads(lines[-1])
        place = next((place for place in range(len(names) - 1, -1, -1) if names[place] in rules), len(names) - 1)
        dataset, method = (*names[:place], "", "")[:2]
        rows.append((dataset, method, names[place], last["s"], last["max_rss"]))
    jobs = pd.DataFrame(rows, columns=["dataset", "method", "rule", "s", "max_rss"])
    # a job too short to be looked at has NA
    jobs["max_rss"] = pd.to_numeric(jobs["max_rss"], errors="coerce")
    by_rule = jobs.groupby(["dataset", "method", "rule"])
    table = pd.DataFrame(
        {
            "jobs": by_rule.size(),
            "seconds": by_rule["s"].sum().round(1),
            "longest": by_rule["s"].max().round(1),
            "peak MB": by_rule["max_rss"].max().round().astype("Int64"),
        }
    )
    return table.sort_values("seconds", ascending=False).reset_index()


def costs_of_methods(jobs, dataset):
    """A row a method of a dataset: seconds and peak memory of its fit, and seconds of all its jobs.

    jobs : of `jobs_table`.   Seconds are summed over the jobs, of which several may have run at once.
    """
    own = jobs[(jobs["dataset"] == dataset) & (jobs["method"] != "")]
    fits = own[own["rule"].isin(FITTING)].groupby("method")
    columns = {
        "seconds of the fit": fits["seconds"].sum(),
        "peak MB of the fit": fits["peak MB"].max(),
        "seconds of all jobs": own.groupby("method")["seconds"].sum(),
    }
    return pd.DataFrame(columns).rename_axis("method").reset_index()
