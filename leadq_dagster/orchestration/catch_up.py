"""Hours that nobody ran are asked for by themselves; Dagster's schedules alone never look back.

After the daemon was down a schedule runs its last missed tick only, so an automation condition asks for
every hour that is missing, however it came to be: daemon down, run failed, run never started, switch off.
"""

from datetime import timedelta

from dagster import (
    AssetKey,
    AssetSelection,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
)

# Five minutes past, so that the schedule on the full hour has had its turn with the newest hour.
CATCH_UP_CRON = "5-55/10 * * * *"
SENSOR_INTERVAL_SECONDS = 30


def catch_up_condition(hours: int) -> AutomationCondition[AssetKey]:
    """Ask every ten minutes for the hours of the last `hours` that are neither done nor under way.

    * `missing` is "never materialised": it holds for failed hours too.
    * The cron tick bounds how often a failing hour is repeated; without it every evaluation, twice a
      minute, would ask again. A tick that fell into a downtime counts as passed at the first evaluation
      after it, so missed hours are asked for at once.
    * An instance that never evaluated the condition knows no passed tick: hence `initial_evaluation`.
    * What is asked for is one backfill with a run per unbroken range (BackfillPolicy.single_run), and
      `in_progress` holds for all of its hours until it ends.
    """
    tick = AutomationCondition.cron_tick_passed(CATCH_UP_CRON) | AutomationCondition.initial_evaluation()
    wanted = AutomationCondition.missing() & ~AutomationCondition.in_progress()
    recent = AutomationCondition.in_latest_time_window(timedelta(hours=hours))
    return (tick & recent & wanted).with_label(f"missed hours of the last {hours}")


def catch_up_sensor(selection: AssetSelection) -> AutomationConditionSensorDefinition:
    """Evaluates the conditions of these assets; running by default, unlike the one Dagster brings."""
    return AutomationConditionSensorDefinition(
        "catch_up",
        target=selection,
        default_status=DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=SENSOR_INTERVAL_SECONDS,
        run_tags={"leadq/asked_for_by": "catch_up"},
        description="Asks for the hours that were missed, as one range.",
    )
