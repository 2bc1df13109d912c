import logging

import pytest
from veloshard.progress import duration, reported


def messages(caplog, n_items, seconds_each):
    now = iter(range(10**9))
    with caplog.at_level(logging.INFO, logger="veloshard"):
        items = list(reported(range(n_items), n_items, "genes", clock=lambda: next(now) * seconds_each))
    assert items == list(range(n_items))
    return [record.getMessage() for record in caplog.records]


def test_a_message_says_how_many_how_fast_and_what_is_left(caplog):
    assert messages(caplog, 100, 1)[0] == "10 of 100 genes, 1 a second, about 2 min left"


def test_a_long_job_writes_some_lines_and_no_flood(caplog):
    assert 8 <= len(messages(caplog, 36_000, 0.1)) <= 20


def test_a_short_job_writes_none(caplog):
    assert messages(caplog, 5, 1) == []


def test_the_items_are_waited_for_one_by_one():
    taken = []
    items = reported((taken.append(k) or k for k in range(3)), 3, "genes")
    assert next(items) == 0
    assert taken == [0]


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (12000, "3 h 20 min")])
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words
