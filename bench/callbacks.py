"""Promised calls: the minute's look over a million of them, and routing a thousand that are due."""

import statistics
import time
from collections.abc import Iterator

import psycopg

from bench.backlog import EverybodyIsCallable, backlog, durable_server, fill
from bench.report import Row
from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.routing import first_due
from leadq_dagster.desk.terms import DeskTerms
from leadq_dagster.store.connection import open_direct_store, open_store
from leadq_dagster_tests.servers.running import Servers

USERS = 1_000_000
DUE, MANY_DUE = 100, 1_000
ROUNDS, ROUTINGS = 15, 5
FIRST_ROUTED = 10_001
LOOK_BAR_MS, ROUTE_BAR_MS = 50, 500

# A million promises, all of them in the days to come; then so many that are due now.
LATER = """
INSERT INTO callbacks (user_id, queue_type, due_at, call_after, preferred_agent_id)
SELECT n, 'unsigned_users', moment, moment, n % 50000 + 1
FROM (SELECT n, now() + interval '1 hour' + n * interval '1 second' AS moment
      FROM generate_series(1, {users}::bigint) AS n) AS promised;
"""
# By the minute, or they are taken for silent, and what waits for them is routed again.
SIGNED_IN = b"UPDATE agents SET status = 'available', last_seen_at = clock_timestamp() WHERE id <= 60"
NOW = """
INSERT INTO callbacks (user_id, queue_type, due_at, call_after, preferred_agent_id)
SELECT n, 'unsigned_users', moment, moment, n % 100 + 1
FROM (SELECT n, now() + n * interval '10 milliseconds' AS moment
      FROM generate_series({first}::bigint, {last}::bigint) AS n) AS promised
"""


def measure(_: Servers) -> Iterator[Row]:
    """Milliseconds of a look, with a hundred due alone and among a million, and of a routing."""
    with durable_server() as server, backlog(server, USERS) as url:
        alone = _look_ms(url, 1, DUE)
        fill(url, LATER.format(users=USERS))
        among = _look_ms(url, DUE + 1, 2 * DUE)
        yield Row(f"look, {DUE} due", f"{alone:.1f} ms", "nothing else promised")
        yield Row(
            f"look, {DUE} more due among {USERS:,}",
            f"{among:.1f} ms",
            f"ratio {among / alone:.2f}; bar {LOOK_BAR_MS} ms",
        )
        routed = _route_ms(url)
        remark = f"median of {ROUTINGS}; bar {ROUTE_BAR_MS} ms"
        yield Row(f"routing {MANY_DUE:,} due", f"{routed:.0f} ms", remark)


def _promise(url: str, first: int, last: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(NOW.format(first=first, last=last).encode())


def _look_ms(url: str, first: int, last: int) -> float:
    """The sensor's look, with the connection that it opens each time."""
    _promise(url, first, last)
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        with open_store(url, pool_size=1) as store:
            assert first_due(store, DeskTerms()) is not None
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


def _route_ms(url: str) -> float:
    """The median of several, each of calls that nobody has routed before."""
    took = []
    with (
        open_direct_store(url) as store,
        AssignmentDesk(store, EverybodyIsCallable(), DeskTerms()) as desk,
    ):
        for number in range(ROUTINGS):
            _signed_in(url)
            desk.route_callbacks()  # what the looks and the round before have left; planned and warm
            first = FIRST_ROUTED + number * MANY_DUE
            _promise(url, first, first + MANY_DUE - 1)
            started = time.perf_counter()
            routed = desk.route_callbacks()
            took.append((time.perf_counter() - started) * 1000)
            assert routed.routed == MANY_DUE, routed
    return statistics.median(took)


def _signed_in(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(SIGNED_IN)
