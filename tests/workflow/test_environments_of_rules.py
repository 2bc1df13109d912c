"""Programs with an environment of their own: without that nothing starts, unless nobody asked for them."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bare(tmp_path):
    """Snakefile of a copy of the workflow beside which no environment is installed."""
    for folder in ("workflow", "envs"):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder)
    return tmp_path / "copy/workflow/Snakefile"


@pytest.fixture
def standins(monkeypatch):
    """Stand-ins for conda and apptainer, which Snakemake wants to see for a plan too."""
    monkeypatch.setenv("PATH", f"{ROOT / 'tests/deployment/standins'}:{os.environ['PATH']}")


def plan(run_workflow, config, snakefile, *arguments):
    folder = snakefile.parents[2]
    process = run_workflow(config, folder, "--dry-run", *arguments, snakefile=snakefile)
    return process.returncode, process.stdout + process.stderr


def test_a_missing_environment_stops_the_run_before_its_first_job(bare, small_config, run_workflow):
    code, said = plan(run_workflow, small_config(fate_probabilities=True), bare)
    assert code != 0
    assert f"make .envs/cellrank/installed.lock` in {bare.parents[1]}, or use --sdm conda" in said
    assert "simulate_counts" not in said


def test_results_that_need_no_environment_are_made_without_it(bare, small_config, run_workflow):
    config = small_config(fate_probabilities=True)
    code, said = plan(run_workflow, config, bare, "results/demo/stochastic/velocity.h5ad")
    assert code == 0, said
    assert "compute_fate_probabilities" not in said


def test_nothing_is_added_unless_asked_for(bare, small_config, run_workflow):
    code, said = plan(run_workflow, small_config(), bare)
    assert code == 0, said
    assert "compute_fate_probabilities" not in said
    assert "export_transition_matrix" not in said


def test_conda_makes_the_environment_of_the_rule(bare, small_config, run_workflow, standins):
    code, said = plan(run_workflow, small_config(fate_probabilities=True), bare, "--sdm", "conda")
    assert code == 0, said
    assert "compute_fate_probabilities" in said


@pytest.mark.parametrize("deployment", [[], ["--sdm", "apptainer"]])
def test_an_installed_environment_runs_the_program(bare, small_config, run_workflow, standins, deployment):
    lock = bare.parents[1] / ".envs/cellrank/installed.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    config = small_config(fate_probabilities=True, container=str(bare.parents[1]))
    # the first jobs only are known before a checkpoint, this one among them
    code, said = plan(run_workflow, config, bare, "--printshellcmds", *deployment)
    assert code == 0, said
    assert f"{lock.parent / 'bin/python'} -I" in said
