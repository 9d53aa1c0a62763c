"""A desk at work: on a store and a source of its own, with a clock that the test moves."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import sqlalchemy as sa

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.holding import HoldRequest
from leadq_dagster.desk.terms import DeskTerms, NoWork, OutcomeRequest, Recorded, Taken, TakeRequest
from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType, decide_queue
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.store import agents
from leadq_dagster.store.agents import Role
from leadq_dagster.store.connection import Store, open_direct_store
from leadq_dagster.store.queue import Move, Moved, clock, move_users
from leadq_dagster.store.scores import make_known
from leadq_dagster_tests.replica.rows import add, add_users, claim, requirement, user
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
BY = Provenance("a_test", "run-1")
# A test machine may be busy: nobody is taken for silent because of that.
TERMS = DeskTerms(source_patience=timedelta(seconds=20))
BOTH = (QueueType.UNSIGNED_USERS, QueueType.OUTSTANDING_REQUESTS)


@dataclass
class Clock:
    """The time that a desk goes by, as the test says."""

    now: datetime = TEN

    def tell(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


@dataclass
class AtWork:
    """A desk with agents and leads; every method is one thing that happens."""

    desk: AssignmentDesk
    store: Store
    store_url: str
    source: ReplicaDatabase
    replica: Replica
    clock: Clock
    requests: Iterator[int] = field(default_factory=lambda: count(1))

    def agent(self, *queues: QueueType) -> int:
        with self.store.transaction() as cursor:
            return agents.add(
                cursor, "somebody", Role.AGENT, queues or BOTH, b"hash %d" % next(self.requests)
            )

    def lead(self, user_id: int, *, owing: bool = False) -> None:
        """A user of the source, known and queued: unsigned, or with a pending requirement."""
        self.appear(user_id, owing=owing)
        self.judge(user_id)
        self.clock.advance(seconds=1)

    def appear(self, user_id: int, *, owing: bool = False, **differing: Any) -> None:
        signature = {"current_signature_file_id": "file"} if owing else {}
        add_users(self.source.engine, user(user_id, **signature | differing))
        if owing:
            add(self.source.engine, schema.claims, claim(user_id, user_id))
            add(self.source.engine, schema.claim_requirements, requirement(f"r{user_id}", user_id))

    def appear_owing(self, user_id: int) -> None:
        """A user of the source signs, and owes a document."""
        self.sign(user_id)
        add(self.source.engine, schema.claims, claim(user_id, user_id))
        add(self.source.engine, schema.claim_requirements, requirement(f"r{user_id}", user_id))

    def many_leads(self, leads: int) -> None:
        """So many unsigned users, in the order of their ids."""
        add_users(self.source.engine, *(user(user_id) for user_id in range(1, leads + 1)))
        self.judge(*range(1, leads + 1))

    def judge(self, *user_ids: int, spare_assigned: bool = False) -> Moved:
        """As discovery, a check or reconciliation does: facts from the source, through the door."""
        leads = self.replica.read_leads(user_ids)
        with self.store.transaction() as cursor:
            make_known(
                cursor, [SourceUser(user_id, True, "active", False) for user_id in user_ids], self.clock.now
            )
            seen_at = clock(cursor)
            moves = [
                Move(lead.facts.user.user_id, decide_queue(lead.facts), None, lead.facts) for lead in leads
            ]
            return move_users(
                cursor, moves, BY, self.clock.now, seen_at=seen_at, spare_assigned=spare_assigned
            )

    def change(self, user_id: int, **columns: Any) -> None:
        """The source says something else of a user from now on."""
        naive = self.clock.now.replace(tzinfo=None)
        with self.source.engine.begin() as connection:
            connection.execute(
                schema.users.update().where(schema.users.c.id == user_id).values(updated_at=naive, **columns)
            )

    def sign(self, user_id: int) -> None:
        self.change(user_id, current_signature_file_id="file")

    def settle(self, user_id: int, status: str = "approved") -> None:
        """The requirement of an owing user is not pending any more."""
        naive = self.clock.now.replace(tzinfo=None)
        with self.source.engine.begin() as connection:
            table = schema.claim_requirements
            connection.execute(
                table.update().where(table.c.id == f"r{user_id}").values(status=status, updated_at=naive)
            )

    def vanish(self, user_id: int) -> None:
        """The replica does not show the user."""
        with self.source.engine.begin() as connection:
            connection.execute(schema.users.delete().where(schema.users.c.id == user_id))

    @contextmanager
    def source_down(self) -> Iterator[None]:
        """The replica answers nothing: its table is not there."""
        with self.source.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE users RENAME TO users_away"))
        try:
            yield
        finally:
            with self.source.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE users_away RENAME TO users"))

    def take(
        self, agent_id: int, request_id: str | None = None, queue: QueueType | None = None
    ) -> Taken | NoWork:
        return self.desk.take(TakeRequest(agent_id, request_id or self.request_id(), queue))

    def taken(self, agent_id: int, request_id: str | None = None, queue: QueueType | None = None) -> Taken:
        got = self.take(agent_id, request_id, queue)
        assert isinstance(got, Taken), got
        return got

    def outcome(self, taken: Taken, outcome: Outcome, **differing: Any) -> Recorded:
        return self.desk.record_outcome(self.outcome_request(taken, outcome, **differing))

    def outcome_request(self, taken: Taken, outcome: Outcome, **differing: Any) -> OutcomeRequest:
        item = taken.assignment
        columns: dict[str, Any] = {
            "agent_id": item.agent_id,
            "request_id": self.request_id(),
            "assignment_id": item.id,
            "lease_token": item.lease_token,
            "outcome": outcome,
        }
        return OutcomeRequest(**columns | differing)

    def hold_request(self, taken: Taken, **differing: Any) -> HoldRequest:
        item = taken.assignment
        columns: dict[str, Any] = {
            "agent_id": item.agent_id,
            "request_id": self.request_id(),
            "assignment_id": item.id,
            "lease_token": item.lease_token,
        }
        return HoldRequest(**columns | differing)

    def request_id(self) -> str:
        return f"request-{next(self.requests)}"

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the store's own database says."""
        with psycopg.connect(self.store_url) as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()

    def execute(self, statement: str, *parameters: Any) -> None:
        with psycopg.connect(self.store_url) as connection:
            connection.execute(statement.encode(), parameters or None)


@contextmanager
def at_work(store_url: str, source: ReplicaDatabase, terms: DeskTerms | None = None) -> Iterator[AtWork]:
    """A desk on this store and source, with this process's own connections."""
    clock = Clock()
    with ExitStack() as stack:
        replica = stack.enter_context(
            open_replica(source.url, statement_timeout_seconds=1, connect_timeout_seconds=1)
        )
        store = stack.enter_context(open_direct_store(store_url))
        desk = stack.enter_context(AssignmentDesk(store, replica, terms or TERMS, now=lambda: clock.now))
        yield AtWork(desk, store, store_url, source, replica, clock)


@contextmanager
def fresh_work(servers: Servers, terms: DeskTerms | None = None) -> Iterator[AtWork]:
    """A desk on databases that last as long as this block."""
    postgres = servers.postgres()
    template = databases.store_template(servers)
    with (
        databases.postgres_replica(postgres) as source,
        databases.fresh_postgres_database(postgres, template) as name,
        at_work(postgres.url(name), source, terms) as work,
    ):
        yield work
