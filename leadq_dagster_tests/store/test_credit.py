"""Credit: whose calls earned a conversion, also when their records come late."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.store import conversions
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import clock
from leadq_dagster_tests.store.converted import HALF_PAST, add_agents, add_call, judge, signed
from leadq_dagster_tests.store.rows import TEN, UNSIGNED, know, move, rows


@dataclass(frozen=True)
class Call:
    """A call relative to the conversion."""

    agent: int | None
    before: timedelta
    talk: int | None = 31


MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NOBODY: tuple[int | None, list[int]] = (None, [])


@pytest.mark.parametrize(
    ("calls", "credit"),
    [
        ([], NOBODY),
        ([Call(1, MINUTE)], (1, [])),
        ([Call(1, MINUTE, 30)], NOBODY),
        ([Call(1, MINUTE, None)], NOBODY),
        ([Call(None, MINUTE)], NOBODY),
        ([Call(1, 30 * DAY)], (1, [])),
        ([Call(1, 30 * DAY + timedelta.resolution)], NOBODY),
        ([Call(1, timedelta())], NOBODY),
        ([Call(1, -MINUTE)], NOBODY),
        ([Call(1, MINUTE), Call(2, 2 * MINUTE)], (1, [2])),
        ([Call(2, 2 * MINUTE), Call(1, MINUTE), Call(3, 3 * DAY), Call(2, DAY)], (1, [2, 3])),
        ([Call(1, MINUTE), Call(1, DAY)], (1, [])),
        ([Call(1, DAY), Call(2, -MINUTE), Call(3, MINUTE, 5)], (1, [])),
        ([Call(None, MINUTE), Call(1, DAY)], (1, [])),
    ],
)
def test_credit_goes_to_those_whose_calls_earned_it(
    store: Store, plain: Connection[TupleRow], calls: list[Call], credit: tuple[int | None, list[int]]
) -> None:
    """P13: more than 30 s of talk in the 30 days before; the latest is primary, nobody is NULL and not 0."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    add_agents(plain)
    add_call(plain, 8, 3, HALF_PAST - MINUTE)
    for call in calls:
        add_call(plain, 7, call.agent, HALF_PAST - call.before, call.talk)
    judge(store, signed(7))
    assert rows(plain, "SELECT primary_agent_id, contributing_agents FROM conversions") == [credit]


def recredit(store: Store, since: datetime) -> int:
    with store.transaction() as cursor:
        return conversions.credit(cursor, conversions.to_recredit(cursor, since))


def test_a_call_record_that_arrives_late_recredits_once(store: Store, plain: Connection[TupleRow]) -> None:
    """P13: a call or a talk time that comes after the conversion; a replay of any period changes nothing."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    add_agents(plain)
    key = add_call(plain, 7, 1, HALF_PAST - MINUTE, None)
    judge(store, signed(7), signed(8))
    credit = "SELECT user_id, primary_agent_id, contributing_agents FROM conversions ORDER BY user_id"
    assert recredit(store, TEN) == 0
    with store.transaction() as cursor:
        since = clock(cursor)
    assert recredit(store, since) == 0
    add_call(plain, 8, 2, HALF_PAST - DAY)
    plain.execute(
        "UPDATE call_sessions SET talk_time_seconds = 90, updated_at = clock_timestamp() WHERE id = %s", [key]
    )
    assert recredit(store, since) == 2
    assert rows(plain, credit) == [(7, 1, []), (8, 2, [])]
    assert recredit(store, since) == recredit(store, TEN - 400 * DAY) == 0
    add_call(plain, 7, 3, HALF_PAST - timedelta(seconds=5))
    assert recredit(store, since) == 1
    assert rows(plain, credit) == [(7, 3, [1]), (8, 2, [])]
