"""Half-open windows: hours tile them, and joining keeps their instants."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.windows import HOUR, Window, floor_to_hour, join_touching

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
QUARTERS = timedelta(minutes=15)

zones = st.sampled_from([UTC, ZoneInfo("Europe/London"), ZoneInfo("Asia/Kathmandu"), timezone(-HOUR * 3)])
instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=zones)
quarters = st.integers(0, 96).map(lambda number: TEN + number * QUARTERS)


@st.composite
def some_windows(draw: st.DrawFn) -> Window:
    start = draw(quarters)
    return Window(start, start + draw(st.integers(1, 24)) * QUARTERS)


windows = some_windows()


@given(windows)
def test_hours_tile_a_window(window: Window) -> None:
    """P6: no instant is between two hours, none is in both, and none lies outside a whole-hour window."""
    hours = list(window.hours())
    assert all(hour.end - hour.start == HOUR for hour in hours)
    assert all(first.end == second.start for first, second in pairwise(hours))
    assert hours[0].start <= window.start < hours[0].end
    assert hours[-1].start < window.end <= hours[-1].end


@given(windows, quarters)
def test_an_instant_is_in_exactly_one_of_touching_windows(window: Window, instant: datetime) -> None:
    """P6: the end of one is the start of the next."""
    after = Window(window.end, window.end + HOUR)
    before = window.before(HOUR)
    assert before.end == window.start
    assert (instant in before) + (instant in window) + (instant in after) == (
        instant in Window(before.start, after.end)
    )


@given(st.lists(windows, max_size=6))
def test_joining_keeps_every_instant_and_leaves_gaps_between(parts: list[Window]) -> None:
    """P6: the fewest windows with the same instants, in whatever order they came."""
    joined = join_touching(parts)
    for number in range(130):
        instant = TEN + number * QUARTERS
        assert any(instant in part for part in parts) == any(instant in part for part in joined)
    assert all(first.end < second.start for first, second in pairwise(joined))
    assert join_touching(reversed(parts)) == join_touching(joined) == joined


@given(windows)
def test_the_hours_of_a_whole_hour_window_join_to_it(window: Window) -> None:
    """P6: a range and its hours are the same."""
    whole = Window(floor_to_hour(window.start), floor_to_hour(window.end - timedelta.resolution) + HOUR)
    assert join_touching(whole.hours()) == [whole]


@given(instants)
def test_every_instant_is_in_its_own_hour(instant: datetime) -> None:
    """P12: in whatever zone the instant is told."""
    hour = Window.hour_of(instant)
    assert instant in hour
    assert hour.start.utcoffset() == timedelta(0)
    assert hour.partition_key == f"{instant.astimezone(UTC):%Y-%m-%d-%H}:00"
    assert Window.last_complete_hour(instant).end == hour.start


@given(windows, quarters)
def test_the_nearest_hour_is_one_of_the_windows_own(window: Window, instant: datetime) -> None:
    """P14: whoever is late or early is counted in some hour of the window."""
    nearest = window.nearest_hour(instant)
    assert nearest in list(window.hours())
    if instant in window:
        assert instant in nearest


def test_a_window_speaks_utc_whatever_zone_its_bounds_come_in() -> None:
    """P12: a partition has one name."""
    kathmandu = Window(TEN.astimezone(ZoneInfo("Asia/Kathmandu")), (TEN + HOUR).astimezone(timezone(HOUR)))
    assert kathmandu == Window.hour_of(TEN)
    assert str(kathmandu) == "2026-03-04 10:00 to 2026-03-04 11:00 UTC"
    assert kathmandu.partition_key == "2026-03-04-10:00"


def test_the_end_is_outside() -> None:
    """P6: half-open."""
    hour = Window.hour_of(TEN)
    assert TEN in hour
    assert TEN + HOUR not in hour
    assert "10:00" not in hour


@pytest.mark.parametrize(
    ("start", "end", "complaint"),
    [
        (TEN, TEN, "starts before it ends"),
        (TEN, TEN - HOUR, "starts before it ends"),
        (TEN.replace(tzinfo=None), TEN, "time zone"),
        (TEN, TEN.replace(tzinfo=None), "time zone"),
    ],
)
def test_an_empty_reversed_or_naive_window_is_refused(start: datetime, end: datetime, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Window(start, end)
