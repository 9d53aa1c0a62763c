"""Assignments: which lead is with which agent, by which token, until when. The history is never rewritten."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QUEUES, QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store.connection import Later

SQL = queries("assignments")


class EndReason(StrEnum):
    """How an assignment ended.

    `invalid`, `not_found` and `refused` before the agent was told of it, as far as the desk knew: the source
    was asked and did not have the lead in this queue any more, did not show the user, did not answer.
    """

    OUTCOME = "outcome"
    RELEASED = "released"
    EXPIRED = "expired"
    LEFT = "left"
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"


UNTOLD: Final = frozenset({EndReason.INVALID, EndReason.NOT_FOUND, EndReason.REFUSED})


@dataclass(frozen=True)
class Clock:
    """The time to go by; the store's own, which tells later knowledge from earlier; is a promised call
    waiting?"""

    now: datetime
    seen_at: datetime
    is_any_raised: bool


class Asker(NamedTuple):
    """An agent's request for a lead."""

    agent_id: int
    request_id: str


class Assignment(NamedTuple):
    """A lead as it was handed to an agent. `attempts` are all calls to the user so far."""

    id: int
    agent_id: int
    request_id: str
    stay_id: int
    user_id: int
    queue: QueueType
    queue_reason: str
    priority_score: int
    lease_token: int
    assigned_at: datetime
    lease_expires_at: datetime
    callback_id: int | None
    callback_due_at: datetime | None
    attempts: int
    last_outcome: str | None
    last_call_at: datetime | None
    unvalidated_reason: str | None


def telling_time(cursor: Cursor[TupleRow], now: datetime | None) -> Later[Clock]:
    """The time to go by, `now` or else the store's: one clock for desks on any number of machines."""
    return Later(cursor, SQL["select_clock"], {"now": now}, lambda rows: Clock(*rows.fetchall()[0]))


def clock(cursor: Cursor[TupleRow], now: datetime | None) -> tuple[datetime, datetime]:
    """The time to go by and the store's own, waited for."""
    told = telling_time(cursor, now)()
    return told.now, told.seen_at


def of_askers(
    cursor: Cursor[TupleRow], askers: Sequence[Asker]
) -> Later[tuple[dict[int, Assignment], dict[Asker, Assignment]]]:
    """What these agents hold now, by agent; and what the same requests were given before, by request."""
    parameters = {**_columns(askers), "assignment_ids": []}
    return Later(cursor, SQL["select_assignments_of_askers"], parameters, _held_and_given)


def of_ids(cursor: Cursor[TupleRow], assignment_ids: Iterable[int]) -> Later[dict[int, Assignment]]:
    """These assignments as they were handed out, by id; those taken back before that are absent."""
    parameters = {**_columns([]), "assignment_ids": list(assignment_ids)}
    return Later(
        cursor,
        SQL["select_assignments_of_askers"],
        parameters,
        lambda rows: {item.id: item for item in _held_and_given(rows)[1].values()},
    )


def _held_and_given(
    rows: Cursor[TupleRow],
) -> tuple[dict[int, Assignment], dict[Asker, Assignment]]:
    held, given = {}, {}
    for row in rows.fetchall():
        assignment, is_held = _assignment(row), row[-1]
        if is_held:
            held[assignment.agent_id] = assignment
        else:
            given[Asker(assignment.agent_id, assignment.request_id)] = assignment
    return held, given


def claim_raised(
    cursor: Cursor[TupleRow],
    asker: Asker,
    queues: Sequence[QueueType],
    now: datetime,
    lease_expires_at: datetime,
) -> Assignment | None:
    """The first promised call that is this agent's, or nobody's in these queues; None if there is none."""
    parameters = {
        "agent_id": asker.agent_id,
        "request_id": asker.request_id,
        "queue_types": list(queues),
        "now": now,
        "lease_expires_at": lease_expires_at,
    }
    row = cursor.execute(SQL["claim_raised"], parameters).fetchone()
    return _assignment(row) if row else None


def claim_leads(
    cursor: Cursor[TupleRow],
    queue: QueueType,
    askers: Sequence[Asker],
    now: datetime,
    lease_expires_at: datetime,
    not_called_from: int,
) -> list[Assignment]:
    """The first leads of the queue, one for each asker in their order; fewer where there are fewer."""
    parameters = {
        **_columns(askers),
        "queue_type": queue,
        "leads_max": len(askers),
        "now": now,
        "lease_expires_at": lease_expires_at,
        "not_called_from": not_called_from,
    }
    return Later(cursor, SQL["claim_leads"], parameters, _assignments)()


def peek(
    cursor: Cursor[TupleRow], queue: QueueType, now: datetime, leads_max: int, not_called_from: int
) -> list[int]:
    """The users of the first leads of the queue, taking none."""
    parameters = {
        "queue_type": queue,
        "leads_max": leads_max,
        "now": now,
        "not_called_from": not_called_from,
    }
    return [user_id for (user_id,) in cursor.execute(SQL["peek_leads"], parameters)]


def postpone(cursor: Cursor[TupleRow], user_ids: Sequence[int], available_from: datetime) -> None:
    """Leads of these users that nobody has are handed out no earlier than then."""
    cursor.execute(SQL["postpone_stays"], {"user_ids": list(user_ids), "available_from": available_from})


def raised_for(cursor: Cursor[TupleRow], agent_ids: Iterable[int], now: datetime) -> dict[int, bool]:
    """Of these agents those for whom a promised call waits, and whether it is reserved for them."""
    parameters = {"agent_ids": list(agent_ids), "now": now}
    return dict(cursor.execute(SQL["select_raised_for"], parameters).fetchall())


def mark_unvalidated(cursor: Cursor[TupleRow], assignment_ids: Sequence[int], reason: str) -> None:
    """These were handed out without asking the source, and why."""
    cursor.execute(SQL["mark_unvalidated"], {"assignment_ids": list(assignment_ids), "reason": reason})


def give_back(
    cursor: Cursor[TupleRow], available_from: Mapping[int, datetime], reason: EndReason, now: datetime
) -> list[int]:
    """Return these assignments' stays to the queue, callable from then on; the ids of those still held.

    A promised call is nobody's then, unless the agent was never told of it.
    """
    parameters = {
        "assignment_ids": list(available_from),
        "available_froms": list(available_from.values()),
        "end_reason": reason,
        "is_untold": reason in UNTOLD,
        "now": now,
    }
    return [assignment_id for assignment_id, _ in cursor.execute(SQL["return_stays"], parameters)]


def expired(cursor: Cursor[TupleRow], now: datetime, rows_max: int) -> dict[int, int]:
    """Assignments held past their lease with their agents, the longest first; locked until the end."""
    return dict(cursor.execute(SQL["select_expired"], {"now": now, "rows_max": rows_max}).fetchall())


def extend(cursor: Cursor[TupleRow], assignment_id: int, lease_expires_at: datetime) -> datetime | None:
    """Make the lease last until then, never shorter; its new end, or None if the stay is no longer held."""
    parameters = {"assignment_id": assignment_id, "lease_expires_at": lease_expires_at}
    row = cursor.execute(SQL["extend_lease"], parameters).fetchone()
    return row[0] if row else None


def users_of(cursor: Cursor[TupleRow], assignment_ids: Sequence[int]) -> list[int]:
    """The users whom these assignments are about."""
    rows = cursor.execute(SQL["select_users_of_assignments"], {"assignment_ids": list(assignment_ids)})
    return [user_id for (user_id,) in rows]


def _columns(askers: Sequence[Asker]) -> dict[str, Any]:
    return {
        "agent_ids": [asker.agent_id for asker in askers],
        "request_ids": [asker.request_id for asker in askers],
    }


def _assignments(rows: Cursor[TupleRow]) -> list[Assignment]:
    return [_assignment(row) for row in rows.fetchall()]


def _assignment(row: TupleRow) -> Assignment:
    return Assignment._make((*row[:5], QUEUES[row[5]], *row[6:17]))
