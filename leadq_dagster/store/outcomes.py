"""Outcomes of calls: recorded, and the lead moved by the table of consequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import Reason
from leadq_dagster.domain.score_rules import ScoreChange
from leadq_dagster.named_sql import queries
from leadq_dagster.store.connection import Later

SQL = queries("outcomes")


@dataclass(frozen=True)
class ReportedCall:
    """A call that took place, with its outcome. `talk_time_seconds` is None until somebody tells it."""

    assignment_id: int
    agent_id: int
    user_id: int
    stay_id: int
    callback_id: int | None
    request_id: str
    call_id: str
    outcome: Outcome
    started_at: datetime
    talk_time_seconds: int | None
    notes: str | None
    is_late: bool


@dataclass(frozen=True)
class CountedOutcome:
    """An outcome that moves the lead: what it adds to the score and when the lead may be called again."""

    call: ReportedCall
    attempt: int
    change: ScoreChange
    is_conversation: bool
    next_call_after: datetime


def foreign_calls(cursor: Cursor[TupleRow], calls: Sequence[tuple[str, int, int]]) -> set[str]:
    """Of these calls, (call id, agent, user), the ids that are known as another agent's or to another
    user."""
    parameters = {
        "call_ids": [call_id for call_id, _, _ in calls],
        "agent_ids": [agent_id for _, agent_id, _ in calls],
        "user_ids": [user_id for _, _, user_id in calls],
    }
    return {call_id for (call_id,) in cursor.execute(SQL["select_foreign_calls"], parameters)}


def locking_users(
    cursor: Cursor[TupleRow], assignment_ids: Sequence[int]
) -> Later[dict[int, datetime | None]]:
    """Lock the scores of the users of these assignments, as the door does, before their stays are.

    By user, when the knowledge was got by which they were moved last.
    """
    parameters = {"assignment_ids": list(assignment_ids)}
    return Later(cursor, SQL["lock_scores"], parameters, lambda rows: dict(rows.fetchall()))


def record(
    cursor: Cursor[TupleRow],
    reports: Sequence[tuple[ReportedCall, CountedOutcome | None, Mapping[str, Any]]],
    rules_version: int,
    now: datetime,
) -> None:
    """Write these calls and their outcomes, with what each agent is told.

    Those that are counted move the score, leave the event that explains it, return the lead to the queue and
    end the assignment.
    """
    rows = [_row(call, counted, told) for call, counted, told in reports]
    parameters = {"reports": Jsonb(rows), "rules_version": rules_version, "now": now}
    cursor.execute(SQL["record_outcomes"], parameters)


def _row(call: ReportedCall, counted: CountedOutcome | None, told: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "assignment_id": call.assignment_id,
        "agent_id": call.agent_id,
        "user_id": call.user_id,
        "stay_id": call.stay_id,
        "callback_id": call.callback_id,
        "request_id": call.request_id,
        "call_id": call.call_id,
        "outcome": call.outcome,
        "started_at": call.started_at.isoformat(),
        "talk_time_seconds": call.talk_time_seconds,
        "notes": call.notes,
        "is_late": call.is_late,
        "answer": told,
        "counted": counted is not None,
    }
    if counted:
        row |= {
            "attempt": counted.attempt,
            "outcome_change": counted.change.outcome,
            "attempt_change": counted.change.attempts,
            "is_conversation": counted.is_conversation,
            "next_call_after": counted.next_call_after.isoformat(),
        }
    return row


def suppress(cursor: Cursor[TupleRow], reasons: Mapping[int, Reason], now: datetime) -> None:
    """Never queue these users again; they have left every queue before. do_not_contact outranks the rest."""
    parameters = {"user_ids": list(reasons), "reasons": list(reasons.values()), "now": now}
    cursor.execute(SQL["suppress_users"], parameters)
