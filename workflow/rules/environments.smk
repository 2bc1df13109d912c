"""For rules whose program cannot run in the workflow's own Python: the environment of each, and how it is run there.

Without conda and containers Snakemake runs `script:` in its own Python, whatever the environment.  Such programs are
therefore run by `shell:`, as the param `command`; what it depends on is the input `environment`.  `conda:` names the
yaml of the environment, and the container is None.  The program writes to the log, whose last line goes to the console
too where it fails.
"""

import shlex

from snakemake.settings.types import DeploymentMethod

ENVIRONMENTS = WORKFLOW.parent / ".envs"


def get_environment(name, purpose):
    """Lock of the environment that `make` installed under a name; nothing under `--sdm conda`, which makes its own.

    An input, so that another environment gives another result, and that one is missing is known before the first job.
    purpose : what needs it: the message that says so begins with it.
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
    """Function for a param: how to run a program, seen from this folder, by the Python of the input `environment`.

    The function asks for the input and the threads: Snakemake then leaves its value, which holds paths of this machine,
    out of what decides about a rerun.  Isolated (-I) from the user's own packages; threads as many as Snakemake gives.
    """
    path = Path(workflow.current_basedir) / program

    def command(wildcards, input, threads):
        lock = input.get("environment")
        python = Path(lock).parent / "bin/python" if lock else "python"
        # the threads of linear algebra are limited by Snakemake, those of Numba are not
        return shlex.join(["env", f"NUMBA_NUM_THREADS={threads}", str(python), "-I", str(path)])

    return command
