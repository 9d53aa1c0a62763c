"""The queue as a reconciliation looks at it: every live stay, by key, and what may not be true of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store.queue import Standing

SQL = queries("reconciliation")
BEFORE_EVERYBODY = -(2**63)


@dataclass(frozen=True)
class LiveStay:
    """A user's live stay. `is_forsaken`: it is for a promised call only, and no promise is open any more."""

    user_id: int
    standing: Standing
    is_forsaken: bool


@dataclass(frozen=True)
class Contradiction:
    """A kind of thing that the store should make impossible, how often it is there, and its first users."""

    kind: str
    rows: int
    user_ids: Sequence[int]


def live_stays(cursor: Cursor[TupleRow], after: int, rows_max: int) -> list[LiveStay]:
    """The next live stays, in the order of their users' ids, above `after`."""
    rows = cursor.execute(SQL["select_live_stays"], {"after": after, "rows_max": rows_max})
    return [
        LiveStay(user_id, Standing(QueueType(queue), True, is_assigned, is_promise), is_forsaken)
        for user_id, queue, is_assigned, is_promise, is_forsaken in rows
    ]


def count_live_stays(cursor: Cursor[TupleRow], after: int) -> int:
    """How many stays `live_stays` has in all."""
    row = cursor.execute(SQL["count_live_stays"], {"after": after}).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def lower_stays(cursor: Cursor[TupleRow]) -> list[int]:
    """Put waiting stays whose callback is closed back into their own place; their users."""
    return [user_id for (user_id,) in cursor.execute(SQL["lower_stays"])]


def contradictions(cursor: Cursor[TupleRow]) -> list[Contradiction]:
    """What contradicts itself in the store; an empty list is the good answer."""
    return [Contradiction(*row) for row in cursor.execute(SQL["select_contradictions"])]
