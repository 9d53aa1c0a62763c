"""Connections to the store: a bounded pool, and transactions with a time limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow, namedtuple_row
from psycopg_pool import ConnectionPool

from leadq_dagster.store.errors import store_errors

CONNECT_TIMEOUT_SECONDS = 10
# A process that stops within a transaction must not keep its locks for long.
SET_LIMITS = (
    "SELECT set_config('statement_timeout', %s, true) AS statement,"
    " set_config('idle_in_transaction_session_timeout', %s, true) AS idling"
)


class Store:
    """The store, opened. Every method raises TransientError or PermanentError, never a driver's error."""

    def __init__(self, pool: ConnectionPool, statement_timeout_seconds: int) -> None:
        self._pool = pool
        self._statement_timeout_seconds = statement_timeout_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back to the server."""
        self._pool.close()

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[Cursor[TupleRow]]:
        """One transaction: all of it is stored when the block ends, none of it when the block raises.

        With `keep` false nothing is stored in the end: a rehearsal.

        Rows are named tuples. The time limits, of a statement and of idling, are set inside the transaction,
        where a transaction-level connection pooler in between cannot leak them to somebody else.
        """
        with (
            store_errors(),
            self._pool.connection() as connection,
            connection.transaction(force_rollback=not keep),
            connection.cursor(row_factory=namedtuple_row) as cursor,
        ):
            limit = f"{self._statement_timeout_seconds}s"
            cursor.execute(SET_LIMITS, [limit, limit])
            yield cursor


def open_store(url: str, *, statement_timeout_seconds: int = 30, pool_size: int = 4) -> Store:
    """The store at `url` with at most `pool_size` connections.

    Raises PermanentError when the URL leads nowhere and TransientError when the server does not answer.
    """
    with store_errors():
        # A pool hides why it cannot connect; one plain connection first tells.
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
        pool = ConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            timeout=CONNECT_TIMEOUT_SECONDS,
            # A statement prepared on one server connection is unknown on the next that a pooler hands out.
            kwargs={
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "application_name": "leadq",
                "prepare_threshold": None,
            },
            check=ConnectionPool.check_connection,
            open=True,
        )
    return Store(pool, statement_timeout_seconds)
