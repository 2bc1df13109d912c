"""What every script does first: its log, its threads, and how it fails."""

import logging
import sys

import numba
from threadpoolctl import threadpool_limits

from veloshard import progress
from veloshard.errors import InputError

log = logging.getLogger("veloshard")


def start(job):
    """Prepare the process of a rule's script; `job` is the object `snakemake` that Snakemake gives it.

    Messages go to the rule's log, warnings and errors to the console too, and progress where that is a terminal.
    Linear algebra runs on one thread, so that its sums never depend on how many a job was given; kernels of ours use
    what the rule has.
    """
    threadpool_limits(1)
    numba.set_num_threads(min(job.threads, numba.config.NUMBA_NUM_THREADS))
    console = logging.StreamHandler()
    console.addFilter(is_for_console)
    console.setFormatter(logging.Formatter(f"{job.rule}: %(message)s"))
    handlers = [console]
    if job.log:
        handlers.append(logging.FileHandler(str(job.log[0]), mode="w", encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.handlers = handlers
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers = handlers
    sys.excepthook = report_failure


def is_for_console(record):
    """Whether a message is for whoever runs the workflow: the log of a cluster job is no place for progress."""
    watched = record.name == progress.__name__ and sys.stderr.isatty()
    return watched or record.levelno >= logging.WARNING


def report_failure(kind, error, traceback):
    """Say what went wrong: wrong input and a full disk in words, anything else with the traceback."""
    if issubclass(kind, InputError):
        log.error("%s", error)
    elif issubclass(kind, OSError) and "errno = 28" in f"{error} errno = {error.errno}":
        log.error("no space is left on the device: free some and run again, finished results stay (%s)", error)
    else:
        log.error("%s", error, exc_info=(kind, error, traceback))
