"""The asset `call_queue`: the queue as the rule has it now, compared each hour and never rebuilt."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    AssetsDefinition,
    Config,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)
from pydantic import Field

from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.reconciliation_tally import StayTally, UserTally
from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.conversion_gaps import reach_of_check
from leadq_dagster.orchestration.conversions import ASSET_OF_QUEUE
from leadq_dagster.orchestration.discovery import NEW_REQUIREMENTS, NEW_USERS
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.orchestration.source_tables import CLAIM_REQUIREMENTS, CLAIMS, USERS
from leadq_dagster.orchestration.switch import SWITCHED_OFF, say_switched_off
from leadq_dagster.replica.heartbeat import Observation
from leadq_dagster.stages.everybody import admit_everybody
from leadq_dagster.stages.observing import observe
from leadq_dagster.stages.reconciliation import (
    Reconciliation,
    find_contradictions,
    lower_raised_stays,
    reconcile_stays,
)
from leadq_dagster.store.reconciliation import BEFORE_EVERYBODY, Contradiction

CALL_QUEUE = "call_queue"
QUEUE_DRIFT = "queue_drift"
QUEUE_GROUP = "queue"
FILLED_BY = (NEW_USERS.name, NEW_REQUIREMENTS.name, *ASSET_OF_QUEUE.values())


class HowFar(Config):
    """What a run of the reconciliation looks at."""

    everybody: bool = Field(False, description="Read every user of the source too, and admit who is missing.")
    after_user_id: int | None = Field(
        None, description="Only users with greater ids: to go on where a run was cut off."
    )


@dataclass(frozen=True)
class QueueReport:
    """What one reconciliation found and did. `everybody` is None where the source was not read as a whole."""

    stays: StayTally
    everybody: UserTally | None
    lowered: int
    contradictions: Sequence[Contradiction]
    worked_until: datetime
    observed: Observation
    replica_queries: int

    @property
    def drift(self) -> int:
        """How many were not where the rule says, and were put there."""
        return (
            sum(self.stays.moved.values()) + (self.everybody.queued if self.everybody else 0) + self.lowered
        )


def call_queue_asset(retries: Retries) -> AssetsDefinition:
    """The asset, with its check `queue_drift`: no result at all where a run could not look."""

    @asset(
        name=CALL_QUEUE,
        deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS, *map(AssetKey, FILLED_BY)],
        check_specs=[
            AssetCheckSpec(
                QUEUE_DRIFT,
                asset=CALL_QUEUE,
                description="Nobody had to be moved whom the hourly jobs should have moved before.",
            )
        ],
        group_name=QUEUE_GROUP,
        kinds={"python", "postgres"},
        output_required=False,
        description="Every live stay has been compared with what the rule says now; who was in the wrong "
        "place has been moved, with the conversion that was due. Assigned leads are not touched.",
    )
    def call_queue(
        context: AssetExecutionContext, config: HowFar, databases: ResourceParam[Databases]
    ) -> Iterator[MaterializeResult[Any] | AssetObservation | AssetCheckResult]:
        if not databases.settings.smart_discovery_enabled:
            yield from say_switched_off(context)
            yield _unchecked(SWITCHED_OFF)
            return
        started = time.monotonic()
        with mapped_failures(context, retries):
            report = _reconcile(context, config, databases)
        milliseconds = round((time.monotonic() - started) * 1000)
        yield MaterializeResult(
            metadata={**numbers(report), "milliseconds": milliseconds}, check_results=[judged(report)]
        )

    return call_queue


def _reconcile(context: AssetExecutionContext, config: HowFar, databases: Databases) -> QueueReport:
    after = config.after_user_id
    # What the hourly jobs had no time for yet is theirs: found here, it would be no drift.
    worked_until = reach_of_check(datetime.now(UTC)).end
    with databases.open_replica() as replica, databases.open_store() as store:
        # A replica that shows less than the hourly jobs saw would take back what they did.
        observed = observe(replica, Window(worked_until - HOUR, worked_until))
        work = Reconciliation(
            replica=replica,
            store=store,
            provenance=Provenance(CALL_QUEUE, context.run.run_id, Source.RECONCILIATION),
            now=lambda: datetime.now(UTC),
            worked_until=worked_until,
            batch_rows=databases.settings.discovery_batch_size,
        )
        lowered = lower_raised_stays(store)
        stays = reconcile_stays(
            work,
            after_user_id=BEFORE_EVERYBODY if after is None else after,
            progress=lambda done, total: context.log.info(f"{done} of {total} stays"),
        )
        everybody = None
        if config.everybody:
            everybody = admit_everybody(
                work,
                after_user_id=after,
                progress=lambda done, last: context.log.info(f"{done} users, up to {last}"),
            ).tally
        contradictions = find_contradictions(store)
        return QueueReport(
            stays.tally, everybody, lowered, contradictions, worked_until, observed, replica.queries
        )


def numbers(report: QueueReport) -> dict[str, Any]:
    """The report as an asset's metadata."""
    stays = report.stays
    told: dict[str, Any] = {
        "drift": report.drift,
        "seen": stays.seen,
        "right": stays.right,
        "moved": sum(stays.moved.values()),
        "moved_by_reason": dict(stays.moved),
        "adopted": stays.adopted,
        "early": stays.early,
        "spared": stays.spared,
        "overtaken": stays.overtaken,
        "undecided": stays.undecided,
        "converted": stays.converted + (report.everybody.converted if report.everybody else 0),
        "lowered": report.lowered,
        "contradictions": sum(item.rows for item in report.contradictions),
        "worked_until": MetadataValue.timestamp(report.worked_until),
        "replica_queries": report.replica_queries,
        "observed_until": MetadataValue.timestamp(report.observed.until),
        "observed_by": report.observed.by,
    }
    if everybody := report.everybody:
        told |= {
            "users_seen": everybody.seen,
            "users_settled": everybody.settled,
            "users_right": everybody.right,
            "users_refused": everybody.refused,
            "users_stored": everybody.stored,
            "users_entered": everybody.entered,
            "users_early": everybody.early,
            "users_overtaken": everybody.overtaken,
            "users_queued": everybody.queued,
        }
    return told


def judged(report: QueueReport) -> AssetCheckResult:
    """The check's result: red for what is left to people, amber for what has been healed or not found."""
    undecided, contradictions = report.stays.undecided, report.contradictions
    return AssetCheckResult(
        asset_key=CALL_QUEUE,
        check_name=QUEUE_DRIFT,
        passed=not (report.drift or undecided or contradictions),
        severity=AssetCheckSeverity.ERROR if contradictions else AssetCheckSeverity.WARN,
        description=f"{report.drift} moved, {undecided} not found at the source, "
        f"{sum(item.rows for item in contradictions)} contradictions in the store",
        metadata={
            "drift": report.drift,
            "undecided": undecided,
            "contradictions": MetadataValue.json(
                {item.kind: {"rows": item.rows, "first_users": [*item.user_ids]} for item in contradictions}
            ),
            "looked_at_everybody": report.everybody is not None,
        },
    )


def _unchecked(why: str) -> AssetCheckResult:
    """Nobody looked: that is not to have found nothing."""
    return AssetCheckResult(
        asset_key=CALL_QUEUE,
        check_name=QUEUE_DRIFT,
        passed=False,
        severity=AssetCheckSeverity.WARN,
        description=why,
    )
