"""Builders for the store's rows: valid unless a test says otherwise."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueDecision, QueueType, Reason
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, Moved, clock, move_users
from leadq_dagster.store.scores import make_known

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
BY = Provenance(actor="a_test", run_id="run-1")

UNSIGNED = QueueDecision(QueueType.UNSIGNED_USERS, Reason.NO_SIGNATURE)
OUTSTANDING = QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PENDING_REQUIREMENTS)
NOWHERE = QueueDecision(None, Reason.USER_DISABLED)


def source_user(user_id: int, **differing: Any) -> SourceUser:
    columns: dict[str, Any] = {
        "is_enabled": True,
        "status": "active",
        "has_signature": False,
        "created_at": TEN,
    }
    return SourceUser(user_id, **(columns | differing))


def know(store: Store, user_ids: Iterable[int]) -> None:
    with store.transaction() as cursor:
        make_known(cursor, [source_user(user_id) for user_id in user_ids], TEN)


def move(
    store: Store, user_ids: Iterable[int], decision: QueueDecision, now: datetime = TEN
) -> dict[int, QueueType | None]:
    with store.transaction() as cursor:
        moves = [Move(user_id, decision, "2026-03-04-10:00") for user_id in user_ids]
        return dict(moved(cursor, moves, now).queues)


def moved(cursor: Cursor[TupleRow], moves: Sequence[Move], now: datetime = TEN) -> Moved:
    """Through the door, on knowledge of this moment."""
    return move_users(cursor, moves, BY, now, seen_at=clock(cursor))


def rows(
    source: Connection[TupleRow] | Cursor[TupleRow], statement: str, *parameters: Any
) -> list[tuple[Any, ...]]:
    return source.execute(statement.encode(), parameters or None).fetchall()
