"""One seeded world of conversions: a small firm, its agents, and hourly jobs that meet every trouble."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import HOUR, Window, floor_to_hour, join_touching
from leadq_dagster.firm.application import open_application
from leadq_dagster.firm.world import Recipe
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.stages.conversions import ConversionReport
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.simulation.agents import Agents
from leadq_dagster_tests.simulation.detector import Detector
from leadq_dagster_tests.simulation.hourly import JOBS, QUEUES, Hourly, InterruptedReplica, Job
from leadq_dagster_tests.simulation.ledger import Ledger
from leadq_dagster_tests.simulation.worlds import START, World, queues
from leadq_dagster_tests.stages.discovering import Clock
from leadq_dagster_tests.stages.failing import Countdown, CutStore, KilledError, When, all_at_once

SIGN_UPS_PER_DAY = 14
UNDATED_SHARE = 0.02
LATE_SHARE = 0.5
# Users at once: of a few, hardly ever one changes meanwhile.
OVERTAKEN_MIN = 7
BATCH_ROWS = 60
CUT_AFTER_MAX = 14
SWEEPS_PER_STEP = 0.3

# What happens to a run, with how often.
TROUBLES = {
    "none": 0.5,
    "killed": 0.12,
    "interrupted": 0.12,
    "overtaken": 0.12,
    "two at once": 0.07,
    "repeated": 0.07,
}


@dataclass(frozen=True)
class Temper:
    """What kind of world it is.

    Unpunctual ones have long steps, so that weeks cost seconds, and much of what was missed is met again by a
    later look. A punctual one runs every window once, right after its end, and calls bring back hardly
    anybody: there late rows are found by the overlap or not at all.
    """

    days: int = 14
    hours_of_a_step: tuple[int, ...] = (14, 20, 26, 40)
    # How long a slow run is at it: others know later things by the time it writes. Shorter than a step.
    slow_for: timedelta = timedelta(hours=12)
    lags_in_hours: tuple[int, ...] = (0, 0, 0, 0, 0, 1, 20)
    left_for_later: float = 0.4
    recent_activity_hours: int = 48
    calls_of_a_step_max: int = 50
    has_sweeps: bool = False
    has_two_processes: bool = False

    @classmethod
    def of(cls, seed: int) -> "Temper":
        """Every fourth is punctual, every other one swept, every fifth has a second process."""
        is_second = seed % 5 == 0
        if seed % 4 == 1:
            return cls(8, (2, 3, 5), HOUR, (0,), 0.0, 1, 6, False, is_second)
        return cls(has_sweeps=seed % 2 == 0, has_two_processes=is_second)


@dataclass
class ConversionWorld:
    """A world and what is still to be run in it, by job."""

    rng: Random
    temper: Temper
    detector: Detector | None
    world: World
    hourly: Hourly
    agents: Agents
    ledger: Ledger
    store_url: str
    counted: Counter[str]
    waiting: dict[Job, list[Window]]
    reached: datetime = START
    raced: set[int] = field(default_factory=set)

    def live(self) -> None:
        """Weeks of it, checked at every step; then everything that was left for later, in some order."""
        self.agents.sign_on()
        while self.world.clock.now < START + timedelta(days=self.temper.days):
            self.step()
        self.stand_still()
        for job in self.shuffled_jobs():
            for window in self.shuffled(self.waiting[job]):
                self.run(job, window)

    def step(self) -> None:
        """Some hours go by; agents call and remove; the jobs run, or do not."""
        since = self.reached
        self.reached = now = since + self.rng.choice(self.temper.hours_of_a_step) * HOUR
        self.live_until(now, self.rng.choice(self.temper.lags_in_hours) * HOUR)
        self.agents.call(since, self.rng.randint(0, self.temper.calls_of_a_step_max))
        self.agents.deliver()
        self.remove_some()
        for job in self.shuffled_jobs():
            self.waiting[job].append(Window(since, now))
            if self.rng.random() >= self.temper.left_for_later:
                self.run_waiting(job)
        if self.temper.has_sweeps and self.rng.random() < SWEEPS_PER_STEP:
            self.sweep()
        self.ledger.check_step()

    def live_until(self, now: datetime, lag: timedelta = timedelta()) -> None:
        """It is `now`; what is written by it is judged by what the replica shows by it."""
        self.world.live_until(now, lag)
        self.ledger.see(now, self.world.application.truth)

    def stand_still(self) -> None:
        """Time goes on by an hour and a beat without anything happening at the source."""
        since = self.world.clock.now
        self.live_until(since)
        self.world.clock.now = self.world.shown = now = since + HOUR
        self.world.application.beat(now)
        self.ledger.see(now, self.world.application.truth)
        self.agents.deliver()
        for job in JOBS:
            self.waiting[job].append(Window(self.reached, now))

    def remove_some(self) -> None:
        """Agents close stays: mostly of those who have nothing left to do, some by mistake."""
        truth = self.world.application.truth
        with self.hourly.store.transaction() as cursor:
            rows = cursor.execute(
                "SELECT user_id, queue_type FROM call_queue WHERE status <> 'left' ORDER BY id"
            ).fetchall()
        chosen = [
            user_id
            for user_id, queue in rows
            if self.rng.random() < (0.25 if truth.success_of(user_id, queue) else 0.02)
        ]
        if chosen:
            self.counted["removed"] += len(self.agents.remove(chosen))

    def run_waiting(self, job: Job) -> None:
        """What waits for this job: window by window in any order, or all that touch in ranges."""
        windows, self.waiting[job] = self.waiting[job], []
        if self.rng.random() < 0.7:
            windows = join_touching(windows)
        elif self.rng.random() < 0.4:
            windows = [*windows[:-1], *windows[-1].split(self.rng.choice((3, 7)) * HOUR)]
        for window in self.shuffled(windows):
            self.attempt(job, window)

    def attempt(self, job: Job, window: Window) -> None:
        """One run with whatever trouble comes; what did not end well waits again, or is run again at once."""
        trouble = self.rng.choices(list(TROUBLES), list(TROUBLES.values()))[0]
        if self.world.shown < window.end:
            self.refused(job, window)
        elif trouble == "two at once":
            self.run_with_another(job, window)
        elif trouble == "interrupted":
            self.interrupted(job, window)
        elif trouble == "overtaken":
            self.overtaken(job, window)
        elif trouble == "killed" and self.is_killed(job, window):
            if self.rng.random() < 0.5:
                self.waiting[job].append(window)
            else:
                self.run(job, window)
        else:
            self.run(job, window)
            if trouble == "repeated":
                self.run(job, window)

    def run(self, job: Job, window: Window) -> None:
        self.note(self.hourly.run(job, window))

    def refused(self, job: Job, window: Window) -> None:
        """The replica has not got there yet: what it has observed is run, the rest is refused."""
        observed = floor_to_hour(self.world.shown)
        if window.start < observed:
            self.run(job, Window(window.start, observed))
            window = Window(observed, window.end)
        try:
            self.hourly.run(job, window)
        except TransientError:
            self.counted["refused runs"] += 1
            self.waiting[job].append(window)
        else:
            raise AssertionError(f"{job} ran over {window}, and the replica shows {self.world.shown}")

    def is_killed(self, job: Job, window: Window) -> bool:
        """End the run somewhere, if it gets that far."""
        when: When = self.rng.choice(("after the commit", "after the statement"))
        countdown = Countdown(self.rng.randint(1, CUT_AFTER_MAX))
        cut = CutStore(self.hourly.store, self.store_url, when, countdown)
        try:
            self.note(self.hourly.run(job, window, store=cut))
        except (KilledError, TransientError):
            self.counted["killed runs"] += 1
            return True
        return False

    def interrupted(self, job: Job, window: Window) -> None:
        """Between what it read and what it writes, somebody else closes a stay."""
        truth = self.world.application.truth

        def act(facts: Sequence[UserFacts]) -> None:
            users = [fact.user.user_id for fact in facts]
            due = [user_id for user_id in users if any(truth.success_of(user_id, name) for name in QueueType)]
            if users and self.rng.random() < 0.7:
                removed = self.agents.remove([self.rng.choice(due or users)])
                self.counted["races lost"] += len(removed)
                self.raced |= removed

        self.note(self.hourly.run(job, window, replica=InterruptedReplica(self.hourly.replica, act)))

    def overtaken(self, job: Job, window: Window) -> None:
        """Between what it read and what it writes hours go by, and others act on what they bring."""
        until = self.reached + self.temper.slow_for

        def act(facts: Sequence[UserFacts]) -> None:
            if len(facts) < OVERTAKEN_MIN or self.world.clock.now == until:
                return
            self.live_until(until)
            self.counted["overtaken runs"] += 1
            before = queues(self.hourly.store)
            for other in JOBS:
                self.run(other, Window(self.reached, until))
            after = queues(self.hourly.store)
            judged = {fact.user.user_id for fact in facts} & before.keys()
            self.counted["overtaken users"] += sum(before[n] != after[n] for n in judged)

        self.note(self.hourly.run(job, window, replica=InterruptedReplica(self.hourly.replica, act)))

    def run_with_another(self, job: Job, window: Window) -> None:
        """Two at once: the same again, or another job over the same hours, here or in another process."""
        other = self.rng.choice((job, *JOBS))
        if self.detector:
            start = self.detector.prepare(self.hourly, other, window)
            self.counted["two processes at once"] += 1
        else:

            def start() -> None:
                self.hourly.run(other, window)

        assert all_at_once(lambda: self.hourly.run(job, window), start) == []
        self.counted["two at once"] += 1

    def sweep(self) -> None:
        """Recovery comes by: of all stays or the younger ones, killed at times, or with a check beside it."""
        batch_rows = self.rng.choice((7, BATCH_ROWS))
        since = self.reached - timedelta(days=3) if self.rng.random() < 0.3 else None
        if self.rng.random() < 0.3:
            # A sweep with nobody to move has few commits: until one was killed, the first ends it.
            steps = self.rng.randint(1, CUT_AFTER_MAX) if self.counted["killed sweeps"] else 1
            cut = CutStore(self.hourly.store, self.store_url, "after the commit", Countdown(steps))
            with suppress(KilledError):
                self.hourly.sweep(batch_rows, since, cut)
                self.counted["killed sweeps"] -= 1
            self.counted["killed sweeps"] += 1
        works = [lambda: self.hourly.sweep(batch_rows, since)]
        if self.rng.random() < 0.3:
            job, shown = self.rng.choice(JOBS), floor_to_hour(self.world.shown)
            works.append(lambda: self.hourly.run(job, Window(shown - 20 * HOUR, shown)))
        assert all_at_once(*works) == []
        self.counted["sweeps"] += 1
        if since is None and len(works) == 1:
            assert self.ledger.missing() == set(), "a sweep left somebody behind"

    def note(self, report: ConversionReport | None) -> None:
        """Count the run, and what a check tells."""
        self.counted["runs"] += 1
        if report:
            self.counted["departures"] += sum(report.total.departed.values())
            self.counted["detected late"] += report.total.late

    def shuffled(self, windows: Sequence[Window]) -> list[Window]:
        return self.rng.sample(windows, len(windows))

    def shuffled_jobs(self) -> list[Job]:
        return list(JOBS) if self.rng.random() < 0.5 else self.rng.sample(JOBS, len(JOBS))


@contextmanager
def begin(seed: int, source: ReplicaDatabase, store_url: str) -> Iterator[ConversionWorld]:
    """The world of this seed on an empty source and an empty store."""
    rng, clock, counted, temper = Random(seed), Clock(START), Counter[str](), Temper.of(seed)
    recipe = Recipe(seed, START, SIGN_UPS_PER_DAY, LATE_SHARE, UNDATED_SHARE)
    world = World(open_application(source.engine, recipe), clock)
    with ExitStack() as stack:
        replica = stack.enter_context(open_replica(source.url, now=clock, batch_rows=BATCH_ROWS))
        store = stack.enter_context(open_store(store_url, pool_size=4))
        detector = stack.enter_context(Detector(source.url, store_url)) if temper.has_two_processes else None
        hourly = Hourly(replica, store, clock, BATCH_ROWS, temper.recent_activity_hours * HOUR)
        agents = Agents(store, rng, clock, counted)
        ledger = Ledger(store)
        waiting: dict[Job, list[Window]] = {job: [] for job in JOBS}
        yield ConversionWorld(
            rng, temper, detector, world, hourly, agents, ledger, store_url, counted, waiting
        )


def live(seed: int, source: ReplicaDatabase, store_url: str) -> Counter[str]:
    """Live through the world of this seed and hold its ledger against the truth; what happened in it."""
    with begin(seed, source, store_url) as world:
        world.live()
        world.ledger.check_step()
        world.ledger.check_credit()
        # A run leaves alone whom somebody closed meanwhile: they wait for the next look at them.
        assert world.ledger.missing() <= world.raced
        assert world.ledger.forgotten() == set()
        world.counted["left to the last range"] += len(world.ledger.missing())
        for job in QUEUES:
            world.run(job, Window(START, world.world.clock.now))
        world.ledger.check_step()
        world.ledger.check_credit()
        assert world.ledger.missing() == set()
        world.ledger.count(world.counted)
        return world.counted
