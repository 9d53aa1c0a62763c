"""Other queues on PostgreSQL beside the desk: fetch and complete of jobs that do nothing."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import psycopg

from bench.backlog import backlog, durable_server
from bench.desk import ROUNDS, pace_of, take_and_report
from bench.pgbench import turns
from bench.report import Row
from leadq_dagster.desk.combiner import BATCH_MAX
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster_tests.servers.running import Servers

AT_ONCE = 16
BACKLOG = 300_000
# Enough for a few seconds each.
PROCRASTINATE_JOBS = 2_000
PGQUEUER_JOBS = {1: 2_000, 10: 10_000, 100: 20_000}
INSTALL = "run `make bench`, which installs the peers (bench/requirements.lock)"


def measure(_: Servers) -> Iterator[Row]:
    """Jobs a second of procrastinate and pgqueuer, and of ours: lead taken, called, outcome recorded.

    Beside a peer that holds a hundred jobs at once are as many agents as one batch of ours serves.
    """
    with durable_server() as server, backlog(server, BACKLOG) as url:
        peers = {f"procrastinate, concurrency {AT_ONCE}": (AT_ONCE, partial(_peer, server, "p", 1))} | {
            f"pgqueuer, batches of {batch}": (
                AT_ONCE if batch <= AT_ONCE else BATCH_MAX,
                partial(_peer, server, "q", batch),
            )
            for batch in PGQUEUER_JOBS
        }
        crowds = (AT_ONCE, BATCH_MAX)
        runs = [partial(_ours, url, agents) for agents in crowds] + [run for _, run in peers.values()]
        medians = [statistics.median(each) for each in turns(ROUNDS, *runs)]
        ours = dict(zip(crowds, medians, strict=False))
        for agents, per_second in ours.items():
            yield Row(f"leadq, take + outcome, {agents} agents", f"{per_second:,.0f}/s", "")
        for (name, (agents, _)), per_second in zip(peers.items(), medians[len(crowds) :], strict=True):
            times = f"leadq with {agents} agents is {ours[agents] / per_second:.1f} times as fast"
            yield Row(name, f"{per_second:,.0f}/s", times)


def _ours(url: str, agents: int) -> float:
    return pace_of(url, agents, take_and_report).per_second


_databases = count(1)


def _peer(server: EmbeddedPostgres, peer: str, batch: int) -> float:
    """In a database of its own: a peer makes its tables in an empty one."""
    name = f"peer_{next(_databases)}"
    server.ensure_database(name)
    return _run(server.url(name), peer, batch)


def _run(url: str, peer: str, batch: int) -> float:
    """Jobs a second in a process of their own, so that nothing of ours shares their interpreter."""
    command = [sys.executable, "-m", "bench.peers", peer, url, str(batch)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if ran.returncode:
        raise SystemExit(f"{ran.stderr.strip().splitlines()[-1]}; {INSTALL}")
    return float(ran.stdout.split()[-1])


async def _procrastinate(url: str) -> float:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    done = 0

    @app.task(name="nothing")
    async def nothing() -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await nothing.batch_defer_async(*[{} for _ in range(PROCRASTINATE_JOBS)])
        started = time.perf_counter()
        await app.run_worker_async(concurrency=AT_ONCE, wait=False, install_signal_handlers=False)
        took = time.perf_counter() - started
    assert done == PROCRASTINATE_JOBS, done
    return done / took


async def _pgqueuer(url: str, batch: int) -> float:
    from datetime import timedelta

    from pgqueuer import PgQueuer, PsycopgDriver, Queries
    from pgqueuer.types import QueueExecutionMode

    jobs, done = PGQUEUER_JOBS[batch], 0
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    driver = PsycopgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    await queries.enqueue(["nothing"] * jobs, [None] * jobs, [0] * jobs)
    queue = PgQueuer(driver)

    @queue.entrypoint("nothing")
    async def nothing(_: object) -> None:
        nonlocal done
        done += 1

    started = time.perf_counter()
    await queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=batch, mode=QueueExecutionMode.drain)
    took = time.perf_counter() - started
    await connection.close()
    assert done == jobs, done
    return done / took


if __name__ == "__main__":
    what, database, size = sys.argv[1:]
    print(asyncio.run(_procrastinate(database) if what == "p" else _pgqueuer(database, int(size))))
