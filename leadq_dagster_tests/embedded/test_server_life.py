"""How long a server lives: with its starter, beyond its own death, and no longer."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.embedded import keeper
from leadq_dagster.embedded.postgres import (
    AlreadyRunning,
    EmbeddedPostgres,
    running_postgres,
    start_postgres,
)
from leadq_dagster.embedded.processes import ProcessStamp, wait_until
from leadq_dagster_tests.embedded.conftest import Starter

DEADLINE_SECONDS = 30.0

StartElsewhere = Callable[..., Starter]


def said(starter: Starter) -> list[str]:
    """The words of the starter's next line."""
    assert starter.stdout is not None
    return starter.stdout.readline().split()


def kill_server(server: EmbeddedPostgres) -> None:
    """Kill the server's process and wait until another one has taken its place."""
    old = server.pid
    assert old is not None
    os.kill(old, signal.SIGKILL)
    assert wait_until(lambda: server.pid not in (None, old) and server.answers(), DEADLINE_SECONDS)


def test_a_started_server_answers_at_its_url_and_others_can_attach(server: EmbeddedPostgres) -> None:
    server.ensure_database("a store")
    attached = running_postgres(server.home)
    assert attached is not None
    with psycopg.connect(attached.url("a store")) as link:
        assert link.execute("SELECT current_database(), current_user").fetchone() == ("a store", "leadq")
        assert link.execute("SHOW timezone").fetchone() == ("UTC",)
        assert link.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert link.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert link.execute("SHOW unix_socket_directories").fetchone() == ("",)
    attached.close()
    server.check()


def test_a_database_asked_for_by_many_at_once_is_made_once(server: EmbeddedPostgres) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(server.ensure_database, ["store"] * 16))
    with psycopg.connect(server.url("store")) as link:
        assert link.execute("SELECT 1").fetchone() == (1,)


def test_after_close_nothing_runs_and_the_next_start_finds_data_and_port_again(home: Path) -> None:
    with start_postgres(home) as first:
        port = first.port
        first.ensure_database("store")
        stamp = ProcessStamp.of(first.pid or 0)
    assert stamp is not None
    assert not stamp.is_alive()
    assert running_postgres(home) is None
    with start_postgres(home) as second, psycopg.connect(second.url("store")) as link:
        assert second.port == port
        assert link.execute("SHOW fsync").fetchone() == ("on",)


def test_a_second_starter_is_refused_and_told_who_runs_the_server(server: EmbeddedPostgres) -> None:
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} on port {server.port}") as refused:
        start_postgres(server.home)
    assert (refused.value.pid, refused.value.port) == (os.getpid(), server.port)
    server.check()


def test_of_starters_at_the_same_time_one_wins(home: Path, start_elsewhere: StartElsewhere) -> None:
    starters = [start_elsewhere(home) for _ in range(3)]
    assert sorted(said(starter)[0] for starter in starters) == ["AlreadyRunning", "AlreadyRunning", "started"]


def test_the_server_ends_when_its_starter_is_killed_and_the_home_is_free_again(
    home: Path, start_elsewhere: StartElsewhere
) -> None:
    starter = start_elsewhere(home)
    stamp = ProcessStamp.of(int(said(starter)[1]))
    assert stamp is not None
    starter.kill()
    assert wait_until(lambda: not stamp.is_alive(), DEADLINE_SECONDS)
    assert running_postgres(home) is None
    with start_postgres(home, durable=False) as again:
        again.check()


def test_the_next_starter_lets_the_server_of_a_killed_one_end_in_good_order(
    home: Path, start_elsewhere: StartElsewhere
) -> None:
    starter = start_elsewhere(home)
    pid = int(said(starter)[1])
    os.kill(pid, signal.SIGSTOP)
    starter.kill()
    starter.wait()
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGCONT))
    timer.start()
    with start_postgres(home, durable=False) as again:
        again.check()
        assert again.pid != pid
    timer.join()
    assert "not properly shut down" not in (home / "postgres.log").read_text()


def test_a_forked_child_does_not_keep_the_home_of_its_dead_parent(
    home: Path, start_elsewhere: StartElsewhere
) -> None:
    starter = start_elsewhere(home, after="import os; os.fork() or print('forked', flush=True)")
    assert said(starter)[0] == "started"
    assert said(starter)[0] == "forked"
    starter.kill()
    starter.wait()
    with start_postgres(home, durable=False) as again:
        again.check()


def test_the_server_outlives_the_thread_that_asked_for_it(home: Path) -> None:
    started: list[EmbeddedPostgres] = []
    thread = threading.Thread(target=lambda: started.append(start_postgres(home, durable=False)))
    thread.start()
    thread.join()
    with started[0] as server:
        stamp = ProcessStamp.of(server.pid or 0)
        assert stamp is not None
        assert not wait_until(lambda: not stamp.is_alive(), 0.5)


def test_a_killed_server_is_back_on_its_port_with_what_was_committed(home: Path) -> None:
    with start_postgres(home) as server:
        with psycopg.connect(server.url("postgres")) as link:
            link.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        for _ in range(2):
            kill_server(server)
            with psycopg.connect(server.url("postgres")) as link:
                assert link.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_killed_server_comes_back_though_a_child_of_it_works_on(server: EmbeddedPostgres) -> None:
    busy = psycopg.connect(server.url("postgres"), autocommit=True)

    def work() -> None:
        with pytest.raises(psycopg.OperationalError):
            busy.execute("DO 'BEGIN WHILE clock_timestamp() < now() + interval ''2 min'' LOOP END LOOP; END'")

    thread = threading.Thread(target=work)
    thread.start()
    with psycopg.connect(server.url("postgres"), autocommit=True) as watcher:
        active = "SELECT FROM pg_stat_activity WHERE query LIKE 'DO%%' AND pid = %s"
        pid = busy.info.backend_pid
        assert wait_until(lambda: watcher.execute(active, [pid]).rowcount == 1, DEADLINE_SECONDS)
    kill_server(server)
    thread.join(DEADLINE_SECONDS)
    busy.close()
    assert not thread.is_alive()


def test_a_server_that_cannot_be_started_again_is_given_up_and_says_why(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PAUSE_SECONDS", 0.001)
    control = server.home / "data" / "global" / "pg_control"
    control.rename(control.with_name("hidden"))
    os.kill(server.pid or 0, signal.SIGKILL)

    def is_given_up() -> bool:
        try:
            server.check()
        except PermanentError:
            return True
        except TransientError:
            return False
        return False

    assert wait_until(is_given_up, DEADLINE_SECONDS)
    with pytest.raises(PermanentError, match=r"not started again.*postgres\.log"):
        server.check()
    server.close()
    control.with_name("hidden").rename(control)
    with start_postgres(server.home, durable=False) as again:
        again.check()
