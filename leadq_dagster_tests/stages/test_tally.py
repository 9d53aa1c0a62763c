"""Every row a discovery saw is accounted for, or the discovery fails and stores nothing of it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
from psycopg import Cursor

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.store import scores
from leadq_dagster_tests.replica.rows import TEN, add_users, user
from leadq_dagster_tests.stages.discovering import Discovery, at, hour
from leadq_dagster_tests.stages.stored import completed, nothing_changes, queues

MakeKnown = Callable[[Cursor[Any], Sequence[SourceUser], datetime], set[int]]


def losing(lost: int, make_known: MakeKnown) -> MakeKnown:
    """A make_known that forgets one user."""

    def make_all_but_one_known(cursor: Cursor[Any], users: Sequence[SourceUser], now: datetime) -> set[int]:
        return make_known(cursor, [user for user in users if user.user_id != lost], now)

    return make_all_but_one_known


def test_a_user_lost_on_the_way_fails_the_discovery_and_leaves_nothing(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P14: planted: two of the page are stored, one is not, and then none is."""
    add_users(discovery.source.engine, *(user(n, created_at=TEN) for n in (1, 2, 3)))
    with monkeypatch.context() as planted:
        planted.setattr(scores, "make_known", losing(2, scores.make_known))

        def discover() -> None:
            with pytest.raises(PermanentError, match="does not balance: seen 3, but stored 2"):
                discovery.run()

        nothing_changes(discovery.store_url, discover)
    assert discovery.run().total.stored == 3


def test_a_user_lost_on_a_later_page_leaves_the_hour_open(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8, P14: the page before stands, the hour is not complete."""
    add_users(discovery.source.engine, *(user(n, created_at=TEN) for n in range(6)))
    monkeypatch.setattr(scores, "make_known", losing(4, scores.make_known))
    with pytest.raises(PermanentError, match="does not balance"):
        discovery.run()
    assert set(queues(discovery.store_url)) == {0, 1, 2}
    assert completed(discovery.store_url) == []


def test_the_sum_over_hours_is_the_sum_over_their_range(discovery: Discovery) -> None:
    """P14: late ones included, no user counts in two hours of a range, and each is accounted for."""
    dates = [None, at("07:30"), at("08:30"), at("09:30"), at("10:30")]
    rows = [
        user(5 * n + m, created_at=first, updated_at=last, is_enabled=int((n + m) % 3 != 2))
        for n, first in enumerate(dates)
        for m, last in enumerate(dates)
    ]
    seven = hour(7)
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.users.insert(), rows)
        discovery.run(seven)
    report = discovery.run(Window(hour(8).start, hour(10).end))
    for tally in (*report.by_hour.values(), report.total):
        assert tally.seen == tally.stored + tally.already_known + sum(tally.refused.values())
    of_range = {n for n, row in enumerate(rows) if {row["created_at"], row["updated_at"]} & set(dates[2:])}
    of_seven = {n for n, row in enumerate(rows) if {row["created_at"], row["updated_at"]} & {dates[1]}}
    enabled = {n for n, row in enumerate(rows) if row["is_enabled"]}
    assert report.total.stored == len((of_range | of_seven) & enabled) == len(queues(discovery.store_url))
    assert sum(report.total.refused.values()) == len(of_range - enabled)
    late = (of_seven - of_range) & enabled
    assert (report.total.late, report.total.seen) == (len(late), len(of_range | late))
