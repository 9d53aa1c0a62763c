"""The two conversion checks as hourly stages, one for each queue."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dagster import AssetKey

from leadq_dagster.domain.conversion_tally import ConversionTally
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.discovery import NEW_REQUIREMENTS, NEW_USERS
from leadq_dagster.orchestration.hourly import HourlyReport, HourlyStage, Work
from leadq_dagster.orchestration.source_tables import CLAIM_REQUIREMENTS, CLAIMS, USERS
from leadq_dagster.stages.conversions import check_conversions

CONVERSIONS_GROUP = "conversions"


def _check(queue: QueueType) -> Callable[[Work], HourlyReport]:
    def run(work: Work) -> HourlyReport:
        report = check_conversions(
            queue,
            work.window,
            replica=work.replica,
            store=work.store,
            provenance=work.provenance,
            now=work.now,
            overlap=work.settings.overlap,
            recent_activity=timedelta(hours=work.settings.recent_activity_hours),
            batch_rows=work.settings.discovery_batch_size,
        )
        by_hour = {hour: _numbers(tally) for hour, tally in report.by_hour.items()}
        return HourlyReport(by_hour, report.observed, report.replica_queries, report.not_observed)

    return run


def _numbers(tally: ConversionTally) -> dict[str, Any]:
    return {
        "candidates": tally.candidates,
        "detected": tally.detected,
        "already_recorded": tally.already_recorded,
        "departures": sum(tally.departed.values()),
        "departures_by_reason": dict(tally.departed),
        "departed_earlier": tally.departed_earlier,
        "waiting": tally.waiting,
        "undecided": tally.undecided,
        "late": tally.late,
        "also_detected": tally.also_detected,
    }


SIGNATURE_CONVERSIONS = HourlyStage(
    name="signature_conversions",
    job_name=jobs.CHECK_UNSIGNED_CONVERSIONS,
    minute=30,
    group=CONVERSIONS_GROUP,
    deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS, AssetKey(NEW_USERS.name)],
    description="Whoever of unsigned_users changed at the source in the hour, or was called lately, and "
    "has signed, has left the queue with one conversion; who departed has left without.",
    job_description="Finds the users of unsigned_users who signed; records each conversion once.",
    run=_check(QueueType.UNSIGNED_USERS),
)

REQUIREMENT_CONVERSIONS = HourlyStage(
    name="requirement_conversions",
    job_name=jobs.CHECK_REQUIREMENTS_CONVERSIONS,
    minute=45,
    group=CONVERSIONS_GROUP,
    deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS, AssetKey(NEW_REQUIREMENTS.name)],
    description="Whoever of outstanding_requests changed at the source in the hour, or was called lately, "
    "and supplied all that was asked, has left the queue with one conversion; who departed has left without.",
    job_description="Finds the users of outstanding_requests who supplied all; records each conversion once.",
    run=_check(QueueType.OUTSTANDING_REQUESTS),
)

# Whose conversions each asset records.
ASSET_OF_QUEUE = {
    QueueType.UNSIGNED_USERS: SIGNATURE_CONVERSIONS.name,
    QueueType.OUTSTANDING_REQUESTS: REQUIREMENT_CONVERSIONS.name,
}
