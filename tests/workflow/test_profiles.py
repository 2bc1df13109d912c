"""Profiles have the required options, and those for other schedulers submit jobs with their resources."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SUBMITTERS = {"sge": "qsub", "lsf": "bsub", "pbs": "qsub"}
# prints an id as the real program does, and runs the job script, its last argument
SUBSTITUTE = """#!/bin/bash
printf '%s\\n' "$*" >> {record}
for script; do :; done
echo "{answer}"
"$script" > /dev/null 2>&1 &
"""


def profile(name):
    place = ROOT / ("slurm" if name == "slurm" else f"profiles/{name}")
    return place, yaml.safe_load((place / "config.yaml").read_text())


@pytest.mark.parametrize("name", ["slurm", *SUBMITTERS])
def test_a_cluster_profile_retries_and_keeps_going(name):
    _, options = profile(name)
    assert options["retries"] >= 1
    assert options["keep-going"]
    assert options["rerun-incomplete"]
    assert options["cores"]
    assert options["default-resources"]["mem_mb"] >= 500
    assert not any("array" in option for option in options)
    if name == "slurm":
        assert options["slurm-no-requeue"]


def test_no_rule_retries_by_itself():
    # within each cluster job, retries of a rule are applied again
    assert not [path for path in (ROOT / "workflow/rules").glob("*.smk") if "retries:" in path.read_text()]


@pytest.mark.parametrize("name", ["slurm", "node", *SUBMITTERS])
def test_a_profile_plans_all_jobs(name, small_config, tmp_path):
    # two methods, because Snakemake once failed to order the groups of both
    methods = {"dynamical": {}, "residual": {"method": "dynamical", "velocity": "residual"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small_config(methods=methods, kinetics={"refit": True})))
    place, _ = profile(name)
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", place, "--snakefile", ROOT / "workflow/Snakefile", "--dry-run",
         "--configfile", "config.yaml"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    assert re.search(r"^draw_figure +12$", output, flags=re.MULTILINE)


@pytest.mark.parametrize("name", SUBMITTERS)
def test_jobs_reach_other_schedulers_with_their_resources(name, small_config, tmp_path):
    place, _ = profile(name)
    answer = "Job <17> is submitted to queue <normal>." if name == "lsf" else "17"
    submitter = tmp_path / "bin" / SUBMITTERS[name]
    submitter.parent.mkdir()
    submitter.write_text(SUBSTITUTE.format(record=tmp_path / "record", answer=answer))
    submitter.chmod(0o755)
    config = small_config(methods={"steady_state": {}}, genes_per_shard=1000) | {"compiled": str(ROOT / ".compiled")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    counts = "results/demo/counts_sizes.json"
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", counts, "--profile", place, "--snakefile", ROOT / "workflow/Snakefile",
         "--latency-wait", "10", "--configfile", "config.yaml"],
        cwd=tmp_path, env={**os.environ, "PATH": f"{submitter.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / counts).exists()
    submitted = (tmp_path / "record").read_text().splitlines()
    assert len(submitted) == 2  # simulation and ingestion
    for line in submitted:
        assert "mem" in line or "-M" in line
        assert "{" not in line
    assert "external jobid '17'" in process.stdout + process.stderr


@pytest.mark.parametrize("name", ["slurm", *SUBMITTERS])
def test_groups_of_a_profile_are_of_existing_rules(name):
    rules = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    assert profile(name)[1]["groups"].keys() <= rules
