"""A durable server, a store with a backlog of any size, and a source by which everybody is callable."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.lead import Contact, SourceLead
from leadq_dagster.embedded.postgres import EmbeddedPostgres, erase_postgres, start_postgres
from leadq_dagster.store import migrations

# More than take a lead in one run: whoever holds one is told of it again, which is cheap and no take.
AGENTS = 200_000
SCORES = 40

# Rows of long ago, written past the door and its triggers: the door would take an hour for ten million.
# The few agents of a firm are written all day, and their pages have room; these many are each written once.
FILL = """
ALTER TABLE agents SET (fillfactor = 50);
INSERT INTO agents (id, name) SELECT n, 'agent ' || n FROM generate_series(1, {agents}) AS n;
INSERT INTO user_call_scores (user_id, current_queue_type, discovered_at, next_call_after, base_score)
SELECT n, 'unsigned_users', now(), now() - interval '1 day', n * {scores} / ({leads} + 1)
FROM generate_series(1, {leads}::bigint) AS n;
INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at, priority_score)
SELECT n, 'unsigned_users', 'no_signature', now() - interval '1 day' + n * interval '1 millisecond', now(),
    n * {scores} / ({leads} + 1)
FROM generate_series(1, {leads}::bigint) AS n;
"""


PUT_BACK = """
UPDATE call_queue
SET status = 'pending', assigned_to_agent_id = NULL, assigned_at = NULL, lease_expires_at = NULL
WHERE status = 'assigned';
UPDATE assignments SET ended_at = now(), end_reason = 'released' WHERE ended_at IS NULL;
"""


CONTACT = Contact("A", "B", "1", None)


class EverybodyIsCallable:
    """A source that answers at once, and of everybody that they have yet to sign."""

    def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
        return [
            SourceLead(UserFacts(SourceUser(user_id, True, "active", False)), CONTACT) for user_id in user_ids
        ]


@contextmanager
def durable_server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server that flushes every commit to disk, as in production."""
    with tempfile.TemporaryDirectory(prefix="leadq-bench-") as folder:
        with start_postgres(Path(folder) / "server") as server:
            yield server
        erase_postgres(Path(folder) / "server")


@contextmanager
def backlog(server: EmbeddedPostgres, leads: int) -> Iterator[str]:
    """The URL of a store in which so many leads wait, vacuumed and analysed; dropped afterwards."""
    name = f"backlog_{leads}"
    server.ensure_database(name)
    url = server.url(name)
    migrations.upgrade(url)
    fill(url, FILL.format(leads=leads, agents=AGENTS, scores=SCORES))
    try:
        yield url
    finally:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def fill(url: str, statements: str) -> None:
    """Run these past all triggers, then make the tables as they are after a quiet night."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statements.encode())
    tidy(url)


def put_back(url: str) -> None:
    """Nobody holds anything: every agent is free to take, and every lead is there again."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(PUT_BACK)


def tidy(url: str) -> None:
    """Clean away what is dead: what one run took away from the front is not to slow the next."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
