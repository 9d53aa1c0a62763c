"""Migrations are the only way the schema changes, and their sum is the schema."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from leadq_dagster.domain.errors import LeadqError, PermanentError, TransientError
from leadq_dagster.shipped import shipped
from leadq_dagster.store import migrations
from leadq_dagster_tests.store.waiting import wait_until

RUNNERS = 6
RUNNER = """
import sys
from leadq_dagster.store.migrations import upgrade
print("ready", flush=True)
sys.stdin.readline()
print(upgrade(sys.argv[1]))
"""


# What has been released runs on somebody's store already: a change of it would reach nobody.
FROZEN = {
    "0001_store.sql": "d42182dc6c0d68b0e0b5a6769ffceb0141ce515a6796e656ca1c7a66e76011d2",
    "0002_one_door.sql": "3a60a71ce6d99dafdd9c1146642a11108aba32ce90f252b1b66bbc5a5aea8b2c",
}


def start_runner(url: str) -> "subprocess.Popen[str]":
    """A process that is about to migrate and waits for a line on its standard input."""
    command = [sys.executable, "-c", RUNNER, url]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def read_line(runner: "subprocess.Popen[str]") -> str:
    assert runner.stdout is not None
    return runner.stdout.readline().strip()


def begin(runner: "subprocess.Popen[str]") -> None:
    assert runner.stdin is not None
    runner.stdin.write("\n")
    runner.stdin.flush()


def blocked_backend(watcher: psycopg.Connection[tuple[int]]) -> int | None:
    """The server process that waits for somebody else's transaction, if there is one."""
    found = watcher.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
    ).fetchone()
    return found[0] if found else None


def test_upgrading_an_empty_store_runs_every_migration_once(database_on_either: str) -> None:
    """P39: and the store then has what the code thinks it has."""
    assert migrations.check(database_on_either) == [
        f"migration {name} has not run: run `leadq db upgrade`" for name in migrations.known_migrations()
    ]
    assert migrations.upgrade(database_on_either) == migrations.known_migrations()
    assert migrations.check(database_on_either) == []
    assert migrations.upgrade(database_on_either) == []
    assert migrations.applied(database_on_either) == migrations.known_migrations()


@pytest.mark.parametrize("name", FROZEN)
def test_a_released_migration_never_changes(name: str) -> None:
    """P39: a store that has run it would never get the change, and `leadq db check` would call it broken."""
    content = (shipped("sql") / "migrations" / "versions" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == FROZEN[name], f"{name} is frozen: write another migration"


def test_the_snapshot_is_what_the_migrations_give(database_on_either: str) -> None:
    """P39: `leadq db check` compares with the snapshot, so it must be the migrations' own."""
    migrations.upgrade(database_on_either)
    live = migrations.format_catalog(migrations.read_catalog(database_on_either))
    assert live == migrations.snapshot_path().read_text("utf-8"), "run `make schema`"


def test_of_runners_at_once_one_migrates_and_the_others_find_nothing_to_do(empty_database: str) -> None:
    """P39: every process of a deployment may run the migrations at its start."""
    runners = [start_runner(empty_database) for _ in range(RUNNERS)]
    assert [read_line(runner) for runner in runners] == ["ready"] * RUNNERS
    for runner in runners:
        begin(runner)
    said = sorted(runner.communicate(timeout=60)[0].strip() for runner in runners)
    assert [runner.returncode for runner in runners] == [0] * RUNNERS
    assert said == [str(migrations.known_migrations()), *["[]"] * (RUNNERS - 1)]
    assert migrations.check(empty_database) == []


def test_a_runner_killed_half_way_leaves_nothing_behind(empty_database: str) -> None:
    """P39: the next runner finds an empty store, not half a schema."""
    with (
        psycopg.connect(empty_database) as obstacle,
        psycopg.connect(empty_database, autocommit=True) as watcher,
        start_runner(empty_database) as runner,
    ):
        # The last table of the first migration; who wants the same name waits for us.
        obstacle.execute("CREATE TABLE voice_call_details ()")
        begin(runner)
        backend = wait_until(lambda: blocked_backend(watcher))
        runner.kill()
        obstacle.rollback()
        alive = "SELECT FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: watcher.execute(alive, [backend]).fetchone() is None)
    assert migrations.read_catalog(empty_database) == {}
    assert migrations.applied(empty_database) == []
    assert migrations.upgrade(empty_database) == migrations.known_migrations()
    assert migrations.check(empty_database) == []


def test_a_cut_connection_half_way_is_worth_another_try(empty_database: str) -> None:
    """P39, P40: also where the driver's error does not come through SQLAlchemy."""
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(empty_database) as obstacle,
        psycopg.connect(empty_database, autocommit=True) as watcher,
    ):
        obstacle.execute("CREATE TABLE voice_call_details ()")
        running = pool.submit(migrations.upgrade, empty_database)
        watcher.execute("SELECT pg_terminate_backend(%s)", [wait_until(lambda: blocked_backend(watcher))])
        with pytest.raises(TransientError, match="connection"):
            running.result(timeout=30)
        obstacle.rollback()
    assert migrations.read_catalog(empty_database) == {}


def test_a_table_in_the_way_is_named_and_left_as_it_is(empty_database: str) -> None:
    """P39: somebody's own table of the same name is neither taken over nor dropped."""
    with psycopg.connect(empty_database) as somebody:
        somebody.execute("CREATE TABLE customers (name text)")
    with pytest.raises(PermanentError, match='relation "customers" already exists'):
        migrations.upgrade(empty_database)
    assert set(migrations.read_catalog(empty_database)) == {
        ("table", "customers"),
        ("column", "customers.name"),
    }


def test_a_store_of_a_newer_version_is_refused_by_name(store_url: str) -> None:
    """P39: an older leadq neither downgrades it nor falls over it."""
    with psycopg.connect(store_url) as newer:
        newer.execute("UPDATE leadq_migration SET version_num = '9999'")
    for operation in (migrations.upgrade, migrations.check):
        with pytest.raises(LeadqError, match="migration 9999 is from a newer version of leadq"):
            operation(store_url)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("DROP INDEX waiting_leads_in_order", "index waiting_leads_in_order is missing"),
        ("CREATE INDEX mine ON call_queue (left_at)", "index mine is not from a migration"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'one_live_stay_per_user'::regclass",
            "index one_live_stay_per_user is: ",
        ),
        ("ALTER TABLE agents ADD shoe_size int", "column agents.shoe_size is not from a migration: integer"),
        ("ALTER TABLE agents DROP name", "column agents.name is missing"),
        (
            "ALTER TABLE user_call_scores ALTER total_attempts TYPE bigint",
            "column user_call_scores.total_attempts is: bigint not null default 0, should be: integer",
        ),
        ("ALTER TABLE agents ALTER status SET DEFAULT 'available'", "column agents.status is: "),
        ("ALTER TABLE agents ALTER status DROP NOT NULL", "column agents.status is: "),
        (
            "ALTER TABLE call_queue DISABLE TRIGGER a_stay_is_never_deleted",
            "trigger call_queue.a_stay_is_never_deleted is: ",
        ),
        ("DROP TRIGGER a_closed_stay_stays_closed ON call_queue", "a_closed_stay_stays_closed is missing"),
        (
            "ALTER TABLE conversions DROP CONSTRAINT one_conversion_per_stay_and_type",
            "constraint conversions.one_conversion_per_stay_and_type is missing",
        ),
        (
            "ALTER TABLE call_queue DISABLE TRIGGER ALL",
            "constraint call_queue.a_stay_is_of_a_known_user is: ",
        ),
        (
            "ALTER DOMAIN queue_type DROP CONSTRAINT a_queue_type_is_from_its_list",
            "constraint queue_type.a_queue_type_is_from_its_list is missing",
        ),
        ("CREATE TABLE mine ()", "table mine is not from a migration"),
        ("DROP TABLE messages", "table messages is missing"),
        ("CREATE VIEW mine AS SELECT 1 AS one", "view mine is not from a migration"),
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RETURN NEW; END'",
            "function refuse_change() is: ",
        ),
    ],
)
def test_a_change_past_the_migrations_is_named(store_url: str, change: str, difference: str) -> None:
    """P39: whoever made it, `leadq db check` says what is otherwise than the migrations gave."""
    with psycopg.connect(store_url) as somebody:
        somebody.execute(change.encode())
    assert any(difference in sentence for sentence in migrations.check(store_url))


def test_what_an_extension_brings_is_no_difference(store_url: str) -> None:
    """P39: operators install extensions, and a check that cries wolf is switched off."""
    with psycopg.connect(store_url) as operator:
        operator.execute("CREATE EXTENSION vector")
    assert migrations.check(store_url) == []
