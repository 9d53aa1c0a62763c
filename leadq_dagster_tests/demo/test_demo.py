"""The demo as a stranger starts it: a program of its own, its terminal, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leadq_dagster.demo.discovery import in_runs
from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.embedded.postgres import erase_postgres, running_postgres

PATIENCE_SECONDS = 180
COMMAND = [sys.executable, "-m", "leadq_dagster.cli", "demo", "--weeks", "1"]


def waited_for(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    pause = threading.Event()
    for _ in range(int(seconds / 0.2)):
        if condition():
            return True
        pause.wait(0.2)
    return False


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a space in its path, below the system's temporary folder."""
    with tempfile.TemporaryDirectory(prefix="leadq demo ") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"
        erase_postgres(Path(folder) / "home")


def environment(home: Path) -> dict[str, str]:
    """The caller's, with databases configured that a demo must leave alone."""
    untouchable = "postgresql://nobody:secret-word@127.0.0.1:1/never"
    return {**os.environ, "LEADQ_HOME": str(home), "DATABASE_URL": untouchable}


def run_once(home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "--once", "--json"],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


@contextmanager
def served(home: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """A demo whose UI answers."""
    process = subprocess.Popen(
        [*COMMAND, "--port", str(port)], env=environment(home), stderr=subprocess.PIPE, text=True
    )
    try:
        ready = waited_for(lambda: process.poll() is not None or answers(port))
        assert ready, "the UI did not answer"
        assert process.poll() is None, process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def answers(port: int) -> bool:
    try:
        return bool(ask(port, "{ version }"))
    except OSError:
        return False


def ask(port: int, query: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nothing_listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_once_prints_one_object_that_agrees_with_the_truth_and_a_second_start_continues(home: Path) -> None:
    first = run_once(home)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert summary["agrees_with_the_truth"] is True
    assert summary["tally"]["stored"] == summary["users_known"] > 2_000
    assert summary["in_queue"]["unsigned_users"] > 500
    assert summary["hours_run"] >= 7 * 24
    second = run_once(home)
    assert second.returncode == 0, second.stderr
    again = json.loads(second.stdout)
    assert again["users_at_the_source"] >= summary["users_at_the_source"]
    assert again["hours_run"] <= 1
    assert again["users_known"] >= summary["users_known"]


def test_the_running_demo_shows_lineage_refuses_a_twin_and_leaves_nothing_behind(home: Path) -> None:
    port = free_port()
    with served(home, port) as demo:
        nodes = ask(port, "{ assetNodes { assetKey { path } dependencyKeys { path } } }")["assetNodes"]
        lineage = {
            "/".join(node["assetKey"]["path"]): {"/".join(key["path"]) for key in node["dependencyKeys"]}
            for node in nodes
        }
        assert lineage["new_users"] == {"replica/users", "replica/claims", "replica/claim_requirements"}

        twin = run_once(home)
        assert twin.returncode == 1
        assert "already run by process" in twin.stderr
        assert "Traceback" not in twin.stderr

        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0
    assert nothing_listens(port)
    assert running_postgres(home) is None


def test_a_killed_demo_takes_its_servers_along(home: Path) -> None:
    port = free_port()
    with served(home, port) as demo:
        server = running_postgres(home)
        assert server is not None
        demo.kill()
    assert waited_for(lambda: nothing_listens(port), 60)
    assert waited_for(lambda: nothing_listens(server.port), 60)


def test_a_busy_port_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = subprocess.run(
            [*COMMAND, "--port", str(port)],
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode == 1
    assert f"port {port} is in use" in refused.stderr


def test_older_hours_run_by_the_week_and_the_last_day_by_the_hour() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    hours = list(Window(start, start + 500 * HOUR).hours())
    runs = in_runs(hours)
    assert [hour for run in runs for hour in run.hours()] == hours
    assert [len(list(run.hours())) for run in runs] == [168, 168, 140, *[1] * 24]
