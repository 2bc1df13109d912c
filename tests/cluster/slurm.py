"""A Slurm cluster of two nodes on this machine, from Debian's packages, that leaves nothing behind.

Everything it has lies in one folder: keys, sockets, state and configuration, which its clients find by SLURM_CONF.
A Slurm that the machine has of its own is not touched.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
MinJobAge=600
KillWait=5
SlurmdTimeout=15
{nodes}
PartitionName=normal Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""

CGROUPS = """
CgroupPlugin=autodetect
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
AllowedRAMSpace=100
MinRAMSpace=16
"""


def missing():
    """Why there can be no cluster here, '' if there can."""
    if os.geteuid() != 0:
        return "a Slurm node runs as root"
    absent = [program for program in PROGRAMS if not shutil.which(program, path=_path())]
    return f"no {', '.join(absent)}: `make test-cluster` installs Debian's slurm-wlm and munge" if absent else ""


def _path():
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(what, done, seconds=30):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.2)


class Slurm:
    """The cluster, between `start` and `stop`.

    folder : where all its files go.   environment : of those who use it.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {
            **os.environ,
            "PATH": f"{self.folder}/bin:{_path()}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }

    def call(self, *command):
        """Output of a command in the cluster's environment; fails as it does."""
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if answer.returncode:
            raise RuntimeError(f"{' '.join(command)}: {answer.stdout}{answer.stderr}")
        return answer.stdout.strip()

    def start(self):
        """Start all daemons and wait until both nodes are idle."""
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [f"--{name}={self.folder}/munge.{end}" for name, end in (("pid-file", "pid"), ("log-file", "log"))]
        files += [f"--seed-file={self.folder}/munge.seed", f"--key-file={key}", f"--socket={self.folder}/munge.socket"]
        self.call("munged", "--force", "--num-threads=2", *files)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={max(2, os.cpu_count())} "
            f"RealMemory={(memory - 1000) // len(NODES)} State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        text = CONFIGURATION.format(host=host, folder=self.folder, ports=ports, nodes=nodes, names=",".join(NODES))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "cgroup.conf").write_text(CGROUPS)
        (self.folder / "state").mkdir()
        # in its jobs Snakemake forgets SLURM_CONF, and calls srun
        (self.folder / "bin").mkdir()
        srun = self.folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        self.call("slurmctld")
        for node in NODES:
            self.start_node(node)
        _wait("idle nodes", lambda: self.call("sinfo", "-h", "-t", "idle", "-o", "%D") == str(len(NODES)))

    def start_node(self, node):
        """Start the daemon of a node."""
        self.call("slurmd", "-N", node)

    def kill_node(self, node):
        """Let a node die as by a power cut: its daemon and all that it runs."""
        jobs = {
            line.split(".")[0] for line in self.call("squeue", "-h", "-w", node, "-t", "R", "-o", "%i").splitlines()
        }
        self.end(self.folder / f"slurmd-{node}.pid", signal.SIGKILL)
        for process in psutil.process_iter(["cmdline"]):
            title = " ".join(process.info["cmdline"] or ())
            if title.startswith("slurmstepd: [") and title[13:].split(".")[0].rstrip("]") in jobs:
                for each in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        each.kill()

    def stop(self):
        """Cancel all jobs and end all daemons that `start` started."""
        with suppress(Exception):
            self.call("scancel", "--user=root")
            _wait("an empty queue", lambda: not self.jobs(), 20)
        for name in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munge"):
            self.end(self.folder / f"{name}.pid", signal.SIGTERM)

    def end(self, pid_file, how):
        """End the daemon of a pid file, and wait until it is gone."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int(pid_file.read_text())
            os.kill(pid, how)
            _wait(pid_file.name, lambda: not Path(f"/proc/{pid}").exists(), 15)
            pid_file.unlink(missing_ok=True)

    def jobs(self, state="all", form="%i"):
        """Lines of squeue of the jobs that are not over, or in one state."""
        states = "PENDING,RUNNING,COMPLETING,CONFIGURING" if state == "all" else state
        return self.call("squeue", "-h", "-t", states, "-o", form).splitlines()
