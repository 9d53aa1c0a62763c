"""The four hourly jobs, and the sweep, as the simulations run them."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.stages.admission import DiscoveryReport
from leadq_dagster.stages.conversions import ConversionReport, check_conversions
from leadq_dagster.stages.new_requirements import discover_new_requirements
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.stages.recovery import SweepReport, sweep
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.stages.discovering import OVERLAP, Clock

Job = Literal["new_users", "new_requirements", "signature_conversions", "requirement_conversions"]
JOBS: tuple[Job, ...] = get_args(Job)
QUEUES: dict[Job, QueueType] = {
    "signature_conversions": QueueType.UNSIGNED_USERS,
    "requirement_conversions": QueueType.OUTSTANDING_REQUESTS,
}


RECORDED = "SELECT partition_key FROM conversions WHERE dagster_run_id = %s"


def run_name(job: Job, window: Window, serial: int) -> str:
    """A run's id that tells what was run, and no other's."""
    return f"{job} {window.start.isoformat()} {window.end.isoformat()} {serial}"


def hour_of_run(run_id: str, at: datetime) -> str:
    """The partition of a run's window in which `at` is, or which is nearest to it."""
    _, start, end, _ = run_id.split()
    window = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
    return window.nearest_hour(at).partition_key


class InterruptedReplica(Replica):
    """Lets others act between reading what decides and writing what was decided."""

    def __init__(self, replica: Replica, act: Callable[[Sequence[UserFacts]], object]) -> None:
        super().__init__(replica._session, replica._heartbeat, replica._users, replica._claims)
        self._act = act

    def read_facts(self, users: Sequence[SourceUser]) -> list[UserFacts]:
        facts = super().read_facts(users)
        self._act(facts)
        return facts


@dataclass(frozen=True)
class Hourly:
    """The jobs with what they all need."""

    replica: Replica
    store: Store
    clock: Clock
    batch_rows: int
    recent_activity: timedelta
    serial: Iterator[int] = field(default_factory=itertools.count)

    def run(
        self, job: Job, window: Window, *, replica: Replica | None = None, store: Store | None = None
    ) -> ConversionReport | None:
        """One job over one window, now; a report where it is a check of conversions.

        Always: what a run that ended well tells is what the ledger has of it, hour by hour.
        """
        replica, store = replica or self.replica, store or self.store
        run_id = run_name(job, window, next(self.serial))
        report = self._run(job, window, Provenance(job, run_id), replica, store)
        with self.store.transaction() as cursor:
            recorded = Counter(key for (key,) in cursor.execute(RECORDED, (run_id,)).fetchall())
        if isinstance(report, ConversionReport):
            told = {hour.partition_key: tally.recorded for hour, tally in report.by_hour.items()}
        else:
            told = {hour.partition_key: tally.converted for hour, tally in report.by_hour.items()}
        assert recorded == Counter({key: number for key, number in told.items() if number}), run_id
        return report if isinstance(report, ConversionReport) else None

    def sweep(
        self, batch_rows: int, since: datetime | None = None, store: Store | None = None
    ) -> SweepReport:
        """Every stay without a conversion is judged, now."""
        run_id = f"sweep {self.clock.now.isoformat()} {next(self.serial)}"
        report = sweep(
            replica=self.replica,
            store=store or self.store,
            provenance=Provenance("recovered_conversions", run_id, Source.RECOVERY),
            now=self.clock.now,
            batch_rows=batch_rows,
            since=since,
        )
        with self.store.transaction() as cursor:
            recorded = cursor.execute(RECORDED, (run_id,)).fetchall()
        assert len(recorded) == len(report.recorded), run_id
        return report

    def _run(
        self, job: Job, window: Window, provenance: Provenance, replica: Replica, store: Store
    ) -> ConversionReport | DiscoveryReport:
        now = self.clock.now
        if job in QUEUES:
            return check_conversions(
                QUEUES[job],
                window,
                replica=replica,
                store=store,
                provenance=provenance,
                now=now,
                overlap=OVERLAP,
                recent_activity=self.recent_activity,
                batch_rows=self.batch_rows,
            )
        discover = discover_new_users if job == "new_users" else discover_new_requirements
        return discover(window, replica=replica, store=store, provenance=provenance, now=now, overlap=OVERLAP)
