"""Another workflow uses ours as a module."""

import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, SNAKEFILE

# as in the documentation: the host's own rule `all`, and a rule that reads a result of ours
HOST = """
configfile: "host.yaml"

rule all:
    input:
        "cells.txt",

module velocity:
    snakefile: {snakefile!r}
    config: config["velocity"]

use rule * from velocity as velocity_*

rule count_cells:
    input:
        "results/{dataset}/steady_state/velocity.h5ad",
    output:
        "cells.txt",
    shell:
        "wc -l < results/{dataset}/steady_state/cells.csv > {{output}}"
"""


@pytest.fixture
def run_host(tmp_path):
    """Return a function that runs a host workflow with a config for ours, and returns the finished process."""

    def run(config, *arguments, dataset="demo", changes=""):
        (tmp_path / "host.yaml").write_text(yaml.safe_dump({"velocity": config}))
        (tmp_path / "Snakefile").write_text(HOST.format(snakefile=str(SNAKEFILE), dataset=dataset) + changes)
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_a_rule_of_the_module_can_be_changed(small_config, run_host, tmp_path):
    # for this Snakemake reads the module again, with the same config
    (tmp_path / "samples.tsv").write_text("dataset\tsample\tsource\na\tone\tx.h5ad\na\ttwo\tx.h5ad\n")
    (tmp_path / "x.h5ad").touch()
    config = small_config(datasets=None, samples="samples.tsv", methods={"steady_state": {}})
    changes = "\nuse rule fit_genes from velocity as velocity_fit_genes with:\n    threads: 2\n"
    process = run_host(config, "--dry-run", dataset="a", changes=changes)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_target_of_the_host_is_run_not_ours(small_config, run_host):
    process = run_host(small_config(methods={"steady_state": {}}), "--dry-run")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "count_cells" in process.stdout
    assert "velocity_draw_figure" not in process.stdout
    # ours is a rule like any other
    process = run_host(small_config(methods={"steady_state": {}}), "--dry-run", "velocity_all")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "velocity_draw_figure" in process.stdout


def test_rules_of_the_host_read_our_results(small_config, run_host, tmp_path):
    config = small_config(methods={"steady_state": {}}, compiled=str(ROOT / ".compiled"))
    process = run_host(config)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / "cells.txt").read_text().strip() == "301"
    assert "velocity_compute_velocity_graph" in process.stdout + process.stderr
