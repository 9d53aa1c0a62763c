"""Stays of known ages, and what the store says of their scores."""

from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueDecision
from leadq_dagster.stages.ageing import AgeingTally, age_scores
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.store.rows import TEN, UNSIGNED, know, move, rows

MIDNIGHT = TEN.replace(hour=0)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


def queue_since(store: Store, user_id: int, entered_at: datetime, decision: QueueDecision = UNSIGNED) -> None:
    """A known user who entered the queue then."""
    know(store, [user_id])
    move(store, [user_id], decision, entered_at)


def age(store: Store, as_of: datetime, **options: Any) -> AgeingTally:
    return age_scores(as_of, store=store, now=as_of + timedelta(hours=2), **options)


def scores(plain: Connection[TupleRow]) -> list[tuple[Any, ...]]:
    """Of each live stay: user, part for age, score, place in the queue."""
    return rows(
        plain,
        "SELECT user_id, time_penalty_score, current_score, priority_score FROM user_call_scores"
        " JOIN call_queue USING (user_id) WHERE call_queue.status <> 'left' ORDER BY user_id",
    )


def ages(plain: Connection[TupleRow]) -> dict[int, int]:
    """The part of each live score that is for age."""
    return {row[0]: row[1] for row in scores(plain)}


def events(plain: Connection[TupleRow]) -> list[tuple[Any, ...]]:
    """The recorded ageing: user, to when, by how much, under which rules, in their order."""
    return rows(
        plain,
        "SELECT user_id, aged_to, age_change, rules_version FROM score_events"
        " JOIN call_queue ON call_queue.id = call_queue_id WHERE kind = 'age' ORDER BY score_events.id",
    )


def assign(plain: Connection[TupleRow], user_id: int, agent_id: int) -> None:
    """The user's stay is with this agent, who is new."""
    plain.execute("INSERT INTO agents (id, name) VALUES (%s, 'somebody')", [agent_id])
    plain.execute(
        "UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = %s, assigned_at = now(),"
        " lease_expires_at = now(), lease_token = lease_token + 1 WHERE user_id = %s AND status <> 'left'",
        [agent_id, user_id],
    )


def raise_stay(plain: Connection[TupleRow], user_id: int, priority: int) -> None:
    """A promised call has put the user's stay in front."""
    plain.execute(
        "WITH promised AS (INSERT INTO callbacks (user_id, queue_type, due_at, call_after)"
        " VALUES (%(user)s, 'unsigned_users', now(), now()) RETURNING id)"
        " UPDATE call_queue SET callback_id = promised.id, priority_score = %(priority)s"
        " FROM promised WHERE user_id = %(user)s AND status <> 'left'",
        {"user": user_id, "priority": priority},
    )
