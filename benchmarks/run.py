"""Measure time and memory of a complete run of the workflow.

    make bench
    .venv/bin/python benchmarks/run.py config/examples/pancreas.yaml --cores 2

The script runs the workflow twice in temporary folders, from counts to figures: first without compiled code, then with
the code that the first run compiled. It prints the wall time of each run and, for each rule of the second run, the
number of jobs, their CPU time and their peak memory.
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


def adapt_config(config, folder):
    """Return a config for a run in another folder: sources are absolute paths, and compiled code is in the folder."""
    config["compiled"] = str(folder / "compiled")
    for dataset in config["datasets"].values():
        if "source" in dataset:
            dataset["source"] = str((ROOT / dataset["source"]).resolve())
    return config


def run(configfile, folder, cores):
    """Run the workflow in an empty folder; return the wall time in seconds."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--directory", folder]
    command += ["--configfile", configfile, "--cores", str(cores), "--benchmark-extended", "--quiet", "all"]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def load_jobs(folder):
    """Return a table with one row per job, from Snakemake's benchmark files."""
    paths = sorted((folder / "results/benchmarks").rglob("*.jsonl"))
    return pd.DataFrame([json.loads(path.read_text().splitlines()[-1]) for path in paths])


def main():
    """Run the workflow twice, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "config/config.yaml")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configfile = folder / "config.yaml"
        configfile.write_text(yaml.safe_dump(adapt_config(yaml.safe_load(options.config.read_text()), folder)))
        for run_name in ("first", "second"):
            (folder / run_name).mkdir()
            seconds = run(configfile, folder / run_name, options.cores)
            print(f"{run_name} run: {seconds:.0f} s on {options.cores} cores")
        rules = load_jobs(folder / "second").groupby("rule_name")
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
