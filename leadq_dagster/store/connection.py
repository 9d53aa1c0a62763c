"""Connections to the store: a bounded pool, and transactions with a time limit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, LiteralString, Self, TypeVar

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, namedtuple_row
from psycopg_pool import ConnectionPool

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.store.errors import store_errors

Answer = TypeVar("Answer")

CONNECT_TIMEOUT_SECONDS = 10
# A process that stops within a transaction must not keep its locks for long.
SET_LIMITS = (
    "SELECT set_config('statement_timeout', %s, true) AS statement,"
    " set_config('idle_in_transaction_session_timeout', %s, true) AS idling"
)
# A plan is made once a connection, often while the tables are still empty, and must fit a full one: every
# statement of the desk finds its rows by an index, one after the other, and is to be planned so.
SET_SESSION_LIMITS = (
    "SELECT set_config('statement_timeout', %(limit)s, false),"
    " set_config('idle_in_transaction_session_timeout', %(limit)s, false),"
    # Where there is such a setting, since PostgreSQL 17: also who stops between sending and waiting is cut
    # off. Twice what the longest statement of the desk may take, which counts everybody.
    " (SELECT set_config(name, '2min', false) FROM pg_settings WHERE name = 'transaction_timeout'),"
    " set_config('plan_cache_mode', 'force_generic_plan', false),"
    " set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),"
    " set_config('enable_mergejoin', 'off', false)"
)


class PipelineCursor(Cursor[TupleRow]):
    """Waits for rows with a Sync, where psycopg's own asks for a flush.

    After a Sync the server waits for us, and its limit on idling within a transaction holds: a process that
    is stopped there must not keep its locks. After a flush it would be busy for ever.
    """

    def _fetch_pipeline(self) -> None:
        if self._conn._pipeline and not self.pgresult:
            self._conn._pipeline.sync()


class Later(Generic[Answer]):
    """The answer to a statement that has been sent; call it to wait for the answer.

    In a pipelined transaction several statements are on their way at once, and cost one round trip together.
    """

    def __init__(
        self,
        cursor: Cursor[TupleRow],
        statement: LiteralString,
        parameters: Mapping[str, Any],
        read: Callable[[Cursor[TupleRow]], Answer],
    ) -> None:
        self._cursor = cursor.connection.cursor()
        self._cursor.execute(statement, parameters)
        self._read = read

    def __call__(self) -> Answer:
        """The answer, once it is here."""
        return self._read(self._cursor)


class Store:
    """The store, opened. Every method raises TransientError or PermanentError, never a driver's error."""

    def __init__(self, pool: ConnectionPool, limit: str | None, *, is_pipelined: bool = False) -> None:
        self._pool = pool
        self._limit = limit
        self._is_pipelined = is_pipelined

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
        with store_errors(), self._pool.connection() as connection:
            with (
                connection.pipeline() if self._is_pipelined else nullcontext(),
                connection.cursor(row_factory=namedtuple_row) as cursor,
            ):
                if self._limit:
                    cursor.execute(SET_LIMITS, [self._limit, self._limit])
                yield cursor
                # In a pipeline it is sent with the last statements; what ends the pipeline waits for all.
                ended = connection.cursor().execute("COMMIT" if keep else "ROLLBACK", prepare=False)
            # The server rolls back a transaction that has failed, also where the block went on all the same.
            if keep and ended.statusmessage != "COMMIT":
                raise PermanentError("store: nothing was stored, for a statement had failed (DATABASE_URL)")


def open_store(url: str, *, statement_timeout_seconds: int = 30, pool_size: int = 4) -> Store:
    """The store at `url` with at most `pool_size` connections, fit for a pooler in between.

    Raises PermanentError when the URL leads nowhere and TransientError when the server does not answer.
    """
    # A statement prepared on one server connection is unknown on the next that a pooler hands out.
    pool = _pool(url, pool_size, prepare_threshold=None, check=ConnectionPool.check_connection)
    return Store(pool, f"{statement_timeout_seconds}s")


def open_direct_store(url: str, *, statement_timeout_seconds: int = 5, pool_size: int = 4) -> Store:
    """The store for who asks the same few things all day: statements are planned once a connection.

    Within a transaction statements are sent without waiting for those before; whoever wants rows waits for
    those. The time limits are the connection's, and a connection is not tried before it is used: what a cut
    one was asked is to be asked again. So it leads to the server itself, with no transaction pooler in
    between.
    """
    seconds = f"{statement_timeout_seconds}s"

    def set_limits(connection: Connection[TupleRow]) -> None:
        connection.execute(SET_SESSION_LIMITS, {"limit": seconds})
        connection.commit()

    pool = _pool(url, pool_size, prepare_threshold=1, cursor_factory=PipelineCursor, configure=set_limits)
    return Store(pool, None, is_pipelined=True)


def _pool(
    url: str,
    size: int,
    *,
    prepare_threshold: int | None,
    cursor_factory: type[Cursor[TupleRow]] = Cursor,
    **options: Any,
) -> ConnectionPool:
    with store_errors():
        # A pool hides why it cannot connect; one plain connection first tells.
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
        return ConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT_SECONDS,
            kwargs={
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "application_name": "leadq",
                "prepare_threshold": prepare_threshold,
                "cursor_factory": cursor_factory,
            },
            open=True,
            **options,
        )
