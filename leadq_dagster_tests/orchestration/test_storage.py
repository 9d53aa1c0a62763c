from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from dagster import DagsterInstance, job, op
from dagster._serdes import serialize_value
from psycopg import sql

from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.orchestration.storage import LeadqDagsterStorage, ensure_database
from leadq_dagster_tests.servers.databases import administer


@op
def nothing() -> None:
    pass


@job
def trivial() -> None:
    nothing()


def test_a_plain_url_serves_dagster_s_storage(dagster_home: Path, empty_database: str) -> None:
    """The driver that Dagster's storage needs is added by us; a run with its events is stored."""
    assert empty_database.startswith("postgresql://")
    with DagsterInstance.get() as instance:
        result = trivial.execute_in_process(instance=instance)
        assert result.success
        assert instance.get_run_by_id(result.run_id) is not None
        assert len(instance.all_logs(result.run_id)) > 5


def test_the_reference_that_dagster_puts_on_command_lines_holds_no_password(
    dagster_home: Path, empty_database: str
) -> None:
    """P40."""
    password = urlsplit(empty_database).password
    assert password
    with DagsterInstance.get() as instance:
        reference = serialize_value(instance.get_ref())
        assert LeadqDagsterStorage.__name__ in reference
        assert password not in reference
        assert "postgresql" not in reference


def test_another_process_s_reference_leads_to_the_same_storage(dagster_home: Path) -> None:
    """As the run workers do it."""
    with DagsterInstance.get() as instance:
        run_id = trivial.execute_in_process(instance=instance).run_id
        with DagsterInstance.from_ref(instance.get_ref()) as worker:
            assert worker.get_run_by_id(run_id) is not None


def test_the_instance_keeps_to_its_limits(dagster_home: Path) -> None:
    """P36: a hung run ends; nothing is sent to anybody; crashed runs alone are started again."""
    with DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 14_400
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 6
        assert queue.tag_concurrency_limits == [{"key": "dagster/backfill", "limit": 2}]


def test_a_missing_database_is_created_beside_the_store(
    dagster_home: Path, postgres: EmbeddedPostgres, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_DATABASE_URL")
    monkeypatch.setenv("DATABASE_URL", empty_database)
    try:
        for _ in range(2):
            with DagsterInstance.get() as instance:
                assert instance.get_runs_count() == 0
        with psycopg.connect(postgres.url("leadq_dagster")) as connection:
            assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    finally:
        administer(postgres, sql.SQL("DROP DATABASE IF EXISTS leadq_dagster WITH (FORCE)"))


def test_who_may_not_create_the_database_is_told_to(postgres: EmbeddedPostgres) -> None:
    administer(postgres, sql.SQL("CREATE ROLE modest LOGIN PASSWORD 'modest'"))
    try:
        url = f"postgresql://modest:modest@127.0.0.1:{postgres.port}/nowhere"
        with pytest.raises(PermanentError, match="CREATE DATABASE nowhere") as refused:
            ensure_database(url)
        assert "modest:" not in str(refused.value)
    finally:
        administer(postgres, sql.SQL("DROP ROLE modest"))


def test_a_refused_login_is_told_without_the_password(postgres: EmbeddedPostgres) -> None:
    """P40."""
    url = f"postgresql://leadq:hush-hush@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(TransientError, match="authentication failed") as refused:
        ensure_database(url)
    assert "hush" not in str(refused.value)
