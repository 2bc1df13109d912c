"""A temporary Slurm cluster of two nodes on this machine, from Debian's packages.

All of its files are in one folder: keys, sockets, state and configuration, which clients find by SLURM_CONF. It does
not affect another Slurm on the machine.
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


def reason_unavailable():
    """Return why no cluster can be started on this machine; an empty string if it can."""
    if os.geteuid() != 0:
        return "a Slurm node runs as root"
    absent = [program for program in PROGRAMS if not shutil.which(program, path=_path())]
    return f"no {', '.join(absent)}: `make test-cluster` installs Debian's slurm-wlm and munge" if absent else ""


def _path():
    """Return PATH with the folders of the daemons."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(n):
    """Return n free ports."""
    sockets = [socket.socket() for _ in range(n)]
    for free_socket in sockets:
        free_socket.bind(("127.0.0.1", 0))
    ports = [free_socket.getsockname()[1] for free_socket in sockets]
    for free_socket in sockets:
        free_socket.close()
    return ports


def _wait(description, condition, seconds=30):
    """Wait until a condition holds; TimeoutError if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {description}")
        time.sleep(0.2)


class Slurm:
    """A cluster that runs between `start` and `stop`.

    Attributes
    ----------
    folder : Path
        Folder with all files of the cluster.
    environment : dict of str to str
        Environment variables for its clients.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {
            **os.environ,
            "PATH": f"{self.folder}/bin:{_path()}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }

    def call(self, *command):
        """Run a command in the cluster's environment, and return its output; RuntimeError if it fails."""
        process = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {process.stdout}{process.stderr}")
        return process.stdout.strip()

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
        # in its jobs, Snakemake calls srun without SLURM_CONF
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
        """Kill the daemon of a node and all its jobs, as in a power failure."""
        jobs = {
            line.split(".")[0] for line in self.call("squeue", "-h", "-w", node, "-t", "R", "-o", "%i").splitlines()
        }
        self.end(self.folder / f"slurmd-{node}.pid", signal.SIGKILL)
        for process in psutil.process_iter(["cmdline"]):
            title = " ".join(process.info["cmdline"] or ())
            if title.startswith("slurmstepd: [") and title[13:].split(".")[0].rstrip("]") in jobs:
                for job_process in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        job_process.kill()

    def stop(self):
        """Cancel all jobs, and end all daemons that `start` started."""
        with suppress(Exception):
            self.call("scancel", "--user=root")
            _wait("an empty queue", lambda: not self.jobs(), 20)
        for name in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munge"):
            self.end(self.folder / f"{name}.pid", signal.SIGTERM)

    def end(self, pid_file, signal_number):
        """Send a signal to the daemon of a PID file, and wait until it has ended."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int(pid_file.read_text())
            os.kill(pid, signal_number)
            _wait(pid_file.name, lambda: not Path(f"/proc/{pid}").exists(), 15)
            pid_file.unlink(missing_ok=True)

    def jobs(self, state="all", line_format="%i"):
        """Return the lines of squeue for all unfinished jobs, or for those in one state."""
        states = "PENDING,RUNNING,COMPLETING,CONFIGURING" if state == "all" else state
        return self.call("squeue", "-h", "-t", states, "-o", line_format).splitlines()
