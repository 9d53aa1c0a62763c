"""The one door through which a user enters or leaves a queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueDecision, QueueType
from leadq_dagster.named_sql import queries

SQL = queries("queue")


@dataclass(frozen=True)
class Move:
    """Where a user belongs as of now, and the partition that noticed (None outside partitions)."""

    user_id: int
    decision: QueueDecision
    partition_key: str | None = None


def move_users(
    cursor: Cursor[TupleRow],
    moves: Sequence[Move],
    provenance: Provenance,
    now: datetime,
    *,
    unless_queued: bool = False,
) -> dict[int, QueueType | None]:
    """Bring each user into the queue where they belong; the users who moved, with where they are now.

    Closes the stay they leave, opens the one they enter, and writes the audit line, in the caller's
    transaction. Who is in the right queue already, is unknown, or is inactive does not move. Moving twice
    is the same as once. At most one move a user. With `unless_queued`, who is in any queue by now stays
    there: for callers who judged them as being in none.
    """
    origins = _lock(cursor, [move.user_id for move in moves])
    moving = [
        move
        for move in moves
        if move.user_id in origins
        and origins[move.user_id] != move.decision.queue
        and not (unless_queued and origins[move.user_id])
    ]
    if moving:
        _apply(cursor, moving, origins, provenance, now)
    return {move.user_id: move.decision.queue for move in moving}


def _lock(cursor: Cursor[TupleRow], user_ids: Sequence[int]) -> dict[int, QueueType | None]:
    rows = cursor.execute(SQL["lock_users"], {"user_ids": list(user_ids)})
    return {
        user_id: QueueType(queue_type) if queue_type else None
        for user_id, queue_type, is_active in rows
        if is_active
    }


def _apply(
    cursor: Cursor[TupleRow],
    moving: Sequence[Move],
    origins: dict[int, QueueType | None],
    provenance: Provenance,
    now: datetime,
) -> None:
    user_ids = [move.user_id for move in moving]
    columns = {
        "user_ids": user_ids,
        "from_queues": [origins[user_id] for user_id in user_ids],
        "to_queues": [move.decision.queue for move in moving],
        "reasons": [move.decision.reason for move in moving],
        "partition_keys": [move.partition_key for move in moving],
        "actor": provenance.actor,
        "run_id": provenance.run_id,
        "now": now,
    }
    left_stays: dict[int, int] = dict(cursor.execute(SQL["close_stays"], columns).fetchall())
    entered_stays: dict[int, int] = dict(cursor.execute(SQL["open_stays"], columns).fetchall())
    cursor.execute(SQL["set_queue"], columns)
    columns["left_stay_ids"] = [left_stays.get(user_id) for user_id in user_ids]
    columns["entered_stay_ids"] = [entered_stays.get(user_id) for user_id in user_ids]
    cursor.execute(SQL["record_transitions"], columns)
