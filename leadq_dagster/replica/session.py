"""Connections to the replica: read only, each statement bounded in time, each transaction short."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from leadq_dagster.replica.errors import translate
from leadq_dagster.replica.infinite_dates import forgive_infinite_dates
from leadq_dagster.replica.mysql_dates import CONVERSIONS

Answer = TypeVar("Answer")

CONNECT_TIMEOUT_SECONDS = 10
POOL_TIMEOUT_SECONDS = 30
_LOGGING_NAME = "replica"


@dataclass(frozen=True)
class _Limits:
    statement_seconds: int
    connect_seconds: int

    @property
    def silence_seconds(self) -> int:
        """How long a socket waits for a server that went silent: longer than any statement may take."""
        return self.statement_seconds + self.connect_seconds

    @property
    def pool_seconds(self) -> float:
        """How long to wait for a connection in use: by then, who waits at a silent server has given up."""
        return min(POOL_TIMEOUT_SECONDS, self.silence_seconds + self.connect_seconds)


class Session:
    """A bounded pool of read-only connections to one replica, for any number of threads.

    `queries` counts the statements sent through `read`. What sets up a connection, the pool's ping
    and the ends of transactions are not counted: their number says nothing about the work.
    """

    def __init__(
        self,
        url: URL,
        *,
        statement_timeout_seconds: int,
        pool_size: int,
        connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        self._lock = Lock()
        self._queries = 0
        limits = _Limits(statement_timeout_seconds, connect_timeout_seconds)
        self._engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=limits.pool_seconds,
            pool_pre_ping=True,  # heals connections that the server cut while they were idle
            hide_parameters=True,
            logging_name=_LOGGING_NAME,
            connect_args=_connect_arguments(url, limits),
        )
        _keep_rows_out_of_logs()
        if url.get_backend_name() == "mysql":
            event.listen(self._engine, "do_connect", _connect_mysql)
        _set_up_each_connection(self._engine, limits.statement_seconds)
        event.listen(self._engine, "before_cursor_execute", self._count)

    @property
    def queries(self) -> int:
        """How many statements were sent since this session was made."""
        return self._queries

    def read(self, work: Callable[[Connection], Answer]) -> Answer:
        """What `work` answers from one short REPEATABLE READ transaction, which is then rolled back.

        Raises TransientError or PermanentError for whatever the driver raises, with no driver text in them.
        """
        try:
            with self._engine.connect() as connection:
                return work(connection)
        except (SQLAlchemyError, RuntimeError) as error:
            failure = translate(error)
        # Not inside the except block: the driver's error, which may quote data, would hang on to this one.
        raise failure

    def close(self) -> None:
        """Close the pool's idle connections; those in use close when they are returned."""
        self._engine.dispose()

    def _count(self, *_: Any) -> None:
        with self._lock:
            self._queries += 1


def _keep_rows_out_of_logs() -> None:
    """At level DEBUG, SQLAlchemy logs each row it reads, `hide_parameters` or not; people are among them."""
    logging.getLogger(f"sqlalchemy.engine.Engine.{_LOGGING_NAME}").addFilter(_is_no_detail)


def _is_no_detail(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _connect_arguments(url: URL, limits: _Limits) -> dict[str, Any]:
    if url.get_backend_name() == "mysql":
        always: dict[str, Any] = {"charset": "utf8mb4", "conv": CONVERSIONS}
        unless_in_the_url = {
            "connect_timeout": limits.connect_seconds,
            "read_timeout": limits.silence_seconds,
            "write_timeout": limits.silence_seconds,
            "program_name": "leadq",
        }
    else:
        # After five uses a prepared statement gets a plan that knows no values: one for any window.
        always = {"client_encoding": "utf8", "prepare_threshold": None}
        unless_in_the_url = {
            "connect_timeout": limits.connect_seconds,
            "keepalives_idle": limits.silence_seconds,
            "keepalives_interval": limits.connect_seconds,
            # No keepalive is sent while something waits to be acknowledged, which may last 15 minutes.
            "tcp_user_timeout": limits.silence_seconds * 1000,
            "application_name": "leadq",
        }
    return always | {name: value for name, value in unless_in_the_url.items() if name not in url.query}


def _connect_mysql(
    dialect: Dialect, _: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
) -> DBAPIConnection:
    """Connect with the server's greeting awaited no longer than the connection itself.

    PyMySQL's connect_timeout ends where TCP connects; a server that accepts and then says nothing would
    hold us for as long as it may be silent later.
    """
    connection: Any = dialect.connect(*arguments, **options | {"read_timeout": options["connect_timeout"]})
    connection._read_timeout = options["read_timeout"]  # looked at before each packet; there is no setter
    return connection  # type: ignore[no-any-return]


def _set_up_each_connection(engine: Engine, statement_timeout_seconds: int) -> None:
    is_mysql = engine.dialect.name == "mysql"
    set_up = _set_up_mysql if is_mysql else _set_up_postgres

    def on_connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        set_up(connection, cursor, statement_timeout_seconds)
        cursor.close()

    # First in line: what SQLAlchemy itself asks a new connection is then asked under these limits too.
    event.listen(engine, "connect", on_connect, insert=True)


def _set_up_mysql(_: DBAPIConnection, cursor: DBAPICursor, timeout_seconds: int) -> None:
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    cursor.execute("SET SESSION time_zone = '+00:00'")  # by offset: named zones are often not loaded
    cursor.execute("SELECT VERSION()")
    row = cursor.fetchone()
    # The two names of one idea: MariaDB counts seconds and any statement, MySQL milliseconds and SELECTs.
    if row is not None and "mariadb" in str(row[0]).lower():
        cursor.execute(f"SET SESSION max_statement_time = {timeout_seconds:d}")
    else:
        cursor.execute(f"SET SESSION max_execution_time = {timeout_seconds * 1000:d}")


def _set_up_postgres(connection: Any, cursor: DBAPICursor, timeout_seconds: int) -> None:
    connection.autocommit = True  # a SET inside a transaction is undone by its rollback
    # By SET and not by start-up options, which a pooler in front of the server refuses.
    cursor.execute("SET default_transaction_read_only = on")
    cursor.execute("SET default_transaction_isolation = 'repeatable read'")
    cursor.execute(f"SET statement_timeout = {timeout_seconds * 1000:d}")
    cursor.execute("SET TIME ZONE 'UTC'")
    connection.autocommit = False
    forgive_infinite_dates(connection)
