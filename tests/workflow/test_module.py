"""Another workflow uses ours as a module."""

import subprocess
import sys

import yaml
from conftest import SNAKEFILE

OTHER = """
configfile: "other.yaml"

module velocity:
    snakefile: {snakefile!r}
    config: config["velocity"]

use rule * from velocity as velocity_*

rule count_cells:
    default_target: True
    input:
        "results/demo/steady_state/velocity.h5ad",
    output:
        "cells.txt",
    shell:
        "wc -l < results/demo/steady_state/cells.csv > {{output}}"
"""


def test_a_rule_of_a_module_can_be_changed(small_config, tmp_path):
    # for which Snakemake reads the module again, with the same config
    (tmp_path / "samples.tsv").write_text("dataset\tsample\tsource\na\tone\tx.h5ad\na\ttwo\tx.h5ad\n")
    (tmp_path / "x.h5ad").touch()
    config = small_config(datasets=None, samples="samples.tsv", methods={"steady_state": {}})
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"velocity": config}))
    changed = "\nuse rule fit_genes from velocity as velocity_fit_genes with:\n    threads: 2\n"
    (tmp_path / "Snakefile").write_text(OTHER.format(snakefile=str(SNAKEFILE)).replace("demo", "a") + changed)
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run"], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_rules_of_another_workflow_stand_on_ours(small_config, tmp_path):
    config = small_config(methods={"steady_state": {}}, compiled=str(SNAKEFILE.parent / ".compiled"))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"velocity": config}))
    (tmp_path / "Snakefile").write_text(OTHER.format(snakefile=str(SNAKEFILE)))
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2"], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / "cells.txt").read_text().strip() == "301"
    assert "velocity_build_graph" in process.stdout + process.stderr
