"""Does an hour's discovery cost what changed in it, or what the replica holds?"""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import sqlalchemy as sa

from bench.population import CHANGED_IN_THE_HOUR, HOUR, NEW_IN_THE_HOUR, populate
from bench.report import Row
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.servers.databases import fresh_postgres_database, store_template
from leadq_dagster_tests.servers.running import Servers

SMALL, LARGE = 10_000, 1_000_000
ROUNDS = 15
TARGET = 1.2


def measure(servers: Servers) -> Iterator[Row]:
    """The same hour over ten thousand and over a million users, in turns, on both kinds of replica."""
    for kind in ("MariaDB", "PostgreSQL"):
        with ExitStack() as stack:
            urls = {size: stack.enter_context(_replica(servers, kind, size)) for size in (SMALL, LARGE)}
            seconds: dict[int, list[float]] = {SMALL: [], LARGE: []}
            queries: dict[int, int] = {}
            for _ in range(ROUNDS):
                for size, url in urls.items():
                    took, queries[size] = _one_hour(servers, url)
                    seconds[size].append(took)
        small, large = statistics.median(seconds[SMALL]), statistics.median(seconds[LARGE])
        changes = f"{NEW_IN_THE_HOUR} new, {CHANGED_IN_THE_HOUR} changed"
        yield Row(
            f"hour over {SMALL:,} users, {kind}",
            f"{small * 1000:.1f} ms",
            f"{changes}; {queries[SMALL]} replica queries",
        )
        yield Row(
            f"hour over {LARGE:,} users, {kind}",
            f"{large * 1000:.1f} ms",
            f"{queries[LARGE]} replica queries",
        )
        yield Row(f"ratio, {kind}", f"{large / small:.2f}", f"target ≤ {TARGET}")


def _one_hour(servers: Servers, url: str) -> tuple[float, int]:
    with (
        fresh_postgres_database(servers.postgres(), store_template(servers)) as name,
        open_store(servers.postgres().url(name)) as store,
        open_replica(url) as replica,
    ):
        replica.observed_until()  # connected and warm: what is measured is the hour
        started = time.perf_counter()
        report = discover_new_users(
            HOUR,
            replica=replica,
            store=store,
            provenance=Provenance("new_users", "bench"),
            now=HOUR.end,
            overlap=timedelta(hours=3),
        )
        took = time.perf_counter() - started
    assert report.total.stored == NEW_IN_THE_HOUR + CHANGED_IN_THE_HOUR, report.total
    return took, report.replica_queries


@contextmanager
def _replica(servers: Servers, kind: str, size: int) -> Iterator[str]:
    if kind == "MariaDB":
        with servers.mariadb.fresh_database() as name:
            populate(sa.create_engine(servers.mariadb.url(name, "mysql+pymysql")), size)
            yield servers.mariadb.url(name)
    else:
        postgres = servers.postgres()
        with fresh_postgres_database(postgres) as name:
            url = sa.make_url(postgres.url(name)).set(drivername="postgresql+psycopg")
            populate(sa.create_engine(url), size)
            yield postgres.url(name)
