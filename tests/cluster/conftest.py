"""Runs through the profile `slurm`, on a Slurm of two nodes that lives as long as the tests."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from slurm import Slurm, missing

ROOT = Path(__file__).parents[2]
# how soon and how often the controller looks: short here, because jobs are
IMPATIENT = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """`Slurm` with two idle nodes."""
    reason = missing()
    if reason:
        pytest.skip(f"no Slurm to be had here: {reason}")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Controller:
    """A Snakemake that submits to the cluster, with its output in a file."""

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
            ROOT / "Snakefile",
        ]
        self.command += ["--directory", folder, "--configfile", configfile, "--nocolor", *IMPATIENT, *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command, cwd=folder, env=slurm.environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def said(self):
        return self.log.read_text()

    def finish(self, seconds=400):
        """Exit code, once it has ended."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            # SIGINT cancels its jobs, SIGTERM would wait for them
            self.process.send_signal(2)
            self.process.wait(60)
            raise

    def wait(self, done, seconds=120):
        """First true answer of `done`, while the controller runs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = done()
            if answer:
                return answer
            assert self.process.poll() is None, self.said
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s; {self.said}")

    def running(self, rule):
        """Slurm's ids of the running jobs of a rule, with their nodes."""
        lines = self.slurm.jobs("RUNNING", "%i %N %k")
        return [tuple(line.split()[:2]) for line in lines if rule in line]


@pytest.fixture
def submit(slurm):
    """Function that starts a `Controller`; those that still run when a test is over are ended."""
    started = []

    def start(config, folder, *arguments):
        started.append(Controller(slurm, config, folder, *arguments))
        return started[-1]

    yield start
    for controller in started:
        if controller.process.poll() is None:
            controller.process.send_signal(2)
            controller.process.wait(60)
