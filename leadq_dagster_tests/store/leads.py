"""Builders for what the desk works on: leads waiting in an order of the test's choice, and who asks."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.score_rules import CURRENT_RULES, change_of_outcome, next_call_after
from leadq_dagster.store import assignments, outcomes
from leadq_dagster.store.assignments import Asker, Assignment
from leadq_dagster.store.connection import Store
from leadq_dagster.store.outcomes import CountedOutcome, ReportedCall
from leadq_dagster_tests.store.rows import TEN, UNSIGNED, know, move

LEASE = timedelta(minutes=5)
NOT_CALLED_FROM = CURRENT_RULES.not_called_from


def add_lead(
    store: Store,
    plain: Connection[TupleRow],
    user_id: int,
    score: int = 0,
    available_from: datetime = TEN,
) -> None:
    """A user in `unsigned_users` at a place of their own."""
    know(store, [user_id])
    move(store, [user_id], UNSIGNED)
    place(plain, user_id, score, available_from)


def place(plain: Connection[TupleRow], user_id: int, score: int, available_from: datetime) -> None:
    plain.execute(
        "UPDATE call_queue SET priority_score = %s, available_from = %s "
        "WHERE user_id = %s AND status <> 'left'",
        [score, available_from, user_id],
    )


def raise_lead(
    plain: Connection[TupleRow], user_id: int, agent: int | None = None, score: int = -1000
) -> int:
    """Put a lead in front for a promised call, for this agent or for anybody; the callback's id."""
    row = plain.execute(
        "INSERT INTO callbacks (user_id, queue_type, due_at, call_after) "
        "SELECT user_id, queue_type, %s, %s FROM call_queue WHERE user_id = %s AND status <> 'left' "
        "RETURNING id",
        [TEN, TEN, user_id],
    ).fetchone()
    assert row is not None
    callback_id: int = row[0]
    plain.execute(
        "UPDATE call_queue SET callback_id = %s, priority_score = %s, reserved_for_agent_id = %s "
        "WHERE user_id = %s AND status <> 'left'",
        [callback_id, score, agent, user_id],
    )
    return callback_id


def claim(
    cursor: Cursor[TupleRow],
    agents: Sequence[int],
    now: datetime = TEN,
    queue: QueueType = QueueType.UNSIGNED_USERS,
) -> list[Assignment]:
    """A lead for each of these agents, as the desk claims them."""
    askers = [Asker(agent, f"take-{agent}-{now.isoformat()}") for agent in agents]
    return assignments.claim_leads(cursor, queue, askers, now, now + LEASE, NOT_CALLED_FROM)


def hold(store: Store, agent: int = 1, now: datetime = TEN) -> Assignment:
    """The next lead, with this agent."""
    with store.transaction() as cursor:
        [assignment] = claim(cursor, [agent], now)
    return assignment


def report(
    cursor: Cursor[TupleRow],
    assignment: Assignment,
    outcome: Outcome,
    now: datetime = TEN,
    attempt: int = 1,
) -> CountedOutcome:
    """Record an outcome in time, as the desk does."""
    call = ReportedCall(
        assignment_id=assignment.id,
        agent_id=assignment.agent_id,
        user_id=assignment.user_id,
        stay_id=assignment.stay_id,
        callback_id=assignment.callback_id,
        request_id=f"outcome-{assignment.id}",
        call_id=f"assignment-{assignment.id}",
        outcome=outcome,
        started_at=assignment.assigned_at,
        talk_time_seconds=None,
        notes=None,
        is_late=False,
    )
    counted = CountedOutcome(
        call,
        attempt,
        change_of_outcome(CURRENT_RULES, outcome, attempt),
        CURRENT_RULES.consequences[outcome].is_conversation,
        next_call_after(CURRENT_RULES, outcome, now, None),
    )
    outcomes.record(cursor, [(call, counted, {"lead": "waiting"})], CURRENT_RULES.version, now)
    return counted
