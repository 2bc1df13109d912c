import logging

import pytest
from veloshard.progress import format_duration, report_progress


def messages(caplog, n_items, seconds_per_item):
    """Return the messages of a job."""
    now = iter(range(10**9))
    with caplog.at_level(logging.INFO, logger="veloshard"):
        items = list(report_progress(range(n_items), n_items, "genes", clock=lambda: next(now) * seconds_per_item))
    assert items == list(range(n_items))
    return [record.getMessage() for record in caplog.records]


def test_message_has_items_done_rate_and_time_left(caplog):
    assert messages(caplog, 100, 1)[0] == "10 of 100 genes, 1 per second, about 2 min left"


def test_long_job_logs_about_ten_messages(caplog):
    assert 8 <= len(messages(caplog, 36_000, 0.1)) <= 20


def test_short_job_logs_nothing(caplog):
    assert messages(caplog, 5, 1) == []


def test_items_are_taken_one_by_one():
    taken = []
    items = report_progress((taken.append(k) or k for k in range(3)), 3, "genes")
    assert next(items) == 0
    assert taken == [0]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (12000, "3 h 20 min")])
def test_durations_as_text(seconds, text):
    assert format_duration(seconds) == text
