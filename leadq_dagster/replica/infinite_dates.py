"""PostgreSQL dates that Python cannot hold: infinity, and those before Christ."""

from datetime import datetime
from typing import Any

from psycopg import DataError
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestampLoader, TimestamptzLoader


def forgive_infinite_dates(connection: Any) -> None:
    """Let a psycopg connection read such dates as NULL, like MariaDB's zero dates.

    By itself it raises, and one such user would fail the hour of everybody.
    """
    connection.adapters.register_loader("timestamp", _NaiveDate)
    connection.adapters.register_loader("timestamptz", _AwareDate)


class _NaiveDate(TimestampLoader):
    def load(self, data: Buffer) -> datetime | None:  # type: ignore[override]
        try:
            return super().load(data)
        except DataError:
            return None


class _AwareDate(TimestamptzLoader):
    def load(self, data: Buffer) -> datetime | None:  # type: ignore[override]
        try:
            return super().load(data)
        except DataError:
            return None
