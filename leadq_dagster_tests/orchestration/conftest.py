"""A replica with users in it, a store, settings that name both, and Dagster instances."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dagster import AssetKey, DagsterInstance, Definitions, ExecuteInProcessResult
from psycopg.rows import TupleRow
from sqlalchemy import Table

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.orchestration.retries import Retries
from leadq_dagster.settings import load_settings
from leadq_dagster.shipped import shipped
from leadq_dagster_tests.servers.databases import ReplicaDatabase

HOUR = timedelta(hours=1)
NINE = datetime(2025, 6, 2, 9, tzinfo=UTC)
OF_LEADQ = ("DAGSTER_", "LEADQ_", "DATABASE_URL", "REPLICA_", "SMART_", "RECENT_", "DISCOVERY_")


@pytest.fixture(autouse=True)
def _no_settings_of_the_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(OF_LEADQ)]:
        monkeypatch.delenv(name)


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Source:
    """The replica of a test, written as the firm would."""

    database: ReplicaDatabase

    def sign_up(
        self, user_id: int, at: datetime, *, signature: str | None = None, is_enabled: bool = True
    ) -> None:
        row = {
            "id": user_id,
            "is_enabled": int(is_enabled),
            "status": "active",
            "current_signature_file_id": signature,
            "created_at": _naive(at),
            "updated_at": _naive(at),
        }
        with self.database.engine.begin() as connection:
            connection.execute(schema.users.insert(), row)

    def sign(self, user_id: int, at: datetime) -> None:
        self._change(schema.users, user_id, at, current_signature_file_id=f"file-{user_id}")

    def disable(self, user_id: int, at: datetime) -> None:
        self._change(schema.users, user_id, at, is_enabled=0)

    def ask_for_proof(self, user_id: int, at: datetime) -> None:
        """The user owes one requirement on one claim; both bear the user's number."""
        dated = {"created_at": _naive(at), "updated_at": _naive(at)}
        with self.database.engine.begin() as connection:
            connection.execute(
                schema.claims.insert(), {"id": user_id, "user_id": user_id, "status": "open", **dated}
            )
            connection.execute(
                schema.claim_requirements.insert(),
                {
                    "id": str(user_id),
                    "claim_id": user_id,
                    "type": "proof_of_address",
                    "status": "pending",
                    **dated,
                },
            )

    def approve(self, user_id: int, at: datetime) -> None:
        self._change(schema.claim_requirements, str(user_id), at, status="approved")

    def _change(self, table: Table, key: int | str, at: datetime, **columns: Any) -> None:
        change = table.update().where(table.c.id == key).values(updated_at=_naive(at), **columns)
        with self.database.engine.begin() as connection:
            connection.execute(change)

    def beat(self, at: datetime) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(schema.heartbeat.delete())
            connection.execute(
                schema.heartbeat.insert(),
                {"server_id": 1, "ts": _naive(at)},
            )


def run_hours(
    definitions: Definitions, instance: DagsterInstance, job: str, first: datetime, hours: int = 1
) -> ExecuteInProcessResult:
    """Run the job over one hour, or over a range of them as one run."""
    keys = [hour.partition_key for hour in Window(first, first + hours * HOUR).hours()]
    resolved = definitions.resolve_job_def(job)
    if hours == 1:
        return resolved.execute_in_process(instance=instance, partition_key=keys[0], raise_on_error=False)
    return run_range(definitions, instance, job, keys[0], keys[-1])


def run_range(
    definitions: Definitions, instance: DagsterInstance, job: str, first: str, last: str
) -> ExecuteInProcessResult:
    """Run the job over the partitions from the first key to the last as one run."""
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    resolved = definitions.resolve_job_def(job)
    return resolved.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def metadata_by_partition(instance: DagsterInstance, asset: str) -> dict[str, dict[str, Any]]:
    """What each partition shows: the metadata of its latest materialisation."""
    records = instance.fetch_materializations(AssetKey(asset), limit=100, ascending=True).records
    return {
        record.partition_key or "": {
            name: value.value for name, value in record.asset_materialization.metadata.items()
        }
        for record in records
        if record.asset_materialization
    }


def rows(store_url: str, statement: str) -> list[TupleRow]:
    with psycopg.connect(store_url) as connection:
        return connection.execute(statement.encode()).fetchall()


def ledger(store_url: str) -> list[TupleRow]:
    """Each conversion: user, type, on what occasion it was noticed, by which partition."""
    columns = "user_id, conversion_type, source, partition_key"
    return rows(store_url, f"SELECT {columns} FROM conversions ORDER BY user_id, id")


@pytest.fixture
def source(replica_db: ReplicaDatabase) -> Source:
    """The firm's database, observed up to now."""
    source = Source(replica_db)
    source.beat(datetime.now(UTC))
    return source


@pytest.fixture
def environment(source: Source, store_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that name this test's databases, set."""
    variables = {"DATABASE_URL": store_url, "REPLICA_DATABASE_URL": source.database.url}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def definitions(environment: dict[str, str]) -> Definitions:
    """leadq's definitions over these databases, with retries that do not wait."""
    return build_definitions(load_settings(), Retries(tries_max=2, first_wait_seconds=0.0))


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance in memory."""
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def dagster_home(tmp_path: Path, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME with the dagster.yaml that leadq ships, and an empty PostgreSQL database for it."""
    shutil.copy(shipped("dagster.yaml"), tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", empty_database)
    return tmp_path
