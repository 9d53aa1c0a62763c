"""Outcomes of calls: the call and its outcome are recorded, and the lead moves by the table of
consequences."""

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
    calls: Sequence[ReportedCall],
    told: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    """Write these calls and their outcomes, with what each agent is told."""
    columns = {
        "assignment_ids": [call.assignment_id for call in calls],
        "agent_ids": [call.agent_id for call in calls],
        "user_ids": [call.user_id for call in calls],
        "stay_ids": [call.stay_id for call in calls],
        "callback_ids": [call.callback_id for call in calls],
        "request_ids": [call.request_id for call in calls],
        "call_ids": [call.call_id for call in calls],
        "outcomes": [call.outcome for call in calls],
        "started_ats": [call.started_at for call in calls],
        "talk_times": [call.talk_time_seconds for call in calls],
        "notes": [call.notes for call in calls],
        "are_late": [call.is_late for call in calls],
        "answers": [Jsonb(answer) for answer in told],
        "now": now,
    }
    cursor.execute(SQL["record_calls"], columns)
    cursor.execute(SQL["record_outcomes"], columns)


def apply(
    cursor: Cursor[TupleRow], counted: Sequence[CountedOutcome], rules_version: int, now: datetime
) -> None:
    """Move the scores, keep the events that explain them, return the leads to the queue, end the
    assignments."""
    columns = {
        "user_ids": [item.call.user_id for item in counted],
        "stay_ids": [item.call.stay_id for item in counted],
        "assignment_ids": [item.call.assignment_id for item in counted],
        "outcomes": [item.call.outcome for item in counted],
        "attempts": [item.attempt for item in counted],
        "outcome_changes": [item.change.outcome for item in counted],
        "attempt_changes": [item.change.attempts for item in counted],
        "are_conversations": [item.is_conversation for item in counted],
        "started_ats": [item.call.started_at for item in counted],
        "next_calls": [item.next_call_after for item in counted],
        "rules_version": rules_version,
        "now": now,
    }
    cursor.execute(SQL["record_score_events"], columns)
    cursor.execute(SQL["apply_outcomes"], columns)


def suppress(cursor: Cursor[TupleRow], reasons: Mapping[int, Reason], now: datetime) -> None:
    """Never queue these users again; they have left every queue before. do_not_contact outranks the rest."""
    parameters = {"user_ids": list(reasons), "reasons": list(reasons.values()), "now": now}
    cursor.execute(SQL["suppress_users"], parameters)
