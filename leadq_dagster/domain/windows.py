"""Half-open UTC time windows and how they tile."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)


def floor_to_hour(instant: datetime) -> datetime:
    """The start of the UTC hour that holds `instant` (aware)."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, order=True)
class Window:
    """The instants from `start` (inclusive) to `end` (exclusive); aware bounds, kept in UTC.

    Raises ValueError for naive bounds and for an empty or reversed window.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window's bounds carry a time zone")
        if self.start >= self.end:
            raise ValueError(f"a window starts before it ends, not {self.start} to {self.end}")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))

    def __contains__(self, instant: object) -> bool:
        return isinstance(instant, datetime) and self.start <= instant < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"

    @property
    def partition_key(self) -> str:
        """The name of the hourly partition that begins with this window, such as `2026-03-01-09:00`."""
        return f"{self.start:%Y-%m-%d-%H:%M}"

    @classmethod
    def hour_of(cls, instant: datetime) -> "Window":
        """The UTC hour that holds `instant`."""
        start = floor_to_hour(instant)
        return cls(start, start + HOUR)

    @classmethod
    def last_complete_hour(cls, now: datetime) -> "Window":
        """The hour before the one that holds `now`."""
        return cls.hour_of(floor_to_hour(now) - HOUR)

    def hours(self) -> Iterator["Window"]:
        """The UTC hours that this window touches, in order; a whole-hour window is exactly their union."""
        last = Window.hour_of(self.end - timedelta.resolution)
        return Window(floor_to_hour(self.start), last.end).split(HOUR)

    def split(self, length: timedelta) -> Iterator["Window"]:
        """Consecutive windows of this length that together are this one; the last may be shorter."""
        start = self.start
        while start < self.end:
            yield Window(start, min(start + length, self.end))
            start += length

    def nearest_hour(self, instant: datetime) -> "Window":
        """The hour of the instant; for one outside this window, its first or its last hour."""
        if instant < self.start:
            return Window.hour_of(self.start)
        return Window.hour_of(min(instant, self.end - timedelta.resolution))

    def before(self, length: timedelta) -> "Window":
        """The window of `length` that ends where this one starts."""
        return Window(self.start - length, self.start)


def join_touching(windows: Iterable[Window]) -> list[Window]:
    """The same instants in the fewest windows, in order: neighbours that touch or overlap become one."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start <= joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined
