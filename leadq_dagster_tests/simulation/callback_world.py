"""A seeded world of promised calls: agents come and go, daemons fail, clocks step, and every promise is kept.

More of them: `python -m leadq_dagster_tests.simulation.callback_world --seeds 20 --days 14`.
"""

import argparse
import logging
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import structlog

from leadq_dagster.desk.routing import Routing, first_due
from leadq_dagster.domain.errors import TransientError
from leadq_dagster_tests.desk.at_work import TEN, AtWork, at_work, fresh_work
from leadq_dagster_tests.servers.running import Servers, start_servers
from leadq_dagster_tests.simulation.callback_agents import MINUTE, Promises, SimulatedAgent, rows
from leadq_dagster_tests.stages.failing import Countdown, CutStore, KilledError, all_at_once

AGENTS, USERS = 5, 25
DAY_BEGINS, DAY_ENDS = 8, 18
KILLED, BOTH, STEPS = 0.04, 0.10, 0.004
DAEMON_STOPS, DAEMON_STARTS = 0.004, 0.02
SOURCE_FAILS, SOURCE_RECOVERS = 0.01, 0.2
# Where this look cancelled another promised call of the user, with the stay, the next look has this one.
NOT_SHOWN_FOR_ROUTING = """
SELECT callback.id, callback.call_after, callback.status, stay.id AS stay_id
FROM callbacks AS callback
LEFT JOIN call_queue AS stay ON stay.user_id = callback.user_id AND stay.status <> 'left'
WHERE callback.status IN ('pending', 'accepted') AND callback.call_after <= %s
    AND (stay.id IS NULL OR (stay.status = 'pending' AND stay.callback_id IS NULL))
    AND NOT EXISTS (
        SELECT FROM queue_transitions AS transition
        WHERE transition.user_id = callback.user_id AND transition.to_queue_type IS NULL
            AND transition.happened_at = %s
    )
"""
UNANSWERED = {"no_answer", "missed_call"}
TWICE_AT_ONCE = """
SELECT callback_id FROM assignments WHERE ended_at IS NULL AND callback_id IS NOT NULL
GROUP BY callback_id HAVING count(*) > 1
"""
FRONT_OF_NOTHING = """
SELECT stay.id FROM call_queue AS stay JOIN callbacks AS callback ON callback.id = stay.callback_id
WHERE stay.status <> 'left'
    AND (callback.status NOT IN ('pending', 'accepted') OR callback.user_id <> stay.user_id)
"""
WAITING = """
SELECT callback.id, callback.preferred_agent_id, stay.reserved_for_agent_id, callback.call_after
FROM call_queue AS stay JOIN callbacks AS callback ON callback.id = stay.callback_id
WHERE stay.status = 'pending' AND callback.status = 'pending' AND callback.call_after <= %s
"""
ENDS = """
SELECT callback.id, callback.user_id, callback.status, callback.closed_reason, score.suppressed_reason,
    EXISTS (
        SELECT FROM call_outcomes AS told
        WHERE told.assignment_id = callback.agreed_in_assignment_id AND told.is_late
    ) AS is_of_a_late_report,
    array(
        SELECT outcome::text FROM call_outcomes
        WHERE call_outcomes.callback_id = callback.id AND NOT is_late ORDER BY id
    ) AS outcomes,
    array(
        SELECT outcome::text FROM call_outcomes WHERE call_outcomes.callback_id = callback.id AND is_late
    ) AS late_outcomes
FROM callbacks AS callback JOIN user_call_scores AS score USING (user_id)
ORDER BY callback.id
"""


@dataclass
class CallbackWorld:
    """The agents' work, two daemons on databases of one firm, and what each is up to."""

    work: AtWork
    twin: AtWork
    rng: Random
    counted: Counter[str] = field(default_factory=Counter)
    promises: Promises = field(default_factory=Promises)
    agents: list[SimulatedAgent] = field(default_factory=list)
    is_daemon_up: bool = True
    users: int = 0
    ever_barred: set[int] = field(default_factory=set)
    latest: datetime = TEN
    source_down: ExitStack | None = None

    @property
    def now(self) -> datetime:
        return self.work.clock.now

    def begin(self) -> None:
        for _ in range(USERS):
            self.sign_up()
        for _ in range(AGENTS):
            agent_id = self.work.agent()
            self.agents.append(SimulatedAgent(agent_id, self.work, self.rng, self.counted, self.promises))
        for desk in (self.work, self.twin):
            desk.desk.gate.seconds = lambda: self.now.timestamp()

    def live(self, days: float) -> None:
        """So many days; then nobody promises any more, everybody is there, and what is open ends."""
        self.begin()
        end = self.now + timedelta(days=days)
        while self.now < end:
            self.minute(is_promising=True)
        self.settle()
        self.check_ends()

    def minute(self, *, is_promising: bool) -> None:
        self.pass_time()
        if is_promising:
            self.something_happens()
        for agent in self.rng.sample(self.agents, len(self.agents)):
            agent.act(is_promising=is_promising)
        if self.is_daemon_up:
            self.tick()
        self.check_always()

    def pass_time(self) -> None:
        is_night = not DAY_BEGINS <= self.now.hour < DAY_ENDS
        if is_night:
            for agent in self.agents:
                if agent.where == "here" and agent.held is None:
                    agent.go("away")
        if self.rng.random() < STEPS:
            step = self.rng.choice((-30, -5, 20, 45))
            self.counted["clock set back" if step < 0 else "clock set on"] += 1
            self.work.clock.now += step * MINUTE
        self.work.clock.now += (30 if is_night else 1) * MINUTE
        self.twin.clock.now = self.now
        self.latest = max(self.latest, self.now)

    def something_happens(self) -> None:
        """At the source, and to the daemon."""
        throw = self.rng.random()
        if throw < 0.01 and self.source_down is None:
            self.bar()
        elif throw < 0.03 and self.source_down is None:
            self.sign()
        elif throw < 0.06 and self.source_down is None:
            self.sign_up()
        if self.source_down is None and self.rng.random() < SOURCE_FAILS:
            self.source_down = ExitStack()
            self.source_down.enter_context(self.work.source_down())
            self.counted["source down"] += 1
        elif self.source_down is not None and self.rng.random() < SOURCE_RECOVERS:
            self.recover()
        share = DAEMON_STOPS if self.is_daemon_up else DAEMON_STARTS
        if self.rng.random() < share:
            self.is_daemon_up = not self.is_daemon_up
            self.counted["daemon down"] += not self.is_daemon_up

    def recover(self) -> None:
        if self.source_down is not None:
            self.source_down.close()
            self.source_down = None

    def sign_up(self) -> None:
        self.users += 1
        self.work.lead(self.users, owing=self.rng.random() < 0.4)

    def bar(self) -> None:
        """Somebody is disabled or cancelled for good, and the hourly job may or may not have noticed yet."""
        user_id = self.rng.randint(1, self.users)
        change = self.rng.choice(({"is_enabled": 0}, {"status": "cancelled"}))
        self.work.change(user_id, **change)
        self.ever_barred.add(user_id)
        if self.rng.random() < 0.5:
            self.work.judge(user_id, spare_assigned=True)

    def sign(self) -> None:
        user_id = self.rng.randint(1, self.users)
        self.work.sign(user_id)
        with suppress(TransientError):
            self.work.judge(user_id, spare_assigned=self.rng.random() < 0.5)

    def tick(self) -> None:
        """The daemon's minute: leases, then a look, and a run if there is something to do."""
        self.work.desk.expire()
        look = first_due(self.work.store, self.work.desk.terms, self.now)
        if look is None:
            self.check_after_routing()
            return
        throw = self.rng.random()
        if throw < KILLED:
            self.route_and_be_killed()
            return
        if throw < KILLED + BOTH:
            raised = all_at_once(self.work.desk.route_callbacks, self.twin.desk.route_callbacks)
            assert raised == []
            self.counted["two daemons at once"] += 1
        else:
            routed = self.work.desk.route_callbacks()
            assert routed.errors == 0, routed
            self.counted["routed"] += routed.routed
            self.counted["cancelled by the gate"] += routed.cancelled
        self.check_after_routing()

    def route_and_be_killed(self) -> None:
        countdown = Countdown(self.rng.randint(1, 16))
        when = self.rng.choice(("after the statement", "after the commit"))
        store = CutStore(self.work.store, self.work.store_url, when, countdown)  # type: ignore[call-arg]
        with suppress(TransientError, KilledError):
            Routing(store, self.work.desk.gate, self.work.desk.terms).route(self.now)
        self.counted["killed"] += countdown.is_over

    def check_always(self) -> None:
        assert rows(self.work, TWICE_AT_ONCE) == []
        assert rows(self.work, FRONT_OF_NOTHING) == []
        # By the agents' own account: the store may say that a call is over which is not.
        calling = [agent for agent in self.agents if agent.is_calling(self.latest)]
        called = Counter(agent.held.assignment.user_id for agent in calling if agent.held)
        assert max(called.values(), default=1) == 1, [(agent.agent_id, agent.held) for agent in calling]

    def check_after_routing(self) -> None:
        """What is near or overdue is in front or in hand, and with the preferred agent if they are free."""
        lost = rows(self.work, NOT_SHOWN_FOR_ROUTING, self.now + 6 * MINUTE, self.now)
        assert lost == [], lost
        # Whom silence has put offline learns it by the next request only.
        offline = {number for (number,) in rows(self.work, "SELECT id FROM agents WHERE status = 'offline'")}
        free = {agent.agent_id for agent in self.agents if agent.is_free} - offline
        thought_free = {agent.agent_id for agent in self.agents if agent.is_thought_free}
        for callback_id, preferred, reserved, call_after in rows(self.work, WAITING, self.now + 6 * MINUTE):
            if preferred in free:
                assert reserved == preferred, (callback_id, preferred, reserved, self.now)
                self.counted["preferred got theirs"] += 1
            elif reserved is None:
                assert not free, (callback_id, free)
                self.counted["waited for anybody"] += 1
            else:
                assert reserved in thought_free or call_after > self.now or not free, (callback_id, reserved)
                self.counted["for another who was free"] += 1

    def settle(self) -> None:
        """Everybody works on, promising nothing, until no callback is open."""
        self.recover()
        self.is_daemon_up = True
        opened = "SELECT count(*) FROM callbacks WHERE status IN ('pending', 'accepted')"
        for _ in range(3000):
            self.minute(is_promising=False)
            if rows(self.work, opened) == [(0,)]:
                return
        raise AssertionError(f"still open: {rows(self.work, ENDS)}")

    def check_ends(self) -> None:
        """Every promise that was made is there, and each ended as it should, for a reason that is true."""
        ends = rows(self.work, ENDS)
        there = {callback_id: user_id for callback_id, user_id, *_ in ends}
        assert there.items() >= self.promises.made.items()
        for callback_id, user_id, status, reason, suppressed, is_of_a_late_report, outcomes, late in ends:
            # Whoever reports late is told so, and not the callback that was agreed all the same.
            assert callback_id in self.promises.made or is_of_a_late_report, callback_id
            self.counted["agreed in a late report"] += callback_id not in self.promises.made
            self.counted[f"{status}: {reason}"] += 1
            if status == "completed":
                is_kept_late = not outcomes or outcomes[-1] != reason
                self.counted["kept by a late report"] += is_kept_late
                assert reason in (late if is_kept_late else outcomes[-1:]), callback_id
                assert reason not in UNANSWERED
                assert set(outcomes if is_kept_late else outcomes[:-1]) <= UNANSWERED
            elif reason.startswith("not kept: "):
                assert outcomes == ["no_answer"] * 2, (callback_id, outcomes)
            elif reason in ("user_disabled", "user_cancelled"):
                assert user_id in self.ever_barred
            elif reason in ("do_not_contact", "no_claim"):
                assert suppressed in ("do_not_contact", "no_claim")
            else:
                assert reason == "cancelled by an agent: agreed_otherwise"


def live(servers: Servers, seed: int, days: float) -> Counter[str]:
    """The world of this seed, on databases of its own; what happened in it."""
    with fresh_work(servers) as work, at_work(work.store_url, work.source) as twin:
        work.clock.now = work.clock.now.replace(hour=DAY_BEGINS)
        world = CallbackWorld(work, twin, Random(seed))
        world.live(days)
        return world.counted


def main() -> int:
    """Live the worlds that the command line asks for; 1 if one failed."""
    parser = argparse.ArgumentParser(description="Seeded worlds of promised calls.")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--days", type=float, default=14, help="simulated days of each")
    asked = parser.parse_args()
    for noisy in ("psycopg.pool", "psycopg"):  # they tell of each connection that was cut
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    counted, failed, began = Counter[str](), list[int](), time.monotonic()
    with start_servers() as servers:
        for seed in range(asked.first, asked.first + asked.seeds):
            try:
                counted += live(servers, seed, asked.days)
            except Exception:  # noqa: BLE001 - told with its seed; the other worlds are lived all the same
                failed.append(seed)
                sys.stdout.write(f"seed {seed} failed:\n{traceback.format_exc()}\n")
            spent = time.monotonic() - began
            sys.stdout.write(f"after {spent:.0f} s: seed {seed} done, failed so far: {failed}\n")
            sys.stdout.flush()
    for what, number in sorted(counted.items()):
        sys.stdout.write(f"{number:8} {what}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
