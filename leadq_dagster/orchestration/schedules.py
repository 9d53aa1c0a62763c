"""Schedules: each hourly one runs the last complete hour."""

from datetime import datetime

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


def last_complete_hour_schedule(
    job: AssetJob, *, minute: int, first_hour: datetime, enabled: bool
) -> ScheduleDefinition:
    """Runs `job` each hour at this minute (UTC) over the hour that ended last, once per hour.

    Skips, saying why, while discovery is switched off and before the first partition is complete.
    """

    def ask_for_the_last_complete_hour(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        if not enabled:
            return SkipReason(SWITCHED_OFF)
        hour = Window.last_complete_hour(context.scheduled_execution_time)
        if hour.start < first_hour:
            return SkipReason(f"the first partition begins at {first_hour:%Y-%m-%d %H:%M} UTC")
        return RunRequest(run_key=hour.partition_key, partition_key=hour.partition_key, tags=SINGLE_HOUR_TAGS)

    return ScheduleDefinition(
        name=f"{job.name}_hourly",
        job=job,
        cron_schedule=f"{minute} * * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        execution_fn=ask_for_the_last_complete_hour,
        description=f"Runs {job.name} over the last complete hour.",
    )
