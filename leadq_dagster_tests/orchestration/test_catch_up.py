from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    AutomationConditionSensorDefinition,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    evaluate_automation_conditions,
)
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from leadq_dagster.definitions import HOURLY_STAGES, build_definitions
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration.hourly import HourlyStage
from leadq_dagster.orchestration.jobs import NEW_USERS_DISCOVERY
from leadq_dagster.orchestration.partitions import KEY_FORMAT
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE

NEW_USERS = AssetKey("new_users")


class Daemon:
    """The evaluations of one asset by one daemon, in order; `look` says which hours it asked for."""

    def __init__(self, instance: DagsterInstance, asset: str = "new_users") -> None:
        self.instance = instance
        self.asset = AssetKey(asset)
        self.definitions = build_definitions(load_settings())
        self.cursor: AssetDaemonCursor | None = None

    def look(self, at: datetime) -> list[str]:
        result = evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=AssetSelection.assets(self.asset),
            evaluation_time=at,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return sorted(str(key) for key in result.get_requested_partitions(self.asset))

    def done(self, *keys: str) -> None:
        for key in keys:
            self.instance.report_runless_asset_event(AssetMaterialization(self.asset, partition=key))


def keys(first: datetime, hours: int) -> list[str]:
    return [hour.partition_key for hour in Window(first, first + hours * HOUR).hours()]


@pytest.fixture
def daemon(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setenv("LEADQ_CATCH_UP_HOURS", "24")
    return Daemon(instance)


def test_an_instance_that_never_looked_asks_for_the_last_hours_at_once(daemon: Daemon) -> None:
    """P6: and for none that is older, or that is not over; the newest is the schedule's for a while."""
    assert daemon.look(NINE + timedelta(minutes=1)) == keys(NINE - 24 * HOUR, 23)
    assert daemon.look(NINE + timedelta(minutes=5)) == keys(NINE - 24 * HOUR, 24)


def test_hours_missed_while_the_daemon_was_down_are_asked_for_when_it_is_back(daemon: Daemon) -> None:
    """P6."""
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    assert daemon.look(NINE) == []
    assert daemon.look(NINE + timedelta(seconds=30)) == []
    back = NINE + 7 * HOUR + timedelta(minutes=2)
    assert daemon.look(back) == keys(NINE, 6)
    daemon.done(*keys(NINE, 6))
    assert daemon.look(back + timedelta(minutes=3)) == keys(NINE + 6 * HOUR, 1)


def test_the_newest_hour_is_left_to_the_schedule_for_five_minutes(daemon: Daemon) -> None:
    """An hour is not run twice in the usual case."""
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    assert daemon.look(NINE + timedelta(minutes=58)) == []
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
    looks = [NINE + timedelta(seconds=7 + 30 * number) for number in range(240)]
    asked = [at for at in looks if daemon.look(at)]
    assert [at.minute for at in asked] == [5, 15, 25, 35, 45, 55] * 2


def test_an_hour_whose_run_is_under_way_is_not_asked_for_again(
    daemon: Daemon, instance: DagsterInstance
) -> None:
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    daemon.look(NINE)
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
    daemon.done(*keys(NINE - HOUR, 1))
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
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    daemon.look(NINE)
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    daemon.definitions = build_definitions(load_settings())
    for minutes in range(0, 120, 5):
        assert daemon.look(NINE + timedelta(minutes=minutes, seconds=10)) == []

    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "true")
    daemon.definitions = build_definitions(load_settings())
    twelve = NINE + 3 * HOUR + timedelta(seconds=7)
    assert daemon.look(twelve) == keys(NINE, 2)
    daemon.done(*keys(NINE, 2))
    assert daemon.look(twelve + timedelta(minutes=5)) == keys(NINE + 2 * HOUR, 1)


@pytest.mark.parametrize("stage", HOURLY_STAGES, ids=lambda stage: stage.name)
def test_the_newest_hour_of_each_asset_is_left_to_its_schedule_and_older_ones_are_not(
    stage: HourlyStage, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: over three hours in which no schedule ever runs."""
    monkeypatch.setenv("LEADQ_CATCH_UP_HOURS", "24")
    daemon = Daemon(instance, stage.name)
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    asked: dict[str, datetime] = {}
    for minutes in range(3 * 60 + 6):
        at = NINE + timedelta(minutes=minutes, seconds=11)
        requested = daemon.look(at)
        daemon.done(*requested)
        asked.update(dict.fromkeys(requested, at))
    waited = {key: at - datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC) for key, at in asked.items()}
    expected = HOUR + timedelta(minutes=stage.minute + 5, seconds=11)
    hours = 3 if stage.minute == 0 else 2
    assert waited == dict.fromkeys(keys(NINE, hours), expected)


@pytest.mark.parametrize("stage", HOURLY_STAGES, ids=lambda stage: stage.name)
def test_after_a_downtime_the_newest_hour_is_the_schedule_s_last_missed_tick_s(
    stage: HourlyStage, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that passed before the full hour spoke of another newest hour."""
    monkeypatch.setenv("LEADQ_CATCH_UP_HOURS", "24")
    daemon = Daemon(instance, stage.name)
    daemon.done(*keys(NINE - 24 * HOUR, 24))
    assert daemon.look(NINE) == []
    back = NINE + 3 * HOUR + timedelta(minutes=3)
    assert daemon.look(back) == keys(NINE, 2)
    daemon.done(*keys(NINE, 2))
    asked = [
        at for n in range(1, 64) if daemon.look(at := back + timedelta(minutes=n)) == keys(NINE + 2 * HOUR, 1)
    ]
    assert asked[0] == NINE + 3 * HOUR + timedelta(minutes=stage.minute + 5)


def test_every_asset_that_catches_up_has_a_sensor_of_its_own_and_it_is_running_by_default() -> None:
    """P36: in one run a step that fails would hold up the assets below it."""
    sensors = build_definitions(load_settings()).get_repository_def().sensor_defs
    catching_up = [sensor for sensor in sensors if isinstance(sensor, AutomationConditionSensorDefinition)]
    assert {sensor.name: sensor.default_status for sensor in catching_up} == {
        f"catch_up_{name}": DefaultSensorStatus.RUNNING
        for name in ("lead_scores", *(stage.name for stage in HOURLY_STAGES))
    }
    for sensor in catching_up:
        assert str(sensor.asset_selection) == f'key:"{sensor.name.removeprefix("catch_up_")}"'
