"""Dagster's own commands, as an operator types them."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from leadq_dagster.shipped import shipped
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE, Source

JOBS = {
    "new_users_discovery",
    "new_requirements_discovery",
    "check_unsigned_conversions",
    "check_requirements_conversions",
    "conversion_gaps_check",
    "conversion_recovery",
    "dagster_housekeeping",
}
MODULE = ("-m", "leadq_dagster.definitions")


def dagster(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command `dagster` in this folder with leadq's package at hand."""
    package_folder = str(shipped("sql").parent)
    return subprocess.run(
        [sys.executable, "-m", "dagster", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": package_folder},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def stored(store_url: str) -> list[int]:
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT user_id FROM user_call_scores ORDER BY 1")
        return [user_id for (user_id,) in rows]


@pytest.fixture
def signed_up(source: Source, environment: dict[str, str]) -> Source:
    source.sign_up(1, NINE)
    source.sign_up(2, NINE + HOUR)
    source.sign_up(3, NINE + 2 * HOUR)
    return source


@pytest.mark.usefixtures("signed_up")
def test_a_partition_is_materialised_without_dagster_home(tmp_path: Path, store_url: str) -> None:
    """With nothing but the two databases."""
    arguments = ("--select", "new_users", "--partition", "2025-06-02-09:00")
    done = dagster(tmp_path, "asset", "materialize", *arguments, *MODULE)
    assert done.returncode == 0, done.stderr
    assert stored(store_url) == [1]


@pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("signed_up")
def test_a_range_is_materialised_as_one_run_on_the_shipped_instance(
    dagster_home: Path, empty_database: str, store_url: str
) -> None:
    """P6, P40: the range ends in the state of its hours; no password is printed."""
    arguments = ("--select", "new_users", "--partition-range", "2025-06-02-09:00...2025-06-02-10:00")
    done = dagster(dagster_home, "asset", "materialize", *arguments, *MODULE)
    assert done.returncode == 0, done.stderr
    assert stored(store_url) == [1, 2]
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE status = 'SUCCESS'").fetchone() == (1,)
    password = empty_database.split(":")[2].split("@")[0]
    assert password not in done.stdout + done.stderr


@pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("signed_up")
def test_the_shipped_instance_and_workspace_are_valid(dagster_home: Path) -> None:
    """A wrong class in dagster.yaml would leave a daemon that is dead without a word."""
    info = dagster(dagster_home, "instance", "info")
    assert info.returncode == 0, info.stderr
    assert "PostgresEventLogStorage" in info.stdout
    jobs = dagster(dagster_home, "job", "list", "-w", str(shipped("workspace.yaml")), "-l", "leadq")
    assert jobs.returncode == 0, jobs.stderr
    assert set(jobs.stdout.replace("Job: ", "").split()) >= JOBS
