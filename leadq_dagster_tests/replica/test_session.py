"""Connections to the replica: they cannot write, cannot hang, and heal."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import PermanentError, RefusedError, TransientError
from leadq_dagster.firm import schema
from leadq_dagster.replica.address import replica_url
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.replica.session import Session
from leadq_dagster_tests.replica.rows import TEN, add_users, ids, user, wait_until
from leadq_dagster_tests.replica.wire import Wire
from leadq_dagster_tests.servers.databases import ReplicaDatabase


def session_on(database: ReplicaDatabase, seconds: int = 30, pool_size: int = 2) -> Session:
    return Session(replica_url(database.url), statement_timeout_seconds=seconds, pool_size=pool_size)


def is_mariadb(database: ReplicaDatabase) -> bool:
    return database.engine.dialect.name == "mysql"


def cut_connections(database: ReplicaDatabase) -> int:
    """Cut everybody else's connections to this database at the server; says how many there were."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not is_mariadb(database):
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            cut = sa.text(f"SELECT count(pg_terminate_backend(pid, 5000)) {others}")
            return int(connection.scalar(cut) or 0)
        others = (
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        found = connection.scalars(sa.text(others)).all()
        for each in found:
            connection.execute(sa.text(f"KILL {each:d}"))
        # KILL only asks: until the server has acted, a ping may still be answered.
        wait_until(lambda: not connection.scalars(sa.text(others)).all())
        return len(found)


@pytest.mark.parametrize(
    "write",
    [
        schema.users.insert().values(id=1, is_enabled=1),
        schema.users.update().values(status="x"),
        schema.users.delete(),
        sa.text("CREATE TABLE mine (id INT)"),
        sa.text("DROP TABLE heartbeat"),
    ],
    ids=["insert", "update", "delete", "create", "drop"],
)
def test_nothing_can_be_written_to_the_replica(replica_db: ReplicaDatabase, write: sa.Executable) -> None:
    """The user of these tests may write, so it is the session that refuses."""
    session = session_on(replica_db)
    add_users(replica_db.engine, user(7))
    with pytest.raises(PermanentError, match="only reads"):
        session.read(lambda connection: connection.execute(write))
    session.close()
    assert sa.inspect(replica_db.engine).has_table("heartbeat")
    with replica_db.engine.connect() as connection:
        assert connection.execute(sa.select(schema.users.c.id, schema.users.c.status)).all() == [
            (7, "active")
        ]


def test_a_statement_is_cut_off_after_its_time(replica_db: ReplicaDatabase) -> None:
    session = session_on(replica_db, seconds=1)
    sleep = "SELECT SLEEP(20)" if is_mariadb(replica_db) else "SELECT pg_sleep(20)"
    with pytest.raises(TransientError, match="in time"):
        session.read(lambda connection: connection.execute(sa.text(sleep)).all())
    assert session.read(lambda connection: connection.scalar(sa.select(1))) == 1
    session.close()


def test_the_session_is_in_utc_unicode_and_repeatable_read_whatever_the_defaults(
    replica_db: ReplicaDatabase,
) -> None:
    """P12: defaults of the server and options of the URL say otherwise here."""
    set_mariadb = "SET time_zone = '+05:00', tx_isolation = 'READ-COMMITTED'"
    otherwise = (
        {"charset": "latin1", "init_command": set_mariadb}
        if is_mariadb(replica_db)
        else {"client_encoding": "latin1", "options": "-c TimeZone=Asia/Tokyo"}
    )
    told_by = (
        "SELECT @@time_zone, @@tx_isolation, @@character_set_results"
        if is_mariadb(replica_db)
        else "SELECT current_setting('TimeZone'), current_setting('transaction_isolation'),"
        " current_setting('client_encoding')"
    )
    url = replica_url(replica_db.url).update_query_dict(otherwise)
    session = Session(url, statement_timeout_seconds=30, pool_size=1)
    told = session.read(lambda connection: tuple(connection.execute(sa.text(told_by)).one()))
    session.close()
    assert told in [("+00:00", "REPEATABLE-READ", "utf8mb4"), ("UTC", "repeatable read", "UTF8")]


def test_reading_goes_on_after_the_server_cut_an_idle_connection(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P6: as after a night without work, a server's wait_timeout or its restart."""
    add_users(replica_db.engine, user(1, created_at=TEN))
    assert ids(replica) == [1]
    assert cut_connections(replica_db) == 1
    assert ids(replica) == [1]


def test_an_idle_time_out_of_the_server_itself_is_survived(mariadb_db: ReplicaDatabase) -> None:
    session = session_on(mariadb_db, pool_size=1)

    def shorten(connection: sa.Connection) -> int:
        connection.execute(sa.text("SET SESSION wait_timeout = 1"))
        return int(connection.scalar(sa.text("SELECT CONNECTION_ID()")) or 0)

    first = session.read(shorten)
    alive = sa.text("SELECT COUNT(*) FROM information_schema.processlist WHERE id = :first")
    with mariadb_db.engine.connect() as watcher:
        wait_until(lambda: watcher.scalar(alive, {"first": first}) == 0)
    assert session.read(lambda connection: connection.scalar(sa.text("SELECT CONNECTION_ID()"))) != first
    session.close()


def test_a_connection_cut_in_the_middle_of_a_read_is_worth_another_try(replica_db: ReplicaDatabase) -> None:
    session = session_on(replica_db)

    def cut_ourselves(connection: sa.Connection) -> None:
        connection.execute(sa.select(1))
        cut_connections(replica_db)
        connection.execute(sa.select(1))

    with pytest.raises(TransientError, match="cut the connection"):
        session.read(cut_ourselves)
    assert session.read(lambda connection: connection.scalar(sa.select(1))) == 1
    session.close()


def test_more_threads_than_connections_read_the_same_and_every_statement_is_counted(
    replica_db: ReplicaDatabase,
) -> None:
    add_users(replica_db.engine, *(user(n, created_at=TEN) for n in range(7)))
    with open_replica(replica_db.url, batch_rows=3, pool_size=2) as replica:
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: ids(replica), range(40)))
        assert found == [list(range(7))] * 40
        assert replica.queries == 40 * 4  # pages of 3, 3 and 1 created, one empty page of updated
        assert cut_connections(replica_db) <= 2


def test_a_pool_in_use_is_an_error_that_another_try_may_heal(
    replica_db: ReplicaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadq_dagster.replica.session.POOL_TIMEOUT_SECONDS", 0.05)
    session = session_on(replica_db, pool_size=1)
    with pytest.raises(TransientError, match="connections to the replica are in use"):
        session.read(lambda _: session.read(lambda connection: connection.scalar(sa.select(1))))
    session.close()


def test_opening_connects_to_nothing() -> None:
    """P38: definitions may build a replica without asking it anything."""
    with open_replica("mysql://u:p@127.0.0.1:1/firm") as replica:
        assert replica.queries == 0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which TCP connects and then nobody says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_a_server_that_never_greets_is_given_up_after_the_time_to_connect(
    silent_port: int, scheme: str
) -> None:
    """By default it would be 10 seconds. PostgreSQL's driver waits 2 seconds at least."""
    url = f"{scheme}://u:p@127.0.0.1:{silent_port}/firm"
    started = time.monotonic()
    with (
        open_replica(url, connect_timeout_seconds=1) as replica,
        pytest.raises(TransientError, match="does not answer"),
    ):
        replica.read_users([1])
    took = time.monotonic() - started
    assert took < 5
    assert took >= 1


def test_a_statement_may_take_longer_than_connecting(mariadb_db: ReplicaDatabase) -> None:
    """The bound of the greeting is not left behind on the connection."""
    limits = {"statement_timeout_seconds": 30, "connect_timeout_seconds": 1}
    session = Session(replica_url(mariadb_db.url), pool_size=1, **limits)
    assert session.read(lambda connection: connection.scalar(sa.text("SELECT SLEEP(1.2)"))) == 0
    session.close()


def test_a_server_that_goes_silent_is_given_up_after_both_times(mariadb_db: ReplicaDatabase) -> None:
    """P6: an idle connection in the pool leads to a host that is gone; another try connects anew."""
    with (
        Wire(mariadb_db.url) as wire,
        open_replica(
            wire.url, statement_timeout_seconds=1, connect_timeout_seconds=1, pool_size=1
        ) as replica,
    ):
        assert replica.read_users([1]) == []
        wire.cut()
        started = time.monotonic()
        with pytest.raises(TransientError, match="does not answer"):
            replica.read_users([1])
        assert time.monotonic() - started < 8  # 2 for the ping, 1 for connecting; by default 40 and 10
        wire.mend()
        assert replica.read_users([1]) == []


def test_postgres_sockets_are_given_up_by_the_kernel(postgres_db: ReplicaDatabase) -> None:
    """What waits to be acknowledged by a silent host would be sent again for a quarter of an hour."""
    session = Session(
        replica_url(postgres_db.url), statement_timeout_seconds=3, connect_timeout_seconds=2, pool_size=1
    )

    def options(connection: sa.Connection) -> list[int]:
        with socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
            names = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            return [wire.getsockopt(socket.IPPROTO_TCP, name) for name in names]

    assert session.read(options) == [5000, 5, 2]
    session.close()


@pytest.mark.parametrize("limit", ["statement_timeout_seconds", "connect_timeout_seconds", "pool_size"])
def test_a_bound_of_nothing_is_refused(limit: str) -> None:
    with pytest.raises(RefusedError, match="time-outs"):
        open_replica("mysql://u:p@127.0.0.1:1/firm", **{limit: 0})
