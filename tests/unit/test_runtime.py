"""What every script does first: logs, threads and how it fails."""

import logging
import sys
from types import SimpleNamespace

import numba
import pytest
from veloshard import runtime
from veloshard.errors import InputError


@pytest.fixture
def job(tmp_path):
    """What Snakemake hands to a script, and logging and threads as they were afterwards."""
    log, hook, threads = logging.getLogger("veloshard"), sys.excepthook, numba.get_num_threads()
    before = log.handlers, log.level
    yield SimpleNamespace(rule="fit_genes", threads=1, log=[str(tmp_path / "job.log")])
    for handler in log.handlers:
        handler.close()
    log.handlers, log.level = before
    sys.excepthook = hook
    logging.captureWarnings(False)
    numba.set_num_threads(threads)


def written(job):
    with open(job.log[0], encoding="utf-8") as file:  # noqa: PTH123 - a plain string, as Snakemake has it
        return file.read()


def fail(error):
    try:
        raise error
    except type(error):
        sys.excepthook(*sys.exc_info())


def test_messages_go_to_the_log_and_warnings_to_the_console_too(job, capsys):
    runtime.start(job)
    logging.getLogger("veloshard.methods").info("fitted 3 of 4 genes")
    logging.getLogger("veloshard.ingest").warning("two empty cells")
    assert "INFO fitted 3 of 4 genes" in written(job)
    assert "WARNING two empty cells" in written(job)
    assert capsys.readouterr().err == "fit_genes: two empty cells\n"


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_told_on_a_terminal_and_not_in_the_log_of_a_cluster(job, capsys, monkeypatch, watched):
    runtime.start(job)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    logging.getLogger("veloshard.progress").info("3 of 4 genes")
    assert "INFO 3 of 4 genes" in written(job)
    assert capsys.readouterr().err == ("fit_genes: 3 of 4 genes\n" if watched else "")


def test_wrong_input_is_told_in_its_own_words(job, capsys):
    runtime.start(job)
    fail(InputError("dataset 'a': no layer 'spliced'"))
    assert capsys.readouterr().err == "fit_genes: dataset 'a': no layer 'spliced'\n"
    assert "Traceback" not in written(job)


def test_other_failures_are_told_with_where_they_happened(job, capsys):
    runtime.start(job)
    fail(KeyError("velocity"))
    assert "Traceback" in capsys.readouterr().err
    assert "test_runtime.py" in written(job)


def test_kernels_use_the_threads_of_the_rule_as_far_as_there_are_any(job):
    job.log = []  # the rule has none
    runtime.start(job)
    assert numba.get_num_threads() == 1
    job.threads = 10_000
    runtime.start(job)
    assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
