from datetime import datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    evaluate_automation_conditions,
)
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration.jobs import NEW_USERS_DISCOVERY
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE

NEW_USERS = AssetKey("new_users")


class Daemon:
    """The evaluations of one daemon, in order; `look` says which hours it asked for."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance
        self.definitions = build_definitions(load_settings())
        self.cursor: AssetDaemonCursor | None = None

    def look(self, at: datetime) -> list[str]:
        result = evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=AssetSelection.assets(NEW_USERS),
            evaluation_time=at,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return sorted(str(key) for key in result.get_requested_partitions(NEW_USERS))

    def done(self, *keys: str) -> None:
        for key in keys:
            self.instance.report_runless_asset_event(AssetMaterialization(NEW_USERS, partition=key))


def keys(first: datetime, hours: int) -> list[str]:
    return [hour.partition_key for hour in Window(first, first + hours * HOUR).hours()]


@pytest.fixture
def daemon(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setenv("LEADQ_CATCH_UP_HOURS", "24")
    return Daemon(instance)


def test_an_instance_that_never_looked_asks_for_the_last_hours_at_once(daemon: Daemon) -> None:
    """P6: and for none that is older, or that is not over."""
    assert daemon.look(NINE + timedelta(minutes=1)) == keys(NINE - 24 * HOUR, 24)


def test_hours_missed_while_the_daemon_was_down_are_asked_for_when_it_is_back(daemon: Daemon) -> None:
    """P6."""
    daemon.done(*daemon.look(NINE))
    assert daemon.look(NINE + timedelta(seconds=30)) == []
    back = NINE + 7 * HOUR + timedelta(minutes=2)
    assert daemon.look(back) == keys(NINE, 7)


def test_the_newest_hour_is_left_to_the_schedule_for_five_minutes(daemon: Daemon) -> None:
    """An hour is not run twice in the usual case."""
    daemon.done(*daemon.look(NINE + timedelta(minutes=58)))
    ten = NINE + HOUR
    for seconds in range(0, 300, 30):
        assert daemon.look(ten + timedelta(seconds=seconds)) == []
    assert daemon.look(ten + timedelta(minutes=5, seconds=10)) == keys(NINE, 1)


def test_the_newest_hour_is_left_to_the_schedule_even_if_nothing_was_ever_missed(daemon: Daemon) -> None:
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    assert daemon.look(NINE + timedelta(minutes=58)) == []
    assert daemon.look(NINE + HOUR) == []
    assert daemon.look(NINE + HOUR + timedelta(seconds=30)) == []


def test_an_hour_that_keeps_failing_is_asked_for_every_ten_minutes_and_not_at_each_look(
    daemon: Daemon,
) -> None:
    """P8: a failed hour is not forgotten, and not repeated twice a minute either."""
    daemon.done(*keys(NINE - 24 * HOUR, 23))
    looks = [NINE + timedelta(seconds=7 + 30 * number) for number in range(120)]
    asked = [at for at in looks if daemon.look(at)]
    assert asked[0] == looks[0]
    assert [at.minute for at in asked[1:]] == [5, 15, 25, 35, 45, 55]


def test_an_hour_whose_run_is_under_way_is_not_asked_for_again(
    daemon: Daemon, instance: DagsterInstance
) -> None:
    daemon.done(*daemon.look(NINE))
    ten = NINE + HOUR
    key = Window.hour_of(NINE).partition_key
    run = instance.create_run_for_job(
        daemon.definitions.resolve_job_def(NEW_USERS_DISCOVERY),
        tags={"dagster/partition": key},
        status=DagsterRunStatus.STARTED,
    )
    assert daemon.look(ten + timedelta(minutes=5, seconds=7)) == []

    instance.report_run_failed(run)
    assert daemon.look(ten + timedelta(minutes=14, seconds=37)) == []
    assert daemon.look(ten + timedelta(minutes=15, seconds=7)) == [key]


def test_hours_whose_backfill_is_under_way_are_not_asked_for_again(
    daemon: Daemon, instance: DagsterInstance
) -> None:
    """A range is a backfill; its hours count as under way from its first moment to its last."""
    asked = daemon.look(NINE)
    graph = daemon.definitions.resolve_asset_graph()
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id="range",
        backfill_timestamp=NINE.timestamp(),
        tags={},
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset.from_asset_partition_set(
            {AssetKeyPartitionKey(NEW_USERS, key) for key in asked}, graph
        ),
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    assert daemon.look(NINE + timedelta(minutes=5, seconds=7)) == []

    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_FAILED))
    assert daemon.look(NINE + timedelta(minutes=15, seconds=7)) == asked


def test_switched_off_catch_up_asks_for_nothing_and_afterwards_for_all_it_missed(
    daemon: Daemon, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41."""
    daemon.done(*daemon.look(NINE))
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    daemon.definitions = build_definitions(load_settings())
    for minutes in range(0, 120, 5):
        assert daemon.look(NINE + timedelta(minutes=minutes, seconds=10)) == []

    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "true")
    daemon.definitions = build_definitions(load_settings())
    assert daemon.look(NINE + 3 * HOUR) == keys(NINE, 3)


def test_the_sensor_that_asks_is_running_by_default() -> None:
    """P36."""
    (sensor,) = build_definitions(load_settings()).sensors or []
    assert sensor.name == "catch_up"
    assert sensor.default_status is DefaultSensorStatus.RUNNING
