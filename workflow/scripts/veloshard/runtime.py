"""Set up the process of a script: log, threads and report of failures."""

import logging
import sys
from types import TracebackType
from typing import Any

import numba
from threadpoolctl import threadpool_limits

from veloshard import progress
from veloshard.errors import InputError

log = logging.getLogger("veloshard")


def start(job: Any) -> None:
    """Set up logging and threads for the script of a rule.

    All messages go to the log file of the rule. Warnings and errors also go to the console. Progress goes to the
    console if that is a terminal. Linear algebra runs on one thread, so that its sums do not depend on the number of
    threads. Compiled kernels use the threads of the rule.

    Parameters
    ----------
    job : object
        Has the attributes `rule` (name), `threads` (number) and `log` (list with at most one path).
    """
    threadpool_limits(1)
    numba.set_num_threads(min(job.threads, numba.config.NUMBA_NUM_THREADS))
    console = logging.StreamHandler()
    console.addFilter(is_for_console)
    console.setFormatter(logging.Formatter(f"{job.rule}: %(message)s"))
    handlers: list[logging.Handler] = [console]
    if job.log:
        handlers.append(logging.FileHandler(str(job.log[0]), mode="w", encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.handlers = handlers
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers = handlers
    sys.excepthook = report_failure


def is_for_console(record: logging.LogRecord) -> bool:
    """Return True for warnings and errors, and for progress if the console is a terminal."""
    is_shown_progress = record.name == progress.__name__ and sys.stderr.isatty()
    return is_shown_progress or record.levelno >= logging.WARNING


def report_failure(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Log an exception: bad input and a full disk as a message, all else with the traceback."""
    if issubclass(kind, InputError):
        log.error("%s", error)
    # HDF5 gives the number only in its message
    elif isinstance(error, OSError) and "errno = 28" in f"{error} errno = {error.errno}":
        log.error(
            "no space is left on the device: free some space and run again, finished results are kept (%s)", error
        )
    else:
        log.error("%s", error, exc_info=(kind, error, traceback))
