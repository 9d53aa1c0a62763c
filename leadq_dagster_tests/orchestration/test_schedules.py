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


def tick(instance: DagsterInstance, at: datetime) -> tuple[list[RunRequest], str | None]:
    """What the schedule asks for at this tick, and why nothing if nothing."""
    definitions = build_definitions(load_settings())
    context = build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        repository_def=definitions.get_repository_def(),
    )
    data = definitions.resolve_schedule_def(NAME).evaluate_tick(context)
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


def test_switched_off_the_schedule_skips_and_says_so(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41."""
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    assert tick(instance, datetime(2025, 6, 2, 10, tzinfo=UTC)) == ([], SWITCHED_OFF)


def test_the_schedules_run_by_default_in_utc() -> None:
    """P36: nobody has to remember to switch them on."""
    repository = build_definitions(load_settings()).get_repository_def()
    schedules = repository.schedule_defs
    assert {schedule.name: schedule.cron_schedule for schedule in schedules} == {
        NAME: "0 * * * *",
        "dagster_housekeeping_daily": "10 3 * * *",
    }
    assert {schedule.default_status for schedule in schedules} == {DefaultScheduleStatus.RUNNING}
    assert {schedule.execution_timezone for schedule in schedules} == {"UTC"}
