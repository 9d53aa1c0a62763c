"""The desk in one process: takes, and takes with outcomes, beside a bare one-row claim under pgbench."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import psycopg

from bench.backlog import AGENTS, EverybodyIsCallable, backlog, durable_server, fill
from bench.pgbench import BARE, CLAIM, CLAIM_AND_COMPLETE, Pace, percentile, pgbench
from bench.report import Row
from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest, Taken, TakeRequest
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store.connection import open_direct_store
from leadq_dagster_tests.servers.running import Servers

SECONDS = 4.0
SMALL, LARGE, HUGE = 10_000, 1_000_000, 10_000_000
AT_ONCE = (1, 16, 64)

Cycle = Callable[[AssignmentDesk, int, int], None]


def measure(_: Servers) -> Iterator[Row]:
    """Leads a second at 1, 16 and 64 agents; the cost of a larger backlog; a transaction open for long."""
    with durable_server() as server:
        costs: dict[int, float] = {}
        for leads in (SMALL, LARGE, HUGE):
            with backlog(server, leads) as url:
                if leads == LARGE:
                    yield from _beside_pgbench(url)
                    yield from _behind_an_open_transaction(url)
                pace = pace_of(url, 16, take_and_report)
                costs[leads] = 1 / pace.per_second
                yield Row(f"take + outcome, 16 agents, {leads:,} leads", *told(pace))
        ratio = costs[HUGE] / costs[SMALL]
        yield Row(f"cost at {HUGE:,} against {SMALL:,} leads", f"ratio {ratio:.2f}", "target ≤ 1.2")


def _beside_pgbench(url: str) -> Iterator[Row]:
    fill(url, BARE)
    for agents in AT_ONCE:
        bare = pgbench(url, CLAIM, agents)
        ours = pace_of(url, agents, take_only)
        yield Row(f"bare claim, pgbench, {agents} clients", *told(bare))
        yield Row(f"take, {agents} agents", *told(ours, bare))
    for agents in AT_ONCE:
        bare = pgbench(url, CLAIM_AND_COMPLETE, agents)
        ours = pace_of(url, agents, take_and_report)
        yield Row(f"bare claim + complete, pgbench, {agents} clients", *told(bare))
        yield Row(f"take + outcome, {agents} agents", *told(ours, bare))


def _behind_an_open_transaction(url: str) -> Iterator[Row]:
    """Somebody reads for long: what was taken meanwhile cannot be cleaned away in front of the next lead."""
    before = pace_of(url, 64, take_and_report)
    with psycopg.connect(url) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM agents")
        paces = [pace_of(url, 64, take_and_report) for _ in range(4)]
    lowest = min(pace.per_second for pace in paces)
    yield Row(
        "take + outcome, 64 agents, behind a transaction open for 16 s",
        f"{lowest:,.0f}/s",
        f"ratio {lowest / before.per_second:.2f} to without",
    )


_requests = count(1)
_fresh_agents = count(1000)


def take_only(desk: AssignmentDesk, _agent: int, _turn: int) -> None:
    """One lead for an agent who holds none: somebody new each time."""
    agent_id = next(_fresh_agents) % AGENTS + 1
    assert isinstance(
        desk.take(TakeRequest(agent_id, f"t{next(_requests)}", QueueType.UNSIGNED_USERS)), Taken
    )


def take_and_report(desk: AssignmentDesk, agent: int, _turn: int) -> None:
    """One lead, called in vain."""
    number = next(_requests)
    got = desk.take(TakeRequest(agent, f"c{number}", QueueType.UNSIGNED_USERS))
    assert isinstance(got, Taken), got
    lead = got.assignment
    desk.record_outcome(OutcomeRequest(agent, f"o{number}", lead.id, lead.lease_token, Outcome.NO_ANSWER))


def pace_of(url: str, agents: int, cycle: Cycle) -> Pace:
    """Agents in a closed loop, each in a thread of its own."""
    latencies: list[float] = []
    with (
        open_direct_store(url) as store,
        AssignmentDesk(store, EverybodyIsCallable(), DeskTerms()) as desk,
    ):
        cycle(desk, 1, 0)  # connected and planned: what is measured is the work
        started = time.perf_counter()
        stop = started + SECONDS

        def work(agent: int) -> None:
            mine = []
            for turn in count(1):
                began = time.perf_counter()
                if began >= stop:
                    break
                cycle(desk, agent, turn)
                mine.append((time.perf_counter() - began) * 1000)
            latencies.extend(mine)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, agents + 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - started
    latencies.sort()
    return Pace(len(latencies) / took, percentile(latencies, 0.5), percentile(latencies, 0.99))


def told(pace: Pace, beside: Pace | None = None) -> tuple[str, str]:
    ratio = f"ratio {pace.per_second / beside.per_second:.2f}; " if beside else ""
    return f"{pace.per_second:,.0f}/s", f"{ratio}p50 {pace.p50_ms:.1f} ms, p99 {pace.p99_ms:.1f} ms"
