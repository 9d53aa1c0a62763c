"""How fast are users stored, against the bare pipe: COPY of the same rows into a table without promises?"""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg

from bench.report import Row
from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import decide_queue
from leadq_dagster.store import queue, scores
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.servers.databases import fresh_postgres_database, store_template
from leadq_dagster_tests.servers.running import Servers

USERS = 50_000
BATCH = 5_000
ROUNDS = 5
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


def measure(servers: Servers) -> Iterator[Row]:
    """Users a second through the store's door, known and queued, beside COPY; in turns."""
    users = [
        SourceUser(n, True, "active", n % 2 == 0, NOW - timedelta(minutes=n), None)
        for n in range(1, USERS + 1)
    ]
    rates: dict[str, list[float]] = {"copy": [], "known": [], "queued": []}
    for _ in range(ROUNDS):
        with fresh_postgres_database(servers.postgres(), store_template(servers)) as name:
            url = servers.postgres().url(name)
            rates["copy"].append(USERS / _copy(url, users))
            known, queued = _store(url, users)
            rates["known"].append(USERS / known)
            rates["queued"].append(USERS / (known + queued))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    yield Row(
        "COPY of the same rows", f"{medians['copy']:,.0f} users/s", "baseline: one bare table, no index"
    )
    yield Row(
        "made known", f"{medians['known']:,.0f} users/s", f"ratio {medians['known'] / medians['copy']:.2f}"
    )
    yield Row(
        "made known, judged and (half of them) queued",
        f"{medians['queued']:,.0f} users/s",
        f"ratio {medians['queued'] / medians['copy']:.2f}; stay, transition and score in each transaction",
    )


def _copy(url: str, users: list[SourceUser]) -> float:
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE bare (user_id bigint, created_at timestamptz, discovered_at timestamptz)"
        )
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy("COPY bare FROM STDIN") as copy:
            for user in users:
                copy.write_row((user.user_id, user.created_at, NOW))
        connection.commit()
        took = time.perf_counter() - started
        connection.execute("DROP TABLE bare")
    return took


def _store(url: str, users: list[SourceUser]) -> tuple[float, float]:
    """Seconds for making them known, and for judging and queueing them, commits included."""
    batches = [users[first : first + BATCH] for first in range(0, USERS, BATCH)]
    with open_store(url) as store:
        started = time.perf_counter()
        for batch in batches:
            with store.transaction() as cursor:
                scores.make_known(cursor, batch, NOW)
        known = time.perf_counter() - started
        started = time.perf_counter()
        for batch in batches:
            judged = [(user.user_id, decide_queue(UserFacts(user))) for user in batch]
            moves = [queue.Move(user_id, decision) for user_id, decision in judged if decision.queue]
            with store.transaction() as cursor:
                seen_at = queue.clock(cursor)
                queue.move_users(cursor, moves, Provenance("bench", None), NOW, seen_at=seen_at)
        return known, time.perf_counter() - started
