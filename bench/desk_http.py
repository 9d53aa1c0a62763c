"""The desk over HTTP: `leadq serve` on a real replica, beside the bare statements under pgbench."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from bench.backlog import backlog, durable_server, fill, tidy
from bench.desk import AT_ONCE, LARGE, told
from bench.pgbench import BARE, CLAIM, CLAIM_AND_COMPLETE, Pace, percentile, pgbench
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


def measure(_: Servers) -> Iterator[Row]:
    """Takes a second through HTTP, each validated at a replica, of agents who also report each call."""
    with durable_server() as server, backlog(server, LARGE) as url, _replica(server, LARGE) as replica:
        fill(url, BARE)
        with tempfile.TemporaryDirectory() as folder, _service(url, replica) as port:
            for agents in AT_ONCE:
                tokens = Path(folder) / f"{agents}"
                tokens.write_text("\n".join(_tokens(url, agents)))
                claim = pgbench(url, CLAIM, agents)
                both = pgbench(url, CLAIM_AND_COMPLETE, agents)
                tidy(url)
                ours = _load(tokens, port)
                cycles = Pace(ours.per_second, ours.p50_ms, ours.p99_ms)
                yield Row(f"HTTP, take + outcome, {agents} agents", *told(cycles, both))
                requests = 2 * ours.per_second
                remark = f"ratio {requests / claim.per_second:.2f} to pgbench's bare claim"
                yield Row(f"HTTP requests, {agents} agents", f"{requests:,.0f}/s", remark)


def _load(tokens: Path, port: int) -> Pace:
    command = [sys.executable, "-m", "bench.http_load", str(tokens), str(port), str(SECONDS)]
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
def _service(url: str, replica: str) -> Iterator[int]:
    """The port of `leadq serve` in a process of its own."""
    environment = {**os.environ, "DATABASE_URL": url, "REPLICA_DATABASE_URL": replica}
    command = [str(Path(sys.executable).parent / "leadq"), "serve", "--port", "0"]
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
