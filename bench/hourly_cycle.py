"""A whole hour: all four jobs over a firm of 11,739 users, against reading everybody every 15 minutes."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from bench.population import HOUR, change_for_conversions, populate
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
SEED_BATCH = 100
SCANS_PER_HOUR = 4
BAR_SECONDS = 30
EVERYTHING = Window(HOUR.start - timedelta(days=500), HOUR.start)


def measure(servers: Servers) -> Iterator[Row]:
    """Seconds and replica queries of each job, and of the cycle beside scanning everybody."""
    seconds: dict[int, float] = {}
    for size in (USERS, LARGE):
        with ExitStack() as stack:
            name = stack.enter_context(servers.mariadb.fresh_database())
            engine = sa.create_engine(servers.mariadb.url(name, "mysql+pymysql"))
            populate(engine, size)
            database = stack.enter_context(
                fresh_postgres_database(servers.postgres(), store_template(servers))
            )
            store = stack.enter_context(open_store(servers.postgres().url(database)))
            replica = stack.enter_context(open_replica(servers.mariadb.url(name)))
            _know_everybody(replica, store, size)
            change_for_conversions(engine)
            queries, seconds[size] = 0, 0.0
            for job, run in _jobs(replica, store).items():
                before, started = replica.queries, time.perf_counter()
                total = run()
                took = time.perf_counter() - started
                queries += replica.queries - before
                seconds[size] += took
                yield Row(f"{job}, {size:,} users", f"{took:.2f} s", f"bar {BAR_SECONDS} s; {_told(total)}")
        scans = SCANS_PER_HOUR * 3 * -(-size // SEED_BATCH)
        yield Row(
            f"replica queries an hour, {size:,} users",
            f"{queries}",
            f"everybody every 15 minutes, {SEED_BATCH} a look-up: {scans:,}; {1 - queries / scans:.1%} fewer",
        )
    yield Row("whole cycle, ratio of seconds", f"{seconds[LARGE] / seconds[USERS]:.2f}", "target ≤ 1.2")


def _know_everybody(replica: Replica, store: Store, size: int) -> None:
    report = discover_new_users(EVERYTHING, overlap=timedelta(0), **_context(replica, store))
    assert report.total.stored >= size


def _jobs(replica: Replica, store: Store) -> dict[str, Callable[[], Any]]:
    context: dict[str, Any] = {**_context(replica, store), "overlap": timedelta(hours=3)}
    check = {**context, "recent_activity": timedelta(hours=48), "batch_rows": 5_000}
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


def _told(total: Any) -> str:
    numbers = {name: value for name, value in vars(total).items() if value}
    return ", ".join(f"{name} {value}" for name, value in numbers.items())
