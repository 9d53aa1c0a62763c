from datetime import timedelta

import pytest
from dagster import AssetKey, DagsterInstance, Definitions

from leadq_dagster.definitions import HOURLY_STAGES, build_definitions
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.hourly import HourlyStage
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.orchestration.conftest import (
    HOUR,
    NINE,
    Source,
    ledger,
    metadata_by_partition,
    rows,
    run_hours,
)

ELEVEN = NINE + 2 * HOUR
SIGNATURES, REQUIREMENTS = "signature_conversions", "requirement_conversions"
QUEUES = "SELECT user_id, current_queue_type FROM user_call_scores ORDER BY 1"
on_postgresql = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)


def key(hours_after_nine: int) -> str:
    return Window.hour_of(NINE + hours_after_nine * HOUR).partition_key


@pytest.fixture
def waiting(source: Source, definitions: Definitions, instance: DagsterInstance) -> Source:
    """Users 1 to 4 wait in unsigned_users since nine; user 5, who signed, owes proof since ten."""
    for user_id in (1, 2, 3, 4):
        source.sign_up(user_id, NINE)
    source.sign_up(5, NINE, signature="file-5")
    source.ask_for_proof(5, NINE + HOUR)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    assert run_hours(definitions, instance, jobs.NEW_REQUIREMENTS_DISCOVERY, NINE + HOUR).success
    return source


def test_requirements_of_an_hour_are_discovered_and_its_partition_shows_the_tally(
    waiting: Source, instance: DagsterInstance, store_url: str
) -> None:
    """P5, P9, P14."""
    assert rows(store_url, QUEUES) == [
        *((user_id, "unsigned_users") for user_id in (1, 2, 3, 4)),
        (5, "outstanding_requests"),
    ]
    shown = metadata_by_partition(instance, "new_requirements")[key(1)]
    assert (shown["seen"], shown["stored"] + shown["already_known"], shown["refused"]) == (1, 1, 0)
    assert (shown["hours_of_run"], shown["observed_by"]) == (1, "heartbeat")


def test_conversions_of_an_hour_are_recorded_and_its_partition_shows_the_tally(
    waiting: Source,
    definitions: Definitions,
    instance: DagsterInstance,
    store_url: str,
) -> None:
    """P1, P2, P10, P14: one signs, one is disabled, one changes and waits."""
    waiting.sign(1, ELEVEN + timedelta(minutes=5))
    waiting.disable(2, ELEVEN)
    waiting.sign_up(6, ELEVEN)
    waiting.approve(5, ELEVEN + timedelta(minutes=59))

    assert run_hours(definitions, instance, jobs.CHECK_UNSIGNED_CONVERSIONS, ELEVEN).success
    assert run_hours(definitions, instance, jobs.CHECK_REQUIREMENTS_CONVERSIONS, ELEVEN).success

    assert ledger(store_url) == [
        (1, "signature_obtained", "hourly_check", key(2)),
        (5, "requirements_completed", "hourly_check", key(2)),
    ]
    assert dict(rows(store_url, QUEUES)) == {
        1: None,
        2: None,
        3: "unsigned_users",
        4: "unsigned_users",
        5: None,
    }
    shown = metadata_by_partition(instance, SIGNATURES)[key(2)]
    # Users 3 and 4 changed within the overlap.
    counted = {"candidates": 4, "detected": 1, "already_recorded": 0, "departures": 1, "waiting": 2}
    assert {name: shown[name] for name in counted} == counted
    assert shown["departures_by_reason"] == {"user_disabled": 1}
    assert (shown["undecided"], shown["late"], shown["hours_of_run"]) == (0, 0, 1)
    assert shown["replica_queries"] > 0
    assert shown["milliseconds"] >= 0
    assert shown["observed_by"] == "heartbeat"
    assert shown["observed_until"] > ELEVEN.timestamp()
    approved = metadata_by_partition(instance, REQUIREMENTS)[key(2)]
    assert (approved["candidates"], approved["detected"]) == (1, 1)


@on_postgresql
def test_the_same_hour_again_records_nothing_and_says_what_it_knew(
    waiting: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P3, P6."""
    waiting.sign(1, ELEVEN)
    for _ in range(2):
        assert run_hours(definitions, instance, jobs.CHECK_UNSIGNED_CONVERSIONS, ELEVEN).success
    assert len(ledger(store_url)) == 1
    shown = metadata_by_partition(instance, SIGNATURES)[key(2)]
    assert (shown["detected"], shown["already_recorded"]) == (0, 1)


@on_postgresql
def test_a_range_is_one_run_with_the_numbers_of_each_hour(
    waiting: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P6, P14: each conversion bears the partition of its own hour."""
    waiting.sign(1, ELEVEN)
    waiting.sign(2, ELEVEN + 3 * HOUR)
    waiting.sign(3, ELEVEN + 3 * HOUR)

    assert run_hours(definitions, instance, jobs.CHECK_UNSIGNED_CONVERSIONS, ELEVEN, hours=24).success

    assert [(user_id, partition) for user_id, _, _, partition in ledger(store_url)] == [
        (1, key(2)),
        (2, key(5)),
        (3, key(5)),
    ]
    shown = metadata_by_partition(instance, SIGNATURES)
    assert len(shown) == 24
    assert {hour: numbers["detected"] for hour, numbers in shown.items() if numbers["detected"]} == {
        key(2): 1,
        key(5): 2,
    }
    assert {numbers["hours_of_run"] for numbers in shown.values()} == {24}


@on_postgresql
def test_a_backfilled_range_shows_each_hour_what_an_analyst_looks_for(
    waiting: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P6, P14: found, found before, late, departed and waiting, each in its own hour of 48."""
    job = jobs.CHECK_UNSIGNED_CONVERSIONS
    waiting.sign_up(6, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    waiting.sign(4, ELEVEN + HOUR)
    assert run_hours(definitions, instance, job, ELEVEN + HOUR).success
    waiting.sign(3, ELEVEN - timedelta(minutes=30))
    waiting.disable(2, ELEVEN + 3 * HOUR)
    waiting.sign(1, ELEVEN + 10 * HOUR)

    assert run_hours(definitions, instance, job, ELEVEN, hours=48).success

    nothing = {
        "candidates": 0,
        "detected": 0,
        "already_recorded": 0,
        "departures": 0,
        "departures_by_reason": {},
        "departed_earlier": 0,
        "waiting": 0,
        "undecided": 0,
        "late": 0,
        "also_detected": 0,
    }
    expected = {key(number): nothing for number in range(2, 50)} | {
        key(2): nothing | {"candidates": 2, "detected": 1, "late": 1, "waiting": 1},
        key(3): nothing | {"candidates": 1, "already_recorded": 1},
        key(5): nothing | {"candidates": 1, "departures": 1, "departures_by_reason": {"user_disabled": 1}},
        key(12): nothing | {"candidates": 1, "detected": 1},
    }
    shown = metadata_by_partition(instance, SIGNATURES)
    assert {hour: {name: told[name] for name in nothing} for hour, told in shown.items()} == expected
    costs = {(told["hours_of_run"], told["replica_queries"]) for told in shown.values()}
    assert [hours for hours, _ in costs] == [48]
    assert all(0 < queries < 20 for _, queries in costs)
    assert ledger(store_url) == [
        (1, "signature_obtained", "hourly_check", key(12)),
        (3, "signature_obtained", "hourly_check", key(2)),
        (4, "signature_obtained", "hourly_check", key(3)),
    ]


@on_postgresql
@pytest.mark.parametrize("stage", HOURLY_STAGES, ids=lambda stage: stage.name)
def test_a_replica_that_is_behind_is_waited_for_and_nothing_is_written(
    stage: HourlyStage, waiting: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P4, P8."""
    waiting.sign(1, ELEVEN)
    waiting.beat(ELEVEN + timedelta(minutes=59))
    result = run_hours(definitions, instance, stage.job_name, ELEVEN)
    assert not result.success
    assert ledger(store_url) == []
    assert key(2) not in instance.get_materialized_partitions(AssetKey(stage.name))


@on_postgresql
@pytest.mark.parametrize("stage", HOURLY_STAGES, ids=lambda stage: stage.name)
def test_switched_off_a_run_by_hand_does_nothing_says_so_and_leaves_the_partition_missing(
    stage: HourlyStage,
    waiting: Source,
    instance: DagsterInstance,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P41."""
    waiting.sign(1, ELEVEN)
    waiting.approve(5, ELEVEN)
    before = rows(store_url, QUEUES)
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")

    assert run_hours(build_definitions(load_settings()), instance, stage.job_name, ELEVEN).success

    assert (rows(store_url, QUEUES), ledger(store_url)) == (before, [])
    assert key(2) not in instance.get_materialized_partitions(AssetKey(stage.name))
    (observation,) = instance.fetch_observations(AssetKey(stage.name), limit=10).records
    assert observation.asset_observation is not None
    assert observation.asset_observation.description == SWITCHED_OFF


@on_postgresql
def test_no_job_of_an_asset_carries_its_check_along(definitions: Definitions) -> None:
    """Of a range of hours Dagster would keep a row for each hour and check, for ever."""
    for stage in HOURLY_STAGES:
        assert [node.name for node in definitions.resolve_job_def(stage.job_name).nodes] == [stage.name]
