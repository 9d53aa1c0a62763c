import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from dagster import AssetKey, BackfillPolicy, Definitions

from leadq_dagster.definitions import build_definitions
from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.domain.windows import Window
from leadq_dagster.orchestration.partitions import daily_partitions, hour_of_key, hourly_partitions
from leadq_dagster.settings import load_settings
from leadq_dagster.shipped import shipped
from leadq_dagster_tests.orchestration.conftest import NINE

# Besides the replica's tables.
UPSTREAM: dict[str, set[str]] = {
    "new_users": set(),
    "new_requirements": {"new_users"},
    "signature_conversions": {"new_users"},
    "requirement_conversions": {"new_requirements"},
    "recovered_conversions": {"signature_conversions", "requirement_conversions"},
}
LOAD = "from leadq_dagster.definitions import defs; defs.get_repository_def()"


@contextmanager
def counting_port() -> Iterator[tuple[int, list[object]]]:
    """A port on which somebody listens, and the connections made to it so far."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, peer = listener.accept()
                except OSError:
                    return
                calls.append(peer)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1], calls
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)


def load(**variables: str) -> subprocess.CompletedProcess[str]:
    """Load the definitions in a fresh process with these variables."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD],
        env={**os.environ, "PYTHONPATH": str(shipped("sql").parent), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def databases_at(port: int) -> dict[str, str]:
    return {
        "REPLICA_DATABASE_URL": f"mysql://reader:secret@127.0.0.1:{port}/firm",
        "DATABASE_URL": f"postgresql://leadq:secret@127.0.0.1:{port}/leadq",
        "DAGSTER_DATABASE_URL": f"postgresql://leadq:secret@127.0.0.1:{port}/dagster",
    }


def test_loading_the_definitions_connects_to_nothing() -> None:
    """P38."""
    with counting_port() as (port, calls):
        with socket.create_connection(("127.0.0.1", port)) as probe:
            probe.recv(1)
        assert len(calls) == 1
        done = load(**databases_at(port))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(calls) == 1


def test_the_definitions_load_while_every_database_is_down() -> None:
    """P38."""
    with counting_port() as (port, _):
        pass
    assert load(**databases_at(port)).returncode == 0


def test_the_definitions_load_without_any_setting_and_start_no_server() -> None:
    """P38."""
    Definitions.validate_loadable(build_definitions(load_settings()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEADQ_PARTITIONS_START", "2025-01-01T00:17-hush"),
        ("DISCOVERY_BATCH_SIZE", "hush"),
        ("DATABASE_URL", "oracle://leadq:hush@db/leadq"),
        ("REPLICA_DATABASE_URL", "firm:hush@replica"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P40."""
    monkeypatch.setenv(name, value)
    with pytest.raises(RefusedError, match=name) as refused:
        build_definitions(load_settings())
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_lineage_begins_at_the_replica_s_tables() -> None:
    graph = build_definitions(load_settings()).resolve_asset_graph()
    tables = {AssetKey(["replica", name]) for name in ("users", "claims", "claim_requirements")}
    for name, upstream in UPSTREAM.items():
        assert set(graph.get(AssetKey(name)).parent_keys) == tables | {AssetKey(key) for key in upstream}
    assert graph.external_asset_keys == tables
    assert all("dagster/column_schema" in graph.get(table).metadata for table in tables)


@pytest.mark.parametrize("name", UPSTREAM)
def test_a_range_of_partitions_is_one_run_and_not_one_each(name: str) -> None:
    """P6."""
    graph = build_definitions(load_settings()).resolve_asset_graph()
    assert graph.get(AssetKey(name)).backfill_policy == BackfillPolicy.single_run()


def test_days_are_those_of_utc_and_begin_with_the_first_hour_s() -> None:
    days = daily_partitions(NINE)
    assert days.get_first_partition_key() == "2025-06-02"
    span = days.time_window_for_partition_key("2025-06-03")
    assert Window(span.start, span.end) == Window(
        datetime(2025, 6, 3, tzinfo=UTC), datetime(2025, 6, 4, tzinfo=UTC)
    )


def test_dagster_s_partitions_are_the_domain_s_hours() -> None:
    """P6: they tile; the keys are those that the store's rows carry."""
    hours = hourly_partitions(NINE)
    for key in hours.get_partition_keys()[:48]:
        span = hours.time_window_for_partition_key(key)
        hour = Window.hour_of(span.start)
        assert (hour.partition_key, hour.start, hour.end) == (key, span.start, span.end)
        assert hour_of_key(key) == hour
