"""Callbacks: promised calls, from the promise to the call that keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueType, Reason
from leadq_dagster.named_sql import queries

SQL = queries("callbacks")


class CallbackStatus(StrEnum):
    """The life of a promised call: open while pending or accepted."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Promise:
    """A call promised to a user for a time, in the call of an assignment or by itself (None)."""

    user_id: int
    queue: QueueType
    due_at: datetime
    preferred_agent_id: int | None
    assignment_id: int | None = None


@dataclass(frozen=True)
class Callback:
    """A promised call, locked for this transaction. `attempts` are the calls made to keep it."""

    id: int
    user_id: int
    status: CallbackStatus
    attempts: int
    due_at: datetime
    call_after: datetime
    preferred_agent_id: int | None
    accepted_by_agent_id: int | None


@dataclass(frozen=True)
class Closing:
    """How a callback ends, and why."""

    callback_id: int
    status: CallbackStatus
    reason: str


def promise(
    cursor: Cursor[TupleRow], promises: Sequence[Promise], now: datetime
) -> dict[tuple[int, datetime], int]:
    """Write these promises down; their callbacks' ids by user and time. Promised twice is promised once."""
    if not promises:
        return {}
    columns = {
        "user_ids": [item.user_id for item in promises],
        "queue_types": [item.queue for item in promises],
        "due_ats": [item.due_at for item in promises],
        "preferred_agent_ids": [item.preferred_agent_id for item in promises],
        "assignment_ids": [item.assignment_id for item in promises],
        "now": now,
    }
    cursor.execute(SQL["insert_callbacks"], columns)
    rows = cursor.execute(SQL["select_promised"], columns)
    return {(user_id, due_at): callback_id for callback_id, user_id, due_at in rows}


def lock(cursor: Cursor[TupleRow], callback_ids: Sequence[int]) -> dict[int, Callback]:
    """These callbacks, locked until the transaction ends; unknown ones are absent."""
    rows = cursor.execute(SQL["lock_callbacks"], {"callback_ids": list(callback_ids)})
    return {row[0]: Callback(row[0], row[1], CallbackStatus(row[2]), *row[3:]) for row in rows}


def close(cursor: Cursor[TupleRow], closings: Sequence[Closing], now: datetime) -> None:
    """End these callbacks after a call that was made to keep them."""
    columns = {
        "callback_ids": [item.callback_id for item in closings],
        "statuses": [item.status for item in closings],
        "reasons": [item.reason for item in closings],
        "now": now,
    }
    cursor.execute(SQL["close_callbacks"], columns)


def retry(cursor: Cursor[TupleRow], callback_ids: Sequence[int], call_after: datetime, now: datetime) -> None:
    """Nobody answered: try these again later; they are nobody's until then."""
    parameters = {"callback_ids": list(callback_ids), "call_after": call_after, "now": now}
    cursor.execute(SQL["retry_callbacks"], parameters)


def cancel_of_users(cursor: Cursor[TupleRow], reasons: Mapping[int, Reason], now: datetime) -> list[int]:
    """Cancel every open callback of these users, for this reason each; the callbacks' ids."""
    parameters = {"user_ids": list(reasons), "reasons": list(reasons.values()), "now": now}
    rows = cursor.execute(SQL["cancel_callbacks_of_users"], parameters)
    return [callback_id for (callback_id,) in rows]
