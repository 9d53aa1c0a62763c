"""The asset `recovered_conversions`: once a day, every stay without a conversion is judged again."""

import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    AssetsDefinition,
    BackfillPolicy,
    BetaWarning,
    DailyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)

from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.conversions import ASSET_OF_QUEUE, CONVERSIONS_GROUP
from leadq_dagster.orchestration.listing import as_table
from leadq_dagster.orchestration.partitions import window_of_run
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.orchestration.source_tables import CLAIM_REQUIREMENTS, CLAIMS, USERS
from leadq_dagster.orchestration.switch import say_switched_off
from leadq_dagster.stages.observing import observe
from leadq_dagster.stages.recovery import sweep

RECOVERED_CONVERSIONS = "recovered_conversions"


def recovered_conversions_asset(days: DailyPartitionsDefinition, retries: Retries) -> AssetsDefinition:
    """The asset over these days. A range of days is one sweep: it covers stays of any age."""
    with warnings.catch_warnings():
        # The one way to run a range of days as one run is `backfill_policy`, which Dagster calls beta.
        warnings.simplefilter("ignore", BetaWarning)

        @asset(
            name=RECOVERED_CONVERSIONS,
            partitions_def=days,
            backfill_policy=BackfillPolicy.single_run(),
            deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS, *map(AssetKey, ASSET_OF_QUEUE.values())],
            group_name=CONVERSIONS_GROUP,
            kinds={"python", "postgres"},
            output_required=False,
            description="Every stay without a conversion, of any age, has been judged after the day's end; "
            "conversions that the hourly checks missed are recorded.",
        )
        def recovered_conversions(
            context: AssetExecutionContext, databases: ResourceParam[Databases]
        ) -> Iterator[MaterializeResult[Any] | AssetObservation]:
            if not databases.settings.smart_discovery_enabled:
                yield from say_switched_off(context)
                return
            with mapped_failures(context, retries):
                totals = _sweep(context, databases)
            yield MaterializeResult(metadata=totals)

    return recovered_conversions


def _sweep(context: AssetExecutionContext, databases: Databases) -> dict[str, Any]:
    started = time.monotonic()
    with databases.open_replica() as replica, databases.open_store() as store:
        observed = observe(replica, window_of_run(context))
        report = sweep(
            replica=replica,
            store=store,
            provenance=Provenance(RECOVERED_CONVERSIONS, context.run.run_id, Source.RECOVERY),
            now=datetime.now(UTC),
            batch_rows=databases.settings.discovery_batch_size,
            progress=lambda done, total: context.log.info(f"{done} of {total} stays"),
        )
    return {
        "judged": report.judged,
        "recovered": len(report.recorded),
        "recovered_conversions": as_table(report.recorded),
        "departures": report.departed,
        "undecided": report.undecided,
        "days_of_run": len(context.partition_keys),
        "replica_queries": replica.queries,
        "milliseconds": round((time.monotonic() - started) * 1000),
        "observed_until": MetadataValue.timestamp(observed.until),
        "observed_by": observed.by,
    }
