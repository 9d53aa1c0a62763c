"""The desk over HTTP: `leadq serve` on a real replica, beside the bare statements under pgbench."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import sqlalchemy as sa

from bench.backlog import backlog, durable_server, fill, tidy
from bench.desk import AT_ONCE, LARGE, ROUNDS, told
from bench.pgbench import BARE, CLAIM, CLAIM_AND_COMPLETE, Pace, in_turn, percentile, pgbench
from bench.report import Row
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.firm.schema import create_tables
from leadq_dagster.store.agents import token_hash
from leadq_dagster_tests.servers.running import Servers

PROJECT = Path(__file__).parents[1]
SECONDS = 5.0
EVERYBODY = (
    "INSERT INTO users (id, first_name, last_name, phone_number, is_enabled, status, created_at, updated_at)"
    " SELECT n, 'A', 'B', '1', 1, 'active', now(), now() FROM generate_series(1, :leads) AS n"
)


# Who takes only is freed of the lead aside, and needs no report: agents enough that somebody always is free.
TAKERS = 384
FREED_EVERY_SECONDS = 0.05
FREE = b"""
WITH freed AS (
    UPDATE call_queue
    SET status = 'pending', available_from = 'infinity', assigned_to_agent_id = NULL, assigned_at = NULL,
        lease_expires_at = NULL
    WHERE status = 'assigned'
    RETURNING id, lease_token
)
UPDATE assignments SET ended_at = clock_timestamp(), end_reason = 'released'
FROM freed
WHERE assignments.call_queue_id = freed.id AND assignments.lease_token = freed.lease_token
"""


def measure(_: Servers) -> Iterator[Row]:
    """Leads through HTTP, each validated at a replica: taken only, and taken and reported."""
    with durable_server() as server, backlog(server, LARGE) as url, _replica(server, LARGE) as replica:
        fill(url, BARE)
        with tempfile.TemporaryDirectory() as folder:
            for processes in (1, 2):
                with _service(url, replica, processes) as port:
                    for agents in AT_ONCE:
                        yield from _beside_pgbench(url, Path(folder) / "tokens", port, agents, processes)


def _beside_pgbench(url: str, tokens: Path, port: int, agents: int, processes: int) -> Iterator[Row]:
    title = f"{agents} agents, {processes} processes"
    bare, ours = in_turn(
        ROUNDS,
        partial(pgbench, url, CLAIM, agents),
        partial(_takes, url, tokens, port, agents),
    )
    yield Row(f"HTTP, take, {title}", *told(ours, bare))
    bare, ours = in_turn(
        ROUNDS,
        partial(pgbench, url, CLAIM_AND_COMPLETE, agents),
        partial(_cycles, url, tokens, port, agents),
    )
    yield Row(f"HTTP, take + outcome, {title}", *told(ours, bare))


def _takes(url: str, tokens: Path, port: int, agents: int) -> Pace:
    tokens.write_text("\n".join(_tokens(url, TAKERS)))
    tidy(url)
    with _freeing(url):
        return _load(tokens, port, agents)


def _cycles(url: str, tokens: Path, port: int, agents: int) -> Pace:
    tokens.write_text("\n".join(_tokens(url, agents)))
    tidy(url)
    return _load(tokens, port, agents)


@contextmanager
def _freeing(url: str) -> Iterator[None]:
    """Whoever has a lead is freed of it, again and again: by the server's own work, on the same machine."""
    is_over = threading.Event()

    def free() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # past all triggers
            while not is_over.wait(FREED_EVERY_SECONDS):
                connection.execute(FREE)
            connection.execute(FREE)

    freeing = threading.Thread(target=free)
    freeing.start()
    try:
        yield
    finally:
        is_over.set()
        freeing.join()


def _load(tokens: Path, port: int, agents: int) -> Pace:
    command = [sys.executable, "-m", "bench.http_load", str(tokens), str(port), str(agents), str(SECONDS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    answer = json.loads(ran.stdout)
    takes = answer["takes_ms"]
    return Pace(len(takes) / answer["seconds"], percentile(takes, 0.5), percentile(takes, 0.99))


def _tokens(url: str, agents: int) -> list[str]:
    tokens = [f"bench-{number}" for number in range(1, agents + 1)]
    with psycopg.connect(url) as connection:
        connection.cursor().executemany(
            "UPDATE agents SET token_hash = %s WHERE id = %s",
            [(token_hash(token), number) for number, token in enumerate(tokens, 1)],
        )
    return tokens


@contextmanager
def _replica(server: EmbeddedPostgres, leads: int) -> Iterator[str]:
    """A firm in which everybody has yet to sign."""
    server.ensure_database("firm")
    engine = sa.create_engine(sa.make_url(server.url("firm")).set(drivername="postgresql+psycopg"))
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(EVERYBODY), {"leads": leads})
    engine.dispose()
    with psycopg.connect(server.url("firm"), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    yield server.url("firm")


@contextmanager
def _service(url: str, replica: str, processes: int) -> Iterator[int]:
    """The port of `leadq serve`."""
    environment = {**os.environ, "DATABASE_URL": url, "REPLICA_DATABASE_URL": replica}
    command = [str(Path(sys.executable).parent / "leadq"), "serve", "--port", "0"]
    command += ["--processes", str(processes)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as service:
        assert service.stdout is not None
        line = service.stdout.readline()
        found = re.search(r":(\d+)/desk", line)
        assert found, f"the service did not start: {line}"
        try:
            yield int(found[1])
        finally:
            service.terminate()
            service.wait(30)
