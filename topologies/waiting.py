"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WaitedError(Exception):
    """The condition did not come true in time; the message says which, and what was seen last."""


def until(condition: Callable[[], T], what: str, timeout: float = 10.0, every: float = 0.05) -> T:
    """The first true value of `condition`, asked every `every` seconds.

    Raises WaitedError after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise WaitedError(f"{what}: not within {timeout:g} s (last: {value!r})")
        time.sleep(every)
