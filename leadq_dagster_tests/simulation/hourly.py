"""The four hourly jobs as the simulations run them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.stages.conversions import ConversionReport, check_conversions
from leadq_dagster.stages.new_requirements import discover_new_requirements
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.stages.discovering import OVERLAP, Clock

Job = Literal["new_users", "new_requirements", "signature_conversions", "requirement_conversions"]
JOBS: tuple[Job, ...] = get_args(Job)
QUEUES: dict[Job, QueueType] = {
    "signature_conversions": QueueType.UNSIGNED_USERS,
    "requirement_conversions": QueueType.OUTSTANDING_REQUESTS,
}


def run_name(job: Job, window: Window) -> str:
    """A run's id that tells what was run."""
    return f"{job} {window.start.isoformat()} {window.end.isoformat()}"


def hour_of_run(run_id: str, at: datetime) -> tuple[str, str]:
    """The job of a run, and the partition of its window in which `at` is, or which is nearest to it."""
    job, start, end = run_id.split()
    window = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
    return job, window.nearest_hour(at).partition_key


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

    def run(
        self, job: Job, window: Window, *, replica: Replica | None = None, store: Store | None = None
    ) -> ConversionReport | None:
        """One job over one window, now; a report where it is a check of conversions."""
        replica, store = replica or self.replica, store or self.store
        provenance, now = Provenance(job, run_name(job, window)), self.clock.now
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
        discover(window, replica=replica, store=store, provenance=provenance, now=now, overlap=OVERLAP)
        return None
