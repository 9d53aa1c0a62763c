"""Before a window is read: how much of it has the replica seen?"""

from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.windows import Window, floor_to_hour
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.heartbeat import Observation


def observed_part(window: Window, observed: Observation) -> Window:
    """The window, or its whole hours that the replica has observed to their end.

    Raises TransientError, worded by `refusal`, when there is none.
    """
    if observed.until >= window.end:
        return window
    end = floor_to_hour(observed.until)
    if end <= window.start:
        raise TransientError(refusal(window, observed))
    return Window(window.start, end)


def observe(replica: Replica, window: Window) -> Observation:
    """How far the replica has observed. Raises TransientError if that is before the window's end."""
    observed = replica.observed_until()
    if observed.until < window.end:
        raise TransientError(refusal(window, observed))
    return observed


def refusal(window: Window, observed: Observation) -> str:
    """Why this window has to wait."""
    return (
        f"the replica has observed {observed.until:%Y-%m-%d %H:%M:%S} UTC (by {observed.by}), "
        f"and the window ends at {window.end:%Y-%m-%d %H:%M} UTC"
    )


def rest_of(asked: Window, covered: Window) -> Window | None:
    """What of the window asked for comes after the covered part; None if nothing does."""
    return Window(covered.end, asked.end) if covered.end < asked.end else None
