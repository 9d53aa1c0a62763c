"""What each request was answered, so that the same request is answered the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from leadq_dagster.named_sql import queries
from leadq_dagster.store.connection import Later

SQL = queries("answers")


@dataclass(frozen=True)
class Answer:
    """An answer as it was given: to which agent and request, what was asked, and what was said."""

    agent_id: int
    request_id: str
    request: str
    content: Mapping[str, Any]


def earlier(
    cursor: Cursor[TupleRow], requests: Sequence[tuple[int, str]]
) -> Later[dict[tuple[int, str], Answer]]:
    """The answers that these requests, (agent, request id), were given before."""
    return Later(
        cursor,
        SQL["select_answers"],
        _columns(requests),
        lambda rows: {row[:2]: Answer(*row) for row in rows.fetchall()},
    )


def is_take(cursor: Cursor[TupleRow], agent_id: int, request_id: str) -> bool:
    """Whether this request has brought the agent a lead."""
    parameters = {"agent_id": agent_id, "request_id": request_id}
    return cursor.execute(SQL["is_take"], parameters).fetchone() is not None


def withdraw(cursor: Cursor[TupleRow], requests: Sequence[tuple[int, str]]) -> None:
    """Forget what these requests, (agent, request id), were told: it holds no longer."""
    cursor.execute(SQL["withdraw_answers"], _columns(requests))


def keep(cursor: Cursor[TupleRow], answers: Sequence[Answer], now: datetime) -> None:
    """Keep these answers; one that was kept before stays as it is."""
    cursor.execute(
        SQL["insert_answers"],
        {
            "agent_ids": [answer.agent_id for answer in answers],
            "request_ids": [answer.request_id for answer in answers],
            "requests": [answer.request for answer in answers],
            "answers": [Jsonb(answer.content) for answer in answers],
            "now": now,
        },
    )


def forget(cursor: Cursor[TupleRow], older_than: datetime, rows_max: int) -> int:
    """Delete answers given before then, at most so many; how many were deleted."""
    parameters = {"older_than": older_than, "rows_max": rows_max}
    return cursor.execute(SQL["delete_old_answers"], parameters).rowcount


def _columns(requests: Sequence[tuple[int, str]]) -> dict[str, Any]:
    return {
        "agent_ids": [agent_id for agent_id, _ in requests],
        "request_ids": [request_id for _, request_id in requests],
    }
