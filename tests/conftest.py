"""Runs of the whole workflow on a small simulated dataset, in folders of their own."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
SNAKEFILE = ROOT / "workflow/Snakefile"


@pytest.fixture(scope="module")
def linear_algebra_on_one_thread():
    """As `runtime.start` has it for every script."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def small_config():
    """Function that returns a config of its own: a small dataset and all methods, split into several shards.

    changes : options to set, None to leave out.
    """

    def config(**changes):
        small = {
            "datasets": {
                "demo": {
                    "simulate": {"n_cells": 300, "n_genes": 60},
                    "clusters": "clusters",
                    "root": "Progenitor",
                }
            },
            "methods": {"steady_state": {}, "stochastic": {}, "dynamical": {}},
            "preprocess": {"n_pcs": 10, "n_neighbors": 15},
            "genes_per_shard": 20,
            "graph": {"cells_per_shard": 120},
            # of every family one, small: they are drawn as others are, in less time
            "figures": {
                "draw": ["stream", "paga", "latent_time", "phase_portraits", "heatmap", "quality"],
                "panel_size": 2,
                "dpi": 50,
                "n_genes": 2,
            },
        }
        return {key: value for key, value in (copy.deepcopy(small) | changes).items() if value is not None}

    return config


@pytest.fixture(scope="session")
def run_workflow():
    """Function that runs Snakemake with a config in a folder; returns the finished process.

    snakefile : of a copy of the workflow, if not of this one.
    python : of another environment, if not of this one.
    """

    def run(config, folder, *arguments, snakefile=SNAKEFILE, python=sys.executable):
        configfile = folder / "config.yaml"
        # what one run compiles, all others find
        config = {"compiled": str(ROOT / ".compiled")} | config
        configfile.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [python, "-m", "snakemake", "--snakefile", snakefile, "--directory", folder]
        command += ["--configfile", configfile, "--cores", "2", "--nocolor", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder)

    return run


@pytest.fixture(scope="session")
def small_run(small_config, run_workflow, tmp_path_factory):
    """Folder with the results of a run of `small_config`.  Read only: a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("small_run")
    process = run_workflow(small_config(), folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results"
