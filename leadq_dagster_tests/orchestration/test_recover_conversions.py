"""`leadq recover-conversions`, as it is typed."""

import os
import subprocess
import sys

import pytest
from dagster import DagsterInstance, Definitions

from leadq_dagster.orchestration import jobs
from leadq_dagster.shipped import shipped
from leadq_dagster_tests.orchestration.conftest import HOUR, NINE, Source, ledger, rows, run_hours

pytestmark = pytest.mark.parametrize("replica_db", ["postgresql"], indirect=True)
STAYS = "SELECT id, user_id, queue_type FROM call_queue ORDER BY user_id, id"
EVERYTHING = (
    STAYS,
    "SELECT * FROM queue_transitions ORDER BY id",
    "SELECT * FROM user_call_scores ORDER BY 1",
)


def recover(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leadq_dagster.cli", "recover-conversions", *arguments],
        env={**os.environ, "PYTHONPATH": str(shipped("sql").parent), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def missed(source: Source, definitions: Definitions, instance: DagsterInstance) -> Source:
    """User 1 signed, user 2 had all approved, user 3 was disabled, all unnoticed; user 4 waits."""
    source.sign_up(1, NINE)
    source.sign_up(2, NINE, signature="file-2")
    source.ask_for_proof(2, NINE)
    source.sign_up(3, NINE)
    source.sign_up(4, NINE)
    assert run_hours(definitions, instance, jobs.NEW_USERS_DISCOVERY, NINE).success
    source.sign(1, NINE + HOUR)
    source.approve(2, NINE + 2 * HOUR)
    source.disable(3, NINE + HOUR)
    return source


def lines_expected(store_url: str) -> list[str]:
    stay = {user_id: stay_id for stay_id, user_id, _ in rows(store_url, STAYS)}
    return [
        f"user 1: signature_obtained at 2025-06-02 10:00:00 UTC, from unsigned_users (stay {stay[1]})",
        "user 2: requirements_completed at 2025-06-02 11:00:00 UTC, "
        f"from outstanding_requests (stay {stay[2]})",
    ]


def test_a_dry_run_says_who_why_and_from_where_and_writes_nothing(missed: Source, store_url: str) -> None:
    """P35."""
    before = [rows(store_url, statement) for statement in EVERYTHING]

    done = recover("--dry-run", "--since", "2025-01-01")

    assert done.returncode == 0, done.stderr
    *lines, total = done.stdout.splitlines()
    assert sorted(lines) == lines_expected(store_url)
    assert total.startswith("would record 2 conversions; 4 users judged")
    assert "stays without a conversion" in done.stderr
    assert ledger(store_url) == []
    assert [rows(store_url, statement) for statement in EVERYTHING] == before


def test_it_records_and_prints_each_once(missed: Source, store_url: str) -> None:
    """P1, P3."""
    done = recover()
    assert done.returncode == 0, done.stderr
    *lines, total = done.stdout.splitlines()
    assert sorted(lines) == lines_expected(store_url)
    assert (
        total == "recorded 2 conversions; 4 users judged, 1 departed without one, 0 not found at the source"
    )
    assert [(row[0], row[2]) for row in ledger(store_url)] == [(1, "recovery"), (2, "recovery")]

    again = recover()
    assert again.returncode == 0
    assert again.stdout.startswith("recorded 0 conversions")


def test_stays_that_ended_before_the_day_are_left_out(missed: Source, store_url: str) -> None:
    assert recover().returncode == 0
    assert recover("--since", "2099-01-01").stdout.startswith("recorded 0 conversions; 1 users judged")


def test_what_could_not_be_looked_at_is_an_error_and_a_wrong_day_too(missed: Source) -> None:
    """P35, P40."""
    failed = recover(REPLICA_DATABASE_URL="mysql://reader:hush@127.0.0.1:1/firm")
    assert failed.returncode == 1
    assert "leadq: " in failed.stderr
    assert "hush" not in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr
    assert recover("--since", "yesterday").returncode == 2
