"""A page that says of each result what it was made from and how, and of each rule what its jobs took."""

import html
import json
from pathlib import Path

import h5py
import pandas as pd

from veloshard import store

STYLE = """
body { font: 14px/1.5 sans-serif; margin: 2em; } h2 { margin-top: 2em; }
table { border-collapse: collapse; } th, td { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td.text { text-align: left; } code, pre { font-size: 12px; white-space: pre-wrap; }
"""


def page(results, quality, benchmarks):
    """HTML of the page, self-contained.

    results : paths of `velocity.h5ad`.   quality : what `quality.quality_control` found, by dataset.
    benchmarks : folder of Snakemake's benchmark files.
    """
    records = [read_provenance(path) for path in results]
    versions = sorted({tuple(sorted(record["versions"].items())) for record in records})
    return "\n".join(
        [
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Run</title><style>{STYLE}</style>",
            "<h1>What was run, from what, and what it took</h1>",
            "<h2>Results</h2>",
            _table(results_table(records)),
            "<h2>Quality of the datasets</h2>",
            _table(quality_table(quality)),
            *(_checks(name, found) for name, found in quality.items()),
            "<h2>Versions</h2>",
            *(_table(pd.DataFrame(pairs, columns=["package", "version"])) for pairs in versions),
            "<h2>Jobs</h2>",
            "<p>Seconds on the clock and peak memory of each rule's jobs, in MB, as last run.</p>",
            _table(jobs_table(benchmarks)),
            "<h2>Options</h2>",
            *(_details(record) for record in records),
            "</html>",
        ]
    )


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


def results_table(records):
    """A row a result: sizes, seeds, hashes of what it was made from, number of warnings."""
    return pd.DataFrame(
        {
            "dataset": record["dataset"],
            "method": record["method"],
            **{name: record[name] for name in ("cells", "genes", "velocity genes")},
            "seed": record["options"]["preprocess"]["random_state"],
            "source": record["source"]["source"],
            "sha256 of what was read": record["source"]["sha256"][:16],
            "of the prepared data": record["prepared_sha256"][:16],
            "warnings": len(record["warnings"]),
        }
        for record in records
    )


def quality_table(quality):
    """A row a dataset: its size, medians, and the verdict."""
    return pd.DataFrame(
        {
            "dataset": name,
            "format": found["format"],
            "cells": found["dataset"]["cells"],
            "spliced": found["dataset"]["spliced_counts"],
            "unspliced": found["dataset"]["unspliced_counts"],
            "genes": found["dataset"]["genes"],
            "unspliced fraction": found["dataset"]["unspliced_fraction"],
            "verdict": found["verdict"],
        }
        for name, found in quality.items()
    ).round(3)


def jobs_table(benchmarks):
    """A row a rule: jobs, seconds in all and of the longest, peak memory, from the files of `benchmark:`.

    A file's path is that of the job's log: the rule's name ends it, or is the folder before its last wildcard.
    """
    rules = {path.stem for path in Path(__file__).parents[1].glob("*.py")}
    rows = []
    for path in sorted(Path(benchmarks).rglob("*.jsonl")):
        names = path.relative_to(benchmarks).with_suffix("").parts
        lines = path.read_text(encoding="utf-8").splitlines()
        if not lines:  # of a job that did not end
            continue
        last = json.loads(lines[-1])
        rule = next((name for name in reversed(names) if name in rules), names[-1])
        rows.append({"rule": rule, "s": last["s"], "max_rss": last["max_rss"]})
    # a job too short to be looked at has NA
    jobs = pd.DataFrame(rows, columns=["rule", "s", "max_rss"])
    jobs["max_rss"] = pd.to_numeric(jobs["max_rss"], errors="coerce")
    by_rule = jobs.groupby("rule")
    table = pd.DataFrame(
        {
            "jobs": by_rule.size(),
            "seconds": by_rule["s"].sum().round(1),
            "longest": by_rule["s"].max().round(1),
            "peak MB": by_rule["max_rss"].max().round().astype("Int64"),
        }
    )
    return table.sort_values("seconds", ascending=False).reset_index()


def _table(table):
    return table.to_html(index=False, border=0, na_rep="")


def _checks(name, found):
    rows = [{**check, "holds": "yes" if check["holds"] else "no"} for check in found["checks"]]
    rows += [
        {"name": f"{row['cluster']}: unspliced fraction", "value": row["unspliced_fraction"]}
        for row in found["clusters"]
    ]
    tables = [_table(pd.DataFrame(rows).round(3))]
    if found["annotations"]:
        tables.append(_table(pd.DataFrame([found["annotations"]])))
    notes = "".join(f"<li>{html.escape(warning)}</li>" for warning in found["warnings"])
    return f"<details><summary>{html.escape(name)}</summary>{''.join(tables)}<ul>{notes}</ul></details>"


def _details(record):
    title = f"{record['dataset']}, {record['method']}: {len(record['warnings'])} warnings, all options, whole hashes"
    content = {name: record[name] for name in ("warnings", "source", "prepared_sha256", "options")}
    text = html.escape(json.dumps(content, indent=2, ensure_ascii=False))
    return f"<details><summary>{html.escape(title)}</summary><pre>{text}</pre></details>"
