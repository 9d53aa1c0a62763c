"""While a lead is with an agent: keep it longer, give it back, or lose it when the lease ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk import told
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.refusals import refusal_of_holder
from leadq_dagster.desk.terms import DeskTerms
from leadq_dagster.domain.errors import ConflictError, RefusedError
from leadq_dagster.store import agents, answers, assignments, holds
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.assignments import EndReason
from leadq_dagster.store.connection import Store
from leadq_dagster.store.holds import Held

EXPIRED_PAGE_ROWS = 500


@dataclass(frozen=True)
class HoldRequest:
    """An agent's request about an assignment of theirs."""

    agent_id: int
    request_id: str
    assignment_id: int
    lease_token: int


@dataclass(frozen=True)
class Expired:
    """What one look at the leases did."""

    leads_returned: int
    agents_offline: int


@dataclass
class Holding:
    """Leases: extended, given back, expired."""

    store: Store
    terms: DeskTerms

    def release(self, request: HoldRequest, now: datetime | None = None) -> datetime:
        """Give the lead back uncalled; the time from which it may be handed out again."""

        def give_back(cursor: Cursor[TupleRow], moment: datetime) -> dict[str, Any]:
            later = moment + self.terms.skip_pause
            assignments.give_back(cursor, {request.assignment_id: later}, EndReason.RELEASED, moment)
            agents.mark_seen(cursor, [request.agent_id], moment)
            return {"available_from": later.isoformat()}

        answer = self._once(request, f"release of assignment {request.assignment_id}", give_back, now)
        return datetime.fromisoformat(answer["available_from"])

    def extend(self, request: HoldRequest, lease: timedelta | None, now: datetime | None = None) -> datetime:
        """Keep the lead for `lease` from now (None: the usual time), never shorter than before; its end.

        Raises RefusedError for a lease longer than the terms allow.
        """
        lease = self.terms.lease if lease is None else lease
        if not timedelta(0) < lease <= self.terms.lease_max:
            seconds = int(self.terms.lease_max.total_seconds())
            raise RefusedError(f"lease_seconds is to be 1 to {seconds} seconds")

        def extend(cursor: Cursor[TupleRow], moment: datetime) -> dict[str, Any]:
            until = assignments.extend(cursor, request.assignment_id, moment + lease)
            assert until is not None  # the stay is locked and current
            agents.mark_seen(cursor, [request.agent_id], moment)
            return {"lease_expires_at": until.isoformat()}

        what = f"extend assignment {request.assignment_id} by {int(lease.total_seconds())} s"
        answer = self._once(request, what, extend, now)
        return datetime.fromisoformat(answer["lease_expires_at"])

    def expire(self, now: datetime | None = None) -> Expired:
        """Return every lead whose lease has ended, and put offline the agents who have gone silent."""
        returned = 0
        while True:
            with self.store.transaction() as cursor:
                moment, _ = assignments.clock(cursor, now)
                page = assignments.expired(cursor, moment, EXPIRED_PAGE_ROWS)
                if page:
                    ended = assignments.give_back(
                        cursor, dict.fromkeys(page, moment), EndReason.EXPIRED, moment
                    )
                    returned += len(ended)
                if len(page) < EXPIRED_PAGE_ROWS or not ended:
                    break
        with self.store.transaction() as cursor:
            moment, _ = assignments.clock(cursor, now)
            silent = agents.silence(cursor, moment - self.terms.agent_silence, moment)
        return Expired(returned, len(silent))

    def _once(
        self,
        request: HoldRequest,
        what: str,
        act: Callable[[Cursor[TupleRow], datetime], dict[str, Any]],
        now: datetime | None,
    ) -> Mapping[str, Any]:
        """Act on the assignment if the agent has it still, or repeat the answer that the request got
        before."""
        with self.store.transaction() as cursor:
            known = agents.lock(cursor, [request.agent_id])
            if answer := told.before(cursor, request.agent_id, request.request_id, what):
                return answer.content
            moment, _ = assignments.clock(cursor, now)
            held = holds.lock(cursor, [request.assignment_id], moment)
            _demand(request, known.get(request.agent_id), held.get(request.assignment_id))
            content = act(cursor, moment)
            answers.keep(cursor, [Answer(request.agent_id, request.request_id, what, content)], moment)
            return content


def _demand(request: HoldRequest, agent: agents.Agent | None, held: Held | None) -> None:
    """Raises unless the agent has this assignment, by this token, now."""
    if refusal := refusal_of_holder(request, agent, held):
        raise refusal
    if held is not None and not (held.is_current and held.is_in_time):
        race_lost(agent_id=request.agent_id, user_id=held.user_id, stay_id=held.stay_id)
        raise ConflictError("the assignment has ended: ask for the next lead")
