"""What a cluster does to jobs, and that the results are those of a run on this machine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_same_bits import results

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
MERGED = "results/demo/steady_state/fit.h5"


@pytest.fixture(scope="session")
def cluster_config(small_config):
    """Function that returns the small config with one quick method and few figures."""

    def config(**changes):
        return small_config(methods={"steady_state": {}}, **changes)

    return config


@pytest.fixture(scope="session")
def local_run(cluster_config, run_workflow, tmp_path_factory):
    """Folder of a run of `cluster_config` on this machine."""
    folder = tmp_path_factory.mktemp("local")
    process = run_workflow(cluster_config(), folder)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


@pytest.fixture
def prepared_run(local_run, tmp_path):
    """Folder of a run that has come as far as its gene shards."""
    folder = tmp_path / "run"
    shutil.copytree(local_run, folder, copy_function=shutil.copy2)
    shutil.rmtree(folder / "results/demo/steady_state")
    return folder


def finished_shards(controller):
    """Shards that the controller knows to be finished."""
    said = controller.said
    done = set(re.findall(r"Finished jobid: (\d+) \(Rule: fit_genes\)", said))
    jobs = re.findall(r"rule fit_genes:.*?shards/(\S+)\.h5.*?jobid: (\d+)", said, flags=re.DOTALL)
    return {shard for shard, job in jobs if job in done}


def started_shards(controller):
    """Shards that the controller submitted, as often as it did."""
    return re.findall(r"rule fit_genes:.*?shards/(\S+)\.h5", controller.said, flags=re.DOTALL)


def same_fit(folder, local_run):
    return (folder / MERGED).read_bytes() == (local_run / MERGED).read_bytes()


def test_the_demo_gives_the_bits_of_a_run_on_this_machine(slurm, tmp_path):
    # word by word what the README says, in a copy of the repository
    for name in ("Snakefile", "workflow", "config", "slurm", "envs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        for place in ("local", "cluster"):
            (tmp_path / place).mkdir(exist_ok=True)
            copy(ROOT / name, tmp_path / place / name)
    snakemake = [sys.executable, "-m", "snakemake"]
    with (tmp_path / "log").open("w+") as log:
        for place, how in (("local", ["--cores", "2"]), ("cluster", ["--profile", "slurm"])):
            code = subprocess.run(
                [*snakemake, *how], cwd=tmp_path / place, env=slurm.environment, stdout=log, stderr=log, timeout=900
            ).returncode
            assert code == 0, Path(log.name).read_text()
    local, cluster = (results(tmp_path / place / "results") for place in ("local", "cluster"))
    assert any(path.endswith("velocity.h5ad") for path in local)
    assert local.keys() == cluster.keys()
    assert [path for path in local if local[path] != cluster[path]] == []


def test_two_datasets_at_once(submit, cluster_config, run_workflow, tmp_path):
    datasets = {
        name: {"simulate": {"n_cells": 200, "n_genes": 50, "seed": seed}} for name, seed in (("a", 1), ("b", 2))
    }
    config = cluster_config(datasets=datasets, figures={"draw": ["stream"]})
    (tmp_path / "here").mkdir()
    process = run_workflow(config, tmp_path / "here")
    assert process.returncode == 0, process.stdout + process.stderr
    controller = submit(config, tmp_path / "there")
    assert controller.finish() == 0, controller.said
    here, there = results(tmp_path / "here/results"), results(tmp_path / "there/results")
    assert {path.split("/")[0] for path in here} >= {"a", "b"}
    assert here == there


def test_a_shard_beyond_its_memory_is_killed_and_gets_more(submit, cluster_config, prepared_run, local_run):
    # with 200 MB not even Snakemake and Python fit
    controller = submit(cluster_config(), prepared_run, MERGED, "--set-resources", "fit_genes:mem_mb=200*attempt**2")
    assert controller.finish() == 0, controller.said
    killed = "".join(path.read_text() for path in (prepared_run / "logs/slurm").rglob("*.log"))
    assert "oom-kill event" in killed
    asked = {int(found) for found in re.findall(r"rule fit_genes:.*?mem_mb=(\d+)", controller.said, flags=re.DOTALL)}
    assert 200 in asked
    assert max(asked) >= 800
    assert same_fit(prepared_run, local_run)


def test_a_cancelled_job_is_run_again(submit, slurm, cluster_config, prepared_run, local_run):
    controller = submit(cluster_config(), prepared_run, MERGED)
    job, _ = controller.wait(lambda: controller.running("fit_genes"))[0]
    slurm.call("scancel", job)
    assert controller.finish() == 0, controller.said
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in controller.said
    assert same_fit(prepared_run, local_run)


def test_after_a_killed_controller_only_unfinished_shards_run(submit, slurm, cluster_config, prepared_run, local_run):
    config = cluster_config(shards=8)
    controller = submit(config, prepared_run, MERGED, "--jobs", "3")
    controller.wait(lambda: finished_shards(controller))
    controller.process.kill()
    controller.process.wait(10)
    finished = finished_shards(controller)
    # what the documentation tells to do: cancel what is still under way, unlock, run again
    run_id = re.search(r"SLURM run ID: (\S+)", controller.said)[1]
    slurm.call("scancel", "--name", run_id)
    assert submit(config, prepared_run, "--unlock").finish() == 0
    again = submit(config, prepared_run, MERGED)
    assert again.finish() == 0, again.said
    assert 1 <= len(finished) < 8
    # one may have been noted as finished in the instant in which the controller could no longer say so
    assert set(started_shards(again)).isdisjoint(finished)
    assert started_shards(again)
    assert same_fit(prepared_run, local_run)


def test_jobs_of_a_node_that_dies_run_on_another(submit, slurm, cluster_config, prepared_run, local_run):
    # jobs of a node each, so that both have one
    controller = submit(cluster_config(shards=4), prepared_run, MERGED, "--set-threads", "fit_genes=2")
    try:
        controller.wait(lambda: any(node == "n2" for _, node in controller.running("fit_genes")))
        slurm.kill_node("n2")
        assert controller.finish() == 0, controller.said
    finally:
        slurm.start_node("n2")
    assert "NODE_FAIL" in controller.said
    assert same_fit(prepared_run, local_run)


def test_a_full_disk_is_named_and_a_rerun_goes_on(submit, cluster_config, prepared_run, local_run, tmp_path):
    folder, kept = prepared_run / "results", tmp_path / "kept"
    shutil.move(folder, kept)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True, copy_function=shutil.copy2)
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(folder).free - 50_000))
        controller = submit(cluster_config(), prepared_run, MERGED, "--retries", "0")
        assert controller.finish() != 0
        logs = "".join(path.read_text() for path in (prepared_run / "logs/demo").rglob("*.log"))
        assert "no space is left" in logs, controller.said
        assert not (prepared_run / MERGED).exists()
        ballast.unlink()
        again = submit(cluster_config(), prepared_run, MERGED)
        assert again.finish() == 0, again.said
        assert same_fit(prepared_run, local_run)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_figure_that_fails_keeps_no_other_from_being_drawn(submit, cluster_config, local_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(local_run, folder, copy_function=shutil.copy2)
    shutil.rmtree(folder / "results/demo/steady_state/figures")
    figures = cluster_config()["figures"] | {"genes": ["no_such_gene"]}
    controller = submit(cluster_config(figures=figures), folder, "--retries", "0")
    assert controller.finish() != 0
    drawn = {path.stem for path in (folder / "results/demo/steady_state/figures").glob("*.png")}
    assert drawn == set(figures["draw"]) - {"phase_portraits"}
