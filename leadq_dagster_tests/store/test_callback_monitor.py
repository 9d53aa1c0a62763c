"""How well promised calls are kept: the page's example, what it should find, and what it must not say."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.callback_health import Level, Measure
from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.store import callback_monitor
from leadq_dagster.store.callback_monitor import CallbackHealth
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.store.measured import SINCE, UNTIL, plant, table


def look(store: Store) -> CallbackHealth:
    with store.transaction() as cursor:
        return callback_monitor.measure(cursor, SINCE, UNTIL)


def counts(health: CallbackHealth) -> dict[str, tuple[int, int]]:
    return {measure.name: (measure.numerator, measure.denominator) for measure in health.measures}


def test_the_example_computed_by_hand_is_what_the_store_says(store: Store, store_url: str) -> None:
    """P37: every measure, numerator, denominator and share of docs/measures.md."""
    plant(store_url)
    by_hand = list(table("measure", "counted"))
    measured = {measure.name: measure for measure in look(store).measures}
    assert {row["measure"] for row in by_hand} == measured.keys()
    for row in by_hand:
        measure = measured[row["measure"]]
        assert (measure.numerator, measure.denominator) == (int(row["numerator"]), int(row["denominator"])), (
            row
        )
        assert f"{measure.share:.1%}" == row["share"]
    assert [measure.level for measure in measured.values()] == [Level.WARNING] * 4 + [Level.CRITICAL]


def test_each_measure_of_the_code_is_defined_on_the_page(store: Store) -> None:
    """P37."""
    defined = {row["measure"].split("`")[0] for row in table("measure", "denominator")}
    assert defined == {measure.name for measure in look(store).measures}


def test_nothing_to_measure_is_no_data_and_no_alert(store: Store) -> None:
    """P35: neither 0 % nor 100 %."""
    health = look(store)
    assert [(item.share, item.level) for item in health.measures] == [(None, Level.NO_DATA)] * 5
    assert health.alerts == []
    assert (health.overdue, health.overdue_since) == (0, None)


# Each: something planted on top of the example, and the only measure that it changes.
PLANTED = [
    ("an inbound call without an outcome", "inbound_calls_with_outcome", (2, 5), """
     INSERT INTO call_sessions (id, direction, status, started_at, user_id)
     VALUES ('x', 'inbound', 'failed', '2026-03-04 11:00Z', 1)"""),
    ("a call for which the callback was forgotten", "callbacks_promised", (1, 3), """
     UPDATE call_sessions SET legacy_outcome = 'callback', status = 'failed' WHERE id = 'c6';
     UPDATE call_sessions SET direction = 'outbound' WHERE id = 'c4';
     UPDATE call_sessions SET direction = 'inbound' WHERE id = 'c6'"""),
    ("a completed call without an outcome", "completed_calls_with_outcome", (4, 7), """
     INSERT INTO call_sessions (id, direction, status, started_at, user_id)
     VALUES ('x', 'outbound', 'completed', '2026-03-04 11:00Z', 1)"""),
    ("a callback that no agent was told of", "callbacks_routed_in_time", (3, 5), """
     INSERT INTO callbacks (user_id, queue_type, due_at, call_after)
     VALUES (1, 'unsigned_users', '2026-03-04 11:55Z', '2026-03-04 11:55Z')"""),
    ("a call that began sixteen minutes late", "callbacks_kept_in_time", (0, 3), """
     UPDATE call_sessions SET started_at = '2026-03-04 10:46Z', ended_at = NULL WHERE id = 'c5'"""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "expected", "statements"), [each[1:] for each in PLANTED], ids=[each[0] for each in PLANTED]
)
def test_what_is_planted_is_found(
    store: Store, store_url: str, measure: str, expected: tuple[int, int], statements: str
) -> None:
    """P35."""
    plant(store_url)
    before = counts(look(store))
    with psycopg.connect(store_url) as connection:
        connection.execute(statements.encode())
    after = counts(look(store))
    assert after[measure] == expected != before[measure]
    if measure != "callbacks_promised":
        assert {name for name in after if after[name] != before[name]} == {measure}


def test_a_table_that_cannot_be_read_is_an_error_and_no_measure(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P35: "could not check" is not "nothing found"."""
    plain.execute("ALTER TABLE call_outcomes RENAME TO outcomes_away")
    with pytest.raises(PermanentError, match="a table is missing"):
        look(store)


def test_overdue_ones_are_counted_with_the_longest(store: Store, store_url: str) -> None:
    """P36."""
    plant(store_url)
    health = look(store)
    assert (health.overdue, health.overdue_since) == (1, UNTIL - timedelta(minutes=10))


@pytest.mark.parametrize(
    ("numerator", "denominator", "level"),
    [
        (0, 0, Level.NO_DATA),
        (0, 1, Level.CRITICAL),
        (499, 1000, Level.CRITICAL),
        (500, 1000, Level.WARNING),
        (799, 1000, Level.WARNING),
        (800, 1000, Level.OK),
        (1, 1, Level.OK),
    ],
)
def test_it_alerts_below_80_and_50_percent(numerator: int, denominator: int, level: Level) -> None:
    assert Measure("a share", numerator, denominator).level is level
