"""Colleagues at the demo's desk: they call, promise, keep, forget, snooze and vanish, through the service.

So promised calls arrive at `/desk` and in Dagster while somebody looks. They speak HTTP as any dialler does.
"""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import uuid4

from leadq_dagster.domain.outcomes import Outcome

TURN_SECONDS = 10.0
ANSWER_SECONDS = 30
PROMISED_IN = (timedelta(minutes=5), timedelta(minutes=12))
OUTCOMES: Final = {
    Outcome.CALL_BACK: 0.35,
    Outcome.NO_ANSWER: 0.35,
    Outcome.MIGHT_COMPLETE: 0.15,
    Outcome.COMPLETED_FORM: 0.10,
    Outcome.NOT_INTERESTED: 0.05,
}
# With a lead in hand: talk on, or vanish without a word. Without one: snooze what is promised, take a break.
TALKS_ON, VANISHES, SNOOZES, BREAKS, COMES_BACK = 0.3, 0.1, 0.2, 0.05, 0.3


@dataclass
class Colleague:
    """One simulated agent; `did` counts what they did, by word."""

    agent_id: int
    token: str = field(repr=False)
    address: str
    rng: Random
    did: Counter[str] = field(default_factory=Counter)
    _lead: dict[str, Any] | None = None
    _is_away: bool = False

    def act(self) -> None:
        """Do one thing. A refusal is taken as a person takes it: something else is done next time."""
        try:
            self._act()
        except urllib.error.HTTPError as refused:
            self._lead = None
            self.did[f"refused {refused.code}"] += 1

    def _act(self) -> None:
        if self._is_away:
            self._is_away = self.rng.random() > COMES_BACK
            return
        if self._lead is not None:
            self._ask("POST", f"/api/agents/{self.agent_id}/heartbeat", {})
            self._go_on(self._lead)
            return
        self._ask("PUT", f"/api/agents/{self.agent_id}/status", {"status": "available"})
        if self.rng.random() < BREAKS:
            self._ask("PUT", f"/api/agents/{self.agent_id}/status", {"status": "break"})
            self._is_away = True
            self.did["break"] += 1
        elif not self._snoozed():
            taken = self._ask("POST", "/api/queue/next", {"request_id": uuid4().hex})
            self._lead = taken["assignment"]
            self.did["took" if self._lead else "no work"] += 1

    def _go_on(self, lead: dict[str, Any]) -> None:
        luck = self.rng.random()
        if luck < TALKS_ON:
            return
        self._lead = None
        if luck < TALKS_ON + VANISHES:
            self._is_away = True
            self.did["vanished"] += 1
            return
        outcome = self.rng.choices(list(OUTCOMES), list(OUTCOMES.values()))[0]
        report = {"request_id": uuid4().hex, "lease_token": lead["lease_token"], "outcome": outcome}
        if outcome is Outcome.CALL_BACK:
            soonest, latest = PROMISED_IN
            wait = soonest + (latest - soonest) * self.rng.random()
            report["callback_at"] = (datetime.now(UTC) + wait).isoformat()
        self._ask("POST", f"/api/assignments/{lead['id']}/outcome", report)
        self.did["promised" if outcome is Outcome.CALL_BACK else "reported"] += 1
        self.did["kept"] += lead["callback"] is not None

    def _snoozed(self) -> bool:
        mine = self._ask("GET", f"/api/agents/{self.agent_id}/pending-callbacks")["callbacks"]
        if not mine or self.rng.random() > SNOOZES:
            return False
        about = {"request_id": uuid4().hex, "callback_id": mine[0]["callback_id"], "minutes": 2}
        self._ask("POST", "/api/callbacks/snooze", about)
        self.did["snoozed"] += 1
        return True

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask(self.address, self.token, method, path, body)


@contextmanager
def at_work(colleagues: Sequence[Colleague]) -> Iterator[None]:
    """Each does something every few seconds as long as the block runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(TURN_SECONDS):
            for colleague in colleagues:
                try:
                    colleague.act()
                except OSError:
                    return  # the service has gone, and the demo goes too

    thread = threading.Thread(target=work, name="colleagues")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def promise_calls(address: str, supervisor: str, user_ids: Sequence[int], agent_id: int) -> None:
    """Promise these users a call by this agent: the first in five minutes, the others a minute apart."""
    for number, user_id in enumerate(user_ids):
        due_at = datetime.now(UTC) + timedelta(minutes=5 + number)
        body = {
            "request_id": uuid4().hex,
            "user_id": user_id,
            "due_at": due_at.isoformat(),
            "preferred_agent_id": agent_id,
        }
        ask(address, supervisor, "POST", "/api/callbacks", body)


def ask(address: str, token: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the service answers. Raises HTTPError for a refusal and OSError when it does not answer."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}{path}", content, headers, method=method)
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)
