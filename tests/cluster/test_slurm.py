"""Runs on a Slurm cluster: results equal those of a local run, also after jobs, nodes or Snakemake have failed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_bitwise_identical import results

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
MERGED = "results/demo/steady_state/fit.h5"


@pytest.fixture(scope="session")
def cluster_config(small_config):
    """Return a function that gives the small config with one fast method and few figures."""

    def config(**changes):
        return small_config(methods={"steady_state": {}}, **changes)

    return config


@pytest.fixture(scope="session")
def local_run(cluster_config, run_workflow, tmp_path_factory):
    """Return the folder of a local run of `cluster_config`."""
    folder = tmp_path_factory.mktemp("local")
    process = run_workflow(cluster_config(), folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


@pytest.fixture
def prepared_run(local_run, tmp_path):
    """Return the folder of a run that has been prepared, but not fitted."""
    folder = tmp_path / "run"
    shutil.copytree(local_run, folder, copy_function=shutil.copy2)
    shutil.rmtree(folder / "results/demo/steady_state")
    return folder


def finished_shards(controller):
    """Return the shards whose jobs the controller has reported as finished."""
    output = controller.output
    finished_jobs = set(re.findall(r"Finished jobid: (\d+) \(Rule: fit_genes\)", output))
    jobs = re.findall(r"rule fit_genes:.*?shards/(\S+)\.h5.*?jobid: (\d+)", output, flags=re.DOTALL)
    return {shard for shard, job in jobs if job in finished_jobs}


def started_shards(controller):
    """Return the shards that the controller has submitted, once per submission."""
    return re.findall(r"rule fit_genes:.*?shards/(\S+)\.h5", controller.output, flags=re.DOTALL)


def has_same_fit(folder, local_run):
    """Return whether the fit of a run is bitwise identical to that of the local run."""
    return (folder / MERGED).read_bytes() == (local_run / MERGED).read_bytes()


def test_results_of_the_demo_are_bitwise_identical_to_a_local_run(slurm, tmp_path):
    # the commands of the README, in a copy of the repository
    for name in ("workflow", "config", "slurm", "envs"):
        for copy in ("local", "cluster"):
            (tmp_path / copy).mkdir(exist_ok=True)
            shutil.copytree(ROOT / name, tmp_path / copy / name)
    snakemake = [sys.executable, "-m", "snakemake"]
    with (tmp_path / "log").open("w+") as log:
        for copy, options in (("local", ["--cores", "2"]), ("cluster", ["--profile", "slurm"])):
            code = subprocess.run(
                [*snakemake, *options], cwd=tmp_path / copy, env=slurm.environment, stdout=log, stderr=log, timeout=900
            ).returncode
            assert code == 0, Path(log.name).read_text()
    local, cluster = (results(tmp_path / copy / "results") for copy in ("local", "cluster"))
    assert any(path.endswith("velocity.h5ad") for path in local)
    assert local.keys() == cluster.keys()
    assert [path for path in local if local[path] != cluster[path]] == []


def test_results_of_two_datasets_are_bitwise_identical_to_a_local_run(submit, cluster_config, run_workflow, tmp_path):
    datasets = {
        name: {"simulate": {"n_cells": 200, "n_genes": 50, "seed": seed}} for name, seed in (("a", 1), ("b", 2))
    }
    config = cluster_config(datasets=datasets, figures={"draw": ["stream"]})
    (tmp_path / "local").mkdir()
    process = run_workflow(config, tmp_path / "local")
    assert process.returncode == 0, process.stdout + process.stderr
    controller = submit(config, tmp_path / "cluster")
    assert controller.finish() == 0, controller.output
    local, cluster = results(tmp_path / "local/results"), results(tmp_path / "cluster/results")
    assert {path.split("/")[0] for path in local} >= {"a", "b"}
    assert local == cluster


def test_job_that_exceeds_its_memory_is_killed_and_retried_with_more(submit, cluster_config, prepared_run, local_run):
    # Snakemake and Python alone need more than 200 MB
    controller = submit(cluster_config(), prepared_run, MERGED, "--set-resources", "fit_genes:mem_mb=200*attempt**2")
    assert controller.finish() == 0, controller.output
    logs = "".join(path.read_text() for path in (prepared_run / "logs/slurm").rglob("*.log"))
    assert "oom-kill event" in logs
    requested = set(map(int, re.findall(r"rule fit_genes:.*?mem_mb=(\d+)", controller.output, flags=re.DOTALL)))
    assert 200 in requested
    assert max(requested) >= 800
    assert has_same_fit(prepared_run, local_run)


def test_canceled_job_is_retried(submit, slurm, cluster_config, prepared_run, local_run):
    controller = submit(cluster_config(), prepared_run, MERGED)
    job, _ = controller.wait(lambda: controller.running("fit_genes"))[0]
    slurm.call("scancel", job)
    assert controller.finish() == 0, controller.output
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in controller.output
    assert has_same_fit(prepared_run, local_run)


def test_only_unfinished_shards_run_after_the_controller_was_killed(
    submit, slurm, cluster_config, prepared_run, local_run
):
    config = cluster_config(genes_per_shard=8)
    controller = submit(config, prepared_run, MERGED, "--jobs", "3")
    controller.wait(lambda: finished_shards(controller))
    controller.process.kill()
    controller.process.wait(10)
    finished = finished_shards(controller)
    # the steps of the documentation: cancel running jobs, unlock, run again
    run_id = re.search(r"SLURM run ID: (\S+)", controller.output)[1]
    slurm.call("scancel", "--name", run_id)
    assert submit(config, prepared_run, "--unlock").finish() == 0
    rerun = submit(config, prepared_run, MERGED)
    assert rerun.finish() == 0, rerun.output
    assert 1 <= len(finished) < 8
    # further shards may have finished without a report, if the controller was killed at that moment
    assert set(started_shards(rerun)).isdisjoint(finished)
    assert started_shards(rerun)
    assert has_same_fit(prepared_run, local_run)


def test_jobs_of_a_failed_node_are_retried_on_another(submit, slurm, cluster_config, prepared_run, local_run):
    # each job takes a whole node, so that both nodes have one
    controller = submit(cluster_config(genes_per_shard=15), prepared_run, MERGED, "--set-threads", "fit_genes=2")
    try:
        controller.wait(lambda: any(node == "n2" for _, node in controller.running("fit_genes")))
        slurm.kill_node("n2")
        assert controller.finish() == 0, controller.output
    finally:
        slurm.start_node("n2")
    assert "NODE_FAIL" in controller.output
    assert has_same_fit(prepared_run, local_run)


def test_full_disk_is_reported_and_a_rerun_continues(submit, cluster_config, prepared_run, local_run, tmp_path):
    folder, backup = prepared_run / "results", tmp_path / "backup"
    shutil.move(folder, backup)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder], check=True)
    try:
        shutil.copytree(backup, folder, dirs_exist_ok=True, copy_function=shutil.copy2)
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(folder).free - 50_000))
        controller = submit(cluster_config(), prepared_run, MERGED, "--retries", "0")
        assert controller.finish() != 0
        logs = "".join(path.read_text() for path in (prepared_run / "logs/demo").rglob("*.log"))
        assert "no space is left" in logs, controller.output
        assert not (prepared_run / MERGED).exists()
        ballast.unlink()
        rerun = submit(cluster_config(), prepared_run, MERGED)
        assert rerun.finish() == 0, rerun.output
        assert has_same_fit(prepared_run, local_run)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_failed_figure_does_not_block_other_figures(submit, cluster_config, local_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(local_run, folder, copy_function=shutil.copy2)
    shutil.rmtree(folder / "results/demo/steady_state/figures")
    figures = cluster_config()["figures"] | {"genes": ["no_such_gene"]}
    controller = submit(cluster_config(figures=figures), folder, "--retries", "0")
    assert controller.finish() != 0
    drawn = {path.stem for path in (folder / "results/demo/steady_state/figures").glob("*.png")}
    assert drawn == set(figures["draw"]) - {"phase_portraits"}
