"""The tables of docs/measures.md: what happened in the example, and what it comes to by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

PAGE = Path(__file__).parents[2] / "docs" / "measures.md"
SINCE, UNTIL = datetime(2026, 3, 3, 12, tzinfo=UTC), datetime(2026, 3, 4, 12, tzinfo=UTC)
KNOWN = """
INSERT INTO user_call_scores (user_id, next_call_after, discovered_at) SELECT n, now(), now()
FROM generate_series(1, 9) AS n;
INSERT INTO agents (id, name) VALUES (1, 'somebody');
"""
CALL = """
INSERT INTO call_sessions (id, direction, status, started_at, ended_at, user_id, agent_id, legacy_outcome)
VALUES (%s, %s, %s, %s, %s, %s, 1, %s)
"""
OUTCOME = """
INSERT INTO call_outcomes (call_session_id, user_id, agent_id, callback_id, outcome, recorded_at)
VALUES (%s, %s, 1, %s, %s, %s)
"""
CALLBACK = """
INSERT INTO callbacks (user_id, queue_type, due_at, call_after, created_at, status, closed_reason, closed_at)
VALUES (%s, 'unsigned_users', %s, %s, %s, %s, %s, %s) RETURNING id
"""
TOLD = """
INSERT INTO callback_notifications (callback_id, agent_id, decision, notified_at)
VALUES (%s, 1, 'reserved_for_available', %s)
"""


def table(first_column: str, last_column: str) -> Iterator[dict[str, str]]:
    """The rows of the page's table that begins and ends with these columns."""
    lines = PAGE.read_text("utf-8").splitlines()
    head = next(
        number
        for number, line in enumerate(lines)
        if line.startswith(f"| {first_column} |") and line.endswith(f"| {last_column} |")
    )
    names = _cells(lines[head])
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            return
        yield dict(zip(names, _cells(line), strict=True))


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def instant(text: str) -> datetime | None:
    """A time of the page, of 4 March unless it says otherwise."""
    if not text:
        return None
    return datetime.fromisoformat(text if "-" in text else f"2026-03-04 {text}").replace(tzinfo=UTC)


def plant(store_url: str) -> None:
    """Make what the page says happen."""
    with psycopg.connect(store_url) as connection:
        connection.execute(KNOWN)
        callbacks = {row["callback"]: _callback(connection, row) for row in table("callback", "closed")}
        for row in table("call", "told by"):
            _call(connection, row, callbacks)


def _callback(connection: psycopg.Connection[Any], row: dict[str, str]) -> int:
    due_at = instant(row["promised for"])
    status, _, reason = row["closed"].partition(": ")
    closed = (status, reason, due_at) if status else ("pending", None, None)
    made = connection.execute(CALLBACK, (row["user"], due_at, due_at, instant(row["written at"]), *closed))
    [callback_id] = made.fetchone() or [0]
    if row["an agent told at"]:
        connection.execute(TOLD, (callback_id, instant(row["an agent told at"])))
    return int(callback_id)


def _call(connection: psycopg.Connection[Any], row: dict[str, str], callbacks: dict[str, int]) -> None:
    word = row["outcome"] if row["told by"] == "record" else None
    began, ended = instant(row["began"]), instant(row["ended"])
    connection.execute(CALL, (row["call"], row["direction"], row["status"], began, ended, row["user"], word))
    if row["told by"].startswith("agent"):
        kept = callbacks.get(row["told by"].removeprefix("agent, keeps "))
        connection.execute(OUTCOME, (row["call"], row["user"], kept, row["outcome"], ended))
