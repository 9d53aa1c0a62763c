"""`leadq doctor`: what is wrong ends it with 1, what can be lived with is a warning."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from leadq_dagster_tests.orchestration.conftest import Source


def doctor() -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "leadq_dagster.cli", "doctor"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_all_well(source: Source, environment: dict[str, str]) -> None:
    done = doctor()
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"well"}


def test_a_missing_index_of_the_replica_is_a_warning(source: Source, environment: dict[str, str]) -> None:
    """The replica is not ours to change, and leadq works without, slowly."""
    drop = {
        "mysql": "DROP INDEX users_updated_at ON users",
        "postgresql": "DROP INDEX users_updated_at",
    }
    with source.database.engine.begin() as connection:
        connection.exec_driver_sql(drop[connection.dialect.name])
    done = doctor()
    assert done.returncode == 0, done.stdout
    (warning,) = (line for line in done.stdout.splitlines() if not line.startswith("well"))
    assert warning.startswith("warn   replica's indexes: no index leads with users.updated_at")


@pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)
def test_what_leadq_cannot_work_with_is_wrong(
    source: Source, environment: dict[str, str], store_url: str
) -> None:
    """P39, P4."""
    source.beat(datetime.now(UTC) - timedelta(hours=1))
    with psycopg.connect(store_url) as connection:
        connection.execute("DROP INDEX waiting_leads_in_order")
    done = doctor()
    assert done.returncode == 1
    wrong = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 2
    assert "replica: has observed" in wrong[0]
    assert "index waiting_leads_in_order is missing" in wrong[1]
