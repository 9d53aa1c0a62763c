"""Connections to the replica: they cannot write, cannot hang, and heal."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.firm import schema
from leadq_dagster.replica.address import replica_url
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.replica.session import Session
from leadq_dagster_tests.replica.rows import TEN, add_users, ids, user, wait_until
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
