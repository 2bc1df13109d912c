"""Rules with their own environment stop the run if it is missing and their results are requested."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def snakefile(tmp_path):
    """Return the Snakefile of a copy of the workflow without installed environments."""
    for folder in ("workflow", "envs"):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder)
    return tmp_path / "copy/workflow/Snakefile"


@pytest.fixture
def standins(monkeypatch):
    """Put substitutes for conda and apptainer on the path, which Snakemake requires for a dry run, too."""
    monkeypatch.setenv("PATH", f"{ROOT / 'tests/deployment/standins'}:{os.environ['PATH']}")


def plan(run_workflow, config, snakefile, *arguments):
    folder = snakefile.parents[2]
    process = run_workflow(config, folder, "--dry-run", *arguments, snakefile=snakefile)
    return process.returncode, process.stdout + process.stderr


def test_a_missing_environment_stops_the_run_before_its_first_job(snakefile, small_config, run_workflow):
    code, output = plan(run_workflow, small_config(fate_probabilities=True), snakefile)
    assert code != 0
    assert f"make .envs/cellrank/installed.lock` in {snakefile.parents[1]}, or use --sdm conda" in output
    assert "simulate_counts" not in output


def test_results_that_need_no_environment_are_computed_without_it(snakefile, small_config, run_workflow):
    config = small_config(fate_probabilities=True)
    code, output = plan(run_workflow, config, snakefile, "results/demo/stochastic/velocity.h5ad")
    assert code == 0, output
    assert "compute_fate_probabilities" not in output


def test_optional_outputs_are_not_computed_by_default(snakefile, small_config, run_workflow):
    code, output = plan(run_workflow, small_config(), snakefile)
    assert code == 0, output
    assert "compute_fate_probabilities" not in output
    assert "export_transition_matrix" not in output


def test_conda_installs_the_environment_of_the_rule(snakefile, small_config, run_workflow, standins):
    code, output = plan(run_workflow, small_config(fate_probabilities=True), snakefile, "--sdm", "conda")
    assert code == 0, output
    assert "compute_fate_probabilities" in output


@pytest.mark.parametrize("deployment", [[], ["--sdm", "apptainer"]])
def test_an_installed_environment_runs_the_program(snakefile, small_config, run_workflow, standins, deployment):
    lock = snakefile.parents[1] / ".envs/cellrank/installed.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    config = small_config(fate_probabilities=True, container=str(snakefile.parents[1]))
    # this job is planned before the checkpoint has run
    code, output = plan(run_workflow, config, snakefile, "--printshellcmds", *deployment)
    assert code == 0, output
    assert f"{lock.parent / 'bin/python'} -I" in output
