"""Builders for the ledger: facts of who signed, the door with those facts, calls, and all that may change."""

from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.facts import Requirement, UserFacts
from leadq_dagster.domain.queue_rule import decide_queue
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, Moved
from leadq_dagster_tests.store.rows import TEN, moved, rows, source_user

LATER = TEN + timedelta(hours=1)
HALF_PAST = TEN + timedelta(minutes=30)
STATE = [
    "SELECT * FROM user_call_scores ORDER BY user_id",
    "SELECT * FROM call_queue ORDER BY id",
    "SELECT * FROM queue_transitions ORDER BY id",
    "SELECT * FROM conversions ORDER BY id",
]


def signed(user_id: int, at: datetime | None = HALF_PAST, *requirements: Requirement) -> UserFacts:
    user = source_user(user_id, has_signature=True, updated_at=at)
    return UserFacts(user, 1, 0, requirements)


def judged(facts: UserFacts) -> Move:
    return Move(facts.user.user_id, decide_queue(facts), "2026-03-04-10:00", facts)


def judge(store: Store, *facts: UserFacts, now: datetime = LATER) -> Moved:
    with store.transaction() as cursor:
        return moved(cursor, [judged(each) for each in facts], now)


def state(plain: Connection[TupleRow]) -> list[list[tuple[Any, ...]]]:
    return [rows(plain, statement) for statement in STATE]


def add_agents(plain: Connection[TupleRow]) -> None:
    for agent in (1, 2, 3):
        plain.execute("INSERT INTO agents (id, name) VALUES (%s, 'an agent')", [agent])


def add_call(
    plain: Connection[TupleRow], user_id: int, agent: int | None, at: datetime, talk: int | None = 60
) -> str:
    key = f"call-{user_id}-{agent}-{at:%d%H%M%S.%f}-{talk}"
    plain.execute(
        "INSERT INTO call_sessions (id, user_id, agent_id, started_at, talk_time_seconds, direction, status) "
        "VALUES (%s, %s, %s, %s, %s, 'outbound', 'completed')",
        [key, user_id, agent, at, talk],
    )
    return key
