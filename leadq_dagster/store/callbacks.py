"""Callbacks: promised calls, from the promise to the call that keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True)
class PendingCallback:
    """A promised call that is an agent's to make soon. `queue` is None while it is not raised.

    `is_assigned`: the agent has the lead in hand.
    """

    id: int
    user_id: int
    queue: QueueType | None
    status: CallbackStatus
    due_at: datetime
    call_after: datetime
    is_raised: bool
    is_assigned: bool


def promise(
    cursor: Cursor[TupleRow], promises: Sequence[Promise], now: datetime
) -> dict[tuple[int, datetime], int]:
    """Write these promises down; their callbacks' ids by user and time. Promised twice is promised once.

    Nothing is promised to who is suppressed.
    """
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
    return {row[0]: _callback(row) for row in rows}


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


def has_agent(cursor: Cursor[TupleRow], agent_id: int) -> bool:
    """Whether there is such an agent, to prefer: not locked, two agents may prefer each other."""
    return bool(cursor.execute(SQL["select_agent"], {"agent_id": agent_id}).fetchall())


def find(cursor: Cursor[TupleRow], callback_id: int) -> Callback | None:
    """This callback as it is, not locked; None if there is none."""
    row = cursor.execute(SQL["select_callback"], {"callback_id": callback_id}).fetchone()
    return _callback(row) if row else None


def accept(
    cursor: Cursor[TupleRow], callback_id: int, agent_id: int, stay_id: int | None, now: datetime
) -> None:
    """The pending callback is this agent's, and its waiting stay (None: not yet) is served to them first."""
    parameters = {"callback_id": callback_id, "agent_id": agent_id, "stay_id": stay_id, "now": now}
    cursor.execute(SQL["accept_callback"], parameters)


def snooze(cursor: Cursor[TupleRow], callback_id: int, call_after: datetime, now: datetime) -> None:
    """Call later: until then the callback is nobody's."""
    parameters = {"callback_id": callback_id, "call_after": call_after, "now": now}
    cursor.execute(SQL["snooze_callback"], parameters)


def pending_of(
    cursor: Cursor[TupleRow], agent_id: int, until: datetime, rows_max: int
) -> list[PendingCallback]:
    """What is this agent's to call by then, the oldest first."""
    parameters = {"agent_id": agent_id, "until": until, "rows_max": rows_max}
    return [
        PendingCallback(
            row[0], row[1], QueueType(row[2]) if row[2] else None, CallbackStatus(row[3]), *row[4:]
        )
        for row in cursor.execute(SQL["select_pending_of_agent"], parameters)
    ]


def cancel(cursor: Cursor[TupleRow], reasons: Mapping[int, str], now: datetime) -> None:
    """Cancel these callbacks, for this reason each."""
    parameters = {"callback_ids": list(reasons), "reasons": list(reasons.values()), "now": now}
    cursor.execute(SQL["cancel_callbacks"], parameters)


def cancel_of_users(cursor: Cursor[TupleRow], reasons: Mapping[int, Reason], now: datetime) -> list[int]:
    """Cancel every open callback of these users, for this reason each; the callbacks' ids."""
    parameters = {"user_ids": list(reasons), "reasons": list(reasons.values()), "now": now}
    rows = cursor.execute(SQL["cancel_callbacks_of_users"], parameters)
    return [callback_id for (callback_id,) in rows]


def _callback(row: Sequence[Any]) -> Callback:
    return Callback(row[0], row[1], CallbackStatus(row[2]), *row[3:])
