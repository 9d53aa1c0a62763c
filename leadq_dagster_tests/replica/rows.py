"""Builders of the source's rows: valid unless a test says otherwise, with naive dates as the source has."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica

TEN = datetime(2026, 3, 4, 10)
WINDOW = Window(TEN.replace(tzinfo=UTC), TEN.replace(hour=11, tzinfo=UTC))
LONG_AGO = datetime(2024, 1, 1)


def user(user_id: int, **differing: Any) -> dict[str, Any]:
    """A user created and last updated long ago."""
    row = {
        "id": user_id,
        "email_address": f"user{user_id}@example.org",
        "is_enabled": 1,
        "status": "active",
        "current_signature_file_id": None,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    return row | differing


def claim(claim_id: int, user_id: int, status: str | None = "open") -> dict[str, Any]:
    return {"id": claim_id, "user_id": user_id, "status": status}


def requirement(key: str, claim_id: int, **differing: Any) -> dict[str, Any]:
    row = {
        "id": key,
        "claim_id": claim_id,
        "type": "proof_of_address",
        "status": "pending",
        "claim_requirement_reason": None,
    }
    return row | differing


def add(engine: sa.Engine, table: sa.Table, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(table.insert(), list(rows))


def add_users(engine: sa.Engine, *rows: dict[str, Any]) -> None:
    add(engine, schema.users, *rows)


def ids(replica: Replica, window: Window = WINDOW) -> list[int]:
    """The ids of all pages in the order read, repeats included."""
    return [changed.user.user_id for page in replica.changed_users(window) for changed in page]


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
