"""Database backends ended under load, and the whole server killed: whoever asks again is answered, once."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.embedded.postgres import EmbeddedPostgres, start_postgres
from leadq_dagster.store.migrations import upgrade
from leadq_dagster_tests.desk.at_work import AtWork, at_work
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.homes import throwaway_home
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.simulation.desk_many import agent_at_work, audit
from leadq_dagster_tests.store.waiting import wait_until

AGENTS, TURNS = 8, 25
# Of this test's own databases: the server has those of every other test too.
BACKENDS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'leadq' AND datname = ANY (%s)
"""


@pytest.fixture
def durable_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that keeps what it has committed even when it is killed."""
    with throwaway_home() as home, start_postgres(home / "postgres") as server:
        yield server


def under_load(work: AtWork, trouble: Callable[[Counter[str]], object]) -> Counter[str]:
    """Agents take and report at two desks while there is trouble; what they counted."""
    work.many_leads(60)
    names = [work.agent() for _ in range(AGENTS)]
    counted, raised = Counter[str](), list[BaseException]()
    with at_work(work.store_url, work.source) as other:
        other.clock.now = work.clock.now

        def run(desk: AssignmentDesk, agent_id: int) -> None:
            try:
                agent_at_work(desk, agent_id, TURNS, Random(agent_id), counted, [])
            except BaseException as error:  # noqa: BLE001 - handed to the test, which looks at it
                raised.append(error)

        threads = [
            threading.Thread(target=run, args=((work, other)[place % 2].desk, agent_id), daemon=True)
            for place, agent_id in enumerate(names)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            trouble(counted)
        assert raised == []
    assert audit(work.store_url) == {}
    told = work.rows("SELECT count(*) FROM call_outcomes")
    assert told == [(counted["reported"] + counted["late"],)]
    return counted


def progress(counted: Counter[str], by: int) -> None:
    """Wait until the agents have taken so many more leads, or are through."""
    goal = min(counted["taken"] + counted["no work"] + by, AGENTS * TURNS)
    wait_until(lambda: counted["taken"] + counted["no work"] >= goal or is_over(counted), 120)


def is_over(counted: Counter[str]) -> bool:
    return counted["taken"] + counted["no work"] >= AGENTS * TURNS


def test_backends_ended_under_load_lose_and_double_nothing(work: AtWork) -> None:
    """P15, P19, P20: all connections of all desks, again and again."""
    ended = Counter[str]()
    own = [work.source.name, sa.make_url(work.store_url).database]

    def end_all(counted: Counter[str]) -> None:
        progress(counted, 20)
        with psycopg.connect(work.store_url, autocommit=True) as connection:
            ended["backends"] += connection.execute(BACKENDS, [own]).rowcount

    counted = under_load(work, end_all)
    assert ended["backends"] > 5
    assert counted["reported"] > 50


def test_the_whole_server_killed_under_load_loses_and_doubles_nothing(
    durable_postgres: EmbeddedPostgres, servers: Servers
) -> None:
    """P15, P19, P20: kill -9 of PostgreSQL, twice; the desks go on by themselves when it is back."""
    durable_postgres.ensure_database("store")
    url = durable_postgres.url("store")
    upgrade(url)
    killed: list[Any] = []

    def kill(counted: Counter[str]) -> None:
        progress(counted, 60)
        if len(killed) < 2 and not is_over(counted):
            old = durable_postgres.pid
            assert old is not None
            os.kill(old, signal.SIGKILL)
            killed.append(wait_until(lambda: durable_postgres.pid not in (None, old), 60))

    with databases.postgres_replica(servers.postgres()) as source, at_work(url, source) as work:
        counted = under_load(work, kill)
    assert len(killed) == 2
    assert counted["reported"] > 50
