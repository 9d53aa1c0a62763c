"""The check `conversion_gaps`: does the ledger lack a conversion that the source shows?

A run of its own, each hour: within a range of hours it would leave a row for each in Dagster's storage.
Only a backfill carries it along, so that who heals a gap by partition sees the check turn green.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MetadataValue,
    ResourceParam,
    multi_asset_check,
)

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.domain.windows import Window, floor_to_hour
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.conversions import ASSET_OF_QUEUE
from leadq_dagster.orchestration.listing import as_table
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.stages.observing import observe
from leadq_dagster.stages.recovery import MissingConversion, find_gaps

CONVERSION_GAPS = "conversion_gaps"
PARTITION_KEYS = "partition_keys"
REACH = timedelta(days=7)
# The later of the two checks runs 45 minutes after its hour: before that nothing of the hour is missing.
GRACE = timedelta(minutes=50)


def conversion_gaps_check(retries: Retries) -> AssetChecksDefinition:
    """The check on both conversion assets; it fails to run, and never passes, when it could not look."""
    description = "Users who converted at the source within seven days and whose conversion is not recorded."
    specs = [
        AssetCheckSpec(CONVERSION_GAPS, asset=asset, description=description)
        for asset in ASSET_OF_QUEUE.values()
    ]

    @multi_asset_check(name=CONVERSION_GAPS, specs=specs, description=description, can_subset=True)
    def conversion_gaps(
        context: AssetCheckExecutionContext, databases: ResourceParam[Databases]
    ) -> Iterator[AssetCheckResult]:
        with mapped_failures(context, retries):
            window = reach_of_check(datetime.now(UTC))
            gaps = _find(window, databases)
        for queue, asset in ASSET_OF_QUEUE.items():
            if AssetCheckKey(AssetKey(asset), CONVERSION_GAPS) in context.selected_asset_check_keys:
                yield _result(asset, window, [gap for gap in gaps if gap.queue is queue])

    return conversion_gaps


def reach_of_check(now: datetime) -> Window:
    """What is looked at: the seven days up to the end of the last hour that both assets have had time for."""
    until = floor_to_hour(now - GRACE)
    return Window(until - REACH, until)


def _find(window: Window, databases: Databases) -> list[MissingConversion]:
    if not databases.settings.smart_discovery_enabled:
        raise RefusedError(SWITCHED_OFF)
    with databases.open_replica() as replica, databases.open_store() as store:
        # A replica that is behind shows no gap where there is one.
        observe(replica, window)
        return find_gaps(replica=replica, store=store, since=window.start, until=window.end)


def _result(asset: str, window: Window, gaps: Sequence[MissingConversion]) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=asset,
        check_name=CONVERSION_GAPS,
        passed=not gaps,
        severity=AssetCheckSeverity.ERROR,
        description=f"{len(gaps)} missing of {window}",
        metadata={
            "missing": len(gaps),
            PARTITION_KEYS: MetadataValue.json(
                sorted({gap.partition_key for gap in gaps if gap.partition_key})
            ),
            "missing_conversions": as_table(gaps),
            "since": MetadataValue.timestamp(window.start),
            "until": MetadataValue.timestamp(window.end),
        },
    )
