"""Time and memory of a whole job.

`make bench`, or

    .venv/bin/python benchmarks/run.py config/examples/pancreas.yaml --cores 2

runs the workflow from counts to figures in a temporary folder, twice: with nothing compiled, and again.  Printed
are the time on the clock of each run and, by rule, the jobs of the second with their CPU time and peak memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]


def moved(config, folder):
    """The config for a run in a folder of its own: absolute paths of datasets, compiled code in the folder."""
    config["compiled"] = str(folder / "compiled")
    for dataset in config["datasets"].values():
        if "source" in dataset:
            dataset["source"] = str((ROOT / dataset["source"]).resolve())
    return config


def run(configfile, folder, cores):
    """Run the workflow in an empty folder; returns seconds on the clock."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--configfile", configfile, "--cores", str(cores), "--benchmark-extended", "--quiet", "all"]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def jobs(folder):
    """One row a job, from the files that Snakemake's `benchmark:` wrote."""
    paths = sorted((folder / "results/benchmarks").rglob("*.jsonl"))
    return pd.DataFrame([json.loads(path.read_text().splitlines()[-1]) for path in paths])


def main():
    """Run twice and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "config/config.yaml")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configfile = folder / "config.yaml"
        configfile.write_text(yaml.safe_dump(moved(yaml.safe_load(options.config.read_text()), folder)))
        for which in ("first", "second"):
            (folder / which).mkdir()
            seconds = run(configfile, folder / which, options.cores)
            print(f"{which} run: {seconds:.0f} s on {options.cores} cores")
        rules = jobs(folder / "second").groupby("rule_name")
        table = pd.DataFrame(
            {
                "jobs": rules.size(),
                "cpu_s": rules["cpu_time"].sum(),
                "longest_s": rules["s"].max(),
                "peak_mb": rules["max_rss"].max(),
            }
        )
        print(table.sort_values("cpu_s", ascending=False).round(1).to_string())


if __name__ == "__main__":
    main()
