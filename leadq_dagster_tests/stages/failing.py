"""Connections cut for real, at a statement of choice: by the store's server, or by the replica's."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from psycopg import Cursor
from psycopg.rows import TupleRow
from sqlalchemy import event

from leadq_dagster.store.connection import Store
from leadq_dagster_tests.servers.databases import ReplicaDatabase

When = Literal["after the statement", "after the commit"]


@dataclass
class Countdown:
    """Runs out at the `at`-th step, once; `is_over` tells whether there were that many."""

    at: int
    steps: int = 0

    @property
    def is_over(self) -> bool:
        return self.steps >= self.at

    def step(self) -> bool:
        self.steps += 1
        return self.steps == self.at


@dataclass
class _CutCursor:
    """Stands in front of the real cursor; `after` hears of each statement."""

    cursor: Cursor[TupleRow]
    after: Callable[[Cursor[TupleRow]], None]

    def execute(self, *arguments: Any) -> Cursor[TupleRow]:
        answer = self.cursor.execute(*arguments)
        self.after(self.cursor)
        return answer

    @property
    def connection(self) -> "_CutConnection":
        return _CutConnection(self.cursor.connection, self.after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)

    def __iter__(self) -> Iterator[TupleRow]:
        return iter(self.cursor)


@dataclass
class _CutConnection:
    """Its cursors are counted too."""

    connection: psycopg.Connection[TupleRow]
    after: Callable[[Cursor[TupleRow]], None]

    def cursor(self) -> _CutCursor:
        return _CutCursor(self.connection.cursor(), self.after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@dataclass
class CutStore(Store):
    """A store whose server ends the connection after one statement, or whose user ends after one commit.

    After one statement is before the next, and after the last of a transaction is before its commit.
    """

    store: Store
    url: str
    when: When
    countdown: Countdown

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[Cursor[TupleRow]]:
        with self.store.transaction(keep=keep) as cursor:
            yield _CutCursor(cursor, self._after)  # type: ignore[misc]
        if self.when == "after the commit" and self.countdown.step():
            raise KilledError

    def _after(self, cursor: Cursor[TupleRow]) -> None:
        if self.when == "after the statement" and self.countdown.step():
            end_backend(self.url, cursor.connection.info.backend_pid)


class KilledError(BaseException):
    """The process ends here, as far as it can tell."""


def end_backend(url: str, pid: int) -> None:
    """Terminate one connection of the server and wait until it is gone."""
    with psycopg.connect(url, autocommit=True) as connection:
        gone = connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,)).fetchone()
    assert gone == (True,)


@contextmanager
def replica_cut_at(source: ReplicaDatabase, countdown: Countdown) -> Iterator[None]:
    """The replica's server ends the reader's connection right before the countdown's statement."""

    def cut(connection: sa.Connection, *_: Any) -> None:
        engine = connection.engine
        if engine is not source.engine and engine.url.database == source.name and countdown.step():
            _kill(source, connection.connection.driver_connection)

    event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        yield
    finally:
        event.remove(sa.Engine, "before_cursor_execute", cut)


def _kill(source: ReplicaDatabase, victim: Any) -> None:
    with source.engine.connect() as killer:
        if source.engine.dialect.name == "mysql":
            killer.exec_driver_sql(f"KILL {victim.thread_id()}")
        else:
            killer.exec_driver_sql(f"SELECT pg_terminate_backend({victim.info.backend_pid}, 10000)")


def all_at_once(*works: Callable[[], object], timeout_seconds: float = 60) -> list[BaseException]:
    """Run each in a thread of its own from one starting line; what they raised."""
    line, raised = threading.Barrier(len(works)), list[BaseException]()

    def run(work: Callable[[], object]) -> None:
        try:
            line.wait(timeout_seconds)
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which looks at it
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_seconds)
    assert not any(thread.is_alive() for thread in threads)
    return raised
