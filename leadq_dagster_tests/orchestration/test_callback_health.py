"""The check `callback_health` and what it leaves in Dagster."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
)

from leadq_dagster.orchestration import jobs
from leadq_dagster.orchestration.callback_health import CALLBACK_HEALTH

pytestmark = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)
CALL = """
INSERT INTO call_sessions (id, direction, status, started_at, legacy_outcome)
VALUES (%s, 'inbound', 'completed', %s, %s)
"""


def check(definitions: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    job = definitions.resolve_job_def(jobs.CALLBACK_HEALTH_CHECK)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def evaluation(result: ExecuteInProcessResult) -> AssetCheckEvaluation:
    [found] = result.get_asset_check_evaluations()
    assert (found.asset_key, found.check_name) == (AssetKey("call_queue"), CALLBACK_HEALTH)
    return found


def calls(store_url: str, *outcomes: str | None) -> None:
    """Inbound calls of an hour ago."""
    began = datetime.now(UTC) - timedelta(hours=1)
    with psycopg.connect(store_url) as connection:
        for number, outcome in enumerate(outcomes):
            connection.execute(CALL, (f"{began}-{number}", began, outcome))


def test_it_passes_without_data_and_says_that_there_is_none(
    definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P35."""
    found = evaluation(check(definitions, instance))
    assert found.passed
    assert "inbound_calls_with_outcome: no data (0 of 0)" in str(found.description)
    assert "inbound_calls_with_outcome" not in found.metadata


@pytest.mark.parametrize(
    ("outcomes", "passed", "severity"),
    [
        (("booked",) * 4 + (None,), True, AssetCheckSeverity.WARN),
        (("booked",) * 3 + (None,), False, AssetCheckSeverity.WARN),
        (("booked",) + (None,) * 2, False, AssetCheckSeverity.ERROR),
    ],
)
def test_it_alerts_below_80_and_50_percent(
    definitions: Definitions,
    instance: DagsterInstance,
    store_url: str,
    outcomes: tuple[str | None, ...],
    passed: bool,
    severity: AssetCheckSeverity,
) -> None:
    """P35: planted."""
    calls(store_url, *outcomes)
    found = evaluation(check(definitions, instance))
    assert (found.passed, found.severity) == (passed, severity)
    assert found.metadata["inbound_calls_with_outcome_of"].value == len(outcomes)


def test_a_store_that_cannot_be_read_leaves_no_result(
    definitions: Definitions, instance: DagsterInstance, store_url: str
) -> None:
    """P35: it fails to run, and never passes."""
    with psycopg.connect(store_url) as connection:
        connection.execute("ALTER TABLE callbacks RENAME TO callbacks_away")
    result = check(definitions, instance)
    assert not result.success
    assert result.get_asset_check_evaluations() == []


def test_it_is_looked_at_each_hour(definitions: Definitions) -> None:
    """P36."""
    schedule = definitions.resolve_schedule_def(f"{jobs.CALLBACK_HEALTH_CHECK}_hourly")
    assert schedule.cron_schedule == "10 * * * *"
