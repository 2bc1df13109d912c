"""Time and memory to plan a run of many datasets: `.venv/bin/python benchmarks/scale.py`.

A dry run of 200 datasets of one method with 50 shards each: of nothing, and with all datasets prepared (files of sizes
stand in for the data), so that the shards of cells are known too.  Nothing is computed.
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


def plan(folder):
    """Number of planned jobs, seconds and megabytes of a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    start = time.perf_counter()
    with subprocess.Popen(
        [*command, "--dry-run", "--quiet", "rules"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(said)
    n_jobs = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("total"))
    return n_jobs, time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    """Plan and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=200)
    parser.add_argument("--shards", type=int, default=50)
    options = parser.parse_args()
    names = [f"sample{k}" for k in range(options.datasets)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = {
            "datasets": {name: {"source": f"{name}.h5ad"} for name in names},
            "methods": {"dynamical": {}},
            "shards": options.shards,
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for sample in names:
            (folder / f"{sample}.h5ad").write_text(sample)
        print("from nothing: {} jobs planned in {:.0f} s, {:.0f} MB".format(*plan(folder)))
        for sample in names:
            place = folder / "results" / sample
            place.mkdir(parents=True)
            sizes = {"n_cells": 5000, "n_genes": 2000, "n_counts": 10**7, "n_edges": 2 * 10**5}
            for file in ("counts.h5ad", "ingested.json", "checked.json", "prepared.h5ad", "sizes.json"):
                (place / file).write_text(json.dumps(sizes))
        print("prepared: {} jobs planned in {:.0f} s, {:.0f} MB".format(*plan(folder)))


if __name__ == "__main__":
    main()
