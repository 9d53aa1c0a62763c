"""Hours that nobody ran are asked for by themselves; Dagster's schedules alone never look back.

After the daemon was down a schedule runs its last missed tick only, so an automation condition asks for
every hour that is missing, however it came to be: daemon down, run failed, run never started, switch off.
"""

from datetime import timedelta

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
)

CATCH_UP_CRON = "5-55/10 * * * *"
FULL_HOUR_CRON = "0 * * * *"
MIDNIGHT_CRON = "0 0 * * *"
SENSOR_INTERVAL_SECONDS = 30
# The schedule's turn with the newest hour.
MINUTES_LEFT_TO_THE_SCHEDULE = 5


def catch_up_condition(hours: int, minute: int) -> AutomationCondition[AssetKey]:
    """Ask every ten minutes for the hours of the last `hours` that are neither done nor under way.

    * `missing` is "never materialised": it holds for failed hours too.
    * The cron tick bounds how often a failing hour is repeated; without it every evaluation, twice a
      minute, would ask again. A tick that fell into a downtime counts as passed at the first evaluation
      after it, so missed hours are asked for at once.
    * An instance that never evaluated the condition knows no passed tick: hence `initial_evaluation`.
    * The newest hour is the schedule's until five minutes after its `minute`, so it has ticks of its own.
      After a downtime Dagster runs the schedule's last missed tick: a tick from before the full hour
      speaks of another newest hour and does not count.
    * What is asked for is one backfill with a run per unbroken range (BackfillPolicy.single_run), and
      `in_progress` holds for all of its hours until it ends.
    """
    passed = AutomationCondition.cron_tick_passed
    newest = AutomationCondition.in_latest_time_window()
    recent = AutomationCondition.in_latest_time_window(timedelta(hours=hours))
    wanted = AutomationCondition.missing() & ~AutomationCondition.in_progress()
    of_newest = newest & passed(newest_hour_cron(minute)) & ~passed(FULL_HOUR_CRON)
    of_older = ~newest & (passed(CATCH_UP_CRON) | AutomationCondition.initial_evaluation())
    return (recent & (of_newest | of_older) & wanted).with_label(f"missed hours of the last {hours}")


def newest_hour_cron(minute: int) -> str:
    """When the newest hour may be asked for: every ten minutes once the schedule at `minute` had its turn."""
    return f"{minute + MINUTES_LEFT_TO_THE_SCHEDULE}-59/10 * * * *"


def daily_catch_up_condition(hours: int, hour: int) -> AutomationCondition[AssetKey]:
    """The same for the days of the last `hours`, each hour; the newest is the schedule's at `hour`."""
    passed = AutomationCondition.cron_tick_passed
    newest = AutomationCondition.in_latest_time_window()
    recent = AutomationCondition.in_latest_time_window(timedelta(hours=hours))
    wanted = AutomationCondition.missing() & ~AutomationCondition.in_progress()
    of_newest = newest & passed(f"15 {hour}-23 * * *") & ~passed(MIDNIGHT_CRON)
    of_older = ~newest & (passed("15 * * * *") | AutomationCondition.initial_evaluation())
    return (recent & (of_newest | of_older) & wanted).with_label(f"missed days of the last {hours} hours")


def catch_up_sensor(asset: AssetsDefinition) -> AutomationConditionSensorDefinition:
    """Evaluates the condition of this asset; running by default, unlike the one Dagster brings.

    One for each asset: what one sensor asks for at once runs together, and a step that fails there would
    hold up the assets below it.
    """
    return AutomationConditionSensorDefinition(
        f"catch_up_{asset.key.to_python_identifier()}",
        target=AssetSelection.assets(asset),
        default_status=DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=SENSOR_INTERVAL_SECONDS,
        run_tags={"leadq/asked_for_by": "catch_up"},
        description="Asks for the hours that were missed, as one range.",
    )
