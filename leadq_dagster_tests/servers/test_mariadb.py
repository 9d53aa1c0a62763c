"""The MariaDB servers are what the tests take them for."""

from datetime import datetime
from pathlib import Path

import pymysql
import pytest

from leadq_dagster_tests.servers.homes import throwaway_home
from leadq_dagster_tests.servers.mariadb import MariaDb, ReplicationPair, start_mariadb
from leadq_dagster_tests.servers.mariadb_binaries import MariaDbBinaries, find_binaries, unpacked_binaries


def shown(server: MariaDb, database: str) -> list[int]:
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM seen ORDER BY id")
        return [row["id"] for row in cursor.fetchall()]


def write(server: MariaDb, database: str, *statements: str) -> None:
    with server.connect(database) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_mariadb_keeps_emoji_zero_dates_and_microseconds(mariadb: MariaDb) -> None:
    """P12: the server refuses none of the odd data that old applications hold."""
    with mariadb.fresh_database() as database, mariadb.connect(database) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE odd (id BIGINT, name VARCHAR(10), never DATETIME, at DATETIME(6))")
        cursor.execute(
            "INSERT INTO odd VALUES (%s, '🦊', '0000-00-00 00:00:00', '2025-01-02 03:04:05.000006')",
            (2**53 + 1,),
        )
        cursor.execute("SELECT * FROM odd")
        (row,) = cursor.fetchall()
        assert row == {
            "id": 2**53 + 1,
            "name": "🦊",
            "never": "0000-00-00 00:00:00",
            "at": datetime(2025, 1, 2, 3, 4, 5, 6),
        }


def test_mariadb_lives_in_utc_and_has_three_accounts_with_passwords(mariadb: MariaDb) -> None:
    zone = mariadb.administer("SELECT @@time_zone AS zone")
    accounts = mariadb.administer(
        "SELECT user FROM mysql.global_priv WHERE host <> 'localhost' ORDER BY user"
    )
    assert zone == [{"zone": "+00:00"}]
    assert [row["user"] for row in accounts] == ["leadq", "replication", "root"]
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host="127.0.0.1", port=mariadb.port, user="root", password="")


def test_no_two_servers_share_a_folder_for_temporary_tables(
    mariadb: MariaDb, replication_pair: ReplicationPair
) -> None:
    """A starting server deletes the temporary tables of those who do."""
    servers = (mariadb, replication_pair.primary, replication_pair.replica)
    folders = {server.administer("SELECT @@tmpdir AS folder")[0]["folder"] for server in servers}
    assert len(folders) == len(servers)


def test_replica_refuses_writes_of_the_ordinary_user(
    replication_pair: ReplicationPair, replicated_database: str
) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="read-only"):
        write(replication_pair.replica, replicated_database, "CREATE TABLE seen (id INT)")


def test_stopped_replica_shows_rows_only_after_it_applies_again(
    replication_pair: ReplicationPair, replicated_database: str
) -> None:
    write(replication_pair.primary, replicated_database, "CREATE TABLE seen (id INT PRIMARY KEY)")
    replication_pair.wait_until_caught_up()
    replication_pair.stop_applying()
    write(replication_pair.primary, replicated_database, "INSERT INTO seen VALUES (1)")
    with pytest.raises(TimeoutError, match='"Slave_SQL_Running": "No"'):
        replication_pair.wait_until_caught_up(timeout_seconds=0.5)
    assert shown(replication_pair.replica, replicated_database) == []
    replication_pair.start_applying()
    replication_pair.wait_until_caught_up()
    assert shown(replication_pair.replica, replicated_database) == [1]


def test_delayed_replica_shows_a_row_late_and_reset_shows_it_at_once(
    replication_pair: ReplicationPair, replicated_database: str
) -> None:
    write(replication_pair.primary, replicated_database, "CREATE TABLE seen (id INT PRIMARY KEY)")
    replication_pair.wait_until_caught_up()
    replication_pair.delay(3600)
    write(replication_pair.primary, replicated_database, "INSERT INTO seen VALUES (1)")
    with pytest.raises(TimeoutError, match='"SQL_Delay": 3600'):
        replication_pair.wait_until_caught_up(timeout_seconds=0.5)
    assert shown(replication_pair.replica, replicated_database) == []
    replication_pair.reset()
    assert shown(replication_pair.replica, replicated_database) == [1]


def test_replica_is_caught_up_when_a_test_begins(replication_pair: ReplicationPair) -> None:
    status = replication_pair.replica.administer("SHOW SLAVE STATUS")[0]
    running = (status["Slave_IO_Running"], status["Slave_SQL_Running"], status["SQL_Delay"])
    assert running == ("Yes", "Yes", 0)
    replication_pair.wait_until_caught_up(timeout_seconds=2)


def as_if_unpacked(folder: Path, found: MariaDbBinaries) -> Path:
    """A folder laid out as unpacked packages are, made of links to the programs there are."""
    if found.unpacked is not None:
        folder.symlink_to(found.unpacked)
        return folder
    base = found.server.parents[1]
    for part in ("sbin", "bin", "share/mysql"):
        target = folder / "usr" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(base / part)
    (folder / "usr/lib").mkdir()
    return folder


def test_unpacked_programs_serve_from_a_path_with_spaces() -> None:
    found = find_binaries()
    assert found is not None
    with throwaway_home() as home:
        unpacked = as_if_unpacked(home / "a path with spaces", found)
        with start_mariadb(home, unpacked_binaries(unpacked)) as server:
            base = server.administer("SELECT @@basedir AS base")[0]["base"]
    assert base.rstrip("/") == str(home / "programs" / "usr")
