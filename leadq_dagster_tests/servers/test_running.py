"""The servers of a run end with it, whatever ends it, and leave nothing behind."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.embedded.processes import ProcessStamp, are_gone, wait_until
from leadq_dagster_tests.servers import homes
from leadq_dagster_tests.servers.databases import ReplicaDatabase, fresh_postgres_database
from leadq_dagster_tests.servers.mariadb import ReplicationPair
from leadq_dagster_tests.servers.running import Servers

PROJECT = Path(__file__).resolve().parents[2]
GONE_SECONDS = 20
CONTROLLER = """
import sys
from leadq_dagster_tests.servers.mariadb import ReplicationPair
from leadq_dagster_tests.servers.running import start_servers
with start_servers() as servers:
    print(servers.to_json(), servers.postgres().port, sep="\\n", flush=True)
    sys.stdin.read()
"""


def descendants(pid: int) -> Iterator[ProcessStamp]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            stamp = ProcessStamp.of(int(child))
            if stamp is not None:
                yield stamp
            yield from descendants(int(child))


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def controller(home_parent: Path) -> Iterator[tuple["subprocess.Popen[str]", Servers, int]]:
    """A process of its own that has started all servers, below a temporary folder of its own."""
    environment = {**os.environ, "TMPDIR": str(home_parent)}
    # However the tests were started: a shell starts background programs with SIGINT ignored.
    command = ["env", "--default-signal=INT", sys.executable, "-c", CONTROLLER]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, Servers.from_json(process.stdout.readline()), int(process.stdout.readline())
        process.kill()


def test_killed_controller_leaves_no_server() -> None:
    with homes.throwaway_home() as parent, controller(parent) as (process, servers, postgres_port):
        family = list(descendants(process.pid))
        pair = servers.pair
        ports = [postgres_port, servers.mariadb.port, pair.primary.port, pair.replica.port]
        assert len(family) >= len(ports)
        assert all(is_served(port) for port in ports)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert wait_until(lambda: are_gone(family), GONE_SECONDS)
        # A killed process counts as gone a moment before its last thread lets go of the port.
        assert wait_until(lambda: not any(is_served(port) for port in ports), GONE_SECONDS)


def test_interrupted_controller_leaves_no_server_and_no_file() -> None:
    with homes.throwaway_home() as parent, controller(parent) as (process, servers, _):
        family = list(descendants(process.pid))
        process.send_signal(signal.SIGINT)
        process.wait(GONE_SECONDS)
        assert are_gone(family)
        assert not servers.home.exists()


def test_second_process_waits_for_the_pair(servers: Servers, replication_pair: ReplicationPair) -> None:
    with (servers.home / "replication.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert replication_pair == servers.pair


def test_home_of_a_killed_run_is_swept_and_one_in_use_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = time.time() - 2 * homes.SWEEP_AFTER_SECONDS
    with homes.throwaway_home() as parent:
        monkeypatch.setattr(tempfile, "tempdir", str(parent))
        abandoned = parent / f"{homes.PREFIX}abandoned"
        abandoned.mkdir()
        os.utime(abandoned, (long_ago, long_ago))
        with homes.throwaway_home() as used:
            os.utime(used, (long_ago, long_ago))
            homes.sweep_abandoned_homes()
            assert used.exists()
        assert not abandoned.exists()


def test_store_and_empty_database_are_two_and_one_has_the_schema(store_url: str, empty_database: str) -> None:
    assert store_url != empty_database
    assert tables(store_url) > {"user_call_scores", "call_queue", "conversions"}
    assert tables(empty_database) == set()


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


def test_databases_of_a_test_are_dropped_though_somebody_is_connected(postgres: EmbeddedPostgres) -> None:
    with fresh_postgres_database(postgres) as name:
        left_open = psycopg.connect(postgres.url(name))
    with left_open, pytest.raises(psycopg.errors.AdminShutdown):
        left_open.execute("SELECT 1")


def test_replica_database_has_the_firms_tables(replica_db: ReplicaDatabase) -> None:
    with replica_db.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == 0
