"""A year of hours of both conversion assets, backfilled as an analyst does it: how many runs, how long?"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa

from bench.report import Row
from leadq_dagster.demo.serving import DAGSTER_SPEED
from leadq_dagster.domain.windows import Window
from leadq_dagster.shipped import shipped
from leadq_dagster_tests.servers.databases import fresh_postgres_database, mariadb_replica, store_template
from leadq_dagster_tests.servers.running import Servers

YEAR = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
USERS = 11_739
ASSETS = ("new_users", "signature_conversions", "requirement_conversions")
PEOPLE = """
INSERT INTO users (id, is_enabled, status, current_signature_file_id, created_at, updated_at)
SELECT seq, 1, 'active', NULL, TIMESTAMPADD(MINUTE, seq * 40, '2025-01-01'),
    TIMESTAMPADD(MINUTE, seq * 40, '2025-01-01')
FROM seq_1_to_{users}
"""
SIGNING = """
UPDATE users SET current_signature_file_id = 'f', updated_at = TIMESTAMPADD(HOUR, 30, created_at)
WHERE MOD(id, 3) = 0 AND created_at < '2025-12-30'
"""


def measure(servers: Servers) -> Iterator[Row]:
    """One `dagster asset materialize --partition-range` over 8,760 hours for each asset."""
    postgres = servers.postgres()
    with (
        mariadb_replica(servers.mariadb) as source,
        fresh_postgres_database(postgres, store_template(servers)) as store,
        fresh_postgres_database(postgres) as storage,
        tempfile.TemporaryDirectory() as home,
    ):
        shutil.copy(shipped("dagster.yaml"), home)
        environment = {
            **os.environ,
            **DAGSTER_SPEED,
            "DAGSTER_HOME": home,
            "DATABASE_URL": postgres.url(store),
            "DAGSTER_DATABASE_URL": postgres.url(storage),
            "REPLICA_DATABASE_URL": source.url,
        }
        _write(source.engine, PEOPLE.format(users=USERS), _beat())
        for asset in ASSETS:
            if asset == ASSETS[1]:
                _write(source.engine, SIGNING)
            seconds = _materialize(asset, environment)
            with psycopg.connect(postgres.url(storage)) as connection:
                runs, hours = _runs_and_hours(connection, asset)
            yield Row(f"{asset}, a year", f"{seconds:.0f} s", f"{hours:,} hours in {runs} run")
        with psycopg.connect(postgres.url(store)) as connection:
            row = connection.execute(
                "SELECT count(*), count(DISTINCT partition_key) FROM conversions"
            ).fetchone()
        assert row is not None
        yield Row("conversions of the year", f"{row[0]:,}", f"in {row[1]:,} different hours")


def _materialize(asset: str, environment: dict[str, str]) -> float:
    hours = list(YEAR.hours())
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", asset]
    command += ["--partition-range", f"{hours[0].partition_key}...{hours[-1].partition_key}"]
    command += ["-m", "leadq_dagster.definitions"]
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=Path.cwd())
    return time.perf_counter() - started


def _runs_and_hours(connection: psycopg.Connection[tuple[int, ...]], asset: str) -> tuple[int, int]:
    row = connection.execute(
        "SELECT count(DISTINCT run_id), count(DISTINCT partition) FROM event_logs"
        " WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key = %s",
        [f'["{asset}"]'],
    ).fetchone()
    assert row is not None
    assert row[1] == (YEAR.end - YEAR.start) // timedelta(hours=1)
    return row[0], row[1]


def _beat() -> str:
    now = datetime.now(UTC).replace(tzinfo=None)
    return f"INSERT INTO heartbeat (server_id, ts) VALUES (1, '{now}')"


def _write(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
