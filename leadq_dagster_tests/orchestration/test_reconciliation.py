from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    build_schedule_context,
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain import queue_rule
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.conversion_gaps import reach_of_check
from leadq_dagster.orchestration.reconciliation import CALL_QUEUE
from leadq_dagster.orchestration.retries import Retries
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
from leadq_dagster_tests.orchestration.test_conversion_gaps import closed_port, on_postgresql

LIVE = "SELECT user_id, queue_type::text FROM call_queue WHERE status <> 'left' ORDER BY user_id"
UNSIGNED = "unsigned_users"


def reconcile(definitions: Definitions, instance: DagsterInstance, **config: Any) -> ExecuteInProcessResult:
    job = definitions.resolve_job_def(jobs.QUEUE_RECONCILIATION)
    run_config = {"ops": {CALL_QUEUE: {"config": config}}}
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def drift(result: ExecuteInProcessResult) -> AssetCheckEvaluation:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def shown(instance: DagsterInstance) -> dict[str, Any]:
    """What the latest materialisation tells."""
    return metadata_by_partition(instance, CALL_QUEUE)[""]


@pytest.fixture
def queued(source: Source, definitions: Definitions, instance: DagsterInstance) -> Source:
    """Users 1 to 4 wait in unsigned_users, found by their hour."""
    for user_id in range(1, 5):
        source.sign_up(user_id, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    return source


def test_planted_drift_is_healed_and_told_and_the_next_run_finds_none(
    queued: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P35, P1, P2, P14: by the door, with the conversion that was due; what was right is untouched."""
    assert drift(reconcile(definitions, instance)).passed
    queued.sign(1, NINE + HOUR)
    queued.disable(2, NINE + HOUR)

    result = reconcile(definitions, instance)

    assert result.success
    check = drift(result)
    assert (check.passed, check.severity) == (False, AssetCheckSeverity.WARN)
    assert check.metadata["drift"].value == 2
    assert ledger(store_url) == [(1, "signature_obtained", "reconciliation", None)]
    assert rows(store_url, LIVE) == [(3, UNSIGNED), (4, UNSIGNED)]
    told = shown(instance)
    classes = ("right", "moved", "adopted", "early", "spared", "overtaken", "undecided")
    assert told["seen"] == sum(told[name] for name in classes) == 4
    assert (told["moved"], told["converted"], told["drift"]) == (2, 1, 2)
    assert told["moved_by_reason"] == {"nothing_outstanding": 1, "user_disabled": 1}
    assert told["replica_queries"] > 0
    by = rows(store_url, "SELECT actor, dagster_run_id FROM queue_transitions WHERE to_queue_type IS NULL")
    assert by == [(CALL_QUEUE, result.run_id)] * 2

    assert drift(reconcile(definitions, instance)).passed
    assert "users_seen" not in shown(instance)


def test_asked_for_everybody_it_finds_who_no_hour_finds(
    queued: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P7, P9, P22: from before the first partition; the suppressed stay out."""
    queued.sign_up(5, datetime(2001, 1, 1, tzinfo=UTC))
    queued.sign_up(6, datetime(2001, 1, 1, tzinfo=UTC), signature="f")
    queued.sign_up(7, datetime(2001, 1, 1, tzinfo=UTC), is_enabled=False)
    assert drift(reconcile(definitions, instance)).passed
    check = drift(reconcile(definitions, instance, everybody=True))
    assert (check.passed, check.metadata["drift"].value) == (False, 1)
    told = shown(instance)
    classes = ("settled", "right", "refused", "stored", "entered", "early", "overtaken")
    assert told["users_seen"] == sum(told[f"users_{name}"] for name in classes) == 7
    assert (told["users_stored"], told["users_queued"], told["users_refused"]) == (2, 1, 1)
    assert [user_id for user_id, _ in rows(store_url, LIVE)] == [1, 2, 3, 4, 5]
    assert drift(reconcile(definitions, instance, everybody=True)).passed


@on_postgresql
def test_an_operator_may_let_it_go_on_where_a_run_was_cut_off(
    queued: Source, definitions: Definitions, instance: DagsterInstance
) -> None:
    """P8."""
    assert reconcile(definitions, instance, everybody=True, after_user_id=2).success
    assert (shown(instance)["seen"], shown(instance)["users_seen"]) == (2, 2)


@on_postgresql
def test_what_the_hourly_jobs_have_not_come_to_is_theirs_and_no_drift(
    queued: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P6."""
    queued.sign(1, reach_of_check(datetime.now(UTC)).end)
    assert drift(reconcile(definitions, instance)).passed
    assert shown(instance)["early"] == 1
    assert ledger(store_url) == []


@on_postgresql
def test_users_who_are_not_at_the_source_do_not_pass_as_no_drift(
    queued: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P4, P35: as on a replica that is being built again; all stay where they are."""
    with queued.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM users")
    check = drift(reconcile(definitions, instance))
    assert (check.passed, check.severity) == (False, AssetCheckSeverity.WARN)
    assert (check.metadata["drift"].value, check.metadata["undecided"].value) == (0, 4)
    assert len(rows(store_url, LIVE)) == 4


@on_postgresql
def test_what_the_store_should_make_impossible_is_an_error_and_named(
    queued: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P35: it is reported and left to people."""
    with psycopg.connect(store_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 3")
    check = drift(reconcile(definitions, instance))
    assert (check.passed, check.severity) == (False, AssetCheckSeverity.ERROR)
    named = check.metadata["contradictions"].value
    assert named == {"user_and_stay_disagree": {"rows": 1, "first_users": [3]}}


@on_postgresql
def test_a_changed_rule_is_applied_to_everybody_queued_by_the_next_run(
    source: Source,
    definitions: Definitions,
    instance: DagsterInstance,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P11."""
    source.sign_up(1, NINE, signature="f")
    source.ask_for_proof(1, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    assert len(rows(store_url, LIVE)) == 1
    never = queue_rule.NEVER_COUNTED_TYPES | {"proof_of_address"}
    monkeypatch.setattr(queue_rule, "NEVER_COUNTED_TYPES", never)
    assert not drift(reconcile(definitions, instance)).passed
    assert rows(store_url, LIVE) == []


def could_not_check(result: ExecuteInProcessResult, retries: int) -> None:
    assert not result.success
    assert result.get_asset_check_evaluations() == []
    restarted = [event for event in result.all_events if event.event_type is DagsterEventType.STEP_RESTARTED]
    assert len(restarted) == retries


@on_postgresql
def test_a_replica_that_is_down_is_not_an_answer(
    queued: Source, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, store_url: str
) -> None:
    """P35, P4, P8."""
    monkeypatch.setenv("REPLICA_DATABASE_URL", f"mysql://reader:secret@127.0.0.1:{closed_port()}/firm")
    definitions = build_definitions(load_settings(), Retries(tries_max=1, first_wait_seconds=0.0))
    could_not_check(reconcile(definitions, instance, everybody=True), retries=1)
    assert len(rows(store_url, LIVE)) == 4


@on_postgresql
def test_a_replica_that_is_behind_the_hourly_jobs_is_not_an_answer(
    queued: Source, definitions: Definitions, instance: DagsterInstance
) -> None:
    """P35, P4: it would take back what they did."""
    queued.beat(datetime.now(UTC) - 3 * HOUR)
    could_not_check(reconcile(definitions, instance), retries=2)


@on_postgresql
def test_a_store_without_its_tables_is_not_an_answer(
    queued: Source, definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P35: and no retry can heal it."""
    with psycopg.connect(store_url) as connection:
        connection.execute("DROP TABLE assignments CASCADE")
    could_not_check(reconcile(definitions, instance), retries=0)


@on_postgresql
def test_switched_off_it_does_nothing_and_passes_nothing(
    queued: Source, instance: DagsterInstance, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41, P35."""
    queued.disable(1, NINE + HOUR)
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    result = reconcile(build_definitions(load_settings()), instance)
    assert result.success
    assert (drift(result).passed, drift(result).description) == (False, SWITCHED_OFF)
    assert instance.get_latest_materialization_event(AssetKey(CALL_QUEUE)) is None
    assert len(rows(store_url, LIVE)) == 4
    (observation,) = instance.fetch_observations(AssetKey(CALL_QUEUE), limit=10).records
    assert observation.asset_observation is not None
    assert observation.asset_observation.description == SWITCHED_OFF


def test_the_queue_comes_from_the_assets_that_fill_and_empty_it() -> None:
    """And is not asked for by catch-up: the next hour's run covers what a missed one left."""
    queue = build_definitions(load_settings()).resolve_asset_graph().get(AssetKey(CALL_QUEUE))
    assert {key.to_user_string() for key in queue.parent_keys} == {
        *(f"replica/{name}" for name in ("users", "claims", "claim_requirements")),
        *("new_users", "new_requirements", "signature_conversions", "requirement_conversions"),
    }
    assert queue.partitions_def is None
    assert queue.automation_condition is None


@pytest.mark.parametrize(("hour", "everybody"), [(2, False), (3, True), (4, False)])
def test_the_schedule_asks_each_hour_and_once_a_day_for_everybody(
    instance: DagsterInstance, hour: int, everybody: bool
) -> None:
    """P36."""
    definitions = build_definitions(load_settings())
    context = build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 6, 2, hour, 50, tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    )
    schedule = definitions.resolve_schedule_def("queue_reconciliation_hourly")
    (request,) = schedule.evaluate_tick(context).run_requests or []
    asked = request.run_config.get("ops", {}).get(CALL_QUEUE, {}).get("config", {})
    assert asked == ({"everybody": True} if everybody else {})
    assert timedelta(seconds=int(request.tags["dagster/max_runtime"])) == timedelta(
        hours=3 if everybody else 0, minutes=0 if everybody else 15
    )
