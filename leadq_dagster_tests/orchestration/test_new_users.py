from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    serialize_value,
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration.jobs import NEW_USERS_DISCOVERY
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.settings import load_settings
from leadq_dagster.stages import admission as stage
from leadq_dagster_tests.orchestration.conftest import (
    HOUR,
    NINE,
    Source,
    metadata_by_partition,
    run_hours,
)

NEW_USERS = AssetKey("new_users")
KEY = Window.hour_of(NINE).partition_key
on_postgresql = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)


def discover(
    definitions: Definitions, instance: DagsterInstance, first: datetime, hours: int = 1
) -> ExecuteInProcessResult:
    return run_hours(definitions, instance, NEW_USERS_DISCOVERY, first, hours)


def queued(store_url: str) -> list[int]:
    """The users with a live stay, as the database sees it."""
    with psycopg.connect(store_url) as connection:
        rows = connection.execute(
            "SELECT user_id FROM call_queue"
            " WHERE queue_type = 'unsigned_users' AND status = 'pending' ORDER BY user_id"
        )
        return [user_id for (user_id,) in rows]


def known(store_url: str) -> list[int]:
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT user_id FROM user_call_scores ORDER BY 1")
        return [user_id for (user_id,) in rows]


def step_events(result: ExecuteInProcessResult, kind: DagsterEventType) -> int:
    return sum(event.event_type is kind for event in result.all_events)


def test_an_hour_is_discovered_through_dagster_and_its_partition_shows_the_tally(
    definitions: Definitions, instance: DagsterInstance, source: Source, store_url: str
) -> None:
    """P14, and P9: signed users are known too."""
    source.sign_up(1, NINE - timedelta(seconds=1))
    source.sign_up(2, NINE)
    source.sign_up(2**53 + 1, NINE + timedelta(minutes=59, seconds=59), signature="file-1")
    source.sign_up(4, NINE + timedelta(minutes=5), is_enabled=False)
    source.sign_up(5, NINE + HOUR)

    assert discover(definitions, instance, NINE).success

    assert known(store_url) == [2, 2**53 + 1]
    assert queued(store_url) == [2]
    shown = metadata_by_partition(instance, NEW_USERS.to_user_string())[KEY]
    assert (shown["seen"], shown["stored"], shown["already_known"], shown["refused"]) == (3, 2, 0, 1)
    assert sum(shown["refused_by_reason"].values()) == 1
    assert (shown["queued"], shown["late"], shown["hours_of_run"]) == (1, 0, 1)
    assert shown["replica_queries"] > 0
    assert shown["milliseconds"] >= 0
    assert shown["observed_by"] == "heartbeat"
    assert shown["observed_until"] > NINE.timestamp()


@on_postgresql
def test_the_same_hour_again_changes_nothing(
    definitions: Definitions, instance: DagsterInstance, source: Source, store_url: str
) -> None:
    """P6."""
    source.sign_up(2, NINE)
    assert discover(definitions, instance, NINE).success
    assert discover(definitions, instance, NINE).success

    assert queued(store_url) == [2]
    shown = metadata_by_partition(instance, NEW_USERS.to_user_string())[KEY]
    assert (shown["seen"], shown["stored"], shown["already_known"]) == (1, 0, 1)


@on_postgresql
def test_a_range_of_48_hours_is_one_run_with_the_numbers_of_each_hour(
    definitions: Definitions, instance: DagsterInstance, source: Source, store_url: str
) -> None:
    """P6, P14: hours missed for two days are one run, and every hour shows its own tally."""
    source.sign_up(1, NINE)
    source.sign_up(2, NINE + HOUR)
    source.sign_up(3, NINE + HOUR)
    source.sign_up(4, NINE + 47 * HOUR)

    assert discover(definitions, instance, NINE, hours=48).success

    assert queued(store_url) == [1, 2, 3, 4]
    shown = metadata_by_partition(instance, NEW_USERS.to_user_string())
    assert len(shown) == 48
    stored = {key: numbers["stored"] for key, numbers in shown.items() if numbers["stored"]}
    assert stored == {
        "2025-06-02-09:00": 1,
        "2025-06-02-10:00": 2,
        "2025-06-04-08:00": 1,
    }
    assert {numbers["hours_of_run"] for numbers in shown.values()} == {48}
    assert instance.get_runs_count() == 1


@on_postgresql
def test_a_run_waits_for_a_replica_that_is_behind_and_fails_if_it_stays_so(
    definitions: Definitions, instance: DagsterInstance, source: Source, store_url: str
) -> None:
    """P4, P8: behind is not success, writes nothing, and is tried again a bounded number of times."""
    source.sign_up(1, NINE)
    source.beat(NINE + timedelta(minutes=59))

    result = discover(definitions, instance, NINE)

    assert not result.success
    assert step_events(result, DagsterEventType.STEP_RESTARTED) == 2
    assert known(store_url) == []
    assert instance.get_materialized_partitions(NEW_USERS) == set()


@on_postgresql
def test_of_a_range_the_observed_hours_are_materialised_and_only_the_rest_stays_missing(
    definitions: Definitions, instance: DagsterInstance, source: Source, store_url: str
) -> None:
    """P6, P8: the run fails, and yet a replica that is always behind holds up no hour that it has seen."""
    source.sign_up(1, NINE)
    source.sign_up(2, NINE + 2 * HOUR)
    source.beat(NINE + 2 * HOUR)

    result = discover(definitions, instance, NINE, hours=3)

    assert not result.success
    assert instance.get_materialized_partitions(NEW_USERS) == {"2025-06-02-09:00", "2025-06-02-10:00"}
    assert known(store_url) == [1]
    assert metadata_by_partition(instance, "new_users")["2025-06-02-09:00"]["seen"] == 1


@on_postgresql
def test_a_retry_succeeds_once_the_replica_has_caught_up(
    environment: dict[str, str],
    instance: DagsterInstance,
    source: Source,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P6."""

    class CatchesUpMeanwhile(Retries):
        def wait_seconds(self, tries_before: int) -> float:
            source.beat(datetime.now(UTC))
            return 0.0

    source.sign_up(1, NINE)
    source.beat(NINE)
    definitions = build_definitions(load_settings(), CatchesUpMeanwhile())

    result = discover(definitions, instance, NINE)

    assert result.success
    assert step_events(result, DagsterEventType.STEP_RESTARTED) == 1
    assert queued(store_url) == [1]


@on_postgresql
def test_what_no_retry_can_heal_is_not_retried_by_the_step_or_by_the_run(
    definitions: Definitions, instance: DagsterInstance, source: Source, store_url: str
) -> None:
    """P8: it fails at once, says what to do, and forbids run retries, which ignore the exception."""
    source.sign_up(1, NINE)
    with psycopg.connect(store_url) as connection:
        connection.execute("DROP TABLE user_call_scores CASCADE")

    result = discover(definitions, instance, NINE)

    assert not result.success
    assert step_events(result, DagsterEventType.STEP_RESTARTED) == 0
    assert step_events(result, DagsterEventType.STEP_FAILURE) == 1
    failure = result.get_step_failure_events()[0].step_failure_data.error
    assert failure is not None
    assert "leadq db upgrade" in failure.message
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"


@on_postgresql
def test_switched_off_a_run_by_hand_does_nothing_says_so_and_leaves_the_partition_missing(
    environment: dict[str, str],
    instance: DagsterInstance,
    source: Source,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P41."""
    source.sign_up(1, NINE)
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")

    result = discover(build_definitions(load_settings()), instance, NINE)

    assert result.success
    assert known(store_url) == []
    assert instance.get_materialized_partitions(NEW_USERS) == set()
    (observation,) = instance.fetch_observations(NEW_USERS, limit=10).records
    assert observation.asset_observation is not None
    assert observation.asset_observation.description == SWITCHED_OFF
    logged = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert SWITCHED_OFF in logged

    monkeypatch.delenv("SMART_DISCOVERY_ENABLED")
    assert discover(build_definitions(load_settings()), instance, NINE).success
    assert queued(store_url) == [1]


@on_postgresql
def test_no_password_and_nobody_s_data_is_in_the_event_log(
    environment: dict[str, str],
    instance: DagsterInstance,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P40: neither after success nor after each kind of failure."""
    source.sign_up(1, NINE)
    passwords = {url.split(":")[2].split("@")[0] for url in environment.values()}
    assert all(passwords)
    definitions = build_definitions(load_settings(), Retries(tries_max=1, first_wait_seconds=0.0))
    runs = [discover(definitions, instance, NINE)]
    source.beat(NINE)
    runs.append(discover(definitions, instance, NINE))

    somebody = "ada@example.com +447700900123 Ada Lovelace"
    monkeypatch.setattr(stage, "decide_queue", lambda _: {}[somebody])
    source.sign_up(2, NINE - HOUR)
    runs.append(discover(definitions, instance, NINE - HOUR))

    assert [run.success for run in runs] == [True, False, False]
    log = "\n".join(str(entry) for run in runs for entry in instance.all_logs(run.run_id))
    # str() leaves out the chain of errors behind a failure; what is stored does not.
    log += "\n".join(serialize_value(entry) for run in runs for entry in instance.all_logs(run.run_id))
    assert "a defect of leadq: KeyError" in log
    assert not [text for text in (*passwords, "ada@", "7009001", "Lovelace") if text in log]
