"""The hourly doorway: from Dagster's partitions to a stage, and from its report to what each hour shows."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from leadq_dagster.domain.windows import Window
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.partitions import window_of_run
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.orchestration.switch import say_switched_off
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.heartbeat import Observation
from leadq_dagster.settings import Settings
from leadq_dagster.stages.observing import refusal
from leadq_dagster.store.connection import Store


@dataclass(frozen=True)
class Work:
    """What a stage is given for one run: its window, the databases, opened, and on whose behalf it writes."""

    window: Window
    replica: Replica
    store: Store
    provenance: Provenance
    now: datetime
    settings: Settings


@dataclass(frozen=True)
class HourlyReport:
    """What a stage tells: the numbers of each hour, and what the run cost as a whole.

    `not_observed` is the rest of the window, which the replica had not reached; None if it had.
    """

    by_hour: Mapping[Window, Mapping[str, Any]]
    observed: Observation
    replica_queries: int
    not_observed: Window | None


@dataclass(frozen=True)
class HourlyStage:
    """A stage as Dagster shall know it: its asset, its job, and the minute at which its schedule runs."""

    name: str
    job_name: str
    minute: int
    group: str
    deps: Sequence[AssetKey]
    description: str
    job_description: str
    run: Callable[[Work], HourlyReport]


def hourly_asset(
    stage: HourlyStage,
    hours: HourlyPartitionsDefinition,
    catch_up: AutomationCondition[AssetKey] | None,
    retries: Retries,
) -> AssetsDefinition:
    """The stage's asset over these hours; `catch_up` asks for missed ones, None leaves them to people."""
    with warnings.catch_warnings():
        # The one way to run a range of hours as one run is `backfill_policy`, which Dagster calls beta.
        warnings.simplefilter("ignore", BetaWarning)

        @asset(
            name=stage.name,
            partitions_def=hours,
            backfill_policy=BackfillPolicy.single_run(),
            automation_condition=catch_up,
            deps=stage.deps,
            group_name=stage.group,
            kinds={"python", "postgres"},
            output_required=False,
            description=stage.description,
        )
        def hourly(
            context: AssetExecutionContext, databases: ResourceParam[Databases]
        ) -> Iterator[MaterializeResult[Any] | AssetObservation]:
            if not databases.settings.smart_discovery_enabled:
                yield from say_switched_off(context)
                return
            started = time.monotonic()
            with mapped_failures(context, retries):
                report = _run(stage, context, databases)
                milliseconds = round((time.monotonic() - started) * 1000)
                if report.not_observed:
                    _record(report, context, milliseconds)
                    raise TransientError(refusal(report.not_observed, report.observed))
            yield from _shown(report, context, milliseconds)

    return hourly


def _run(stage: HourlyStage, context: AssetExecutionContext, databases: Databases) -> HourlyReport:
    with databases.open_replica() as replica, databases.open_store() as store:
        return stage.run(
            Work(
                window=window_of_run(context),
                replica=replica,
                store=store,
                provenance=Provenance(actor=stage.name, run_id=context.run.run_id),
                now=datetime.now(UTC),
                settings=databases.settings,
            )
        )


def _shown(
    report: HourlyReport, context: AssetExecutionContext, milliseconds: int
) -> Iterator[MaterializeResult[Any]]:
    """The result with its numbers; metadata of the result itself would be copied to every hour of a range."""
    of_run = _of_run(report, milliseconds)
    if len(report.by_hour) == 1:
        (of_hour,) = report.by_hour.values()
        yield MaterializeResult(metadata={**of_hour, **of_run})
        return
    for hour, of_hour in report.by_hour.items():
        context.add_asset_metadata({**of_hour, **of_run}, partition_key=hour.partition_key)
    yield MaterializeResult()


def _record(report: HourlyReport, context: AssetExecutionContext, milliseconds: int) -> None:
    """Materialise the hours that are done although the run goes on to fail: only the rest stays missing."""
    of_run = _of_run(report, milliseconds)
    for hour, of_hour in report.by_hour.items():
        numbers = {**of_hour, **of_run}
        context.log_event(
            AssetMaterialization(context.asset_key, partition=hour.partition_key, metadata=numbers)
        )


def _of_run(report: HourlyReport, milliseconds: int) -> dict[str, Any]:
    """What the run cost as a whole; in a range every hour shows it, with the hours it was spent on."""
    return {
        "hours_of_run": len(report.by_hour),
        "replica_queries": report.replica_queries,
        "milliseconds": milliseconds,
        "observed_until": MetadataValue.timestamp(report.observed.until),
        "observed_by": report.observed.by,
    }
