"""The sensor `due_callbacks` and the job `route_callbacks`, over a real store."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
    build_sensor_context,
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.desk.routing import Look
from leadq_dagster.domain.callback_routing import DueCallback
from leadq_dagster.domain.errors import TransientError
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.callbacks import DUE_CALLBACKS, ROUTE_CALLBACKS, run_key_of
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.orchestration.conftest import NINE, Source, rows, run_hours
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers

PROMISE = (
    "INSERT INTO callbacks (user_id, queue_type, due_at, call_after) VALUES (%s, 'unsigned_users', %s, %s)"
)
AVAILABLE = (
    "INSERT INTO agents (name, status, last_seen_at) VALUES ('somebody', 'available', clock_timestamp())"
)


@pytest.fixture
def replica_db(servers: Servers) -> Iterator[ReplicaDatabase]:
    """Promised calls have nothing to do with the kind of the replica."""
    with databases.postgres_replica(servers.postgres()) as database:
        yield database


def look(definitions: Definitions, instance: DagsterInstance) -> tuple[list[RunRequest], str | None]:
    """What a tick asks for, and why nothing if nothing."""
    with build_sensor_context(
        instance=instance,
        repository_def=definitions.get_repository_def(),
        resources={"databases": Databases(load_settings())},
    ) as context:
        data = definitions.resolve_sensor_def(DUE_CALLBACKS).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message


def route(definitions: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    job = definitions.resolve_job_def(ROUTE_CALLBACKS)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def told(result: ExecuteInProcessResult) -> dict[str, Any]:
    """The counts that the run shows."""
    [event] = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def promise(store_url: str, user_id: int, minutes: float) -> None:
    due_at = datetime.now(UTC) + timedelta(minutes=minutes)
    with psycopg.connect(store_url) as connection:
        connection.execute(PROMISE, (user_id, due_at, due_at))


@pytest.fixture
def queued(source: Source, definitions: Definitions, instance: DagsterInstance, store_url: str) -> str:
    """Users 1 to 4 wait in unsigned_users, and an agent is available; the store's URL."""
    for user_id in (1, 2, 3, 4):
        source.sign_up(user_id, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    with psycopg.connect(store_url) as connection:
        connection.execute(AVAILABLE)
    return store_url


def test_a_tick_launches_the_job_only_when_there_is_something_to_do(
    definitions: Definitions, instance: DagsterInstance, queued: str
) -> None:
    """P28: one due in ten minutes is nothing to do yet."""
    promise(queued, 1, 10)
    assert look(definitions, instance) == ([], "no promised call is to be routed")
    promise(queued, 2, 5)
    requests, _ = look(definitions, instance)
    assert len(requests) == 1
    result = route(definitions, instance)
    assert told(result) == {
        "processed": 1,
        "notified": 1,
        "routed": 1,
        "cancelled": 0,
        "postponed": 0,
        "errors": 0,
    }
    assert rows(queued, "SELECT user_id, priority_score FROM call_queue WHERE callback_id IS NOT NULL") == [
        (2, -1000)
    ]
    assert look(definitions, instance) == ([], "no promised call is to be routed")


def test_two_ticks_that_see_the_same_ask_for_the_same_run_and_two_runs_do_what_one_does(
    definitions: Definitions, instance: DagsterInstance, queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P26: two ticks at once, two daemons."""
    promise(queued, 1, 5)
    keys = {request.run_key for _ in range(5) for request in look(definitions, instance)[0]}
    assert len(keys) <= 2  # a minute may have passed meanwhile
    assert told(route(definitions, instance))["processed"] == 1
    assert told(route(definitions, instance))["processed"] == 0
    promise(queued, 2, 5)
    [request] = look(definitions, instance)[0]
    assert request.run_key not in keys
    assert len(rows(queued, "SELECT FROM callback_notifications")) == 1


def test_a_key_names_the_minute_and_the_callbacks_that_are_due() -> None:
    """P26, P36: what a failed run left is asked for again a minute later; within one it is asked for once."""
    at = datetime(2026, 3, 4, 10, 0, 7, tzinfo=UTC)

    def key(now: datetime, *callback_ids: int, seen_at: datetime = at) -> str:
        due = [DueCallback(callback_id, 1, None, None, at, None, None) for callback_id in callback_ids]
        return run_key_of(Look(now, seen_at, due))

    once = key(at, 1, 2)
    assert key(at.replace(second=59, microsecond=999_999), 1, 2, seen_at=at.replace(second=59)) == once
    minutes = (at.replace(minute=1), at.replace(hour=11), at.replace(day=5), at.replace(month=4))
    assert once not in {key(minute, 1, 2) for minute in (*minutes, at.replace(year=2027))}
    assert once not in {key(at, 1), key(at, 2), key(at, 1, 2, 3), key(at, 12)}


def test_one_broken_callback_is_counted_in_the_run_s_metadata_and_the_run_succeeds(
    definitions: Definitions, instance: DagsterInstance, queued: str, source: Source
) -> None:
    """P30."""
    for user_id in (1, 2, 3):
        promise(queued, user_id, 5)
    with psycopg.connect(queued) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'broken'; END $$;"
            " CREATE TRIGGER broken BEFORE UPDATE ON call_queue FOR EACH ROW WHEN (OLD.user_id = 2)"
            " EXECUTE FUNCTION refuse()"
        )
    result = route(definitions, instance)
    assert result.success
    counts = told(result)
    assert (counts["processed"], counts["routed"], counts["errors"]) == (3, 2, 1)


def test_a_store_that_is_down_fails_the_tick(
    environment: dict[str, str], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P35: "could not look" is not "nothing is due"."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://leadq:secret@127.0.0.1:9/leadq")
    definitions = build_definitions(load_settings(), Retries(tries_max=1, first_wait_seconds=0.0))
    with pytest.raises(TransientError) as failed:
        look(definitions, instance)
    assert "secret" not in str(failed.value)
    assert not route(definitions, instance).success


def test_it_runs_by_itself_each_minute_whatever_the_switch_of_discovery_says(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    sensor = build_definitions(load_settings()).resolve_sensor_def(DUE_CALLBACKS)
    assert sensor.default_status is DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 60
    assert sensor.job_name == ROUTE_CALLBACKS
