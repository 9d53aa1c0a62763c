"""The sensor `missing_conversions`: asks again for the hours whose conversions the check found missing."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from leadq_dagster.domain.windows import join_touching
from leadq_dagster.orchestration.conversion_gaps import CONVERSION_GAPS, PARTITION_KEYS
from leadq_dagster.orchestration.jobs import AssetJob
from leadq_dagster.orchestration.partitions import hour_of_key, range_tags
from leadq_dagster.orchestration.switch import SWITCHED_OFF

MISSING_CONVERSIONS = "missing_conversions"
INTERVAL_SECONDS = 300


def missing_conversions_sensor(
    job_of_asset: Mapping[str, AssetJob], *, first_hour: datetime, enabled: bool
) -> SensorDefinition:
    """Asks for each unbroken range of missing hours once per check; stopped until somebody starts it."""

    @sensor(
        name=MISSING_CONVERSIONS,
        jobs=list(job_of_asset.values()),
        default_status=DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=INTERVAL_SECONDS,
        description="Runs the hours again in which the check conversion_gaps found conversions missing.",
    )
    def missing_conversions(context: SensorEvaluationContext) -> Sequence[RunRequest] | SkipReason:
        if not enabled:
            return SkipReason(SWITCHED_OFF)
        requests, reasons = [], []
        for asset, job in job_of_asset.items():
            check = _latest_result(context.instance, asset)
            if check is None:
                reasons.append(f"{asset}: the latest check has no result")
            else:
                requests += _requests(job.name, check[0], check[1], first_hour)
        return requests or SkipReason("; ".join(reasons) or "the latest check found nothing that is missing")

    return missing_conversions


def _latest_result(instance: DagsterInstance, asset: str) -> tuple[str, list[str]] | None:
    """The run of the latest check on this asset and the partitions it names; None if it told nothing."""
    key = AssetCheckKey(AssetKey(asset), CONVERSION_GAPS)
    record = instance.get_latest_asset_check_evaluation_record(key)
    event = record.event.dagster_event if record and record.event else None
    if record is None or event is None or not isinstance(event.event_specific_data, AssetCheckEvaluation):
        return None
    keys = event.event_specific_data.metadata[PARTITION_KEYS].value
    return record.run_id, [str(key) for key in keys] if isinstance(keys, list) else []


def _requests(job: str, run_id: str, keys: Sequence[str], first_hour: datetime) -> list[RunRequest]:
    hours = [hour for key in keys if (hour := hour_of_key(key)).start >= first_hour]
    return [
        RunRequest(job_name=job, run_key=f"{run_id}/{job}/{part.partition_key}", tags=range_tags(part))
        for part in join_touching(hours)
    ]
