"""Why a request cannot be met: unknown, foreign, ended, or not fit. Nothing is written then."""

from datetime import datetime
from typing import Protocol

from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest
from leadq_dagster.domain.errors import ConflictError, ForbiddenError, LeadqError, NotFoundError, RefusedError
from leadq_dagster.store.agents import Agent
from leadq_dagster.store.assignments import Held


class AboutAssignment(Protocol):
    """A request of an agent about an assignment."""

    @property
    def agent_id(self) -> int:
        """Who asks."""
        ...

    @property
    def assignment_id(self) -> int:
        """About which assignment."""
        ...

    @property
    def lease_token(self) -> int:
        """By which token."""
        ...


def refusal_of_agent(agent_id: int, agent: Agent | None) -> LeadqError | None:
    """Unless the agent is known and active."""
    if agent is None:
        return NotFoundError(f"there is no agent {agent_id}")
    if not agent.is_active:
        return ForbiddenError(f"agent {agent_id} is not active")
    return None


def refusal_of_holder(request: AboutAssignment, agent: Agent | None, held: Held | None) -> LeadqError | None:
    """Unless the assignment is, or was, this agent's by this token."""
    if refusal := refusal_of_agent(request.agent_id, agent):
        return refusal
    if held is None:
        return NotFoundError(f"there is no assignment {request.assignment_id}")
    if held.agent_id != request.agent_id:
        return ForbiddenError(f"assignment {request.assignment_id} is another agent's")
    if held.lease_token != request.lease_token:
        return ConflictError("the lease token is not that of the assignment")
    return None


def refusal_of_outcome(request: OutcomeRequest, terms: DeskTerms, now: datetime) -> RefusedError | None:
    """Unless the outcome comes with an agreed time where it needs one, and with times that can be meant."""
    consequence = terms.rules.consequences[request.outcome]
    if consequence.must_agree and request.callback_at is None:
        return RefusedError(f"outcome {request.outcome} needs the agreed time in callback_at")
    if request.callback_at is not None:
        if not consequence.may_agree:
            return RefusedError(f"outcome {request.outcome} has no agreed time: leave out callback_at")
        if not now < request.callback_at <= now + terms.promise_reach:
            return RefusedError(f"callback_at is not within the next {terms.promise_reach.days} days")
    if request.started_at is not None and request.started_at > now:
        return RefusedError("started_at is in the future")
    return None
