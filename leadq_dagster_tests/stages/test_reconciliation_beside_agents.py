"""Reconciliation in a loop beside agents at work: to them it is as if it were not there."""

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import pytest

from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.reconciliation_tally import StayTally, UserTally
from leadq_dagster.stages.everybody import admit_everybody
from leadq_dagster.stages.reconciliation import Reconciliation, reconcile_stays
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.desk.at_work import AtWork, fresh_work
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.failing import all_at_once
from leadq_dagster_tests.stages.stored import broken_promises, nothing_changes, queues

AGENTS, TAKES = 8, 12
# More who belong in the queue throughout than are taken, so that a take always has somebody to get.
STEADFAST = range(1, 121)
FICKLE = range(121, 161)
UNSIGNED = "unsigned_users"
SECONDS_MAX = 60


@pytest.fixture
def work(servers: Servers) -> Iterator[AtWork]:
    with fresh_work(servers) as work:
        yield work


@dataclass
class Rounds:
    """Reconciliations that ran to their end, which agents can wait for."""

    work: AtWork
    done: int = 0
    moved: int = 0
    spared: int = 0
    entered: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    _next: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        """Round after round: some of the fickle come or go at the source, and everybody is reconciled."""
        seeded = random.Random(4)
        while not self.is_over.is_set():
            for user_id in seeded.sample(FICKLE, 10):
                self.work.change(user_id, is_enabled=seeded.randrange(2))
            stays, everybody = reconcile(self.work)
            with self._next:
                self.done += 1
                self.moved += sum(stays.moved.values())
                self.spared += stays.spared
                self.entered += everybody.entered
                self._next.notify_all()

    def pass_by(self) -> None:
        """Wait until one has begun and ended after now."""
        with self._next:
            until = self.done + 2
            assert self._next.wait_for(lambda: self.done >= until, SECONDS_MAX)


def test_agents_at_work_notice_nothing_of_it(work: AtWork) -> None:
    """P16, P15: every take gets a lead, every holder keeps it until the outcome, nobody is lost.

    The queue as an onlooker sees it never lacks anybody who belongs.
    """
    agents = [work.agent() for _ in range(AGENTS)]
    for user_id in (*STEADFAST, *FICKLE):
        work.appear(user_id)
    work.judge(*STEADFAST, *FICKLE)
    rounds, taken, seen = Rounds(work), list[int](), set[int]()

    def agent(agent_id: int) -> None:
        for turn in range(TAKES):
            got = work.taken(agent_id)
            user_id = got.assignment.user_id
            taken.append(user_id)
            if turn % 3 == 0:
                # The source says while the agent has them that they are not to be called.
                work.change(user_id, is_enabled=0)
                rounds.pass_by()
                work.change(user_id, is_enabled=1)
            work.outcome(got, Outcome.NO_ANSWER)

    def onlooker() -> None:
        with psycopg.connect(work.store_url, autocommit=True) as connection:
            while not rounds.is_over.is_set():
                counted = connection.execute(
                    "SELECT count(*) FROM call_queue WHERE status <> 'left' AND user_id <= %s",
                    [STEADFAST[-1]],
                ).fetchone()
                assert counted is not None
                seen.add(counted[0])

    def all_agents() -> None:
        try:
            works = [lambda agent_id=agent_id: agent(agent_id) for agent_id in agents]
            assert all_at_once(*works, timeout_seconds=SECONDS_MAX) == []
        finally:
            rounds.is_over.set()

    assert all_at_once(all_agents, rounds.run, onlooker, timeout_seconds=2 * SECONDS_MAX) == []

    assert len(taken) == len(set(taken)) == AGENTS * TAKES
    assert seen == {len(STEADFAST)}
    # It did meet what it must not touch, and had something to do.
    assert min(rounds.done, rounds.moved, rounds.entered, rounds.spared) > 0
    assert ended_by_reconciliation(work) == []
    assert nobody_is_lost(work)
    assert broken_promises(work.store_url) == []


def ended_by_reconciliation(work: AtWork) -> list[tuple[int, ...]]:
    """Assignments during which the reconciliation closed the stay."""
    return work.rows(
        "SELECT assignment.id FROM assignments AS assignment"
        " JOIN queue_transitions AS line ON line.left_stay_id = assignment.call_queue_id"
        " WHERE assignment.end_reason = 'left' AND line.actor = 'call_queue'"
    )


def nobody_is_lost(work: AtWork) -> bool:
    """Once all is quiet, one more round leaves everybody where the source has them."""
    reconcile(work)
    enabled = {each.user_id: each.is_enabled for each in work.replica.read_users((*STEADFAST, *FICKLE))}
    return queues(work.store_url) == {n: UNSIGNED if is_in else None for n, is_in in enabled.items()}


def reconcile(work: AtWork) -> tuple[StayTally, UserTally]:
    with open_store(work.store_url) as store:
        reconciliation = Reconciliation(
            replica=work.replica,
            store=store,
            provenance=Provenance("call_queue", "run-1", Source.RECONCILIATION),
            now=lambda: work.clock.now,
            worked_until=work.clock.now + timedelta(days=1),
            # All in one page: were it locked as such, agents would find the whole queue locked.
            batch_rows=1000,
        )
        return reconcile_stays(reconciliation).tally, admit_everybody(reconciliation).tally


def test_a_cool_down_ends_by_itself_and_not_by_reconciliation(work: AtWork) -> None:
    """P18: the lead is handed out from the instant on, by the claim itself; no job has to run for it."""
    agent = work.agent()
    work.lead(1)
    until = work.outcome(work.taken(agent), Outcome.NO_ANSWER).next_call_after
    assert until == work.clock.now + timedelta(hours=4)
    nothing_changes(work.store_url, lambda: reconcile(work))
    work.clock.now = until - timedelta(seconds=1)
    assert isinstance(work.take(agent), NoWork)
    work.clock.now = until
    assert work.taken(agent).assignment.user_id == 1
