"""Naive dates and UTC: windows tile and nothing falls between them, clock changes included."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.times import instant_in, naive_bounds, to_utc

LONDON = ZoneInfo("Europe/London")
ZONES = st.sampled_from([LONDON, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Pacific/Apia")])
CHANGES = [
    datetime(2026, 3, 29, 1),
    datetime(2026, 10, 25, 1),
    datetime(2011, 12, 30, 10),
    datetime(2026, 4, 4, 15),
]
NEAR_A_CHANGE = st.builds(
    lambda change, away: change + away,
    st.sampled_from(CHANGES),
    st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
)
LENGTHS = st.timedeltas(timedelta(microseconds=1), timedelta(days=1))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@settings(deadline=None)  # a busy machine is no finding
@given(NEAR_A_CHANGE, LENGTHS, ZONES, st.floats(0, 1, exclude_max=True))
def test_every_instant_of_a_window_is_read_and_recognised(
    start: datetime, length: timedelta, zone: ZoneInfo, place: float
) -> None:
    """P6: what an application wrote at any instant of the window lies within the window's bounds."""
    window = Window(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length)
    instant = min(window.start + length * place, window.end - timedelta(microseconds=1))
    written = instant.astimezone(zone).replace(tzinfo=None)
    lower, upper = naive_bounds(window, zone)
    assert lower <= written < upper
    assert instant_in(window, written, zone) is not None


@settings(deadline=None)
@given(NEAR_A_CHANGE, st.sampled_from([5, 15, 30, 60, 24 * 60]), ZONES)
def test_every_naive_date_belongs_to_a_window_even_one_that_no_clock_showed(
    value: datetime, minutes: int, zone: ZoneInfo
) -> None:
    """P6: tiled windows of any length cover all wall-clock values, those that a change left out included."""
    length = timedelta(minutes=minutes)
    first = to_utc(value, zone)
    assert first is not None
    start = datetime.min.replace(tzinfo=UTC) + (first - datetime.min.replace(tzinfo=UTC)) // length * length
    window = Window(start, start + length)
    lower, upper = naive_bounds(window, zone)
    assert lower <= value < upper
    assert instant_in(window, value, zone) == first


@settings(deadline=None)
@given(st.datetimes(datetime(2026, 4, 1), datetime(2026, 10, 20)), LENGTHS)
def test_away_from_clock_changes_the_bounds_are_the_windows_own(start: datetime, length: timedelta) -> None:
    """So an hour costs what the hour holds, and neighbouring hours share no row."""
    window = Window(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length)
    summer = timedelta(hours=1)
    assert naive_bounds(window, LONDON) == (start + summer, start + length + summer)
    assert naive_bounds(window, ZoneInfo("UTC")) == (start, start + length)


def test_the_repeated_hour_belongs_to_both_of_its_utc_hours() -> None:
    """P7: 01:30 on the night the clocks go back is 00:30 or 01:30 UTC, and nobody can tell."""
    written = datetime(2026, 10, 25, 1, 30)
    for hour in (0, 1):
        window = Window.hour_of(utc(2026, 10, 25, hour))
        lower, upper = naive_bounds(window, LONDON)
        assert lower <= written < upper
        assert instant_in(window, written, LONDON) == utc(2026, 10, 25, hour, 30)
    assert instant_in(Window.hour_of(utc(2026, 10, 25, 2)), written, LONDON) is None


def test_a_window_across_the_autumn_change_is_not_empty() -> None:
    """The obvious local(start) to local(end) is 01:30 to 01:30 here."""
    window = Window(utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30))
    lower, upper = naive_bounds(window, LONDON)
    assert lower <= datetime(2026, 10, 25, 1)
    assert upper >= datetime(2026, 10, 25, 2)


def test_a_long_window_knows_the_offsets_between_its_ends() -> None:
    """Half an hour before winter to half an hour into the next summer: the same offset at both ends."""
    window = Window(utc(2026, 10, 25, 0, 30), utc(2027, 3, 28, 1, 30))
    assert naive_bounds(window, LONDON)[0] <= datetime(2026, 10, 25, 1, 5)


@pytest.mark.parametrize(
    "value", [None, "0000-00-00 00:00:00", "2026-02-00 10:00:00", "", "soon", 20260304, b"2026-03-04"]
)
def test_what_is_no_date_is_none(value: object) -> None:
    """P12."""
    assert to_utc(value, LONDON) is None


@pytest.mark.parametrize("value", [datetime.min, datetime.max])
def test_the_ends_of_the_calendar_do_not_overflow(value: datetime) -> None:
    """P12: some applications write 0001-01-01 and 9999-12-31 for never."""
    for zone in (ZoneInfo("Pacific/Apia"), ZoneInfo("America/New_York"), LONDON):
        to_utc(value, zone)


def test_a_date_with_its_own_zone_keeps_it() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert to_utc(datetime(2026, 7, 1, 9, tzinfo=tokyo), LONDON) == utc(2026, 7, 1, 0)
    assert to_utc("2026-07-01T09:00:00.001230+09:00", LONDON) == utc(2026, 7, 1, 0, 0, 0, 1230)
    assert to_utc("2026-07-01T09:00:00.001230", LONDON) == utc(2026, 7, 1, 8, 0, 0, 1230)
    assert to_utc(datetime(2026, 7, 1, 9), LONDON) == utc(2026, 7, 1, 8)
