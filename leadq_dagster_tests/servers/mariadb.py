"""MariaDB for tests: one server, or a primary with a replica whose lag a test controls."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
from pymysql.cursors import DictCursor

from leadq_dagster_tests.servers.mariadb_binaries import MariaDbBinaries
from leadq_dagster_tests.servers.mariadb_process import MariaDbProcess, MariaDbTemplate

HOST = "127.0.0.1"
CATCH_UP_SECONDS = 20


@dataclass(frozen=True)
class MariaDb:
    """A running server: how to reach it as the application's ordinary user, or as its administrator."""

    port: int
    password: str
    admin_password: str
    user: str = "leadq"

    def url(self, database: str, driver: str = "mysql") -> str:
        """The URL with its password; `driver="mysql+pymysql"` for SQLAlchemy."""
        return f"{driver}://{self.user}:{self.password}@{HOST}:{self.port}/{database}?charset=utf8mb4"

    def connect(self, database: str | None = None) -> "pymysql.Connection[DictCursor]":
        """A connection of the ordinary user, committing each statement; rows come as dicts."""
        return self._open(self.user, self.password, database)

    def administer(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Run one statement as root, who ignores read_only: writing so to a replica breaks it."""
        with self._open("root", self.admin_password, None) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The name of a new empty database that the ordinary user owns, dropped afterwards."""
        name = f"leadq_{uuid4().hex}"
        self.administer(f"CREATE DATABASE `{name}`")
        try:
            yield name
        finally:
            self.administer(f"DROP DATABASE IF EXISTS `{name}`")

    def _open(self, user: str, password: str, database: str | None) -> "pymysql.Connection[DictCursor]":
        return pymysql.connect(
            host=HOST,
            port=self.port,
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            cursorclass=DictCursor,
        )


@dataclass(frozen=True)
class ReplicationPair:
    """A primary and its read-only replica. The lag belongs to the pair: one test at a time may use it."""

    primary: MariaDb
    replica: MariaDb

    def stop_applying(self) -> None:
        """From here on the replica receives changes and shows none of them."""
        self.replica.administer("STOP SLAVE SQL_THREAD")

    def start_applying(self) -> None:
        """Apply what was held back, and what follows; `wait_until_caught_up` says when that is done."""
        self.replica.administer("START SLAVE SQL_THREAD")

    def delay(self, seconds: int) -> None:
        """Show each change this many seconds after the primary made it; 0 for as soon as possible."""
        self.replica.administer("STOP SLAVE")
        self.replica.administer("CHANGE MASTER TO MASTER_DELAY = %s", (seconds,))
        self.replica.administer("START SLAVE")

    def wait_until_caught_up(self, timeout_seconds: float = CATCH_UP_SECONDS) -> None:
        """Return once the replica shows what the primary committed. Raises TimeoutError with the reason."""
        position = self.primary.administer("SELECT @@gtid_binlog_pos AS position")[0]["position"]
        waited = self.replica.administer(
            "SELECT MASTER_GTID_WAIT(%s, %s) AS result", (position, timeout_seconds)
        )
        if waited[0]["result"] != 0:
            raise TimeoutError(f"the replica did not catch up in {timeout_seconds} s: {self._trouble()}")

    def reset(self) -> None:
        """Back to applying at once, with nothing held back."""
        self.delay(0)
        self.wait_until_caught_up()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The name of a new empty database on both servers; made before, dropped after, whatever the lag."""
        with self.primary.fresh_database() as name:
            self.wait_until_caught_up()
            yield name

    def _trouble(self) -> str:
        status = self.replica.administer("SHOW SLAVE STATUS")[0]
        told = ("Slave_IO_Running", "Last_IO_Error", "Slave_SQL_Running", "Last_SQL_Error", "SQL_Delay")
        return json.dumps({name: status[name] for name in told})


def begin_pair(template: MariaDbTemplate) -> tuple[MariaDbProcess, MariaDbProcess]:
    """Start both servers of a pair without waiting for them; `join_pair` makes them one."""
    primary = MariaDbProcess(
        template, "primary", ["--server-id=1", "--log-bin=binlog", "--binlog-format=ROW"]
    )
    return primary, MariaDbProcess(
        template, "replica", ["--server-id=2", "--relay-log=relay", "--read-only=1"]
    )


def join_pair(template: MariaDbTemplate, processes: tuple[MariaDbProcess, MariaDbProcess]) -> ReplicationPair:
    """Wait for both servers and let the replica follow the primary by GTID, asking again each second."""
    pair = ReplicationPair(*(ready(template, process) for process in processes))
    pair.replica.administer(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = 'replication',"
        " MASTER_PASSWORD = %s, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
        (HOST, pair.primary.port, template.replication_password),
    )
    pair.reset()
    return pair


def ready(template: MariaDbTemplate, process: MariaDbProcess) -> MariaDb:
    """Wait for a process that was begun and say how to reach it."""
    process.wait_until_ready()
    return MariaDb(process.port, template.password, template.admin_password)


@contextmanager
def start_mariadb(home: Path, binaries: MariaDbBinaries | None = None) -> Iterator[MariaDb]:
    """One throwaway server whose files are below `home`, killed at the end or with this process."""
    with MariaDbTemplate(home, binaries) as template:
        yield ready(template, MariaDbProcess(template, "single"))


def pair_from(handed: dict[str, Any]) -> ReplicationPair:
    """The pair that `dataclasses.asdict` took apart."""
    return ReplicationPair(MariaDb(**handed["primary"]), MariaDb(**handed["replica"]))
