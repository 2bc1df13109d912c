"""How far a long job is: in its log, and on the terminal where somebody watches one."""

import logging
import time

log = logging.getLogger(__name__)

# seconds to the first message, and how much longer each wait is than the one before: some ten messages in an hour,
# and never more than a screen of them in a log
FIRST_WAIT = 10.0
LONGER = 1.5


def reported(items, total, what, *, clock=time.monotonic):
    """The items, one by one; now and then a message says how many there were, how fast, and what time is left.

    total : how many there will be.   what : their name, such as `genes`.   clock : seconds from any beginning.
    """
    start = clock()
    wait, due = FIRST_WAIT, start + FIRST_WAIT
    for number, item in enumerate(items, start=1):
        yield item
        now = clock()
        if now >= due and number < total:
            rate = number / (now - start)
            left = duration((total - number) / rate)
            log.info("%d of %d %s, %.3g a second, about %s left", number, total, what, rate, left)
            wait *= LONGER
            due = now + wait


def duration(seconds):
    """A time in words: ``45 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
