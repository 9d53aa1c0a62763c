"""The sensor and the job `release_expired_leases`, over a real store."""

from collections.abc import Iterator
from datetime import UTC, datetime
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
from leadq_dagster.domain.errors import LeadqError
from leadq_dagster.opening import Databases
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.leases import LOOK_SECONDS, NOTHING_DUE, run_key_of
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.settings import load_settings
from leadq_dagster.store.connection import open_store
from leadq_dagster.store.leases import SQL, Due
from leadq_dagster_tests.orchestration.conftest import NINE, Source, rows, run_hours
from leadq_dagster_tests.orchestration.test_conversion_gaps import closed_port
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers

STATUSES = "SELECT user_id, status FROM call_queue ORDER BY user_id"
ENDS = "SELECT end_reason FROM assignments ORDER BY id"
ASSIGN = """
WITH agent AS (
    INSERT INTO agents (id, name, status, last_seen_at)
    VALUES (%(agent_id)s, 'somebody', 'on_call', now() + %(seen)s::interval)
    RETURNING id
),
assigned AS (
    UPDATE call_queue
    SET status = 'assigned', assigned_to_agent_id = agent.id, assigned_at = now() - interval '10 minutes',
        lease_expires_at = now() + %(lease)s::interval, lease_token = lease_token + 1
    FROM agent
    WHERE user_id = %(user_id)s
    RETURNING call_queue.*
)
INSERT INTO assignments (
    call_queue_id, agent_id, request_id, lease_token, priority_score, assigned_at, lease_expires_at
)
SELECT id, assigned_to_agent_id, 'a request', lease_token, priority_score, assigned_at, lease_expires_at
FROM assigned
"""


@pytest.fixture
def replica_db(servers: Servers) -> Iterator[ReplicaDatabase]:
    """Leases have nothing to do with the kind of the replica."""
    with databases.postgres_replica(servers.postgres()) as database:
        yield database


def look(definitions: Definitions, instance: DagsterInstance) -> tuple[list[RunRequest], str | None]:
    """What a tick asks for, and why nothing if nothing."""
    with build_sensor_context(
        instance=instance,
        repository_def=definitions.get_repository_def(),
        resources={"databases": Databases(load_settings())},
    ) as context:
        data = definitions.resolve_sensor_def(jobs.RELEASE_EXPIRED_LEASES).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message


def release(definitions: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    job = definitions.resolve_job_def(jobs.RELEASE_EXPIRED_LEASES)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def told(result: ExecuteInProcessResult) -> dict[str, Any]:
    """The counts that the run shows."""
    [event] = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def assign(store_url: str, user_id: int, *, lease: str, seen: str = "0 seconds") -> None:
    """The user's lead is with an agent of the same number; lease and sign of life as seen from now."""
    with psycopg.connect(store_url) as connection:
        connection.execute(ASSIGN, {"agent_id": user_id, "user_id": user_id, "lease": lease, "seen": seen})


@pytest.fixture
def queued(source: Source, definitions: Definitions, instance: DagsterInstance, store_url: str) -> str:
    """Users 1 to 4 wait in unsigned_users; the store's URL."""
    for user_id in (1, 2, 3, 4):
        source.sign_up(user_id, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    return store_url


def test_a_tick_asks_only_where_a_lease_is_over_and_the_run_returns_the_lead(
    definitions: Definitions, instance: DagsterInstance, queued: str
) -> None:
    """P19: once; the one whose lease goes on stays with its agent."""
    assign(queued, 1, lease="1 minute")
    assert look(definitions, instance) == ([], NOTHING_DUE)
    assign(queued, 2, lease="-1 second")
    (request,), skipped = look(definitions, instance)
    assert skipped is None
    assert request.tags["dagster/max_runtime"] == "300"

    result = release(definitions, instance)

    assert result.success
    assert told(result) == {"leads_returned": 1, "agents_offline": 0}
    assert rows(queued, STATUSES) == [(1, "assigned"), (2, "pending"), (3, "pending"), (4, "pending")]
    assert rows(queued, ENDS) == [(None,), ("expired",)]
    assert look(definitions, instance) == ([], NOTHING_DUE)


def test_an_agent_who_has_gone_silent_is_put_offline(
    definitions: Definitions, instance: DagsterInstance, queued: str
) -> None:
    """P19: one who holds a lead is given until the lease ends."""
    assign(queued, 1, lease="1 minute", seen="-10 minutes")
    assert look(definitions, instance) == ([], NOTHING_DUE)
    with psycopg.connect(queued) as connection:
        connection.execute("INSERT INTO agents (id, name, status) VALUES (9, 'somebody', 'available')")
    assert len(look(definitions, instance)[0]) == 1
    assert told(release(definitions, instance)) == {"leads_returned": 0, "agents_offline": 1}
    assert rows(queued, "SELECT id, status FROM agents ORDER BY id") == [(1, "on_call"), (9, "offline")]
    assert look(definitions, instance) == ([], NOTHING_DUE)


def test_two_ticks_that_see_the_same_ask_for_one_run_and_two_runs_do_what_one_does(
    definitions: Definitions, instance: DagsterInstance, queued: str
) -> None:
    """P15, P19: the lead is returned once, whoever asks how often."""
    assign(queued, 1, lease="-1 second")
    keys = {request.run_key for _ in range(5) for request in look(definitions, instance)[0]}
    assert len(keys) <= 2  # a minute may have passed meanwhile
    assert told(release(definitions, instance))["leads_returned"] == 1
    assert told(release(definitions, instance))["leads_returned"] == 0
    assert rows(queued, ENDS) == [("expired",)]


def test_a_key_names_the_minute_and_what_is_due() -> None:
    """P36: what a failed run left is asked for again; a clock set back hides nothing new."""
    at = datetime(2025, 6, 2, 10, 0, 30, tzinfo=UTC)
    ended = at.replace(second=7)
    key = run_key_of(Due(at, ended, False))
    assert run_key_of(Due(at.replace(second=59), ended, False)) == key
    others = (Due(at.replace(minute=1), ended, False), Due(at, ended.replace(second=9), False))
    assert key not in {run_key_of(other) for other in (*others, Due(at, None, True))}


def test_a_store_that_cannot_be_asked_fails_the_tick_and_is_never_a_skip(
    environment: dict[str, str], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P35, P36."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://leadq:hush@127.0.0.1:{closed_port()}/leadq")
    definitions = build_definitions(load_settings(), Retries(tries_max=1, first_wait_seconds=0.0))
    with pytest.raises(LeadqError) as raised:
        look(definitions, instance)
    assert "hush" not in str(raised.value)
    assert not release(definitions, instance).success


def test_a_store_without_its_tables_fails_the_tick(
    definitions: Definitions, instance: DagsterInstance, queued: str
) -> None:
    """P35."""
    with psycopg.connect(queued) as connection:
        connection.execute("DROP TABLE agents CASCADE")
    with pytest.raises(LeadqError, match="leadq db upgrade"):
        look(definitions, instance)


def test_a_look_is_given_up_before_dagster_gives_up_the_tick(
    definitions: Definitions,
    instance: DagsterInstance,
    queued: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P36: whatever the operator allows a statement otherwise; ten seconds more are for connecting."""
    assert LOOK_SECONDS + 10 < 60
    asked: list[int] = []

    def opened(url: str, *, statement_timeout_seconds: int) -> Any:
        asked.append(statement_timeout_seconds)
        return open_store(url, statement_timeout_seconds=statement_timeout_seconds)

    monkeypatch.setattr("leadq_dagster.opening.open_store", opened)
    monkeypatch.setenv("LEADQ_STORE_TIMEOUT_SECONDS", "600")
    look(build_definitions(load_settings()), instance)
    monkeypatch.setenv("LEADQ_STORE_TIMEOUT_SECONDS", "5")
    look(build_definitions(load_settings()), instance)
    assert asked == [LOOK_SECONDS, 5]


def test_it_looks_every_minute_by_default_whether_discovery_is_on_or_not(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, queued: str, instance: DagsterInstance
) -> None:
    """P36, P41: leases are the desk's."""
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    definitions = build_definitions(load_settings())
    sensor = definitions.resolve_sensor_def(jobs.RELEASE_EXPIRED_LEASES)
    assert (sensor.default_status, sensor.minimum_interval_seconds) == (DefaultSensorStatus.RUNNING, 60)
    assign(queued, 1, lease="-1 second")
    assert len(look(definitions, instance)[0]) == 1


def test_the_look_reads_as_many_rows_as_there_are_agents(queued: str) -> None:
    """P36: not the queue, and not the stays that are closed."""
    with psycopg.connect(queued) as connection:
        connection.execute(
            "INSERT INTO user_call_scores (user_id, next_call_after, discovered_at)"
            " SELECT n, now(), now() FROM generate_series(100, 5099) AS n"
        )
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at)"
            " SELECT n, 'unsigned_users', 'no_signature', now(), now() FROM generate_series(100, 5099) AS n"
        )
        connection.execute("SET session_replication_role = origin")
        connection.execute("ANALYZE")
    for user_id in (1, 2, 3):
        assign(queued, user_id, lease="1 minute")
    with psycopg.connect(queued) as connection:
        ((plan,),) = connection.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + SQL["select_due"].encode(),
            {"silence": "2 minutes", "now": None},
        ).fetchall()
    assert rows_met(plan[0]["Plan"]) <= 10


def rows_met(plan: dict[str, Any]) -> int:
    """Rows that the plan's scans looked at, those thrown away included."""
    met = plan.get("Actual Rows", 0) + plan.get("Rows Removed by Filter", 0)
    own = int(met * plan["Actual Loops"]) if "Relation Name" in plan else 0
    return own + sum(rows_met(part) for part in plan.get("Plans", []))
