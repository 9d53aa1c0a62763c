"""Assignments and their stays: is the lead still the agent's, how often were they told, what was reported?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store.assignments import EndReason
from leadq_dagster.store.connection import Later

SQL = queries("assignments")


@dataclass(frozen=True)
class Report:
    """The outcome of an assignment as it was reported, by which request, and what the agent was told."""

    request_id: str
    outcome: Outcome
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Held:
    """An assignment and its stay, locked: whether it is still the stay's, and in time.

    `is_current`: nobody else has got the stay since and it has not been returned. `is_in_time`: the lease
    has not run out. `attempts` are the stay's calls so far.
    """

    id: int
    agent_id: int
    stay_id: int
    user_id: int
    queue: QueueType
    queue_reason: str
    lease_token: int
    callback_id: int | None
    end_reason: EndReason | None
    assigned_at: datetime
    is_current: bool
    is_in_time: bool
    report: Report | None
    attempts: int


def locking(
    cursor: Cursor[TupleRow], assignment_ids: Sequence[int], now: datetime | None
) -> Later[dict[int, Held]]:
    """These assignments with their stays, locked in the order of the users; unknown ones are absent.

    Their leases are judged by `now`, None for the store's time.
    """
    parameters = {"assignment_ids": list(assignment_ids), "now": now}
    return Later(
        cursor, SQL["lock_assignments"], parameters, lambda rows: {row[0]: _held(row) for row in rows}
    )


def lock(cursor: Cursor[TupleRow], assignment_ids: Sequence[int], now: datetime | None) -> dict[int, Held]:
    """The same, waited for."""
    return locking(cursor, assignment_ids, now)()


def repeat(cursor: Cursor[TupleRow], assignment_ids: Sequence[int]) -> dict[int, int]:
    """Note that agents are told again of what they hold; how often by now.

    Absent are those that somebody else is ending at this moment.
    """
    rows = cursor.execute(SQL["repeat_assignments"], {"assignment_ids": list(assignment_ids)})
    return dict(rows.fetchall())


def lock_held(cursor: Cursor[TupleRow], assignment_ids: Sequence[int]) -> dict[int, int]:
    """Of these assignments those that hold their stays still, locked, with how often they were repeated.

    Their agents and users are to be locked before.
    """
    rows = cursor.execute(SQL["lock_held"], {"assignment_ids": list(assignment_ids)})
    return dict(rows.fetchall())


def ended(cursor: Cursor[TupleRow], assignment_ids: Sequence[int]) -> set[int]:
    """Those of these assignments that have ended."""
    rows = cursor.execute(SQL["select_ended"], {"assignment_ids": list(assignment_ids)})
    return {assignment_id for (assignment_id,) in rows}


def _held(row: Sequence[Any]) -> Held:
    (
        number, agent_id, stay_id, user_id, queue, queue_reason, lease_token, callback_id, end_reason,
        assigned_at, is_current, is_in_time, reported_by, reported, told, attempts,
    ) = row  # fmt: skip
    return Held(
        number, agent_id, stay_id, user_id, QueueType(queue), queue_reason, lease_token, callback_id,
        EndReason(end_reason) if end_reason else None, assigned_at, is_current, bool(is_in_time),
        Report(reported_by, Outcome(reported), told or {}) if reported else None, attempts or 0,
    )  # fmt: skip
