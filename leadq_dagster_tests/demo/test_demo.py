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

from leadq_dagster.demo.hourly_jobs import STAGES, in_rounds
from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.embedded.postgres import erase_postgres, running_postgres
from leadq_dagster_tests.desk_http.client import Caller
from leadq_dagster_tests.store.waiting import wait_until

PATIENCE_SECONDS = 180
ASSETS = [stage.name for stage in STAGES]
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
def served(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A demo whose UI answers."""
    with terminal(home).open("wb") as said:
        process = subprocess.Popen([*COMMAND, "--port", str(port)], env=environment(home), stderr=said)
    try:
        ready = waited_for(lambda: process.poll() is not None or answers(port))
        assert ready, "the UI did not answer"
        assert process.poll() is None, terminal(home).read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def terminal(home: Path) -> Path:
    """What the demo has said so far."""
    return home.with_name("terminal.txt")


def said_after(home: Path, words: str) -> str | None:
    """The rest of the line that begins so, once the demo has said it."""
    lines = terminal(home).read_text().splitlines(keepends=True)
    rests = [line.removeprefix(words) for line in lines if line.startswith(words) and line.endswith("\n")]
    return rests[0].strip() if rests else None


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


ROUTED = """{ runsOrError(filter: {pipelineName: "route_callbacks", statuses: [SUCCESS]}) {
    ... on Runs { results { tags { key value } } } } }"""


def is_routed_by_the_sensor(port: int) -> bool:
    """Whether a run of the job has succeeded that the sensor has launched."""
    runs = ask(port, ROUTED)["runsOrError"]["results"]
    return any({"key": "dagster/sensor_name", "value": "due_callbacks"} in run["tags"] for run in runs)


def promised_calls_reach_whoever_signs_in(home: Path, port: int) -> None:
    """Signs in with the agent's token, as the demo says, and waits until a promised call is in front."""
    token = wait_until(lambda: said_after(home, "  an agent "), PATIENCE_SECONDS)
    desk = said_after(home, "The desk is at ")
    assert desk is not None
    address, path = desk.split("/desk")[0], "/api/agents/{}/{}"
    caller = Caller(address, token)
    agent = caller.get("/api/agents/me").json["agent_id"]

    def pending() -> list[dict[str, Any]]:
        assert caller.send("POST", path.format(agent, "heartbeat"), {}).status == 200
        found: list[dict[str, Any]] = caller.get(path.format(agent, "pending-callbacks")).json["callbacks"]
        return found

    assert caller.send("PUT", path.format(agent, "status"), {"status": "available"}).status == 200
    assert pending(), "what the demo has promised in the agent's name"
    wait_until(lambda: is_routed_by_the_sensor(port), PATIENCE_SECONDS)
    wait_until(lambda: any(call["is_raised"] for call in pending()), PATIENCE_SECONDS)


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
    tallies = summary["tallies"]
    assert list(tallies) == ASSETS
    stored = tallies["new_users"]["stored"] + tallies["new_requirements"]["stored"]
    assert stored == summary["users_known"] > 2_000
    assert tallies["new_users"]["refused_by_reason"] == {"user_disabled": tallies["new_users"]["refused"]}
    assert summary["in_queue"]["unsigned_users"] > 500
    assert summary["hours_run"] >= 7 * 24
    assert {tally["hours"] for tally in tallies.values()} == {summary["hours_run"]}
    checks = [tallies[asset] for asset in ASSETS[2:]]
    found = sum(tally["detected"] + tally["also_detected"] for tally in checks)
    discovered = sum(tallies[asset]["converted"] for asset in ASSETS[:2])
    assert found + discovered == sum(summary["conversions"].values()) > 100
    assert set(summary["conversions"]) == {"signature_obtained", "requirements_completed"}
    second = run_once(home)
    assert second.returncode == 0, second.stderr
    again = json.loads(second.stdout)
    assert again["users_at_the_source"] >= summary["users_at_the_source"]
    assert again["hours_run"] <= 1
    assert again["users_known"] >= summary["users_known"]


def test_the_running_demo_shows_lineage_brings_promised_calls_and_leaves_nothing_behind(home: Path) -> None:
    """P26: a second demo is refused, and the one that runs routes calls by Dagster's own sensor."""
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
        assert f"its UI is at http://127.0.0.1:{port}" in twin.stderr
        assert "Traceback" not in twin.stderr

        promised_calls_reach_whoever_signs_in(home, port)

        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0
        said = terminal(home).read_text().splitlines()
        assert {"starting", "starting Dagster and the desk", "stopping"} <= set(said)
        whole = f"  lineage      http://127.0.0.1:{port}/locations/leadq/asset-groups/discovery/lineage"
        assert whole in said, "an address that wraps cannot be clicked"
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


EARLIER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from rich.console import Console
from leadq_dagster.demo.databases import demo_databases
from leadq_dagster.demo.run import Wishes, prepare

home = Path(sys.argv[1])
wishes = Wishes(home=home, weeks=1, once=True, as_json=True, port=None)
with demo_databases(home) as server:
    summary = prepare(server, wishes, Console(stderr=True), datetime.now(UTC) - timedelta(hours=5))[1]
    assert summary.agrees_with_the_truth, summary.disagreements
"""


def test_a_demo_started_again_after_hours_runs_the_hours_between_and_agrees(home: Path) -> None:
    """P6: the firm has gone on, and what happened meanwhile is found by its own hours."""
    earlier = subprocess.run(
        [sys.executable, "-c", EARLIER, str(home)],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert earlier.returncode == 0, earlier.stderr
    later = run_once(home)
    assert later.returncode == 0, later.stderr
    summary = json.loads(later.stdout)
    assert summary["agrees_with_the_truth"] is True
    assert 5 <= summary["hours_run"] <= 6
    assert {tally["runs"] for tally in summary["tallies"].values()} == {summary["hours_run"]}
    assert summary["tallies"]["signature_conversions"]["candidates"] > 0


def test_older_hours_run_in_ranges_and_the_last_ones_by_the_hour() -> None:
    """Whatever one job has run already, it does not run again."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    hours = list(Window(start, start + 250 * HOUR).hours())
    missed = dict.fromkeys(ASSETS, hours) | {"new_users": [*hours[10:20], *hours[248:]]}
    rounds = in_rounds(missed)
    assert [hour for one in rounds for hour in one.window.hours()] == hours
    assert [len(list(one.window.hours())) for one in rounds] == [96, 96, 52, *[1] * 6]
    for asset in ASSETS:
        ran = [
            hour for one in rounds for stage, part in one.work if stage.name == asset for hour in part.hours()
        ]
        assert ran == missed[asset]
    assert [stage.name for stage, _ in rounds[0].work] == ASSETS
    assert in_rounds({asset: [] for asset in ASSETS}) == []
