"""Whose a promised call is at a moment, and taking it from the front: with everything about it locked."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.callback_terms import CallbackRequest, CallbackState
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.promises import lower
from leadq_dagster.domain.errors import ConflictError, ForbiddenError
from leadq_dagster.store import agents, assignments
from leadq_dagster.store.agents import Agent
from leadq_dagster.store.assignments import EndReason
from leadq_dagster.store.callbacks import Callback
from leadq_dagster.store.routing import LockedStay


@dataclass(frozen=True)
class Locked:
    """Everything about one open callback, locked: the agent who asks, the callback, its user's live stay."""

    agent: Agent
    callback: Callback
    stay: LockedStay | None

    @property
    def raised(self) -> LockedStay | None:
        """The stay that this callback has raised."""
        return self.stay if self.stay and self.stay.callback_id == self.callback.id else None

    @property
    def holder(self) -> int | None:
        """The agent who is making this very call."""
        return self.raised.assigned_to_agent_id if self.raised else None

    @property
    def state(self) -> CallbackState:
        """The callback as it is."""
        return CallbackState.of(self.callback, is_raised=self.raised is not None)

    def lost_by(self, agent_id: int) -> None:
        """Write down that this agent came second."""
        stay_id = self.stay.id if self.stay else None
        race_lost(
            agent_id=agent_id, user_id=self.callback.user_id, stay_id=stay_id, callback_id=self.callback.id
        )


def why_not_accepted(request: CallbackRequest, locked: Locked) -> str | None:
    """Why somebody else goes first, if so."""
    stay = locked.stay
    if locked.callback.accepted_by_agent_id is not None:
        return "another agent has accepted the callback"
    if stay and stay.is_assigned and locked.holder != request.agent_id:
        return "the user is with an agent at this moment"
    is_of_another = stay is not None and stay.callback_id is not None and locked.raised is None
    if is_of_another and stay and stay.reserved_for_agent_id not in (None, request.agent_id):
        return "another callback to the user is another agent's: that one goes first"
    return None


def demand_own(request: CallbackRequest, locked: Locked) -> None:
    """Raises unless the callback is the agent's or nobody's; a supervisor's are all, but not one in hand."""
    if locked.holder not in (None, request.agent_id):
        locked.lost_by(request.agent_id)
        raise ConflictError("an agent is making the call at this moment")
    reserved = locked.raised.reserved_for_agent_id if locked.raised else None
    owners = {locked.callback.accepted_by_agent_id, reserved, locked.holder} - {None}
    if owners and request.agent_id not in owners and not request.is_supervisor:
        raise ForbiddenError(f"callback {locked.callback.id} is another agent's")


def take_down(
    cursor: Cursor[TupleRow], locked: Locked, end: EndReason, not_before: datetime | None, now: datetime
) -> None:
    """The stay that the callback raised is raised no more; whoever held it holds it no longer."""
    if locked.raised is None:
        return
    if locked.raised.assignment_id is not None:
        assignments.give_back(cursor, {locked.raised.assignment_id: now}, end, now)
        agents.mark_seen(cursor, [locked.agent.id], now)
    lower(cursor, locked.raised, not_before, now)
