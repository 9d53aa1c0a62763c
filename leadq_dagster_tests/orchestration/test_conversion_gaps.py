import socket
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
)

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.conversion_rule import ConversionType
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.conversion_gaps import reach_of_check
from leadq_dagster.orchestration.listing import ROWS_MAX, as_table
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.orchestration.switch import SWITCHED_OFF
from leadq_dagster.settings import load_settings
from leadq_dagster.stages.recovery import MissingConversion
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE, Source, run_hours

YESTERDAY = Window.hour_of(datetime.now(UTC) - timedelta(days=1))
SIGNATURES, REQUIREMENTS = "signature_conversions", "requirement_conversions"
on_postgresql = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)


def check(definitions: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    job = definitions.resolve_job_def(jobs.CONVERSION_GAPS_CHECK)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def by_asset(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    evaluations = result.get_asset_check_evaluations()
    return {evaluation.asset_key.to_user_string(): evaluation for evaluation in evaluations}


def told(evaluation: AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


@pytest.fixture
def waiting(source: Source, definitions: Definitions, instance: DagsterInstance) -> Source:
    """Users 1 and 2 wait in unsigned_users, user 3 in outstanding_requests; the check is content."""
    source.sign_up(1, NINE)
    source.sign_up(2, NINE)
    source.sign_up(3, NINE, signature="file-3")
    source.ask_for_proof(3, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    return source


def test_it_finds_planted_gaps_and_names_the_user_and_the_partition(
    definitions: Definitions, instance: DagsterInstance, waiting: Source
) -> None:
    """P35."""
    before = by_asset(check(definitions, instance))
    assert {asset: item.passed for asset, item in before.items()} == {SIGNATURES: True, REQUIREMENTS: True}
    waiting.sign(1, YESTERDAY.start + timedelta(minutes=7))
    waiting.approve(3, YESTERDAY.start - HOUR)

    result = check(definitions, instance)

    assert result.success
    found = by_asset(result)
    assert {asset: item.passed for asset, item in found.items()} == {SIGNATURES: False, REQUIREMENTS: False}
    assert {item.severity for item in found.values()} == {AssetCheckSeverity.ERROR}
    signatures, requirements = told(found[SIGNATURES]), told(found[REQUIREMENTS])
    assert (signatures["missing"], signatures["partition_keys"]) == (1, [YESTERDAY.partition_key])
    assert "| 1 | " in signatures["missing_conversions"]
    assert "| signature_obtained |" in signatures["missing_conversions"]
    assert requirements["partition_keys"] == [Window.hour_of(YESTERDAY.start - HOUR).partition_key]


@on_postgresql
def test_it_passes_again_once_the_partition_has_been_run(
    definitions: Definitions, instance: DagsterInstance, waiting: Source
) -> None:
    """P6."""
    waiting.sign(1, YESTERDAY.start)
    assert not by_asset(check(definitions, instance))[SIGNATURES].passed
    assert run_hours(definitions, instance, jobs.CHECK_UNSIGNED_CONVERSIONS, YESTERDAY.start).success
    assert by_asset(check(definitions, instance))[SIGNATURES].passed


@on_postgresql
def test_who_converts_after_the_hours_looked_at_is_not_missing_in_them(
    definitions: Definitions, instance: DagsterInstance, waiting: Source
) -> None:
    """P35: created within those hours, the user is looked at, and shown as of now."""
    waiting.sign_up(4, YESTERDAY.start)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, YESTERDAY.start).success
    waiting.sign(4, reach_of_check(datetime.now(UTC)).end)
    assert by_asset(check(definitions, instance))[SIGNATURES].passed


@on_postgresql
def test_a_backfill_of_the_missing_partition_turns_the_check_green(
    definitions: Definitions, instance: DagsterInstance, waiting: Source
) -> None:
    """As the analyst does it: Dagster carries the check along, and only that of the asset."""
    waiting.sign(1, YESTERDAY.start)
    assert not by_asset(check(definitions, instance))[SIGNATURES].passed
    job = definitions.resolve_implicit_global_asset_job_def()
    key = YESTERDAY.partition_key

    result = job.execute_in_process(
        instance=instance, partition_key=key, asset_selection=[AssetKey(SIGNATURES)]
    )

    assert {asset: item.passed for asset, item in by_asset(result).items()} == {SIGNATURES: True}


@on_postgresql
def test_a_replica_that_is_down_is_not_an_answer(
    environment: dict[str, str], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P35: it is tried again, fails, and leaves no result."""
    monkeypatch.setenv("REPLICA_DATABASE_URL", f"mysql://reader:secret@127.0.0.1:{closed_port()}/firm")
    definitions = build_definitions(load_settings(), Retries(tries_max=1, first_wait_seconds=0.0))
    is_loud(check(definitions, instance), retries=1)


@on_postgresql
def test_a_replica_that_is_behind_is_not_an_answer(
    definitions: Definitions, instance: DagsterInstance, waiting: Source
) -> None:
    """P35: it would show no gap where there is one."""
    waiting.beat(datetime.now(UTC) - 3 * HOUR)
    is_loud(check(definitions, instance), retries=2)


@on_postgresql
def test_a_store_without_its_tables_is_not_an_answer(
    definitions: Definitions, instance: DagsterInstance, waiting: Source, store_url: str
) -> None:
    """P35, P8: and no retry can heal it."""
    waiting.sign(1, YESTERDAY.start)
    with psycopg.connect(store_url) as connection:
        connection.execute("DROP TABLE conversions CASCADE")
    is_loud(check(definitions, instance), retries=0)


@on_postgresql
def test_switched_off_it_says_so_and_does_not_pass(
    environment: dict[str, str], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P41, P35."""
    monkeypatch.setenv("SMART_DISCOVERY_ENABLED", "false")
    result = check(build_definitions(load_settings()), instance)
    is_loud(result, retries=0)
    failure = result.get_step_failure_events()[0].step_failure_data.error
    assert failure is not None
    assert SWITCHED_OFF in failure.message


def is_loud(result: ExecuteInProcessResult, retries: int) -> None:
    assert not result.success
    assert result.get_asset_check_evaluations() == []
    restarted = [event for event in result.all_events if event.event_type is DagsterEventType.STEP_RESTARTED]
    assert len(restarted) == retries


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_table_is_bounded_and_tells_the_full_number() -> None:
    """P40: ids and times, nothing else of anybody."""
    gap = MissingConversion(7, 70, QueueType.UNSIGNED_USERS, ConversionType.SIGNATURE_OBTAINED, None, "key")
    lines = as_table([gap] * (ROWS_MAX + 1)).md_str.splitlines()
    assert len(lines) == 2 + ROWS_MAX + 2
    assert lines[2] == "| 7 | 70 | signature_obtained | not told | key |"
    assert lines[-1] == f"{ROWS_MAX} of {ROWS_MAX + 1}"


@pytest.mark.parametrize(("minute", "until_hour"), [(55, 10), (50, 10), (49, 9), (0, 9)])
def test_an_hour_is_looked_at_once_both_assets_have_had_their_turn(minute: int, until_hour: int) -> None:
    """Before, all that converted in it would be missing."""
    window = reach_of_check(datetime(2025, 6, 9, 10, minute, tzinfo=UTC))
    assert window.end == datetime(2025, 6, 9, until_hour, tzinfo=UTC)
    assert window.start == window.end - timedelta(days=7)
