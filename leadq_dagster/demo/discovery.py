"""The demo's main job: new-user discovery over every complete hour of the firm's history, run by Dagster."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from dagster import AssetKey, AssetMaterialization, DagsterInstance, ExecuteInProcessResult

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.windows import Window, join_touching
from leadq_dagster.orchestration.jobs import NEW_USERS_DISCOVERY

ASSET = AssetKey("new_users")
SINGLE_HOURS = 24
RANGE_LENGTH = timedelta(days=7)
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
COUNTED = ("seen", "stored", "already_known", "refused", "queued", "late")


def missed_hours(instance: DagsterInstance, complete: Window) -> list[Window]:
    """The hours of the window that no run has materialised, in order."""
    done = instance.get_materialized_partitions(ASSET)
    return [hour for hour in complete.hours() if hour.partition_key not in done]


def in_runs(hours: Sequence[Window]) -> list[Window]:
    """What to run in one go: the older hours by the week, each of the last 24 on its own."""
    weeks = [week for part in join_touching(hours[:-SINGLE_HOURS]) for week in part.split(RANGE_LENGTH)]
    return [*weeks, *hours[-SINGLE_HOURS:]]


def run_discovery(
    instance: DagsterInstance, runs: Sequence[Window], progress: Callable[[int], None]
) -> Counter[str]:
    """Run the job over each window in turn; the tallies of all, added up, and `replica_queries`.

    `progress` is told how many hours each run covered. Raises PermanentError when a run fails.
    """
    # Dagster reads the settings when this is imported; the demo has set them by now.
    from leadq_dagster.definitions import defs

    job = defs.resolve_job_def(NEW_USERS_DISCOVERY)
    totals = Counter(dict.fromkeys((*COUNTED, "replica_queries"), 0))
    for window in runs:
        hours = list(window.hours())
        first, last = hours[0].partition_key, hours[-1].partition_key
        if len(hours) == 1:
            result = job.execute_in_process(QUIET, instance, partition_key=first, raise_on_error=False)
        else:
            tags = {RANGE_START_TAG: first, RANGE_END_TAG: last}
            result = job.execute_in_process(QUIET, instance, tags=tags, raise_on_error=False)
        if not result.success:
            raise PermanentError(f"{NEW_USERS_DISCOVERY} failed over {window}: see run {result.run_id}")
        totals.update(_counts(result))
        progress(len(hours))
    return totals


def _counts(result: ExecuteInProcessResult) -> Counter[str]:
    """The numbers of one run: those of its hours added up, those of the run taken once."""
    hours = [
        event.step_materialization_data.materialization for event in result.get_asset_materialization_events()
    ]
    counts = Counter({name: sum(_number(hour, name) for hour in hours) for name in COUNTED})
    counts["replica_queries"] = _number(hours[0], "replica_queries")
    return counts


def _number(hour: AssetMaterialization, name: str) -> int:
    value = hour.metadata[name].value
    assert isinstance(value, int)
    return value
