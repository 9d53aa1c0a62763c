from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance, DagsterRunStatus

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration.conversion_gaps import CONVERSION_GAPS
from leadq_dagster.orchestration.housekeeping import (
    delete_old_answers,
    delete_old_step_events,
    delete_stale_planned_checks,
)
from leadq_dagster.orchestration.jobs import NEW_USERS_DISCOVERY
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.settings import load_settings
from leadq_dagster.store.connection import open_store
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE, rows

NEW_USERS = AssetKey("new_users")
KEYS = {"2025-06-02-09:00", "2025-06-02-10:00", "2025-06-02-11:00"}
pytestmark = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)


def materialise(instance: DagsterInstance) -> None:
    job = build_definitions(load_settings()).resolve_job_def(NEW_USERS_DISCOVERY)
    for key in sorted(KEYS):
        assert job.execute_in_process(instance=instance, partition_key=key).success


def kinds(url: str) -> Counter[str]:
    """The events in Dagster's log by type."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT coalesce(dagster_event_type, 'LOG') FROM event_logs")
        return Counter(kind for (kind,) in rows)


def kept(counts: Counter[str]) -> Counter[str]:
    return Counter({kind: n for kind, n in counts.items() if kind.startswith(("ASSET_", "FRESHNESS_"))})


def age(url: str, days: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE event_logs SET timestamp = timestamp - make_interval(days => %s)", [days])


def test_old_step_events_go_and_every_partition_stays_materialised(
    dagster_home: Path, environment: dict[str, str], empty_database: str
) -> None:
    """P8: in pages that are smaller than the log, to its end."""
    now = datetime.now(UTC)
    with DagsterInstance.get() as instance:
        materialise(instance)
        age(empty_database, days=31)
        before = kinds(empty_database)

        deleted = delete_old_step_events(empty_database, now - timedelta(days=30), page_rows=7)

        assert kinds(empty_database) == kept(before)
        assert deleted == before.total() - kept(before).total() > 0
        assert instance.get_materialized_partitions(NEW_USERS) == KEYS
        runs = instance.get_runs()
        assert [run.is_success for run in runs] == [True] * 3
        assert instance.get_latest_materialization_event(NEW_USERS) is not None
        assert delete_old_step_events(empty_database, now - timedelta(days=30), page_rows=7) == 0


def test_events_younger_than_the_retention_stay(
    dagster_home: Path, environment: dict[str, str], empty_database: str
) -> None:
    with DagsterInstance.get() as instance:
        materialise(instance)
        before = kinds(empty_database)
        assert delete_old_step_events(empty_database, datetime.now(UTC) - timedelta(days=30)) == 0
        assert kinds(empty_database) == before


def test_the_job_deletes_what_the_setting_says(
    dagster_home: Path,
    environment: dict[str, str],
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own events are young and stay."""
    monkeypatch.setenv("LEADQ_EVENT_RETENTION_DAYS", "3")
    with DagsterInstance.get() as instance:
        materialise(instance)
        age(empty_database, days=4)
        job = build_definitions(load_settings()).resolve_job_def("dagster_housekeeping")

        result = job.execute_in_process(instance=instance)

        assert result.success
        with psycopg.connect(empty_database) as connection:
            old = connection.execute(
                "SELECT count(*) FROM event_logs WHERE run_id <> %s AND"
                " (dagster_event_type IS NULL OR dagster_event_type NOT LIKE 'ASSET%%')",
                [result.run_id],
            ).fetchone()
        assert old == (0,)
        assert len(instance.all_logs(result.run_id)) > 5
        assert instance.get_materialized_partitions(NEW_USERS) == KEYS


def backfill(instance: DagsterInstance, hours: int) -> str:
    """A range of signature conversions as the UI's backfill runs it: the check comes along. The run's id."""
    keys = [hour.partition_key for hour in Window(NINE, NINE + hours * HOUR).hours()]
    definitions = build_definitions(load_settings(), Retries(tries_max=1, first_wait_seconds=0.0))
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        },
        asset_selection=[AssetKey("signature_conversions")],
        raise_on_error=False,
    ).run_id


def check_rows(url: str) -> list[tuple[str, str, str | None]]:
    """The rows of checks: run, status and partition, oldest first."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT run_id, execution_status, partition FROM asset_check_executions ORDER BY id"
        ).fetchall()


def test_what_a_backfill_planned_for_each_hour_goes_and_the_check_s_result_stays(
    dagster_home: Path, environment: dict[str, str], empty_database: str
) -> None:
    """P8: in pages smaller than what is there, and once."""
    key = AssetCheckKey(AssetKey("signature_conversions"), CONVERSION_GAPS)
    with DagsterInstance.get() as instance:
        run_id = backfill(instance, hours=9)
        statuses = Counter(status for _, status, _ in check_rows(empty_database))
        assert statuses == {"PLANNED": 9, "SUCCEEDED": 1}, "Dagster has changed: is this still needed?"
        partitions = instance.get_materialized_partitions(AssetKey("signature_conversions"))

        assert delete_stale_planned_checks(empty_database, page_rows=4) == 9

        assert check_rows(empty_database) == [(run_id, "SUCCEEDED", None)]
        assert delete_stale_planned_checks(empty_database, page_rows=4) == 0
        assert instance.get_latest_asset_check_evaluation_record(key) is not None
        assert instance.get_materialized_partitions(AssetKey("signature_conversions")) == partitions
        assert len(partitions) == 9


def test_of_a_run_that_goes_on_nothing_is_deleted_and_of_a_failed_one_the_last_row_stays(
    dagster_home: Path,
    environment: dict[str, str],
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P35: a check that never came to its turn is seen as one that failed to run, and not as none at all."""
    with DagsterInstance.get() as instance:
        monkeypatch.setenv("REPLICA_DATABASE_URL", "mysql://reader:hush@127.0.0.1:1/firm")
        failed = backfill(instance, hours=3)
        monkeypatch.setenv("REPLICA_DATABASE_URL", environment["REPLICA_DATABASE_URL"])
        going_on = backfill(instance, hours=2)
        with psycopg.connect(empty_database) as connection:
            connection.execute("UPDATE runs SET status = 'STARTED' WHERE run_id = %s", [going_on])
        run = instance.get_run_by_id(failed)
        assert run is not None
        assert run.status is DagsterRunStatus.FAILURE

        assert delete_stale_planned_checks(empty_database) == 2

        left = check_rows(empty_database)
        assert [(status, key) for run_id, status, key in left if run_id == failed] == [
            ("PLANNED", "2025-06-02-11:00")
        ]
        assert Counter(status for run_id, status, _ in left if run_id == going_on) == {
            "PLANNED": 2,
            "SUCCEEDED": 1,
        }


def test_the_job_deletes_planned_rows_too(
    dagster_home: Path, environment: dict[str, str], empty_database: str
) -> None:
    with DagsterInstance.get() as instance:
        backfill(instance, hours=2)
        job = build_definitions(load_settings()).resolve_job_def("dagster_housekeeping")
        assert job.execute_in_process(instance=instance).success
        assert [status for _, status, _ in check_rows(empty_database)] == ["SUCCEEDED"]


def test_a_database_that_is_not_dagster_s_is_refused_by_name(
    environment: dict[str, str], empty_database: str
) -> None:
    with pytest.raises(PermanentError, match="DAGSTER_DATABASE_URL"):
        delete_stale_planned_checks(empty_database)
    with pytest.raises(PermanentError, match="DAGSTER_DATABASE_URL"):
        delete_old_step_events(empty_database, NINE)


def test_what_the_desk_was_asked_more_than_a_week_ago_is_forgotten(
    dagster_home: Path, environment: dict[str, str], store_url: str
) -> None:
    """P20: a request repeated within the week is still answered as before. P8: in pages, to the end."""
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO agents (id, name) VALUES (1, 'somebody')")
        connection.execute(
            "INSERT INTO desk_answers (agent_id, request_id, request, answer, answered_at)"
            " SELECT 1, days, 'take', '{}', now() - days * interval '1 day'"
            " FROM generate_series(1, 12) AS days"
        )
    kept = "SELECT request_id::int FROM desk_answers ORDER BY 1"
    with open_store(store_url) as store:
        assert delete_old_answers(store, datetime.now(UTC) - timedelta(days=9), page_rows=2) == 4
    assert rows(store_url, kept) == [(days,) for days in range(1, 9)]
    with DagsterInstance.get() as instance:
        job = build_definitions(load_settings()).resolve_job_def("dagster_housekeeping")
        assert job.execute_in_process(instance=instance).success
    assert rows(store_url, kept) == [(days,) for days in range(1, 7)]
