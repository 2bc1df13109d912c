"""Logging, threads and reports of failures in the process of a script."""

import logging
import sys
from types import SimpleNamespace

import numba
import pytest
from veloshard import runtime
from veloshard.errors import InputError


@pytest.fixture
def job(tmp_path):
    """Yield a stand-in for Snakemake's job, and restore logging and threads afterwards."""
    log, excepthook, n_threads = logging.getLogger("veloshard"), sys.excepthook, numba.get_num_threads()
    state = log.handlers, log.level
    yield SimpleNamespace(rule="fit_genes", threads=1, log=[str(tmp_path / "job.log")])
    for handler in log.handlers:
        handler.close()
    log.handlers, log.level = state
    sys.excepthook = excepthook
    logging.captureWarnings(False)
    numba.set_num_threads(n_threads)


def log_text(job):
    with open(job.log[0], encoding="utf-8") as file:  # noqa: PTH123 - a string, as in Snakemake
        return file.read()


def fail(error):
    try:
        raise error
    except type(error):
        sys.excepthook(*sys.exc_info())


def test_messages_go_to_the_log_and_warnings_also_to_the_console(job, capsys):
    runtime.start(job)
    logging.getLogger("veloshard.kinetics.methods").info("fitted 3 of 4 genes")
    logging.getLogger("veloshard.preprocessing.ingest").warning("two empty cells")
    assert "INFO fitted 3 of 4 genes" in log_text(job)
    assert "WARNING two empty cells" in log_text(job)
    assert capsys.readouterr().err == "fit_genes: two empty cells\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_goes_to_the_console_only_if_that_is_a_terminal(job, capsys, monkeypatch, is_terminal):
    runtime.start(job)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    logging.getLogger("veloshard.progress").info("3 of 4 genes")
    assert "INFO 3 of 4 genes" in log_text(job)
    assert capsys.readouterr().err == ("fit_genes: 3 of 4 genes\n" if is_terminal else "")


def test_bad_input_is_reported_without_traceback(job, capsys):
    runtime.start(job)
    fail(InputError("dataset 'a': no layer 'spliced'"))
    assert capsys.readouterr().err == "fit_genes: dataset 'a': no layer 'spliced'\n"
    assert "Traceback" not in log_text(job)


def test_other_failures_are_reported_with_traceback(job, capsys):
    runtime.start(job)
    fail(KeyError("velocity"))
    assert "Traceback" in capsys.readouterr().err
    assert "test_runtime.py" in log_text(job)


def test_kernels_use_the_threads_of_the_rule_up_to_those_of_the_machine(job):
    job.log = []  # the rule has none
    runtime.start(job)
    assert numba.get_num_threads() == 1
    job.threads = 10_000
    runtime.start(job)
    assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
