"""The asset `lead_scores`: once a day every live score ages; and the check that scores are what made them."""

import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    AssetsDefinition,
    AutomationCondition,
    BackfillPolicy,
    BetaWarning,
    DailyPartitionsDefinition,
    MarkdownMetadataValue,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
    asset_check,
)

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration.discovery import NEW_REQUIREMENTS, NEW_USERS
from leadq_dagster.orchestration.partitions import window_of_run
from leadq_dagster.orchestration.retries import Retries, mapped_failures
from leadq_dagster.orchestration.switch import SWITCHED_OFF, say_switched_off
from leadq_dagster.stages.ageing import age_scores
from leadq_dagster.stages.score_audit import ScoreAudit, WrongScore, audit_scores

LEAD_SCORES = "lead_scores"
SCORES_MATCH_THEIR_EVENTS = "scores_match_their_events"
SCORES_GROUP = "scores"


def lead_scores_asset(
    days: DailyPartitionsDefinition, catch_up: AutomationCondition[AssetKey] | None, retries: Retries
) -> AssetsDefinition:
    """The asset over these days. A range of days is one ageing, to the end of the last of them."""
    with warnings.catch_warnings():
        # The one way to run a range of days as one run is `backfill_policy`, which Dagster calls beta.
        warnings.simplefilter("ignore", BetaWarning)

        @asset(
            name=LEAD_SCORES,
            partitions_def=days,
            backfill_policy=BackfillPolicy.single_run(),
            automation_condition=catch_up,
            deps=[AssetKey(NEW_USERS.name), AssetKey(NEW_REQUIREMENTS.name)],
            group_name=SCORES_GROUP,
            kinds={"python", "postgres"},
            output_required=False,
            description="Every live stay's score has the part for age that it is due at the day's end: "
            "5 for each full 7 days in the queue.",
        )
        def lead_scores(
            context: AssetExecutionContext, databases: ResourceParam[Databases]
        ) -> Iterator[MaterializeResult[Any] | AssetObservation]:
            if not databases.settings.smart_discovery_enabled:
                yield from say_switched_off(context)
                return
            with mapped_failures(context, retries):
                numbers = _age(context, databases)
            yield MaterializeResult(metadata=numbers)

    return lead_scores


def _age(context: AssetExecutionContext, databases: Databases) -> dict[str, Any]:
    started, as_of = time.monotonic(), window_of_run(context).end
    with databases.open_store() as store:
        tally = age_scores(as_of, store=store, now=datetime.now(UTC))
    return {
        "seen": tally.seen,
        "aged": tally.aged,
        "unchanged": tally.unchanged,
        "left": tally.left,
        "aged_by": tally.aged_by,
        "aged_to": MetadataValue.timestamp(as_of),
        "days_of_run": len(context.partition_keys),
        "milliseconds": round((time.monotonic() - started) * 1000),
    }


def lead_scores_check(retries: Retries) -> AssetChecksDefinition:
    """The check on `lead_scores`; it fails to run, and never passes, when it could not look."""

    @asset_check(
        name=SCORES_MATCH_THEIR_EVENTS,
        asset=LEAD_SCORES,
        description="Live stays whose stored score is not what its recorded events make. Expected: none.",
    )
    def scores_match_their_events(
        context: AssetCheckExecutionContext, databases: ResourceParam[Databases]
    ) -> AssetCheckResult:
        with mapped_failures(context, retries):
            if not databases.settings.smart_discovery_enabled:
                raise RefusedError(SWITCHED_OFF)
            with databases.open_store() as store:
                audit = audit_scores(store)
        return _result(audit)

    return scores_match_their_events


def _result(audit: ScoreAudit) -> AssetCheckResult:
    return AssetCheckResult(
        passed=audit.wrong == 0,
        severity=AssetCheckSeverity.ERROR,
        description=f"{audit.wrong} of {audit.checked} scores are not what their events make",
        metadata={
            "checked": audit.checked,
            "wrong": audit.wrong,
            "wrong_scores": _table(audit.listed, audit.wrong),
        },
    )


def _table(listed: Sequence[WrongScore], wrong: int) -> MarkdownMetadataValue:
    rows = [f"| {item.user_id} | {item.stay_id} | {'; '.join(item.problems)} |" for item in listed]
    head = "| user | stay | what is wrong |\n|---|---|---|"
    return MetadataValue.md("\n".join([head, *rows, "", f"{len(rows)} of {wrong}"]))
