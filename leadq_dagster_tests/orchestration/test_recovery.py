from datetime import timedelta

import psycopg
import pytest
from dagster import AssetKey, DagsterEventType, DagsterInstance, Definitions

from leadq_dagster.definitions import build_definitions
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.recovery import RECOVERED_CONVERSIONS
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
    run_range,
)

DAY = "2025-06-03"
KEY = AssetKey(RECOVERED_CONVERSIONS)
on_postgresql = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)


@pytest.fixture
def missed(source: Source, definitions: Definitions, instance: DagsterInstance) -> Source:
    """Users 1 and 2 signed and user 3 was disabled, all unnoticed; user 4 waits; user 5 had all approved."""
    for user_id in (1, 2, 3, 4):
        source.sign_up(user_id, NINE)
    source.sign_up(5, NINE, signature="file-5")
    source.ask_for_proof(5, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    source.sign(1, NINE + HOUR)
    source.sign(2, NINE + HOUR)
    source.disable(3, NINE + HOUR)
    source.approve(5, NINE + HOUR)
    return source


def test_a_day_records_what_the_hours_missed_and_shows_the_totals(
    missed: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P1, P2, P6: of any age, whatever the day."""
    job = definitions.resolve_job_def(jobs.CONVERSION_RECOVERY)

    assert job.execute_in_process(instance=instance, partition_key=DAY, raise_on_error=False).success

    assert ledger(store_url) == [
        (1, "signature_obtained", "recovery", None),
        (2, "signature_obtained", "recovery", None),
        (5, "requirements_completed", "recovery", None),
    ]
    live = rows(store_url, "SELECT user_id FROM call_queue WHERE status <> 'left'")
    assert live == [(4,)]
    shown = metadata_by_partition(instance, RECOVERED_CONVERSIONS)[DAY]
    assert (shown["judged"], shown["recovered"], shown["departures"], shown["undecided"]) == (5, 3, 1, 0)
    assert (shown["days_of_run"], shown["observed_by"]) == (1, "heartbeat")
    assert shown["replica_queries"] > 0
    assert shown["milliseconds"] >= 0
    assert "| 5 | " in shown["recovered_conversions"]


@on_postgresql
def test_a_range_of_days_is_one_sweep(
    missed: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P3: a second one records nothing more."""
    for _ in range(2):
        assert run_range(definitions, instance, jobs.CONVERSION_RECOVERY, DAY, "2025-06-05").success
    assert len(ledger(store_url)) == 3
    shown = metadata_by_partition(instance, RECOVERED_CONVERSIONS)
    assert {(item["days_of_run"], item["recovered"]) for item in shown.values()} == {(3, 0)}
    assert sorted(shown) == [DAY, "2025-06-04", "2025-06-05"]


@on_postgresql
def test_a_replica_that_has_not_seen_the_day_s_end_is_waited_for(
    missed: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P4, P8."""
    missed.beat(NINE + timedelta(hours=3))
    job = definitions.resolve_job_def(jobs.CONVERSION_RECOVERY)
    result = job.execute_in_process(instance=instance, partition_key=DAY, raise_on_error=False)
    assert not result.success
    restarted = [event for event in result.all_events if event.event_type is DagsterEventType.STEP_RESTARTED]
    assert len(restarted) == 2
    assert ledger(store_url) == []


@on_postgresql
def test_switched_off_it_does_nothing_and_says_so(
    missed: Source, instance: DagsterInstance, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41."""
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    job = build_definitions(load_settings()).resolve_job_def(jobs.CONVERSION_RECOVERY)
    assert job.execute_in_process(instance=instance, partition_key=DAY).success
    assert ledger(store_url) == []
    assert instance.get_materialized_partitions(KEY) == set()
    (observation,) = instance.fetch_observations(KEY, limit=10).records
    assert observation.asset_observation is not None
    assert observation.asset_observation.description == SWITCHED_OFF


@on_postgresql
def test_it_is_not_asked_for_by_catch_up(definitions: Definitions) -> None:
    """The next day's sweep covers what a missed one left."""
    graph = definitions.resolve_asset_graph()
    assert graph.get(KEY).automation_condition is None


def test_a_conversion_removed_from_the_ledger_by_hand_comes_back(
    missed: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P6: also of a stay that is closed."""
    job = definitions.resolve_job_def(jobs.CONVERSION_RECOVERY)
    assert job.execute_in_process(instance=instance, partition_key=DAY).success
    with psycopg.connect(store_url) as connection:
        connection.execute("DELETE FROM conversions WHERE user_id = 1")
    assert job.execute_in_process(instance=instance, partition_key=DAY).success
    assert [row[0] for row in ledger(store_url)] == [1, 2, 5]
