"""A replica with users in it, a store, settings that name both, and Dagster instances."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance, Definitions

from leadq_dagster.definitions import build_definitions
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


@dataclass(frozen=True)
class Source:
    """The replica of a test, written as the firm would."""

    database: ReplicaDatabase

    def sign_up(
        self, user_id: int, at: datetime, *, signature: str | None = None, is_enabled: bool = True
    ) -> None:
        naive = at.astimezone(UTC).replace(tzinfo=None)
        row = {
            "id": user_id,
            "is_enabled": int(is_enabled),
            "status": "active",
            "current_signature_file_id": signature,
            "created_at": naive,
            "updated_at": naive,
        }
        with self.database.engine.begin() as connection:
            connection.execute(schema.users.insert(), row)

    def beat(self, at: datetime) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(schema.heartbeat.delete())
            connection.execute(
                schema.heartbeat.insert(),
                {"server_id": 1, "ts": at.astimezone(UTC).replace(tzinfo=None)},
            )


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
