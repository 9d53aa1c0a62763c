"""Which hours an asset has read to their end."""

from dataclasses import replace
from datetime import timedelta

from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.store.connection import Store
from leadq_dagster.store.windows import complete_hours, completed_hours
from leadq_dagster_tests.store.rows import BY, TEN

DAY = Window(TEN - 10 * HOUR, TEN + 14 * HOUR)


def complete(store: Store, window: Window) -> None:
    with store.transaction() as cursor:
        complete_hours(cursor, window, window.end + HOUR, BY, window.end + HOUR)


def completed(store: Store, within: Window = DAY, actor: str = BY.actor) -> list[Window]:
    with store.transaction() as cursor:
        return completed_hours(cursor, actor, within)


def test_the_hours_of_a_window_are_complete_once_recorded_and_stay_so(store: Store) -> None:
    """P6: a range is its hours; recording one again is harmless."""
    three = Window(TEN, TEN + 3 * HOUR)
    complete(store, three)
    complete(store, three)
    assert completed(store) == list(three.hours())
    assert completed(store, Window(TEN + HOUR, TEN + 2 * HOUR)) == [Window.hour_of(TEN + HOUR)]


def test_an_hour_read_in_part_is_not_complete(store: Store) -> None:
    """P7, P8: partial is never success; what else is found in that hour is not late."""
    complete(store, Window(TEN + timedelta(minutes=30), TEN + timedelta(minutes=150)))
    assert completed(store) == [Window.hour_of(TEN + HOUR)]
    complete(store, Window(TEN, TEN + timedelta(minutes=30)))
    assert completed(store) == [Window.hour_of(TEN + HOUR)]


def test_each_asset_has_hours_of_its_own(store: Store) -> None:
    """P6: what one asset has read, another may still have to read."""
    complete(store, Window.hour_of(TEN))
    assert completed(store, actor="another") == []
    with store.transaction() as cursor:
        complete_hours(cursor, Window.hour_of(TEN), TEN + HOUR, replace(BY, actor="another"), TEN + HOUR)
    assert completed(store, actor="another") == [Window.hour_of(TEN)]
