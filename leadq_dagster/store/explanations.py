"""What the store has about one user: how they stand, and how that came to be. Ids only, nobody's data."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, TypeVar

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries

SQL = queries("explanations")
ROWS_MAX = 50

Line = TypeVar("Line")


@dataclass(frozen=True)
class KnownUser:
    """A known user in the one class that the standings count them in (`standing`), and what stands behind it.

    What begins with `stay_id` is None where there is no live stay; `converted_*` and `credited_agent_id`
    where the class is not `converted`.
    """

    standing: str
    is_active: bool
    suppressed_reason: str | None
    next_call_after: datetime
    total_attempts: int
    last_call_at: datetime | None
    last_outcome: str | None
    discovered_at: datetime
    signed_up_at: datetime | None
    last_queue_check: datetime | None
    stay_id: int | None
    queue: QueueType | None
    queue_reason: str | None
    available_from: datetime | None
    priority_score: int | None
    agent_id: int | None
    lease_expires_at: datetime | None
    callback_id: int | None
    reserved_for_agent_id: int | None
    callback_call_after: datetime | None
    converted_by: str | None
    converted_at: datetime | None
    credited_agent_id: int | None


@dataclass(frozen=True)
class StayLine:
    """One stay of the user."""

    id: int
    queue: str
    reason: str
    status: str
    entered_at: datetime
    left_at: datetime | None
    left_reason: str | None
    priority_score: int
    available_from: datetime


@dataclass(frozen=True)
class CallbackLine:
    """One promised call."""

    id: int
    queue: str
    due_at: datetime
    call_after: datetime
    status: str
    attempts: int
    preferred_agent_id: int | None
    accepted_by_agent_id: int | None
    reserved_for_agent_id: int | None
    closed_at: datetime | None
    closed_reason: str | None


@dataclass(frozen=True)
class CallLine:
    """One call with its outcome, if it has one; `is_late`: reported after the lease, so the lead stayed."""

    id: str
    direction: str
    agent_id: int | None
    stay_id: int | None
    callback_id: int | None
    started_at: datetime
    talk_time_seconds: int | None
    outcome: str | None
    recorded_at: datetime | None
    is_late: bool | None


@dataclass(frozen=True)
class TransitionLine:
    """One move between queues: who moved the user, why, by which run."""

    happened_at: datetime
    from_queue: str | None
    to_queue: str | None
    reason: str
    actor: str
    run_id: str | None
    partition_key: str | None
    left_stay_id: int | None
    entered_stay_id: int | None


@dataclass(frozen=True)
class ConversionLine:
    """One conversion and whose it is; nobody is None."""

    id: int
    stay_id: int
    type: str
    converted_at: datetime
    detected_at: datetime
    source: str
    final_score: int
    total_call_attempts: int
    primary_agent_id: int | None
    contributing_agents: list[int]
    run_id: str | None
    partition_key: str | None


@dataclass(frozen=True)
class History:
    """The latest of everything about a user, the newest first, at most fifty of each."""

    stays: tuple[StayLine, ...]
    callbacks: tuple[CallbackLine, ...]
    calls: tuple[CallLine, ...]
    transitions: tuple[TransitionLine, ...]
    conversions: tuple[ConversionLine, ...]


def standing(cursor: Cursor[TupleRow], user_id: int, now: datetime, not_called_from: int) -> KnownUser | None:
    """How the user stands at this instant; None for one who is not known."""
    parameters = {"user_id": user_id, "now": now, "not_called_from": not_called_from}
    row = cursor.execute(SQL["select_standing"], parameters).fetchone()
    if row is None:
        return None
    values: list[Any] = list(row)
    values[11] = QueueType(values[11]) if values[11] else None
    return KnownUser(*values)


def history(cursor: Cursor[TupleRow], user_id: int) -> History:
    """What happened to the user."""

    parameters = {"user_id": user_id, "rows_max": ROWS_MAX}

    def lines(statement: LiteralString, line: Callable[..., Line]) -> tuple[Line, ...]:
        return tuple(line(*row) for row in cursor.execute(statement, parameters).fetchall())

    return History(
        lines(SQL["select_stays"], StayLine),
        lines(SQL["select_callbacks"], CallbackLine),
        lines(SQL["select_calls"], CallLine),
        lines(SQL["select_transitions"], TransitionLine),
        lines(SQL["select_conversions"], ConversionLine),
    )


def was_assigned(cursor: Cursor[TupleRow], user_id: int, agent_id: int) -> bool:
    """Whether the user is or was ever this agent's to call."""
    parameters = {"user_id": user_id, "agent_id": agent_id}
    row = cursor.execute(SQL["exists_assignment"], parameters).fetchone()
    assert row is not None
    return bool(row[0])
