"""Many agents at many desks, with everything else running beside them; then the books are audited.

`python -m leadq_dagster_tests.simulation.desk_many --processes 8 --threads 8 --leads 100000` is the full
size. Each process is a desk of its own; beside them, in a process each and again and again: discovery of new
users and detection of conversions in an hour in which users appear, sign, are disabled and enabled;
reconciliation of the whole queue; expiry of leases. At the end one agent is served alone. Prints what was
counted and ends with 1 if the audit finds anything or the order is not the documented one.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import sqlalchemy as sa

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.holding import HoldRequest
from leadq_dagster.desk.terms import DeskTerms, NoWork, OutcomeRequest, Taken, TakeRequest
from leadq_dagster.domain.errors import ConflictError, TransientError
from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType, decide_queue
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.stages.conversions import check_conversions
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.stages.reconciliation import Reconciliation, reconcile_stays
from leadq_dagster.store import agents
from leadq_dagster.store.agents import Role
from leadq_dagster.store.connection import Store, open_direct_store, open_store
from leadq_dagster.store.queue import Move, clock, move_users
from leadq_dagster.store.scores import make_known
from leadq_dagster_tests.replica.rows import WINDOW, add_users, user
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers, start_servers
from leadq_dagster_tests.stages.discovering import beat
from leadq_dagster_tests.store.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
BY = Provenance("the_crowd", "run-1")
PAGE = 2_000
# Served alone at the full size: it takes about half a minute.
ALONE_MAX = 2_000
# Past every cool-down: the order is over all scores and times that the crowd has left.
REST = timedelta(days=60)
HOUR = WINDOW
NO_OVERLAP = timedelta(0)
WITHIN = HOUR.start.replace(minute=30, tzinfo=None)
# Long enough for a slow machine, and short enough that forgotten leads come back while the crowd is there.
LEASE = timedelta(seconds=2)
TERMS = DeskTerms(lease=LEASE, skip_pause=timedelta(0), source_patience=timedelta(seconds=20))

AUDIT = {
    "held by two at once": """
        SELECT count(*) FROM assignments AS one
        JOIN assignments AS other
            ON other.call_queue_id = one.call_queue_id AND other.lease_token > one.lease_token
        WHERE one.ended_at IS NULL OR one.ended_at > other.assigned_at""",
    "an agent with two at once": """
        SELECT count(*) FROM assignments AS one
        JOIN assignments AS other ON other.agent_id = one.agent_id AND other.id > one.id
        WHERE one.ended_at IS NULL OR one.ended_at > other.assigned_at""",
    "a span that ends before it begins": "SELECT count(*) FROM assignments WHERE ended_at < assigned_at",
    "a stay and its assignments contradict each other": """
        SELECT count(*) FROM (SELECT * FROM assignments WHERE ended_at IS NULL) AS assignment
        FULL JOIN (SELECT * FROM call_queue WHERE status = 'assigned') AS stay
            ON stay.id = assignment.call_queue_id AND stay.lease_token = assignment.lease_token
            AND stay.assigned_to_agent_id = assignment.agent_id
        WHERE assignment.id IS NULL OR stay.id IS NULL""",
    "a token without its assignment": """
        SELECT count(*) FROM call_queue AS stay
        WHERE stay.lease_token <> (SELECT count(*) FROM assignments WHERE call_queue_id = stay.id)""",
    "a score that its events do not explain": """
        SELECT count(*) FROM user_call_scores AS score JOIN call_queue AS stay USING (user_id)
        WHERE stay.status <> 'left' AND score.current_score <> (
            SELECT coalesce(sum(outcome_change + attempt_change + age_change), 0)
            FROM score_events WHERE call_queue_id = stay.id)""",
    "an outcome counted twice or not at all": """
        SELECT count(*) FROM call_outcomes AS told
        JOIN assignments AS assignment ON assignment.id = told.assignment_id
        WHERE (NOT told.is_late AND assignment.end_reason NOT IN ('outcome', 'left', 'invalid'))
            OR (told.is_late AND assignment.end_reason = 'outcome')""",
    "attempts that were not calls": """
        SELECT count(*) FROM user_call_scores
        LEFT JOIN (
            SELECT user_id, count(*) AS calls
            FROM assignments JOIN call_queue AS stay ON stay.id = call_queue_id
            WHERE end_reason = 'outcome' GROUP BY user_id) AS told USING (user_id)
        WHERE total_attempts <> coalesce(told.calls, 0)""",
    "a user lost: in a queue without a live stay": """
        SELECT count(*) FROM user_call_scores AS score
        WHERE current_queue_type IS NOT NULL
            AND NOT EXISTS (SELECT FROM call_queue WHERE user_id = score.user_id AND status <> 'left')""",
}

HELD = "SELECT FROM call_queue WHERE status = 'assigned' LIMIT 1"
# The agents serve one queue after the other, in the order of their names here.
WAITING = """
SELECT id FROM call_queue
WHERE status = 'pending' AND available_from <= %s AND priority_score < %s
ORDER BY queue_type = 'unsigned_users' DESC, priority_score, available_from, id
"""


def agent_at_work(
    desk: AssignmentDesk, agent_id: int, leads: int, rng: Random, counted: Counter[str], got: list[int]
) -> None:
    """Take and report so many leads; now and then give one back, keep it, or forget it."""
    for turn in range(leads):
        answer = _until_answered(lambda turn=turn: desk.take(TakeRequest(agent_id, f"take-{turn}")), counted)  # type: ignore[misc]
        if isinstance(answer, NoWork):
            counted["no work"] += 1
            continue
        assert isinstance(answer, Taken)
        item = answer.assignment
        got.append(item.stay_id)
        counted["taken"] += 1
        dice = rng.random()
        hold = HoldRequest(agent_id, f"hold-{turn}", item.id, item.lease_token)
        report = OutcomeRequest(
            agent_id, f"out-{turn}", item.id, item.lease_token,
            rng.choice([Outcome.MISSED_CALL, Outcome.NO_ANSWER, Outcome.HUNG_UP, Outcome.DO_NOT_CONTACT]),
        )  # fmt: skip
        try:
            if dice < 0.05:
                counted["forgotten"] += 1
            elif dice < 0.15:
                _until_answered(lambda hold=hold: desk.release(hold), counted)  # type: ignore[misc]
                counted["released"] += 1
            else:
                if dice < 0.2:
                    _until_answered(lambda hold=hold: desk.extend(hold), counted)  # type: ignore[misc]
                _until_answered(lambda report=report: desk.record_outcome(report), counted)  # type: ignore[misc]
                counted["reported"] += 1
        except ConflictError:
            counted["late"] += 1


def _until_answered(ask: Callable[[], object], counted: Counter[str]) -> object:
    while True:
        try:
            return ask()
        except TransientError as error:
            counted["asked again"] += 1
            counted["deadlocks told"] += "deadlock" in str(error)


def desk_process(number: int, agent_ids: list[int], leads: int) -> None:
    """One process: a desk, and a thread for each agent. Prints what was counted."""
    counted, got, raised = Counter[str](), dict[int, list[int]](), list[str]()
    with (
        open_replica(os.environ["REPLICA"]) as replica,
        open_direct_store(os.environ["STORE"]) as store,
        AssignmentDesk(store, replica, TERMS) as desk,
    ):

        def work(agent_id: int) -> None:
            try:
                agent_at_work(desk, agent_id, leads, Random(agent_id), counted, got.setdefault(agent_id, []))
            except BaseException as error:  # noqa: BLE001 - told to the parent
                raised.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=work, args=(agent_id,)) for agent_id in agent_ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.stdout.write(json.dumps({"counted": counted, "raised": raised}) + "\n")


def discovery_process(users: int, seed: int) -> None:
    """Beside the desks, until its input ends: the firm goes on within one hour, which is discovered."""
    rng, counted = Random(seed), Counter[str]()
    engine = sa.create_engine(sa.make_url(os.environ["REPLICA"]).set(drivername="postgresql+psycopg"))

    def go_on(replica: Replica, store: Store) -> None:
        new = users + 50 * counted["discoveries"]
        rows = [user(n, created_at=WITHIN, updated_at=WITHIN) for n in range(new + 1, new + 51)]
        some = rng.sample(range(1, users + 1), min(users, 50))
        changes: list[tuple[list[int], dict[str, object]]] = [
            (some[:20], {"is_enabled": 0}), (some[20:40], {"is_enabled": 1}),
            (some[40:], {"current_signature_file_id": "file"}),
        ]  # fmt: skip
        add_users(engine, *rows)
        with engine.begin() as connection:
            for ids, changed in changes:
                change = schema.users.update().where(schema.users.c.id.in_(ids))
                connection.execute(change.values(updated_at=WITHIN, **changed))
        beside: dict[str, Any] = {
            "replica": replica,
            "store": store,
            "provenance": BY,
            "overlap": NO_OVERLAP,
        }
        found = discover_new_users(HOUR, now=_now(store), **beside)
        converted = check_conversions(
            QueueType.UNSIGNED_USERS,
            HOUR,
            now=_now(store),
            recent_activity=timedelta(hours=1),
            batch_rows=PAGE,
            **beside,
        )
        counted["discoveries"] += 1
        counted["discovered and queued"] += found.total.queued
        counted["conversions detected"] += converted.total.detected

    _again_and_again(go_on, counted)


def reconciliation_process() -> None:
    """Beside the desks, until its input ends: every live stay is compared with the rule, and repaired."""
    counted = Counter[str]()

    def reconcile(replica: Replica, store: Store) -> None:
        tally = reconcile_stays(
            Reconciliation(replica, store, BY, lambda: _now(store), HOUR.end, batch_rows=PAGE)
        ).tally
        counted["reconciliations"] += 1
        counted["reconciled"] += sum(tally.moved.values())
        counted["spared, being assigned"] += tally.spared

    _again_and_again(reconcile, counted)


def _again_and_again(work: Callable[[Replica, Store], None], counted: Counter[str]) -> None:
    """Until the input ends, and once more: then the crowd has gone."""
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True).start()
    with open_replica(os.environ["REPLICA"]) as replica, open_store(os.environ["STORE"]) as store:
        while not over.is_set():
            work(replica, store)
        work(replica, store)
    sys.stdout.write(json.dumps({"counted": counted, "raised": []}) + "\n")


def _now(store: Store) -> datetime:
    with store.transaction() as cursor:
        return clock(cursor)


def expiry_process() -> None:
    """Beside the desks, until its input ends: what the sensor does each minute, all the time."""
    counted, over = Counter[str](), threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True).start()
    with (
        open_replica(os.environ["REPLICA"]) as replica,
        open_direct_store(os.environ["STORE"]) as store,
        AssignmentDesk(store, replica, TERMS) as desk,
    ):
        while not over.wait(0.05):
            counted["expired"] += desk.expire().leads_returned
    sys.stdout.write(json.dumps({"counted": counted, "raised": []}) + "\n")


def _wait_for_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def admit(store: Store, replica: Replica, user_ids: list[int]) -> None:
    """Make these users known and queue them, by pages."""
    for start in range(0, len(user_ids), PAGE):
        page = sorted(user_ids[start : start + PAGE])
        with store.transaction() as cursor:
            seen_at = clock(cursor)
        leads = replica.read_leads(page)
        with store.transaction() as cursor:
            now = clock(cursor)
            make_known(cursor, [SourceUser(user_id, True, "active", False) for user_id in page], now)
            moves = [
                Move(lead.facts.user.user_id, decide_queue(lead.facts), None, lead.facts) for lead in leads
            ]
            move_users(cursor, moves, BY, now, seen_at=seen_at)


@dataclass(frozen=True)
class Order:
    """The stays in the order in which they were served, and in the one in which they had to be."""

    served: list[int] = field(default_factory=list)
    documented: list[int] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether somebody was served at all, and everybody when it was their turn."""
        return bool(self.served) and self.served == self.documented


@dataclass
class Told:
    """What the processes counted, what they raised, what the audit found, and the order at the end."""

    counted: Counter[str] = field(default_factory=Counter)
    raised: list[str] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    order: Order = field(default_factory=Order)
    seconds: float = 0.0


@contextmanager
def _process(environment: dict[str, str], *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", __spec__.name, *map(str, arguments)]
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=os.environ | environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def crowd(
    store_url: str, source: ReplicaDatabase, *, processes: int, threads: int, leads: int, turns: int,
    between: Callable[[], object] = lambda: None,
) -> Told:  # fmt: skip
    """Let them all work at once, `between` while they do, and audit what is left."""
    with source.engine.begin() as connection:
        connection.execute(schema.users.insert(), [user(n) for n in range(1, leads + 1)])
    beat(source.engine, HOUR.end)
    replica = open_replica(source.url)
    with replica, open_store(store_url) as store:
        admit(store, replica, list(range(1, leads + 1)))
        with store.transaction() as cursor:
            queues = list(QueueType)
            names = [
                agents.add(cursor, "somebody", Role.AGENT, queues, b"%d" % n)
                for n in range(processes * threads)
            ]
    environment, told, began = {"REPLICA": source.url, "STORE": store_url}, Told(), time.monotonic()
    with ExitStack() as stack:
        beside = [
            stack.enter_context(_process(environment, "discovery", leads, 1)),
            stack.enter_context(_process(environment, "reconciliation")),
            stack.enter_context(_process(environment, "expiry")),
        ]
        desks = [
            stack.enter_context(_process(environment, "desk", n, turns, *names[n::processes]))
            for n in range(processes)
        ]
        between()
        said = [desk.communicate(timeout=3600)[0] for desk in desks]
        told.seconds = time.monotonic() - began
        said += [each.communicate(timeout=300)[0] for each in beside]
    for line in said:
        answer = json.loads(line.splitlines()[-1])  # the log stands before it
        told.counted += Counter(answer["counted"])
        told.raised += answer["raised"]
    told.found = audit(store_url)
    return told


def audit(store_url: str) -> dict[str, int]:
    """What is wrong in the books, by what is wrong; empty if nothing is."""
    with psycopg.connect(store_url) as connection:
        counts = {}
        for what, statement in AUDIT.items():
            row = connection.execute(statement.encode()).fetchone()
            assert row is not None
            counts[what] = row[0]
    return {what: count for what, count in counts.items() if count}


def everyone_is_served_again(
    store_url: str, source: ReplicaDatabase, agent_id: int, leads_max: int = sys.maxsize
) -> Order:
    """Alone, one agent empties the queue, or the front of it: long afterwards, on a clock that stands.

    Who is not served has left: the source bars them by now.
    """
    served: list[int] = []
    with (
        open_replica(source.url) as replica,
        open_direct_store(store_url) as store,
        psycopg.connect(store_url, autocommit=True) as books,
    ):
        with AssignmentDesk(store, replica, TERMS) as desk:

            def is_nobody_holding() -> bool:
                desk.expire()
                return not books.execute(HELD).fetchall()

            wait_until(is_nobody_holding)
        now = _now(store) + REST
        waiting = [row[0] for row in books.execute(WAITING, (now, TERMS.rules.not_called_from))]
        terms = replace(TERMS, lease=timedelta(hours=1))
        with AssignmentDesk(store, replica, terms, now=lambda: now) as desk:
            while len(served) < leads_max:
                turn = len(served)
                answer = desk.take(TakeRequest(agent_id, f"last-{turn}"))
                if isinstance(answer, NoWork):
                    break
                item = answer.assignment
                served.append(item.stay_id)
                desk.record_outcome(
                    OutcomeRequest(agent_id, f"last-out-{turn}", item.id, item.lease_token, Outcome.NO_ANSWER)
                )
        live = {row[0] for row in books.execute("SELECT id FROM call_queue WHERE status <> 'left'")}
    documented = [stay_id for stay_id in waiting if stay_id in live or stay_id in served]
    return Order(served, documented[:leads_max])


def on_servers(servers: Servers, **size: Any) -> Told:
    """The crowd on databases of its own; then one of them alone."""
    postgres = servers.postgres()
    template = databases.store_template(servers)
    with (
        databases.postgres_replica(postgres) as source,
        databases.fresh_postgres_database(postgres, template) as name,
    ):
        told, alone = crowd(postgres.url(name), source, **size), 1
        told.order = everyone_is_served_again(postgres.url(name), source, alone, ALONE_MAX)
        return told


def main() -> int:
    """A crowd of the size that the command line asks for; 1 if anything is wrong."""
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    if role == "desk":
        desk_process(int(sys.argv[2]), [int(name) for name in sys.argv[4:]], int(sys.argv[3]))
        return 0
    if role == "discovery":
        discovery_process(int(sys.argv[2]), int(sys.argv[3]))
        return 0
    if role == "reconciliation":
        reconciliation_process()
        return 0
    if role == "expiry":
        expiry_process()
        return 0
    parser = argparse.ArgumentParser(description="Many agents at many desks, audited.")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=8, help="agents of each process")
    parser.add_argument("--leads", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=200, help="leads that each agent takes")
    asked = parser.parse_args()
    with start_servers() as servers:
        told = on_servers(
            servers, processes=asked.processes, threads=asked.threads, leads=asked.leads, turns=asked.turns
        )
    for what, number in sorted(told.counted.items()):
        sys.stdout.write(f"{number:8} {what}\n")
    sys.stdout.write(f"raised: {told.raised}\nwrong in the books: {told.found}\n")
    kept = "kept" if told.order.is_kept else "NOT kept"
    sys.stdout.write(f"order {kept} over {len(told.order.served)} leads to one agent alone\n")
    sys.stdout.write(f"{told.counted['taken'] / told.seconds:.0f} leads a second for {told.seconds:.0f} s\n")
    is_wrong = told.raised or told.found or told.counted["deadlocks told"] or not told.order.is_kept
    return 1 if is_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
