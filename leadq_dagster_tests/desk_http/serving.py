"""The real service, as a process of its own, on databases that last one test."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType, decide_queue
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.store.agents import Role
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster.store.enrolment import enrol
from leadq_dagster.store.queue import Move, clock, move_users
from leadq_dagster.store.scores import make_known
from leadq_dagster_tests.desk_http.client import Caller
from leadq_dagster_tests.replica.rows import add, add_users, claim, requirement, user
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers

BY = Provenance("a_test", "run-1")
ENTERED_AT = datetime(2026, 3, 4, 10, tzinfo=UTC)
ANNOUNCED = "the desk is at "
STOP_SECONDS = 30


@dataclass
class Premises:
    """A store and a source, and what a test puts there."""

    store: Store
    store_url: str
    source: ReplicaDatabase

    def enrol(self, name: str = "somebody", role: Role = Role.AGENT, *queues: QueueType) -> tuple[int, str]:
        """An agent's id and token."""
        return enrol(self.store, name, role, list(queues or QueueType))

    def leads(self, *user_ids: int, owing: bool = False, **differing: Any) -> None:
        """Users of the source, known and queued."""
        signature = {"current_signature_file_id": "file"} if owing else {}
        add_users(self.source.engine, *(user(user_id, **signature | differing) for user_id in user_ids))
        if owing:
            add(self.source.engine, schema.claims, *(claim(user_id, user_id) for user_id in user_ids))
            owed = [requirement(f"r{user_id}", user_id) for user_id in user_ids]
            add(self.source.engine, schema.claim_requirements, *owed)
        with open_replica(self.source.url) as replica:
            leads = replica.read_leads(user_ids)
        moves = [Move(lead.facts.user.user_id, decide_queue(lead.facts), None, lead.facts) for lead in leads]
        with self.store.transaction() as cursor:
            known = [SourceUser(user_id, True, "active", False) for user_id in user_ids]
            make_known(cursor, known, ENTERED_AT)
            move_users(cursor, moves, BY, ENTERED_AT, seen_at=clock(cursor))

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the store's own database says."""
        with psycopg.connect(self.store_url) as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()

    def environment(self, **settings: str) -> dict[str, str]:
        """Of a process that works here."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEADQ_")}
        urls = {"DATABASE_URL": self.store_url, "REPLICA_DATABASE_URL": self.source.url}
        return {**inherited, **urls, **settings}

    @contextmanager
    def serving(self, log: Path, processes: int = 1, **settings: str) -> Iterator["Served"]:
        """The service on a free port; stopped as an operator stops it, whatever became of the test."""
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "leadq_dagster.cli", "serve"]
        command += ["--port", "0", "--processes", str(processes)]
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environment(**settings),
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith(ANNOUNCED), f"{line}{log.read_text()}"
            address = line.removeprefix(ANNOUNCED).strip().removesuffix("/desk")
            yield Served(self, process, address, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_SECONDS)
                finally:
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()


@dataclass
class Served:
    """A running service."""

    premises: Premises
    process: "subprocess.Popen[str]"
    address: str
    log: Path

    def caller(self, token: str | None = None) -> Caller:
        return Caller(self.address, token)

    def agent(self, *queues: QueueType) -> Caller:
        """A new agent's caller."""
        _, token = self.premises.enrol("somebody", Role.AGENT, *queues)
        return self.caller(token)


@contextmanager
def fresh_premises(servers: Servers, *, on_mariadb: bool = False) -> Iterator[Premises]:
    """A store with all migrations and an empty source."""
    postgres = servers.postgres()
    template = databases.store_template(servers)
    with ExitStack() as stack:
        source = stack.enter_context(
            databases.mariadb_replica(servers.mariadb) if on_mariadb else databases.postgres_replica(postgres)
        )
        name = stack.enter_context(databases.fresh_postgres_database(postgres, template))
        url = postgres.url(name)
        store = stack.enter_context(open_store(url))
        yield Premises(store, url, source)
