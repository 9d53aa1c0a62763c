"""Every kind of bad request gets its own plain problem, and nothing of what was sent is repeated."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from leadq_dagster.desk.http.bodies import BODY_BYTES_MAX
from leadq_dagster_tests.desk_http.client import Answer
from leadq_dagster_tests.desk_http.serving import Served
from leadq_dagster_tests.store.waiting import wait_until

SECRET = "+44 20 7946 0958"
NEXT = "/api/queue/next"
OUTCOME = "/api/assignments/1/outcome"
GOOD = {"request_id": "good", "lease_token": 1, "outcome": "no_answer"}


def problem(answer: Answer, status: int, *words: str) -> dict[str, Any]:
    """The problem that came, which must be one, with this status and these words in its sentence."""
    assert answer.status == status, answer.text
    assert answer.kind.startswith("application/problem+json"), answer.kind
    told: dict[str, Any] = answer.json
    assert told["status"] == status
    assert told["title"]
    assert told["type"] == "about:blank"
    for word in words:
        assert word in told["detail"], told
    assert SECRET not in answer.text
    return told


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{'request_id': 'x'}",
        b'{"request_id": "x",}',
        b"\xff\xfe",
        b'{"request_id": "\\ud800"}',
        b"[" * 30_000,
        f'{{"notes": "{SECRET}'.encode(),
    ],
    ids=["cut", "quotes", "comma", "not-utf8", "surrogate", "deep", "cut-with-a-number"],
)
def test_what_is_no_json_is_told_so(shared: Served, raw: bytes) -> None:
    """P23, P40."""
    agent = shared.agent()
    headers = {"Content-Type": "application/json"}
    problem(agent.send("POST", NEXT, raw=raw, headers=headers), 400, "not well-formed JSON")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"queue": "unsigned_users"}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": "x" * 101}, "request_id"),
        ({"request_id": "with space"}, "request_id"),
        ({"request_id": "nul\0"}, "request_id"),
        ({"request_id": 5}, "request_id"),
        ({"request_id": "x", "queue": SECRET}, "queue"),
        ({"request_id": "x", SECRET: SECRET}, "body"),
    ],
)
def test_a_wrong_field_of_a_take_is_named(shared: Served, body: Any, field: str) -> None:
    told = problem(shared.agent().send("POST", NEXT, body), 422)
    assert [error["field"] for error in told["errors"]] == [field]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"lease_token": 2**63}, "lease_token"),
        ({"lease_token": 10**400}, "lease_token"),
        ({"lease_token": 0}, "lease_token"),
        ({"lease_token": "1"}, "lease_token"),
        ({"lease_token": 1.5}, "lease_token"),
        ({"outcome": SECRET}, "outcome"),
        ({"outcome": None}, "outcome"),
        ({"callback_at": "2026-12-01T10:00:00"}, "callback_at"),
        ({"callback_at": "tomorrow"}, "callback_at"),
        ({"callback_at": 1_800_000_000}, "callback_at"),
        ({"started_at": "0001-01-01T00:00:00+14:00"}, "started_at"),
        ({"started_at": "9999-12-31T23:59:59-14:00"}, "started_at"),
        ({"talk_time_seconds": -1}, "talk_time_seconds"),
        ({"talk_time_seconds": 10**9}, "talk_time_seconds"),
        ({"call_id": "nul\0"}, "call_id"),
        ({"call_id": "x" * 101}, "call_id"),
        ({"notes": f"{SECRET}\0"}, "notes"),
        ({"notes": SECRET * 1000}, "notes"),
    ],
)
def test_a_wrong_field_of_an_outcome_is_named(shared: Served, wrong: dict[str, Any], field: str) -> None:
    """NUL, numbers beyond 2^63, times without a zone or at the ends of time: refused, and told why."""
    told = problem(shared.agent().send("POST", OUTCOME, GOOD | wrong), 422)
    assert [error["field"] for error in told["errors"]] == [field]
    assert told["errors"][0]["message"]


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_infinity_is_no_token(shared: Served, number: str) -> None:
    raw = json.dumps(GOOD).replace('"lease_token": 1', f'"lease_token": {number}').encode()
    answer = shared.agent().send("POST", OUTCOME, raw=raw, headers={"Content-Type": "application/json"})
    assert [error["field"] for error in problem(answer, 422)["errors"]] == ["lease_token"]


def test_an_unknown_field_is_answered_with_those_there_are(shared: Served) -> None:
    told = problem(shared.agent().send("POST", NEXT, {"request_id": "x", "agent": 5}), 422)
    assert told["errors"][0]["message"] == "has an unknown field; there are: request_id, queue"


@pytest.mark.parametrize("path", [NEXT, OUTCOME, "/api/assignments/1/release", "/api/assignments/1/extend"])
def test_without_a_request_id_nothing_is_done_and_it_is_said_where_to_put_one(
    shared: Served, path: str
) -> None:
    """P20: the service makes up no ids, which would not survive a second try."""
    body = {} if path == NEXT else {key: value for key, value in GOOD.items() if key != "request_id"}
    if path.endswith(("release", "extend")):
        body = {"lease_token": 1}
    problem(shared.agent().send("POST", path, body), 422, "request_id", "Idempotency-Key")


@pytest.mark.parametrize("key", ["", "with space", "x" * 101, "caf\xe9"])
def test_a_header_that_is_no_request_id_is_refused(shared: Served, key: str) -> None:
    answer = shared.agent().send("POST", NEXT, {}, headers={"Idempotency-Key": key})
    problem(answer, 422, "Idempotency-Key")


def test_two_different_request_ids_are_refused(shared: Served) -> None:
    answer = shared.agent().send("POST", NEXT, {"request_id": "a"}, headers={"Idempotency-Key": "b"})
    problem(answer, 422, "differ")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_other_bodies_than_json_are_told_which_to_send(shared: Served, kind: str) -> None:
    answer = shared.agent().send("POST", NEXT, raw=b'{"request_id": "x"}', headers={"Content-Type": kind})
    problem(answer, 415, "application/json")


def test_a_body_that_is_too_long_is_refused(shared: Served) -> None:
    answer = shared.agent().send("POST", NEXT, {"request_id": "x" * BODY_BYTES_MAX})
    problem(answer, 413, str(BODY_BYTES_MAX))


def test_a_body_without_end_is_refused_while_it_is_still_coming(shared: Served) -> None:
    """The length is not believed: chunks are counted as they come, and nobody waits for the last one."""
    agent = shared.agent()
    parts = urlsplit(shared.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        head = f"POST {NEXT} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {agent.token}\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"10000\r\n" + b" " * 0x10000 + b"\r\n" + b"1\r\n \r\n")
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_paths_and_methods_that_are_not_there(shared: Served) -> None:
    agent = shared.agent()
    problem(agent.get(f"/api/{SECRET.replace(' ', '')}"), 404, "/openapi.json")
    problem(agent.get("/api/queue/next/"), 404)
    answer = agent.send("DELETE", NEXT)
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("number", ["0", "-1", str(2**63), "1" * 5000, "x", "1%00", "%F0%9F%93%9E"])
def test_ids_in_paths_that_cannot_be_ids(shared: Served, number: str) -> None:
    """P23."""
    problem(shared.agent().send("POST", f"/api/assignments/{number}/outcome", GOOD), 422)


def test_ids_of_nothing(shared: Served) -> None:
    """P23: unknown assignments and agents are not found."""
    agent = shared.agent()
    for doing in ("outcome", "release", "extend"):
        body = GOOD if doing == "outcome" else {"request_id": "r", "lease_token": 1}
        answer = agent.send("POST", f"/api/assignments/{2**63 - 1}/{doing}", body)
        problem(answer, 404, "there is no assignment")


def test_problems_are_written_down_without_what_was_sent(shared: Served) -> None:
    """P40: neither the path, nor the body, nor the token stands in the log."""
    agent = shared.agent()
    agent.get(f"/api/leads/{SECRET.replace(' ', '')}/secret?phone={SECRET.replace(' ', '')}")
    agent.send("POST", NEXT, {"request_id": "x", "queue": SECRET})
    log = shared.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {(line["route"], line["status"]) for line in lines} >= {("none", 404), (NEXT, 422)}
    assert SECRET not in log
    assert SECRET.replace(" ", "") not in log
    assert agent.token
    assert agent.token not in log


def test_who_goes_away_in_the_middle_of_a_body_is_no_defect(served: Served) -> None:
    """P35: what an operator is to look at is not buried under what happens on every mobile line."""
    agent = served.agent()
    parts = urlsplit(served.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        head = f"POST {NEXT} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {agent.token}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        wait_until(
            lambda: served.premises.rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%token_hash%'")
        )
    wait_until(lambda: "gone" in served.log.read_text())
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert [(line["event"], line["route"]) for line in lines] == [("gone", NEXT)]
    assert 'status="500"' not in served.caller().get("/metrics").text
