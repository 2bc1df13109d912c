"""Environments of programs that cannot run in the workflow's own Python, and the commands that run them.

Without conda and containers, Snakemake runs `script:` in its own Python. Rules with another environment therefore use
`shell:` with the param `command` and the input `environment`. Their `conda:` is the yaml of the environment, and their
container is None. The program writes to the log. If it fails, the last line of the log is also printed.
"""

import shlex

from snakemake.settings.types import DeploymentMethod

ENVIRONMENTS = WORKFLOW.parent / ".envs"


def get_environment(name, purpose):
    """Return the lock of an environment that `make` installed; nothing under `--sdm conda`, which installs its own.

    The lock is an input, so that results follow changes of the environment. If it is missing, WorkflowError is raised
    before the first job. The message starts with `purpose`, which says what needs the environment.
    """
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        return []
    lock = ENVIRONMENTS / name / "installed.lock"
    if not lock.exists():
        raise WorkflowError(
            f"{purpose} needs an environment of its own: run `make .envs/{name}/installed.lock` in {WORKFLOW.parent}, "
            "or use --sdm conda."
        )
    return str(lock)


def get_command(program):
    """Return a function for a param: the command that runs a program with the Python of the input `environment`.

    `program` is relative to this folder. Because the function takes input and threads, Snakemake does not compare its
    value, which has paths of this machine, when it decides about a rerun. Python is isolated (-I) from packages of the
    user.
    """
    path = Path(workflow.current_basedir) / program

    def command(wildcards, input, threads):
        lock = input.get("environment")
        python = Path(lock).parent / "bin/python" if lock else "python"
        # Snakemake limits the threads of linear algebra, but not those of Numba
        return shlex.join(["env", f"NUMBA_NUM_THREADS={threads}", str(python), "-I", str(path)])

    return command
