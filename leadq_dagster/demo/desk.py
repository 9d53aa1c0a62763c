"""The desk's service beside the demo, and who works at it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from leadq_dagster.demo.colleagues import ask
from leadq_dagster.demo.ending import end
from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.score_rules import CURRENT_RULES
from leadq_dagster.embedded.ports import LOOPBACK, is_free
from leadq_dagster.store import assignments, enrolment
from leadq_dagster.store.agents import Role
from leadq_dagster.store.connection import Store

USUAL_PORT = 8911
STOP_SECONDS = 30
AGENT: Final = "Demo agent"
SUPERVISOR: Final = "Demo supervisor"
COLLEAGUES: Final = ("Colleague 1", "Colleague 2", "Colleague 3")
PROMISED_CALLS = 3


@dataclass(frozen=True)
class Pass:
    """An agent's id, and the token with which they sign in."""

    agent_id: int
    token: str = field(repr=False)


@dataclass(frozen=True)
class Staff:
    """Who works at the demo's desk. Two tokens are shown, on the terminal alone: not the colleagues'."""

    agent: Pass
    supervisor: Pass
    colleagues: tuple[Pass, ...]


def demo_staff(store: Store) -> Staff:
    """All of them with fresh tokens; they are made by the first demo in a home."""
    with store.transaction() as cursor:
        known = {each.name: each.id for each in enrolment.everybody(cursor)}

    def enrolled(name: str, role: Role) -> Pass:
        if name in known:
            return Pass(known[name], enrolment.renew(store, known[name]))
        return Pass(*enrolment.enrol(store, name, role, list(QueueType)))

    return Staff(
        enrolled(AGENT, Role.AGENT),
        enrolled(SUPERVISOR, Role.SUPERVISOR),
        tuple(enrolled(name, Role.AGENT) for name in COLLEAGUES),
    )


def next_users(store: Store) -> list[int]:
    """Some who wait in a queue, far enough behind that nobody calls them first."""
    with store.transaction() as cursor:
        now, _ = assignments.clock(cursor, None)
        queue, rules = QueueType.OUTSTANDING_REQUESTS, CURRENT_RULES
        return assignments.peek(cursor, queue, now, 50, rules.not_called_from)[-PROMISED_CALLS:]


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
    with log.open("ab") as output:
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
            end(process, signal.SIGTERM, STOP_SECONDS)


def work_one_lead(address: str, token: str) -> dict[str, Any]:
    """One agent takes a lead through the service and reports that nobody answered; what came of it."""
    taken = ask(address, token, "POST", "/api/queue/next", {"request_id": uuid4().hex})
    lead = taken["assignment"]
    if lead is None:
        return {"taken": False, "why": taken["no_work"]["reason"]}
    report = {
        "request_id": uuid4().hex,
        "lease_token": lead["lease_token"],
        "outcome": Outcome.NO_ANSWER,
    }
    recorded = ask(address, token, "POST", f"/api/assignments/{lead['id']}/outcome", report)
    return {
        "taken": True,
        "user_id": lead["user_id"],
        "queue": lead["queue_type"],
        "is_validated": taken["is_validated"],
        "outcome": Outcome.NO_ANSWER.value,
        "lead": recorded["lead"],
        "next_call_after": recorded["next_call_after"],
    }
