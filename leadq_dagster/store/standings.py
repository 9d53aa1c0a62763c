"""How all known users stand: each in exactly one class, so that the counts sum to all of them."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.named_sql import queries

SQL = queries("standings")


@dataclass(frozen=True)
class Standings:
    """Counts of known users, each in one class.

    `waiting`: callable now. `cooling`: in a queue, callable later, the first at `cooling_until`. `promised`:
    in front for a promised call. `too_high`: in a queue with a score that is not called. `assigned`: with an
    agent. `suppressed`: never queued. `converted`: in no queue, and the last stay ended in a conversion.
    `not_needed`: in no queue, with no reason to call.
    """

    counted_at: datetime
    waiting: int
    cooling: int
    promised: int
    too_high: int
    assigned: int
    suppressed: int
    converted: int
    not_needed: int
    known: int
    cooling_until: datetime | None


def plan_for_everybody(cursor: Cursor[TupleRow]) -> None:
    """For this transaction: time and plans for a look at all users, on a connection made for a few rows."""
    cursor.execute(SQL["plan_for_everybody"])


def count(cursor: Cursor[TupleRow], now: datetime, not_called_from: int) -> Standings:
    """How everybody stands at this instant; takes seconds where a million are known."""
    plan_for_everybody(cursor)
    row = cursor.execute(SQL["count_standings"], {"now": now, "not_called_from": not_called_from}).fetchone()
    assert row is not None
    return Standings(now, *row)
