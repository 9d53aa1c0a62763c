"""The desk in one process: takes, and takes with outcomes, beside a bare one-row claim under pgbench."""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import psycopg

from bench.backlog import AGENTS, EverybodyIsCallable, backlog, durable_server, fill, put_back, tidy
from bench.pgbench import BARE, CLAIM, CLAIM_AND_COMPLETE, Pace, in_turn, percentile, pgbench
from bench.report import Row
from leadq_dagster.desk import combiner
from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.garbage import look_seldom
from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest, Taken, TakeRequest
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.store.connection import open_direct_store
from leadq_dagster_tests.servers.running import Servers

SECONDS = 4.0
ROUNDS = 3
SMALL, LARGE, HUGE = 10_000, 1_000_000, 10_000_000
AT_ONCE = (1, 16, 64)

# What an agent does once: asks the desk, and is given the answer when it is there.
Cycle = Generator["Future[Any]", Any, None]


def measure(_: Servers) -> Iterator[Row]:
    """Leads a second by agents, without batches, behind a long transaction, and by size of the backlog."""
    with durable_server() as server, ExitStack() as backlogs:
        large = backlogs.enter_context(backlog(server, LARGE))
        yield from _beside_pgbench(large)
        yield from _one_by_one(large)
        yield from _behind_an_open_transaction(large)
        huge = backlogs.enter_context(backlog(server, HUGE))
        yield from _by_size(server, large, huge)


def _by_size(server: EmbeddedPostgres, large: str, huge: str) -> Iterator[Row]:
    """The sizes in turn, the larger ones filled once: the ratio is of the same minutes."""
    runs = {
        SMALL: partial(_pace_of_small, server),
        LARGE: partial(pace_of, large, 16, take_and_report),
        HUGE: partial(pace_of, huge, 16, take_and_report),
    }
    paces = dict(zip(runs, in_turn(ROUNDS, *runs.values()), strict=True))
    for leads, pace in paces.items():
        yield Row(f"take + outcome, 16 agents, {leads:,} leads", *told(pace))
    ratio = paces[SMALL].per_second / paces[HUGE].per_second
    yield Row(f"cost at {HUGE:,} against {SMALL:,} leads", f"ratio {ratio:.2f}", "target ≤ 1.2")


def _pace_of_small(server: EmbeddedPostgres) -> Pace:
    """Filled for each round: one leaves few who are not cooling."""
    with backlog(server, SMALL) as url:
        return pace_of(url, 16, take_and_report)


def _one_by_one(url: str) -> Iterator[Row]:
    """What serving those who wait together gives: the same desk with batches of one."""
    together, alone = in_turn(
        ROUNDS,
        partial(pace_of, url, 16, take_and_report),
        partial(_pace_in_batches_of_one, url, 16, take_and_report),
    )
    yield Row(f"take + outcome, 16 agents, batches of up to {combiner.BATCH_MAX}", *told(together))
    yield Row("take + outcome, 16 agents, batches of 1", *told(alone, together))


def _pace_in_batches_of_one(url: str, agents: int, cycle: Callable[[AssignmentDesk, int], Cycle]) -> Pace:
    usual = combiner.BATCH_MAX
    combiner.BATCH_MAX = 1
    try:
        return pace_of(url, agents, cycle)
    finally:
        combiner.BATCH_MAX = usual


def _beside_pgbench(url: str) -> Iterator[Row]:
    fill(url, BARE)
    for ours_is, cycle, bare_is, statement in (
        ("take", take_only, "bare claim", CLAIM),
        ("take + outcome", take_and_report, "bare claim + complete", CLAIM_AND_COMPLETE),
    ):
        for agents in AT_ONCE:
            bare, ours = in_turn(
                ROUNDS,
                partial(pgbench, url, statement, agents),
                partial(pace_of, url, agents, cycle),
            )
            yield Row(f"{bare_is}, pgbench, {agents} clients", *told(bare))
            yield Row(f"{ours_is}, {agents} agents", *told(ours, bare))


def _behind_an_open_transaction(url: str) -> Iterator[Row]:
    """Somebody reads for long: what was taken meanwhile cannot be cleaned away in front of the next lead."""
    runs = {
        "bare claim + complete, pgbench, 64 clients": partial(pgbench, url, CLAIM_AND_COMPLETE, 64),
        "take + outcome, 64 agents": partial(pace_of, url, 64, take_and_report),
    }
    before = {name: run().per_second for name, run in runs.items()}
    for name, run in runs.items():
        with psycopg.connect(url) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT count(*) FROM agents")
            lowest = min(run().per_second for _ in range(4))
        yield Row(
            f"{name}, behind a transaction open for 16 s",
            f"{lowest:,.0f}/s",
            f"ratio {lowest / before[name]:.2f} to without",
        )


_requests = count(1)
_fresh_agents = count(1000)


def take_only(desk: AssignmentDesk, _agent: int) -> Cycle:
    """One lead for an agent who holds none: somebody new each time."""
    request = TakeRequest(next(_fresh_agents) % AGENTS + 1, f"t{next(_requests)}", QueueType.UNSIGNED_USERS)
    got = yield desk.submit_take(request)
    assert isinstance(got, Taken), got
    assert got.assignment.request_id == request.request_id, "a lead that was held already is no take"


def take_and_report(desk: AssignmentDesk, agent: int) -> Cycle:
    """One lead, called in vain."""
    number = next(_requests)
    got = yield desk.submit_take(TakeRequest(agent, f"c{number}", QueueType.UNSIGNED_USERS))
    assert isinstance(got, Taken), got
    lead = got.assignment
    yield desk.submit_outcome(
        OutcomeRequest(agent, f"o{number}", lead.id, lead.lease_token, Outcome.NO_ANSWER)
    )


def pace_of(url: str, agents: int, cycle: Callable[[AssignmentDesk, int], Cycle]) -> Pace:
    """Agents in a closed loop on tidy tables, all moved by one thread, as pgbench moves its clients."""
    put_back(url)
    tidy(url)
    with (
        open_direct_store(url) as store,
        AssignmentDesk(store, EverybodyIsCallable(), DeskTerms()) as desk,
    ):
        crowd = _Crowd(desk, cycle)
        crowd.work(range(1, agents + 1), 0)  # connected, planned and read in: what is measured is the work
        look_seldom()  # as the service does
        started = time.perf_counter()
        latencies = crowd.work(range(1, agents + 1), SECONDS)
        took = time.perf_counter() - started
    return Pace(len(latencies) / took, percentile(latencies, 0.5), percentile(latencies, 0.99))


class _Crowd:
    """Agents who each begin their next cycle when the last has ended."""

    def __init__(self, desk: AssignmentDesk, cycle: Callable[[AssignmentDesk, int], Cycle]) -> None:
        self._desk, self._cycle = desk, cycle
        self._woken = threading.Event()
        desk.after_batch = self._woken.set

    def work(self, agents: Iterable[int], seconds: float) -> list[float]:
        """The milliseconds of each cycle, ordered; cycles begin for so long, and at least one each."""
        stop = time.perf_counter() + seconds
        latencies: list[float] = []
        waiting = [self._begin(agent) for agent in agents]
        while waiting:
            self._woken.wait()
            self._woken.clear()
            still = []
            for each in waiting:
                agent, turn, began, answer = each
                if not answer.done():
                    still.append(each)
                    continue
                try:
                    still.append((agent, turn, began, turn.send(answer.result())))
                except StopIteration:
                    now = time.perf_counter()
                    latencies.append((now - began) * 1000)
                    if now < stop:
                        still.append(self._begin(agent))
            waiting = still
        return sorted(latencies)

    def _begin(self, agent: int) -> "tuple[int, Cycle, float, Future[Any]]":
        began = time.perf_counter()
        turn = self._cycle(self._desk, agent)
        return agent, turn, began, next(turn)


def told(pace: Pace, beside: Pace | None = None) -> tuple[str, str]:
    ratio = f"ratio {pace.per_second / beside.per_second:.2f}; " if beside else ""
    return f"{pace.per_second:,.0f}/s", f"{ratio}p50 {pace.p50_ms:.1f} ms, p99 {pace.p99_ms:.1f} ms"
