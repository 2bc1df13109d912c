"""Measure time and memory that Snakemake needs to plan a run with many datasets.

    .venv/bin/python benchmarks/scale.py

The script makes dry runs of 200 datasets with one method and 50 gene shards each: before any job has run, and after all
datasets are prepared, when the numbers of cell shards are also known. Files with dataset sizes stand in for the data.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
N_GENES = 2000


def plan(folder):
    """Return the number of planned jobs, the seconds and the peak memory in MB of a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile"]
    command += ["--configfile", "config.yaml", "--dry-run", "--quiet", "rules"]
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(output)
    n_jobs = next(int(line.split()[1]) for line in output.splitlines() if line.startswith("total"))
    return n_jobs, time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    """Plan both runs, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=200)
    parser.add_argument("--shards", type=int, default=50)
    options = parser.parse_args()
    datasets = [f"dataset{k}" for k in range(options.datasets)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = {
            "datasets": {dataset: {"source": f"{dataset}.h5ad"} for dataset in datasets},
            "methods": {"dynamical": {}},
            "genes_per_shard": -(-N_GENES // options.shards),
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for dataset in datasets:
            (folder / f"{dataset}.h5ad").write_text(dataset)
        print("before any job: {} jobs planned in {:.0f} s, {:.0f} MB".format(*plan(folder)))
        for dataset in datasets:
            results = folder / "results" / dataset
            results.mkdir(parents=True)
            sizes = {"n_cells": 5000, "n_genes": N_GENES, "n_counts": 10**7, "n_edges": 2 * 10**5}
            for file in (
                "counts.h5ad",
                "counts_sizes.json",
                "option_warnings.json",
                "prepared.h5ad",
                "prepared_sizes.json",
            ):
                (results / file).write_text(json.dumps(sizes))
        print("prepared: {} jobs planned in {:.0f} s, {:.0f} MB".format(*plan(folder)))


if __name__ == "__main__":
    main()
