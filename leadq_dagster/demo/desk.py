"""The desk's service beside the demo, and two who work at it: an agent and a supervisor."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.embedded.ports import LOOPBACK, is_free
from leadq_dagster.store import enrolment
from leadq_dagster.store.agents import Role
from leadq_dagster.store.connection import Store

USUAL_PORT = 8911
STOP_SECONDS = 30
ANSWER_SECONDS = 30
AGENT: Final = "Demo agent"
SUPERVISOR: Final = "Demo supervisor"


@dataclass(frozen=True)
class Tokens:
    """How to sign in at the desk as either of the two; the demo alone shows them, on the terminal."""

    agent: str = field(repr=False)
    supervisor: str = field(repr=False)


def demo_tokens(store: Store) -> Tokens:
    """Fresh tokens for the two, who are made by the first demo in a home."""
    with store.transaction() as cursor:
        known = {each.name: each.id for each in enrolment.everybody(cursor)}

    def token(name: str, role: Role) -> str:
        if name in known:
            return enrolment.renew(store, known[name])
        return enrolment.enrol(store, name, role, list(QueueType))[1]

    return Tokens(token(AGENT, Role.AGENT), token(SUPERVISOR, Role.SUPERVISOR))


@contextmanager
def desk_running(home: Path) -> Iterator[str]:
    """The service as a process that ends with the block; its address.

    Raises PermanentError when it does not start; the log says why.
    """
    log = home / "desk.log"
    port = USUAL_PORT if is_free(USUAL_PORT) else 0
    # Stopped when this process is gone, however it ended.
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "leadq_dagster.cli", "serve"]
    command += ["--host", LOOPBACK, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True
        )
        assert process.stdout is not None
        try:
            announced = process.stdout.readline().strip()
            if not announced:
                raise PermanentError(f"the desk did not start: the reason is in {log}")
            yield announced.rpartition(" ")[2].removesuffix("/desk")
        finally:
            process.stdout.close()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def work_one_lead(address: str, token: str) -> dict[str, Any]:
    """One agent takes a lead through the service and reports that nobody answered; what came of it."""
    taken = _post(f"{address}/api/queue/next", token, {})
    lead = taken["assignment"]
    if lead is None:
        return {"taken": False, "why": taken["no_work"]["reason"]}
    report = {"lease_token": lead["lease_token"], "outcome": Outcome.NO_ANSWER}
    recorded = _post(f"{address}/api/assignments/{lead['id']}/outcome", token, report)
    return {
        "taken": True,
        "user_id": lead["user_id"],
        "queue": lead["queue_type"],
        "is_validated": taken["is_validated"],
        "outcome": Outcome.NO_ANSWER.value,
        "lead": recorded["lead"],
        "next_call_after": recorded["next_call_after"],
    }


def _post(url: str, token: str, body: dict[str, Any]) -> Any:
    content = json.dumps({"request_id": uuid4().hex, **body}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=ANSWER_SECONDS) as got:
        return json.load(got)
