"""A firm that lives on while leadq watches it through a replica that may lag; the clock is the test's."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from leadq_dagster.domain.windows import HOUR, Window, join_touching
from leadq_dagster.firm.application import Application, open_application
from leadq_dagster.firm.world import Recipe
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.stages.discovering import OVERLAP, Clock, Discovery

START = datetime(2026, 3, 2, tzinfo=UTC)
SIGN_UPS_PER_DAY = 40
# Far more than a firm really has, so that some days hold hundreds of them.
LATE_SHARE = 0.15
NO_LAG = timedelta()
A_YEAR = timedelta(days=365)
# A schedule starts its run some seconds after the full hour.
STARTING = timedelta(seconds=20)


@dataclass
class World:
    """A firm, its clock, and what its database has shown so far."""

    application: Application
    clock: Clock
    shown: datetime = START
    enabled_once: set[int] = field(default_factory=set)
    belonged: defaultdict[int, set[str | None]] = field(default_factory=lambda: defaultdict(set))

    def live_until(self, instant: datetime, lag: timedelta = NO_LAG) -> None:
        """It is `instant`; the replica shows what the primary showed `lag` before, its heartbeat included."""
        self.clock.now = instant
        self.shown = max(self.shown, instant - lag)
        self.application.advance(self.shown)
        self.application.beat(self.shown)
        truth = self.application.truth
        enabled = truth.enabled_users()
        self.enabled_once |= enabled
        for user_id in enabled:
            self.belonged[user_id].add(truth.queue_of(user_id))

    def enabled_before(self, instant: datetime) -> set[int]:
        """Who is enabled now and was not changed at or after the instant: whom all hours before it show."""
        truth = self.application.truth
        changed_since = truth.dated_within(instant, instant + A_YEAR)
        return (truth.dated_within(START, instant) & truth.enabled_users()) - changed_since


def queues(store: Store) -> dict[int, str | None]:
    """Every known user with their queue; over the pool, since a simulation asks thousands of times."""
    with store.transaction() as cursor:
        return dict(cursor.execute("SELECT user_id, current_queue_type FROM user_call_scores").fetchall())


def check_run(
    world: World, window: Window, before: dict[int, str | None], after: dict[int, str | None]
) -> None:
    """Always, after a run: it moved users only to where the truth has them, and left nobody of it behind."""
    truth = world.application.truth
    moved = {n: queue for n, queue in after.items() if n not in before or before[n] != queue}
    assert moved == {n: truth.queue_of(n) for n in moved}
    of_window = truth.dated_within(window.start, window.end) & truth.enabled_users()
    assert of_window - after.keys() == set()
    assert {n for n in of_window if after[n] is None and truth.queue_of(n)} == set()
    assert after.keys() - world.enabled_once == set()
    assert before.keys() - after.keys() == set()


def check_end(world: World, known: dict[int, str | None], until: datetime) -> None:
    """Everybody enabled is known, nobody is who never was, and nobody is where they never belonged."""
    assert world.enabled_before(until) - known.keys() == set()
    assert known.keys() - world.enabled_once == set()
    assert {n: queue for n, queue in known.items() if queue not in world.belonged[n]} == {}


def missing(store: Store, until: datetime) -> list[Window]:
    """The hours up to `until` that no run completed, as unbroken ranges: what an outage leaves to do."""
    with store.transaction() as cursor:
        rows = cursor.execute("SELECT window_start FROM completed_windows").fetchall()
    done = {start for (start,) in rows}
    return join_touching(hour for hour in Window(START, until).hours() if hour.start not in done)


def discover_and_check(
    world: World, discovery: Discovery, window: Window, progress: Callable[[int], None] = lambda _: None
) -> tuple[int, int]:
    """One run of the hourly job, checked against the truth; how many it stored and how many came late."""
    before = queues(discovery.store)
    report = discovery.run(window, overlap=OVERLAP, progress=progress)
    covered = Window(window.start, report.not_observed.start) if report.not_observed else window
    check_run(world, covered, before, queues(discovery.store))
    return report.total.stored, report.total.late


def begin_world(source: ReplicaDatabase, seed: int) -> World:
    """A firm of this seed that has just opened."""
    recipe = Recipe(seed, START, SIGN_UPS_PER_DAY, late_share=LATE_SHARE)
    return World(open_application(source.engine, recipe), Clock(START))


def full_hours(days: int) -> Iterable[datetime]:
    """Each full hour of the days that follow the start, the last midnight included."""
    return (START + number * HOUR for number in range(1, 24 * days + 1))
