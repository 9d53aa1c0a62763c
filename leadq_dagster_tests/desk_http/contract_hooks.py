"""What schemathesis is given besides its own imagination: it loads this module, and calls the hooks below.

Of the requests that it means to be well-formed, every second is sent about something that is there: the lead
in the agent's hand, a user of the store, a call promised just now; each with a request id of its own. The
others go out as they were made. What was answered is written down, so that the test can look at it.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import Case, HookContext, Response

from leadq_dagster_tests.desk_http.client import Caller

PLACE, ANSWERED = Path("place.json"), Path("answered.txt")


@dataclass(frozen=True)
class Place:
    """Where the requests go, who sends them, and about which users."""

    address: str
    token: str
    user_ids: list[int]

    def write(self, folder: Path) -> None:
        """For the process of schemathesis, which works in this folder."""
        (folder / PLACE).write_text(json.dumps(asdict(self)))


def answers_in(folder: Path) -> Counter[tuple[str, int]]:
    """How often each operation was answered with each status."""
    lines = (folder / ANSWERED).read_text().splitlines()
    return Counter(
        (operation, int(status)) for operation, _, status in (line.rpartition(" ") for line in lines)
    )


class RealThings:
    """Puts what is there into well-formed requests."""

    def __init__(self, place: Place) -> None:
        self._caller = Caller(place.address, place.token)
        self._users = cycle(place.user_ids)
        self._sent = Counter[str]()

    def put_into(self, case: Case) -> None:
        """Every second case of each operation, when it was meant to be well-formed and has a body."""
        operation = f"{case.method} {case.operation.path}"
        is_well_formed = case.meta is not None and case.meta.generation.mode.is_positive
        if not is_well_formed or not isinstance(case.body, dict) or "{agent_id}" in operation:
            return
        self._sent[operation] += 1
        if self._sent[operation] % 2:
            return
        body = {**case.body, "request_id": uuid4().hex}
        # Two ids of one request are refused where they differ: the header has it every other time.
        key = {name: value for name, value in (case.headers or {}).items() if name != "Idempotency-Key"}
        if self._sent[operation] % 4:
            key["Idempotency-Key"] = body.pop("request_id")
        case.headers = key
        if "{assignment_id}" in operation:
            case.path_parameters, body = self._in_hand(body)
        if "{callback_id}" in operation:
            case.path_parameters = {"callback_id": self._promised()}
        if "callback_id" in body:
            body["callback_id"] = self._promised()
        if "due_at" in body:
            body |= {"user_id": next(self._users), "due_at": _soon(), "preferred_agent_id": None}
        case.body = body

    def _in_hand(self, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        lead = self._caller.take().json["assignment"]
        body = {**body, "lease_token": lead["lease_token"]}
        if "outcome" in body:
            is_agreed = body["outcome"] == "call_back"
            body |= {"callback_at": _soon() if is_agreed else None, "started_at": lead["assigned_at"]}
        return {"assignment_id": lead["id"]}, body

    def _promised(self) -> int:
        """To the next user who has not asked by now never to be called."""
        for user_id in self._users:
            answer = self._caller.post("/api/callbacks", user_id=user_id, due_at=_soon())
            if answer.status == 200:
                break
            assert answer.status == 409, answer.text
        callback_id: int = answer.json["callback_id"]
        return callback_id


def _soon() -> str:
    return (datetime.now(UTC) + timedelta(minutes=30)).isoformat()


REAL = RealThings(Place(**json.loads(PLACE.read_text()))) if PLACE.exists() else None


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    if REAL is not None:
        REAL.put_into(case)


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    with ANSWERED.open("a") as answered:
        answered.write(f"{case.method} {case.operation.path} {response.status_code}\n")
