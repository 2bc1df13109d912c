"""Log the progress of long jobs."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")

# Seconds until the first message, and ratio of successive waits. A job of an hour logs about ten messages.
FIRST_WAIT = 10.0


WAIT_RATIO = 1.5


def report_progress(
    items: Iterable[Item], total: int, kind: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Item]:
    """Yield the items and log progress: items done, items per second and time left.

    Parameters
    ----------
    items : iterable
        Items to yield.
    total : int
        Number of items.
    kind : str
        What the items are, in the plural, such as ``"genes"``.
    clock : callable
        Function that returns the time in seconds.

    Yields
    ------
    object
        The items, in their order.
    """
    start = clock()
    wait, due = FIRST_WAIT, start + FIRST_WAIT
    for number, item in enumerate(items, start=1):
        yield item
        now = clock()
        if now >= due and number < total:
            rate = number / (now - start)
            left = format_duration((total - number) / rate)
            log.info("%d of %d %s, %.3g per second, about %s left", number, total, kind, rate, left)
            wait *= WAIT_RATIO
            due = now + wait


def format_duration(seconds: float) -> str:
    """Return a duration as text: ``45 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
