"""The known users: who they are to the store."""

from collections.abc import Sequence
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries

SQL = queries("scores")


def known(cursor: Cursor[TupleRow], user_ids: Sequence[int]) -> set[int]:
    """Which of these users the store knows."""
    rows = cursor.execute(SQL["select_known"], {"user_ids": list(user_ids)})
    return {user_id for (user_id,) in rows}


def settled(cursor: Cursor[TupleRow], user_ids: Sequence[int]) -> set[int]:
    """Which of these users are known and need no look: in a queue already, or suppressed for good."""
    rows = cursor.execute(SQL["select_settled"], {"user_ids": list(user_ids)})
    return {user_id for (user_id,) in rows}


def make_known(cursor: Cursor[TupleRow], users: Sequence[SourceUser], now: datetime) -> set[int]:
    """Make the users known who were not, with score 0 and callable from `now`; the ids of those.

    Who is known already is left exactly as they are.
    """
    rows = cursor.execute(
        SQL["insert_unknown"],
        {
            "user_ids": [user.user_id for user in users],
            "created_ats": [user.created_at for user in users],
            "now": now,
        },
    )
    return {user_id for (user_id,) in rows}


def queues(cursor: Cursor[TupleRow]) -> dict[int, QueueType | None]:
    """Every known user with the queue they are in, or None."""
    rows = cursor.execute(SQL["select_queues"])
    return {user_id: QueueType(queue_type) if queue_type else None for user_id, queue_type in rows}
