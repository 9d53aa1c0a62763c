"""The two discoveries as hourly stages: new users, and requirements of users who signed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from dagster import AssetKey

from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.tally import Tally
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.hourly import HourlyReport, HourlyStage, Work
from leadq_dagster.orchestration.source_tables import CLAIM_REQUIREMENTS, CLAIMS, USERS
from leadq_dagster.replica.engine import Replica
from leadq_dagster.stages.admission import DiscoveryReport
from leadq_dagster.stages.new_requirements import discover_new_requirements
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.store.connection import Store

DISCOVERY_GROUP = "discovery"


class Discover(Protocol):
    """A discovery stage."""

    def __call__(
        self,
        window: Window,
        *,
        replica: Replica,
        store: Store,
        provenance: Provenance,
        now: datetime,
        overlap: timedelta,
    ) -> DiscoveryReport:
        """Discover over the window."""
        ...


def _discovery(discover: Discover) -> Callable[[Work], HourlyReport]:
    def run(work: Work) -> HourlyReport:
        report = discover(
            work.window,
            replica=work.replica,
            store=work.store,
            provenance=work.provenance,
            now=work.now,
            overlap=work.settings.overlap,
        )
        by_hour = {hour: _numbers(tally) for hour, tally in report.by_hour.items()}
        return HourlyReport(by_hour, report.observed, report.replica_queries, report.not_observed)

    return run


def _numbers(tally: Tally) -> dict[str, Any]:
    return {
        "seen": tally.seen,
        "stored": tally.stored,
        "already_known": tally.already_known,
        "refused": sum(tally.refused.values()),
        "refused_by_reason": dict(tally.refused),
        "queued": tally.queued,
        "late": tally.late,
        "converted": tally.converted,
    }


NEW_USERS = HourlyStage(
    name="new_users",
    job_name=jobs.NEW_USERS_DISCOVERY,
    minute=0,
    group=DISCOVERY_GROUP,
    deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS],
    description="Every user created or changed at the source in the hour is known to the store; "
    "unsigned ones wait in the queue with score 0.",
    job_description="Finds the users created or changed at the source in an hour; queues the unsigned ones.",
    run=_discovery(discover_new_users),
)

NEW_REQUIREMENTS = HourlyStage(
    name="new_requirements",
    job_name=jobs.NEW_REQUIREMENTS_DISCOVERY,
    minute=15,
    group=DISCOVERY_GROUP,
    deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS, AssetKey(NEW_USERS.name)],
    description="Every signed user with a requirement or claim created or changed in the hour is known to "
    "the store; those who owe something wait in outstanding_requests. Who comes back unsigned with another "
    "claim waits in unsigned_users.",
    job_description="Finds the signed users whose requirements changed in an hour; queues those who owe.",
    run=_discovery(discover_new_requirements),
)
