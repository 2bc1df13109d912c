"""Fixtures that run the workflow with the profile `slurm`, on a temporary Slurm cluster of two nodes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.slurm import Slurm, reason_unavailable

ROOT = Path(__file__).parents[2]
# short intervals between status checks, because jobs are short
STATUS_CHECK_OPTIONS = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Yield a running cluster with two idle nodes; skip the test if Slurm cannot run on this machine."""
    reason = reason_unavailable()
    if reason:
        pytest.skip(f"Slurm cannot run here: {reason}")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Controller:
    """A Snakemake process that submits jobs to the cluster, with its output in a file."""

    def __init__(self, slurm, config, folder, *arguments):
        self.slurm, self.folder, self.log = slurm, folder, folder / f"controller-{time.monotonic_ns()}.log"
        folder.mkdir(exist_ok=True)
        configfile = folder / "config.yaml"
        configfile.write_text(yaml.safe_dump({"compiled": str(ROOT / ".compiled")} | config), encoding="utf-8")
        self.command = [
            sys.executable,
            "-m",
            "snakemake",
            "--profile",
            ROOT / "slurm",
            "--snakefile",
            ROOT / "workflow/Snakefile",
        ]
        self.command += [
            "--directory",
            folder,
            "--configfile",
            configfile,
            "--nocolor",
            *STATUS_CHECK_OPTIONS,
            *arguments,
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command, cwd=folder, env=slurm.environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def output(self):
        """Return what Snakemake has printed."""
        return self.log.read_text()

    def finish(self, seconds=400):
        """Wait until Snakemake has ended, and return its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            # SIGINT cancels the jobs; after SIGTERM, Snakemake would wait for them
            self.process.send_signal(2)
            self.process.wait(60)
            raise

    def wait(self, condition, seconds=120):
        """Wait until the value of a function is true, while Snakemake runs, and return the value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            assert self.process.poll() is None, self.output
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s; {self.output}")

    def running(self, rule):
        """Return Slurm's job ids and the nodes of the running jobs of a rule."""
        lines = self.slurm.jobs("RUNNING", "%i %N %k")
        return [tuple(line.split()[:2]) for line in lines if rule in line]


@pytest.fixture
def submit(slurm):
    """Yield a function that starts a `Controller`; end those that still run after the test."""
    controllers = []

    def start(config, folder, *arguments):
        controllers.append(Controller(slurm, config, folder, *arguments))
        return controllers[-1]

    yield start
    for controller in controllers:
        if controller.process.poll() is None:
            controller.process.send_signal(2)
            controller.process.wait(60)
