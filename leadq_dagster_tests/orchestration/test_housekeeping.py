from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from dagster import AssetKey, DagsterInstance

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.orchestration.housekeeping import delete_old_step_events
from leadq_dagster.orchestration.jobs import NEW_USERS_DISCOVERY
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.orchestration.conftest import NINE

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


def test_a_database_that_is_not_dagster_s_is_refused_by_name(
    environment: dict[str, str], empty_database: str
) -> None:
    with pytest.raises(PermanentError, match="DAGSTER_DATABASE_URL"):
        delete_old_step_events(empty_database, NINE)
