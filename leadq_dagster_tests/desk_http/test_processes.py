"""The service as a process: readiness, its source away, its end, and several of them on one store."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy as sa

from leadq_dagster.desk.http.bodies import BODY_BYTES_MAX
from leadq_dagster_tests.desk_http.client import Answer, Caller
from leadq_dagster_tests.desk_http.serving import Premises, Served
from leadq_dagster_tests.store.waiting import wait_until

AGENTS, LEADS = 16, 400
LOCK = "SELECT FROM agents WHERE id = %s FOR UPDATE"
OTHER_SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def rename(premises: Premises, before: str, after: str) -> None:
    with premises.source.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {before} RENAME TO {after}"))


def test_while_the_source_is_away_leads_are_handed_out_marked(served: Served) -> None:
    """P21: never "queue empty", and counted."""
    served.premises.leads(1)
    rename(served.premises, "users", "users_away")
    agent = served.agent()
    answer = agent.take().json
    assert answer["assignment"]["user_id"] == 1
    assert answer["is_validated"] is False
    assert answer["contact"] is None
    assert "leadq_desk_unvalidated_total 1.0" in agent.get("/metrics").text


def test_by_setting_they_are_refused_and_the_caller_is_told_to_try_again(
    premises: Premises, tmp_path: Path
) -> None:
    """P21."""
    premises.leads(1)
    with premises.serving(tmp_path / "log", LEADQ_UNVALIDATED_LEADS="refuse") as served:
        rename(premises, "users", "users_away")
        answer = served.agent().take()
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert "the source cannot be asked" in answer.json["detail"]
        assert premises.rows("SELECT count(*) FROM call_queue WHERE status = 'assigned'") == [(0,)]
        assert "leadq_desk_source_unanswered_total 1.0" in served.caller().get("/metrics").text


def test_a_store_that_refuses_connections_is_told_as_passing_and_readiness_says_why(served: Served) -> None:
    """An agent is told to try again, not which host failed; the log has that."""
    agent = served.agent()
    assert agent.get("/health/ready").json == {"status": "ok", "reasons": []}
    name = urlsplit(served.premises.store_url).path[1:]
    away = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    url = served.premises.store_url.replace(name, "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(away.encode())
        connection.execute(cut, [name])
        answer = agent.take()
        ready = agent.get("/health/ready")
        live = agent.get("/health/live")
        connection.execute(away.replace("false", "true").encode())
    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert "request id" in answer.json["detail"]
    assert "port" not in answer.text
    assert (ready.status, ready.json["reasons"]) == (503, ["the store does not answer"])
    assert live.status == 200
    wait_until(lambda: agent.take().status == 200)


def test_a_changed_schema_keeps_the_service_from_starting(premises: Premises) -> None:
    """P39."""
    with psycopg.connect(premises.store_url) as connection:
        connection.execute("ALTER TABLE agents ADD COLUMN shoe_size integer")
    done = subprocess.run(
        [sys.executable, "-m", "leadq_dagster.cli", "serve", "--port", "0"],
        env=premises.environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "column agents.shoe_size is not from a migration" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_schema_that_changes_later_makes_it_unready(premises: Premises, tmp_path: Path) -> None:
    with premises.serving(tmp_path / "log") as served:
        with psycopg.connect(premises.store_url) as connection:
            connection.execute("ALTER TABLE agents ADD COLUMN shoe_size integer")
        ready = served.caller().get("/health/ready")
    assert (ready.status, ready.json["status"]) == (503, "not ready")


def test_a_port_that_is_taken_is_a_plain_sentence(premises: Premises) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "leadq_dagster.cli", "serve", "--port", str(port)],
            env=premises.environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_it_listens_on_this_machine_only_and_stops_however_early_it_is_told(
    premises: Premises, tmp_path: Path, processes: int
) -> None:
    """Told as soon as it has said where it is: before a request, perhaps before it listens to signals."""
    with premises.serving(tmp_path / "log", processes) as served:
        served.process.send_signal(signal.SIGTERM)
        assert urlsplit(served.address).hostname == "127.0.0.1"
        assert served.process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_request_in_flight_is_finished_when_the_service_is_stopped(
    premises: Premises, tmp_path: Path, number: signal.Signals, processes: int
) -> None:
    """The take waits for the agent's row, which the test holds while the service is told to stop."""
    premises.leads(1)
    agent_id, token = premises.enrol()
    answers: list[Answer] = []
    with premises.serving(tmp_path / "log", processes) as served:
        caller = served.caller(token)
        caller.get("/api/agents/me")
        taking = threading.Thread(target=lambda: answers.append(caller.take()))
        with psycopg.connect(premises.store_url) as holding:
            holding.execute(LOCK, [agent_id])
            taking.start()
            wait_until(lambda: premises.rows(WAITING) == [(1,)])
            served.process.send_signal(number)
            wait_until(lambda: refuses(served.address))
        taking.join()
        assert served.process.wait(30) == 0
    assert answers[0].status == 200
    assert answers[0].json["assignment"]["user_id"] == 1
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    premises.store.close()
    # The server ends a session a moment after its client has gone.
    wait_until(lambda: premises.rows(OTHER_SESSIONS) == [(0,)])


def refuses(address: str) -> bool:
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=1).close()
    except OSError:
        return True
    return False


def work(caller: Caller, handed_out: list[tuple[int, int]]) -> None:
    while (lead := caller.take().json["assignment"]) is not None:
        handed_out.append((lead["user_id"], lead["lease_token"]))
        assert caller.report(lead, "no_answer").status == 200


def test_two_services_on_one_store_never_hand_out_the_same_lead(premises: Premises, tmp_path: Path) -> None:
    """P15: two services of two processes each, sharing nothing but PostgreSQL."""
    premises.leads(*range(1, LEADS + 1))
    with (
        premises.serving(tmp_path / "one", 2) as one,
        premises.serving(tmp_path / "other", 2) as other,
    ):
        handed_out: list[tuple[int, int]] = []
        callers = [one.agent() if number % 2 else other.agent() for number in range(AGENTS)]
        threads = [threading.Thread(target=work, args=(caller, handed_out)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = [served.caller().get("/metrics").text for served in (one, other)]
    assert Counter(handed_out).most_common(1)[0][1] == 1
    assert {user_id for user_id, _ in handed_out} == set(range(1, LEADS + 1))
    assert premises.rows("SELECT count(*), count(DISTINCT call_queue_id) FROM assignments") == [
        (LEADS, LEADS)
    ]
    takes = [
        float(line.split()[-1])
        for text in counted
        for line in text.splitlines()
        if 'takes_total{answer="lead"' in line
    ]
    assert sum(takes) == LEADS
    lines = [
        json.loads(line) for name in ("one", "other") for line in (tmp_path / name).read_text().splitlines()
    ]
    assert not [line for line in lines if line["event"] == "defect"]


def test_a_killed_process_is_replaced_and_its_request_may_be_repeated(
    premises: Premises, tmp_path: Path
) -> None:
    """P19: kill -9 while the take is open; the same request id then brings one lead."""
    premises.leads(1, 2)
    agent_id, token = premises.enrol()
    with premises.serving(tmp_path / "log", 2) as served:
        caller = served.caller(token)
        wait_until(lambda: caller.get("/health/ready").status == 200)
        broken: list[BaseException] = []

        def take() -> None:
            try:
                caller.take(request_id="mine")
            except OSError as error:
                broken.append(error)

        taking = threading.Thread(target=take)
        with psycopg.connect(premises.store_url) as holding:
            holding.execute(LOCK, [agent_id])
            taking.start()
            wait_until(lambda: premises.rows(WAITING) == [(1,)])
            for pid in workers_of(served):
                os.kill(pid, signal.SIGKILL)
        taking.join()
        assert broken
        wait_until(lambda: not refuses_or_breaks(caller))
        lead = caller.take(request_id="mine").json["assignment"]
        assert caller.take(request_id="mine").json["assignment"] == lead
    assert premises.rows("SELECT count(*) FROM call_queue WHERE status = 'assigned'") == [(1,)]


def test_processes_stop_when_the_one_that_started_them_is_killed(premises: Premises, tmp_path: Path) -> None:
    with premises.serving(tmp_path / "log", 2) as served:
        wait_until(lambda: served.caller().get("/health/ready").status == 200)
        workers = workers_of(served)
        assert len(workers) == 2
        served.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def workers_of(served: Served) -> list[int]:
    """The processes that serve; besides them there is the one that tracks their resources."""
    pid = served.process.pid
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [
        each for each in children if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def refuses_or_breaks(caller: Caller) -> bool:
    try:
        return caller.get("/health/ready").status != 200
    except OSError:
        return True


def test_a_long_body_does_not_stop_the_next_request(served: Served) -> None:
    agent = served.agent()
    assert agent.send("POST", "/api/queue/next", {"request_id": "x" * BODY_BYTES_MAX * 20}).status == 413
    assert agent.take().status == 200
