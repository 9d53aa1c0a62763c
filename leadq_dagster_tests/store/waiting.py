"""Waiting for something to become true, with a deadline and no guess at how long it takes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.02


def wait_until(look: Callable[[], T | None], deadline_seconds: float = 30) -> T:
    """What `look` returns as soon as that is neither None nor False; fails the test at the deadline."""
    give_up_at = time.monotonic() + deadline_seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(PAUSE_SECONDS)
