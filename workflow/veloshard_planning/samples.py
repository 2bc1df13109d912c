"""The table of samples: its rows, and the datasets that they describe."""

import csv
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from snakemake.exceptions import WorkflowError

from veloshard_planning.messages import explain


def read_samples(path, schema):
    """Return the rows of a table of samples, separated by tabs, each with its place in the file.

    Parameters
    ----------
    path : path-like
        The table.
    schema : Path
        Schema of a row.

    Returns
    -------
    list of (str, dict)
        "file, line n", and the row by column.

    Raises
    ------
    WorkflowError
        If the file cannot be read, has no rows, or has a row that does not match the schema.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t")
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WorkflowError(f"Config, samples: {path} cannot be read ({error}).") from None
    if not rows:
        raise WorkflowError(f"{path} has no rows. It needs the columns dataset and source, separated by tabs.")
    validator = Draft202012Validator(yaml.safe_load(schema.read_text()))
    for place, row in rows:
        if None in row:
            raise WorkflowError(f"{place}: the row has more fields than the table has columns.")
        error = best_match(validator.iter_errors({column: value for column, value in row.items() if value}))
        if error:
            column = "".join(f", {part}" for part in error.absolute_path)
            raise WorkflowError(f"{place}{column}: {explain(error)}")
    return rows


def add_samples(datasets, rows, default_annotations):
    """Return the datasets with those of a table of samples.

    Parameters
    ----------
    datasets : dict of str to dict
        Options of datasets, by name.
    rows : list of (str, dict)
        Result of `read_samples`.
    default_annotations : dict
        Options of `annotations` for datasets without their own.

    Returns
    -------
    dict of str to dict
        Options of all datasets, by name. `datasets` is not changed.

    Raises
    ------
    WorkflowError
        If rows of a dataset contradict each other or its options.
    """
    datasets = dict(datasets)
    for place, row in rows:
        name = row["dataset"]
        options = datasets[name] = dict(datasets.get(name) or {})
        if row.get("annotations"):
            own = options.get("annotations") or {}
            if own.get("source", row["annotations"]) != row["annotations"]:
                raise WorkflowError(
                    f"{place}: dataset {name!r} has annotations in {own['source']} and in {row['annotations']}. "
                    "Put the annotations of all its samples into one file."
                )
            options["annotations"] = {**default_annotations, **own, "source": row["annotations"]}
        if not row.get("sample"):
            if {"source", "samples"} & options.keys():
                raise WorkflowError(f"{place}: dataset {name!r} has several rows. Give each of them a sample name.")
            options["source"] = row["source"]
            continue
        options["samples"] = dict(options.get("samples", {}))
        if row["sample"] in options["samples"]:
            raise WorkflowError(f"{place}: dataset {name!r} has two rows for sample {row['sample']!r}.")
        options["samples"][row["sample"]] = row["source"]
    return datasets
