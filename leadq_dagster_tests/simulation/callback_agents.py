"""Agents who promise, keep, forget, snooze and vanish: each does one thing a minute, by one generator."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal

from leadq_dagster.desk.callback_terms import CallbackRequest, CancelReason, PromiseRequest
from leadq_dagster.desk.terms import NoWork, Taken
from leadq_dagster.domain.errors import ConflictError, ForbiddenError, NotFoundError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster_tests.desk.at_work import AtWork

MINUTE = timedelta(minutes=1)
Where = Literal["away", "here", "break", "on a call", "vanished"]

# How calls end, with how often.
OUTCOMES = {
    Outcome.CALL_BACK: 0.40,
    Outcome.NO_ANSWER: 0.25,
    Outcome.MIGHT_COMPLETE: 0.20,
    Outcome.COMPLETED_FORM: 0.10,
    Outcome.NOT_INTERESTED: 0.02,
    Outcome.DO_NOT_CONTACT: 0.02,
    Outcome.NO_CLAIM: 0.01,
}
# What an agent who is here and idle may do instead of asking for work.
GOES: dict[Where, float] = {"break": 0.03, "on a call": 0.02, "away": 0.02, "vanished": 0.02}
PROMISES, ACCEPTS, SNOOZES, CANCELS = 0.04, 0.10, 0.08, 0.02
# What they tell the desk when they go; who vanishes says nothing.
SAID: dict[Where, AgentStatus] = {
    "break": AgentStatus.BREAK,
    "on a call": AgentStatus.ON_CALL,
    "away": AgentStatus.OFFLINE,
}
RELEASES, VANISHES, SNOOZES_IN_HAND = 0.06, 0.05, 0.10
COMES, COMES_BACK = 0.08, 0.15


def rows(work: AtWork, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What the store says, by a connection that is there already: a world asks a hundred thousand times."""
    with work.store.transaction() as cursor:
        return cursor.execute(statement.encode(), parameters or None).fetchall()


@dataclass
class Promises:
    """What the agents remember of their promises, whatever the store says: who was promised what."""

    made: dict[int, int] = field(default_factory=dict)

    def note(self, work: AtWork, callback_id: int | None, user_id: int) -> None:
        """A call was promised; promised before, it is the same callback only while that one is open."""
        if callback_id is not None:
            assert self.made.setdefault(callback_id, user_id) == user_id
            [(status,)] = rows(work, "SELECT status FROM callbacks WHERE id = %s", callback_id)
            assert status in ("pending", "accepted"), (callback_id, status)


@dataclass
class SimulatedAgent:
    """One agent. `where` and `heard_at` are what they know of themselves, not what the store knows."""

    agent_id: int
    work: AtWork
    rng: Random
    counted: Counter[str]
    promises: Promises
    where: Where = "away"
    heard_at: datetime | None = None
    held: Taken | None = None
    until: datetime | None = None

    @property
    def now(self) -> datetime:
        return self.work.clock.now

    @property
    def is_free(self) -> bool:
        """Whether the agent could take a call, by their own account."""
        return self.where == "here" and self.held is None and self.was_heard

    @property
    def is_thought_free(self) -> bool:
        """Whether the desk may think so: of who vanished it learns by their silence; leases end."""
        is_on_lease = self.held is not None and self.held.assignment.lease_expires_at > self.now
        return self.where in ("here", "vanished") and not is_on_lease and self.was_heard

    @property
    def was_heard(self) -> bool:
        silence = self.work.desk.terms.agent_silence
        return self.heard_at is not None and self.heard_at >= self.now - silence

    def is_calling(self, latest: datetime) -> bool:
        """Whether the agent is on the phone with a user, and the lease holds by any clock there was."""
        return self.held is not None and self.held.assignment.lease_expires_at > latest

    def act(self, *, is_promising: bool) -> None:
        """One minute of this agent."""
        if self.where != "here":
            if self.rng.random() < (COMES if self.where == "away" else COMES_BACK):
                self.come()
        elif self.held is not None:
            self.call(is_promising=is_promising)
        else:
            self.idle(is_promising=is_promising)

    def come(self) -> None:
        """Come, or come back; whoever vanished with a lead in hand reports it, late or not."""
        self.where = "here"
        self.work.desk.set_status(self.agent_id, AgentStatus.AVAILABLE)
        self.heard_at = self.now

    def go(self, where: Where) -> None:
        self.where = where
        self.counted[f"went {where}"] += 1
        if where in SAID:
            self.work.desk.set_status(self.agent_id, SAID[where])

    def idle(self, *, is_promising: bool) -> None:
        for where, share in GOES.items():
            if self.rng.random() < share:
                self.go(where)
                return
        if is_promising and self.rng.random() < PROMISES:
            self.promise()
        if self.rng.random() < 0.5:
            self.look_at_pending()
        self.take()

    def take(self) -> None:
        got = self.work.take(self.agent_id)
        self.heard_at = self.now
        if isinstance(got, NoWork):
            self.expect_none_was_due()
            return
        callback_id = got.assignment.callback_id
        if callback_id is None:
            self.expect_none_was_due()
        else:
            [(status, call_after)] = rows(
                self.work,
                "SELECT status, greatest(due_at, call_after) FROM callbacks WHERE id = %s",
                callback_id,
            )
            assert status in ("pending", "accepted"), (callback_id, status)
            near = timedelta(minutes=10) if got.assignment.priority_score == -2000 else timedelta(0)
            # A clock that was set back makes early what was in time.
            assert call_after <= self.now + near or self.counted["clock set back"], (
                got,
                call_after,
                self.now,
            )
            self.counted["callbacks served"] += 1
        self.held, self.until = got, self.now + self.rng.randint(1, 4) * MINUTE

    def expect_none_was_due(self) -> None:
        """A due callback that is this agent's or nobody's comes before any lead, and before no work."""
        due = rows(
            self.work,
            "SELECT callback_id FROM call_queue WHERE status = 'pending' AND callback_id IS NOT NULL"
            " AND available_from <= %s AND (reserved_for_agent_id IS NULL OR reserved_for_agent_id = %s)",
            self.now,
            self.agent_id,
        )
        # The take itself closes who no longer belongs and returns whom the source does not show.
        assert not due, (self.agent_id, due)

    def call(self, *, is_promising: bool) -> None:
        assert self.held is not None
        assert self.until is not None
        if self.rng.random() < VANISHES:
            self.where = "vanished"
            self.counted["vanished with a lead in hand"] += 1
            return
        if self.rng.random() < RELEASES / 2 and self.held.assignment.callback_id is None:
            self.attempt(lambda: self.work.desk.release(self.work.hold_request(self.held)))  # type: ignore[arg-type]
            self.held = None
            return
        if self.rng.random() < RELEASES and self.held.assignment.callback_id is not None:
            self.counted["callbacks released"] += 1
            self.attempt(lambda: self.work.desk.release(self.work.hold_request(self.held)))  # type: ignore[arg-type]
            self.held = None
            return
        if self.held.assignment.callback_id is not None and self.rng.random() < SNOOZES_IN_HAND:
            self.snooze(self.held.assignment.callback_id)
            self.held = None
            self.say_available()
            return
        if self.now >= self.until:
            self.report(is_promising=is_promising)

    def report(self, *, is_promising: bool) -> None:
        held, self.held = self.held, None
        assert held is not None
        outcomes = OUTCOMES if is_promising else {**OUTCOMES, Outcome.CALL_BACK: 0}
        outcome = self.rng.choices(list(outcomes), list(outcomes.values()))[0]
        agreed: dict[str, datetime] = {}
        if outcome is Outcome.CALL_BACK:
            agreed["callback_at"] = self.some_time()
        told = self.attempt(lambda: self.work.outcome(held, outcome, **agreed))
        self.heard_at = self.now
        if told is not None:
            self.promises.note(self.work, told.callback_id, held.assignment.user_id)  # type: ignore[attr-defined]

    def some_time(self) -> datetime:
        """A time in the next hour and a half, often the same for several."""
        minutes = self.rng.choice((3, 5, 10, 15, 30, 60, 90))
        return (self.now + minutes * MINUTE).replace(second=0, microsecond=0) + MINUTE

    def promise(self) -> None:
        known = rows(self.work, "SELECT user_id FROM user_call_scores ORDER BY user_id")
        user_id: int = self.rng.choice(known)[0]
        preferred = self.rng.choice([None, self.agent_id, 1])
        request = PromiseRequest(self.agent_id, self.work.request_id(), user_id, self.some_time(), preferred)
        told = self.attempt(lambda: self.work.desk.promise_callback(request))
        self.heard_at = self.now
        if told is not None:
            self.promises.note(self.work, told.callback_id, user_id)  # type: ignore[attr-defined]

    def look_at_pending(self) -> None:
        for pending in self.work.desk.pending_callbacks(self.agent_id):
            throw = self.rng.random()
            about = CallbackRequest(self.agent_id, self.work.request_id(), pending.id)
            if throw < ACCEPTS:
                self.counted["accepted"] += 1
                self.attempt(lambda about=about: self.work.desk.accept_callback(about))  # type: ignore[misc]
            elif throw < ACCEPTS + SNOOZES:
                self.snooze(pending.id)
            elif throw < ACCEPTS + SNOOZES + CANCELS:
                self.counted["cancelled by an agent"] += 1
                self.cancel(about)

    def cancel(self, about: CallbackRequest) -> None:
        self.attempt(lambda: self.work.desk.cancel_callback(about, CancelReason.AGREED_OTHERWISE))

    def snooze(self, callback_id: int) -> None:
        self.counted["snoozed"] += 1
        about = CallbackRequest(self.agent_id, self.work.request_id(), callback_id)
        minutes = self.rng.choice((1, 5, 20, 60))
        self.attempt(lambda: self.work.desk.snooze_callback(about, minutes))

    def say_available(self) -> None:
        """Whose lead left the queue during the call is on that call for the desk until they say otherwise."""
        self.work.desk.set_status(self.agent_id, AgentStatus.AVAILABLE)

    def attempt(self, ask: "object") -> "object | None":
        """Ask the desk; a refusal is an answer, too."""
        try:
            self.heard_at = self.now
            return ask()  # type: ignore[operator,no-any-return]
        except (ConflictError, ForbiddenError, NotFoundError) as refusal:
            self.counted[f"refused: {type(refusal).__name__}"] += 1
            self.say_available()
            return None
