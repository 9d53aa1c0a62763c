"""A whole hour: all four jobs over a firm of 11,739 users, against reading everybody every 15 minutes."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from bench.population import CHANGED_IN_THE_HOUR, HOUR, NEW_IN_THE_HOUR, change_for_conversions, populate
from bench.report import Row
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.stages.conversions import check_conversions
from leadq_dagster.stages.new_requirements import discover_new_requirements
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster_tests.servers.databases import fresh_postgres_database, store_template
from leadq_dagster_tests.servers.running import Servers

USERS = 11_739
LARGE = 1_000_000
ROUNDS = 7
SCANS_PER_HOUR = 4
SEED_BATCH = 100
OWN_BATCH = 5_000
CALLED_LATELY = 500
BAR_SECONDS, AIM_SECONDS = 30, 2
EVERYTHING = Window(HOUR.start - timedelta(days=500), HOUR.end)
BEFORE = Window(EVERYTHING.start, HOUR.start)
CALL = """
INSERT INTO call_sessions (id, user_id, agent_id, started_at, talk_time_seconds, direction, status)
SELECT 'call-' || user_id, user_id, 1, %(at)s, 90, 'outbound', 'completed'
FROM (SELECT user_id FROM call_queue WHERE status <> 'left' ORDER BY id LIMIT %(calls)s) AS waiting
"""


@dataclass
class Firm:
    """A replica of one size, and a store that knows everybody in it up to the hour."""

    size: int
    replica_url: str
    store: str
    seconds: list[float] = field(default_factory=list)
    of_job: dict[str, list[float]] = field(default_factory=dict)
    queries: int = 0
    told: dict[str, str] = field(default_factory=dict)


def measure(servers: Servers) -> Iterator[Row]:
    """Seconds and replica queries of each job, and of the cycle beside reading everybody."""
    with ExitStack() as stack:
        firms = [_firm(stack, servers, size) for size in (USERS, LARGE)]
        for number in range(ROUNDS + 1):
            for firm in firms:
                _cycle(servers, firm, is_warming_up=number == 0)
        small, large = firms
        yield from _told(small)
        yield from _baseline(small)
        yield from _told(large)
    ratio = statistics.median(large.seconds) / statistics.median(small.seconds)
    yield Row(f"whole cycle, {LARGE:,} to {USERS:,} users", f"ratio {ratio:.2f}", "target ≤ 1.2")


def _firm(stack: ExitStack, servers: Servers, size: int) -> Firm:
    name = stack.enter_context(servers.mariadb.fresh_database())
    engine = sa.create_engine(servers.mariadb.url(name, "mysql+pymysql"))
    populate(engine, size)
    postgres = servers.postgres()
    database = stack.enter_context(fresh_postgres_database(postgres, store_template(servers)))
    url = postgres.url(database)
    with open_store(url) as store, open_replica(servers.mariadb.url(name)) as replica:
        context = _context(replica, store)
        report = discover_new_users(BEFORE, overlap=timedelta(0), **context)
        assert report.total.stored == size + CHANGED_IN_THE_HOUR, report.total
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO agents (id, name) VALUES (1, 'an agent')")
        connection.execute(CALL, {"at": HOUR.start - timedelta(hours=5), "calls": CALLED_LATELY})
        connection.execute("VACUUM ANALYZE")
    change_for_conversions(engine)
    return Firm(size, servers.mariadb.url(name), database)


def _cycle(servers: Servers, firm: Firm, *, is_warming_up: bool) -> None:
    with (
        fresh_postgres_database(servers.postgres(), firm.store) as name,
        open_store(servers.postgres().url(name)) as store,
        open_replica(firm.replica_url) as replica,
    ):
        replica.observed_until()  # connected: what is measured is the work
        before, began = replica.queries, time.perf_counter()
        for job, run in _jobs(replica, store).items():
            started = time.perf_counter()
            total = run()
            if not is_warming_up:
                firm.of_job.setdefault(job, []).append(time.perf_counter() - started)
            firm.told[job] = ", ".join(f"{name} {value}" for name, value in vars(total).items() if value)
        if not is_warming_up:
            firm.seconds.append(time.perf_counter() - began)
        firm.queries = replica.queries - before


def _told(firm: Firm) -> Iterator[Row]:
    for job, seconds in firm.of_job.items():
        yield Row(f"{job}, {firm.size:,} users", f"{statistics.median(seconds):.3f} s", firm.told[job])
    yield Row(
        f"all four jobs, {firm.size:,} users",
        f"{statistics.median(firm.seconds):.3f} s",
        f"bar {BAR_SECONDS} s, aim {AIM_SECONDS} s; {NEW_IN_THE_HOUR} new, {CHANGED_IN_THE_HOUR} changed,"
        f" {CALLED_LATELY} called lately; {firm.queries} replica queries",
    )


def _baseline(firm: Firm) -> Iterator[Row]:
    """Everybody read, with claims and requirements, by the same reader: so many to a query."""
    for batch, whose in ((SEED_BATCH, "as the card's batch is"), (OWN_BATCH, "in leadq's own pages")):
        with open_replica(firm.replica_url, batch_rows=batch) as replica:
            before, began, read = replica.queries, time.perf_counter(), 0
            for page in replica.changed_users(EVERYTHING):
                read += len(replica.read_facts([changed.user for changed in page]))
            seconds, queries = time.perf_counter() - began, (replica.queries - before) * SCANS_PER_HOUR
        assert read > firm.size
        yield Row(
            f"everybody every 15 minutes, {batch:,} a page",
            f"{queries:,} queries",
            f"an hour, {whose}; one reading {seconds:.2f} s. leadq's cycle: {1 - firm.queries / queries:.1%} "
            f"fewer queries, {statistics.median(firm.seconds) / seconds / SCANS_PER_HOUR:.1%} of the seconds",
        )


def _jobs(replica: Replica, store: Store) -> dict[str, Callable[[], Any]]:
    context: dict[str, Any] = {**_context(replica, store), "overlap": timedelta(hours=3)}
    check = {**context, "recent_activity": timedelta(hours=48), "batch_rows": OWN_BATCH}
    return {
        "new_users": lambda: discover_new_users(HOUR, **context).total,
        "new_requirements": lambda: discover_new_requirements(HOUR, **context).total,
        "signature_conversions": lambda: check_conversions(QueueType.UNSIGNED_USERS, HOUR, **check).total,
        "requirement_conversions": lambda: (
            check_conversions(QueueType.OUTSTANDING_REQUESTS, HOUR, **check).total
        ),
    }


def _context(replica: Replica, store: Store) -> dict[str, Any]:
    return {"replica": replica, "store": store, "provenance": Provenance("bench", None), "now": HOUR.end}
