"""The asset `new_users`: the doorway between Dagster's partitions and new-user discovery."""

import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetsDefinition,
    AutomationCondition,
    BackfillPolicy,
    BetaWarning,
    HourlyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)

from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.tally import Tally
from leadq_dagster.orchestration.partitions import window_of_run
from leadq_dagster.orchestration.resources import Databases
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.orchestration.source_tables import CLAIM_REQUIREMENTS, CLAIMS, USERS
from leadq_dagster.orchestration.switch import say_switched_off
from leadq_dagster.stages.new_users import DiscoveryReport, discover_new_users
from leadq_dagster.stages.observing import refusal

NEW_USERS = "new_users"
DISCOVERY_GROUP = "discovery"


def new_users_asset(
    hours: HourlyPartitionsDefinition,
    catch_up: AutomationCondition[AssetKey] | None,
    retries: Retries,
) -> AssetsDefinition:
    """The asset over these hourly partitions; `catch_up` asks for missed ones, None leaves them to people."""
    with warnings.catch_warnings():
        # The one way to run a range of hours as one run is `backfill_policy`, which Dagster calls beta.
        warnings.simplefilter("ignore", BetaWarning)

        @asset(
            name=NEW_USERS,
            partitions_def=hours,
            backfill_policy=BackfillPolicy.single_run(),
            automation_condition=catch_up,
            deps=[USERS, CLAIMS, CLAIM_REQUIREMENTS],
            group_name=DISCOVERY_GROUP,
            kinds={"python", "postgres"},
            output_required=False,
            description="Every user created or changed at the source in the hour is known to the store; "
            "unsigned ones wait in the queue with score 0.",
        )
        def new_users(
            context: AssetExecutionContext, databases: ResourceParam[Databases]
        ) -> Iterator[MaterializeResult[Any] | AssetObservation]:
            if not databases.settings.smart_discovery_enabled:
                yield from say_switched_off(context)
                return
            started = time.monotonic()
            with mapped_failures(context, retries):
                report = _discover(context, databases)
                milliseconds = round((time.monotonic() - started) * 1000)
                if report.not_observed:
                    _record(report, context, milliseconds)
                    raise TransientError(refusal(report.not_observed, report.observed))
            yield from _shown(report, context, milliseconds)

    return new_users


def _discover(context: AssetExecutionContext, databases: Databases) -> DiscoveryReport:
    with databases.open_replica() as replica, databases.open_store() as store:
        return discover_new_users(
            window_of_run(context),
            replica=replica,
            store=store,
            provenance=Provenance(actor=NEW_USERS, run_id=context.run.run_id),
            now=datetime.now(UTC),
            overlap=databases.settings.overlap,
        )


def _shown(
    report: DiscoveryReport, context: AssetExecutionContext, milliseconds: int
) -> Iterator[MaterializeResult[Any]]:
    """The result with its numbers; metadata of the result itself would be copied to every hour of a range."""
    of_run = _of_run(report, milliseconds)
    if len(report.by_hour) == 1:
        (tally,) = report.by_hour.values()
        yield MaterializeResult(metadata={**_of_hour(tally), **of_run})
        return
    for hour, tally in report.by_hour.items():
        context.add_asset_metadata({**_of_hour(tally), **of_run}, partition_key=hour.partition_key)
    yield MaterializeResult()


def _record(report: DiscoveryReport, context: AssetExecutionContext, milliseconds: int) -> None:
    """Materialise the hours that are done although the run goes on to fail: only the rest stays missing."""
    of_run = _of_run(report, milliseconds)
    for hour, tally in report.by_hour.items():
        numbers = {**_of_hour(tally), **of_run}
        context.log_event(
            AssetMaterialization(context.asset_key, partition=hour.partition_key, metadata=numbers)
        )


def _of_hour(tally: Tally) -> dict[str, Any]:
    return {
        "seen": tally.seen,
        "stored": tally.stored,
        "already_known": tally.already_known,
        "refused": sum(tally.refused.values()),
        "refused_by_reason": dict(tally.refused),
        "queued": tally.queued,
        "late": tally.late,
    }


def _of_run(report: DiscoveryReport, milliseconds: int) -> dict[str, Any]:
    """What the run cost as a whole; in a range every hour shows it, with the hours it was spent on."""
    return {
        "hours_of_run": len(report.by_hour),
        "replica_queries": report.replica_queries,
        "milliseconds": milliseconds,
        "observed_until": MetadataValue.timestamp(report.observed.until),
        "observed_by": report.observed.by,
    }
