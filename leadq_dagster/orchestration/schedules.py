"""Schedules: each runs the last complete hour or day; while discovery is off they skip and say so."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)

from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration.jobs import AssetJob
from leadq_dagster.orchestration.switch import SWITCHED_OFF

# One hour takes seconds; a run that hangs is ended so that catch-up can ask for its hour again.
SINGLE_HOUR_TAGS = {"dagster/max_runtime": "900"}
EVERYBODY_TAGS = {"dagster/max_runtime": "10800"}


def last_complete_hour_schedule(
    job: AssetJob, *, minute: int, first_hour: datetime, enabled: bool
) -> ScheduleDefinition:
    """Runs `job` each hour at this minute (UTC) over the hour that ended last, once per hour.

    Skips, saying why, while discovery is switched off and before the first partition is complete.
    """

    def last_complete_hour(tick: datetime) -> RunRequest | SkipReason:
        hour = Window.last_complete_hour(tick)
        if hour.start < first_hour:
            return SkipReason(f"the first partition begins at {first_hour:%Y-%m-%d %H:%M} UTC")
        return RunRequest(run_key=hour.partition_key, partition_key=hour.partition_key, tags=SINGLE_HOUR_TAGS)

    return _schedule(
        f"{job.name}_hourly",
        job,
        f"{minute} * * * *",
        last_complete_hour,
        enabled=enabled,
        description=f"Runs {job.name} over the last complete hour.",
    )


def last_complete_day_schedule(
    job: AssetJob, *, hour: int, minute: int, first_hour: datetime, enabled: bool
) -> ScheduleDefinition:
    """Runs `job` each day at this time (UTC) over the day that ended last, once per day; skips as above."""

    def last_complete_day(tick: datetime) -> RunRequest | SkipReason:
        day = (tick - timedelta(days=1)).date()
        if day < first_hour.date():
            return SkipReason(f"the first partition is that of {first_hour:%Y-%m-%d}")
        return RunRequest(run_key=day.isoformat(), partition_key=day.isoformat())

    return _schedule(
        f"{job.name}_daily",
        job,
        f"{minute} {hour} * * *",
        last_complete_day,
        enabled=enabled,
        description=f"Runs {job.name} over the last complete day.",
    )


def hourly_check_schedule(job: AssetJob, *, minute: int, enabled: bool) -> ScheduleDefinition:
    """Runs the checks of `job` each hour at this minute (UTC)."""
    return _schedule(
        f"{job.name}_hourly",
        job,
        f"{minute} * * * *",
        lambda _tick: RunRequest(tags=SINGLE_HOUR_TAGS),
        enabled=enabled,
        description=f"Runs {job.name}.",
    )


def daily_check_schedule(job: AssetJob, *, hour: int, minute: int, enabled: bool) -> ScheduleDefinition:
    """Runs the checks of `job` each day at this time (UTC)."""
    return _schedule(
        f"{job.name}_daily",
        job,
        f"{minute} {hour} * * *",
        lambda _tick: RunRequest(tags=SINGLE_HOUR_TAGS),
        enabled=enabled,
        description=f"Runs {job.name}.",
    )


def hourly_reconciliation_schedule(
    job: AssetJob, asset: str, *, minute: int, hour_of_everybody: int, enabled: bool
) -> ScheduleDefinition:
    """Runs `job` each hour at this minute (UTC); once a day, in that hour, over every user of the source."""

    def how_far(tick: datetime) -> RunRequest:
        if tick.hour != hour_of_everybody:
            return RunRequest(tags=SINGLE_HOUR_TAGS)
        return RunRequest(run_config={"ops": {asset: {"config": {"everybody": True}}}}, tags=EVERYBODY_TAGS)

    return _schedule(
        f"{job.name}_hourly",
        job,
        f"{minute} * * * *",
        how_far,
        enabled=enabled,
        description=f"Runs {job.name}; at {hour_of_everybody:02}:{minute} over everybody.",
    )


def _schedule(
    name: str,
    job: AssetJob,
    cron: str,
    request: Callable[[datetime], RunRequest | SkipReason],
    *,
    enabled: bool,
    description: str,
) -> ScheduleDefinition:
    def ask(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        return (
            request(context.scheduled_execution_time.astimezone(UTC)) if enabled else SkipReason(SWITCHED_OFF)
        )

    return ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        execution_fn=ask,
        description=description,
    )
