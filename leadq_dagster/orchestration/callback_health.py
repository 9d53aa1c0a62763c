"""The check `callback_health`: were promised calls kept over the last day?"""

from datetime import timedelta

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    MetadataValue,
    ResourceParam,
    asset_check,
)

from leadq_dagster.domain.callback_health import Level
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.store import callback_monitor, queue
from leadq_dagster.store.callback_monitor import CallbackHealth

CALLBACK_HEALTH = "callback_health"
CALL_QUEUE = "call_queue"
SPAN = timedelta(hours=24)


def callback_health_check(retries: Retries) -> AssetChecksDefinition:
    """The check on the queue; a store that cannot be read fails it, and leaves no result."""

    @asset_check(
        name=CALLBACK_HEALTH,
        asset=CALL_QUEUE,
        description="Of the last day's calls and promised calls, the shares that are as they should be.",
    )
    def callback_health(
        context: AssetCheckExecutionContext, databases: ResourceParam[Databases]
    ) -> AssetCheckResult:
        with (
            mapped_failures(context, retries),
            databases.open_store() as store,
            store.transaction() as cursor,
        ):
            now = queue.clock(cursor)
            health = callback_monitor.measure(cursor, now - SPAN, now)
        return _result(health)

    return callback_health


def _result(health: CallbackHealth) -> AssetCheckResult:
    is_critical = any(measure.level is Level.CRITICAL for measure in health.measures)
    numbers = {
        name: number
        for measure in health.measures
        for name, number in (
            (measure.name, measure.share),
            (f"{measure.name}_of", measure.denominator),
        )
        if number is not None
    }
    return AssetCheckResult(
        passed=not health.alerts,
        severity=AssetCheckSeverity.ERROR if is_critical else AssetCheckSeverity.WARN,
        description="; ".join(map(str, health.alerts or health.measures)),
        metadata={
            **numbers,
            "overdue": health.overdue,
            "since": MetadataValue.timestamp(health.since),
            "until": MetadataValue.timestamp(health.until),
        },
    )
