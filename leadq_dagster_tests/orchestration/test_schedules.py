from datetime import UTC, datetime

import pytest
from dagster import (
    DagsterInstance,
    DefaultScheduleStatus,
    RunRequest,
    build_schedule_context,
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.settings import load_settings

NAME = "new_users_discovery_hourly"
HOURLY = {
    NAME: 0,
    "new_requirements_discovery_hourly": 15,
    "check_unsigned_conversions_hourly": 30,
    "check_requirements_conversions_hourly": 45,
}
DAILY = "conversion_recovery_daily"
CHECK = "conversion_gaps_check_hourly"
QUEUE = "queue_reconciliation_hourly"


def tick(instance: DagsterInstance, at: datetime, name: str = NAME) -> tuple[list[RunRequest], str | None]:
    """What the schedule asks for at this tick, and why nothing if nothing."""
    definitions = build_definitions(load_settings())
    context = build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        repository_def=definitions.get_repository_def(),
    )
    data = definitions.resolve_schedule_def(name).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message


@pytest.mark.parametrize(
    ("at", "key"),
    [
        (datetime(2025, 6, 2, 10, 0, tzinfo=UTC), "2025-06-02-09:00"),
        (datetime(2025, 6, 2, 0, 0, tzinfo=UTC), "2025-06-01-23:00"),
        (datetime(2025, 6, 2, 10, 0, 59, 999999, tzinfo=UTC), "2025-06-02-09:00"),
        (datetime(2025, 10, 26, 1, 0, tzinfo=UTC), "2025-10-26-00:00"),
    ],
)
def test_a_tick_asks_once_for_the_last_complete_hour(
    instance: DagsterInstance, at: datetime, key: str
) -> None:
    """P6: also at midnight, and where local clocks change."""
    (request,), skipped = tick(instance, at)
    assert skipped is None
    assert (request.partition_key, request.run_key) == (key, key)


def test_ticks_over_a_day_tile_it(instance: DagsterInstance) -> None:
    """P6."""
    ticks = [tick(instance, datetime(2025, 6, 2, hour, tzinfo=UTC)) for hour in range(24)]
    keys = [request.partition_key for requests, _ in ticks for request in requests]
    assert keys == ["2025-06-01-23:00", *[f"2025-06-02-{hour:02}:00" for hour in range(23)]]


def test_before_the_first_partition_is_complete_the_schedule_skips_and_says_so(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADQ_PARTITIONS_START", "2025-06-02T10:00Z")
    requests, skipped = tick(instance, datetime(2025, 6, 2, 10, tzinfo=UTC))
    assert requests == []
    assert skipped is not None
    assert "2025-06-02 10:00" in skipped


@pytest.mark.parametrize("name", [*HOURLY, CHECK, DAILY, QUEUE])
def test_switched_off_the_schedule_skips_and_says_so(
    name: str, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41."""
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    assert tick(instance, datetime(2025, 6, 2, 10, tzinfo=UTC), name) == ([], SWITCHED_OFF)


@pytest.mark.parametrize(("name", "minute"), HOURLY.items())
def test_every_hourly_job_runs_the_hour_that_ended_last(
    name: str, minute: int, instance: DagsterInstance
) -> None:
    """P6: late within the hour it is still that hour."""
    for at in (datetime(2025, 6, 2, 10, minute, tzinfo=UTC), datetime(2025, 6, 2, 10, 59, tzinfo=UTC)):
        (request,), _ = tick(instance, at, name)
        assert (request.partition_key, request.run_key) == ("2025-06-02-09:00", "2025-06-02-09:00")


def test_the_recovery_runs_once_for_the_day_that_ended_last(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADQ_PARTITIONS_START", "2025-06-01T10:00Z")
    (request,), _ = tick(instance, datetime(2025, 6, 2, 4, 30, tzinfo=UTC), DAILY)
    assert (request.partition_key, request.run_key) == ("2025-06-01", "2025-06-01")
    requests, skipped = tick(instance, datetime(2025, 6, 1, 4, 30, tzinfo=UTC), DAILY)
    assert requests == []
    assert skipped == "the first partition is that of 2025-06-01"


def test_the_check_runs_each_hour_after_the_jobs_it_looks_at(instance: DagsterInstance) -> None:
    (request,), _ = tick(instance, datetime(2025, 6, 2, 10, 55, tzinfo=UTC), CHECK)
    assert (request.partition_key, request.run_key) == (None, None)


def test_the_schedules_run_by_default_in_utc() -> None:
    """P36: nobody has to remember to switch them on."""
    repository = build_definitions(load_settings()).get_repository_def()
    schedules = repository.schedule_defs
    assert {schedule.name: schedule.cron_schedule for schedule in schedules} == {
        **{name: f"{minute} * * * *" for name, minute in HOURLY.items()},
        CHECK: "55 * * * *",
        DAILY: "30 4 * * *",
        "daily_aging_daily": "0 2 * * *",
        "scores_check_daily": "30 2 * * *",
        "dagster_housekeeping_daily": "10 3 * * *",
        QUEUE: "50 * * * *",
        "callback_health_check_hourly": "10 * * * *",
    }
    assert {schedule.default_status for schedule in schedules} == {DefaultScheduleStatus.RUNNING}
    assert {schedule.execution_timezone for schedule in schedules} == {"UTC"}
