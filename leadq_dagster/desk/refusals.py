"""Why a request cannot be met: unknown, foreign, ended, or not fit. Nothing is written then."""

from datetime import datetime
from typing import Final, Protocol

from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest
from leadq_dagster.domain.errors import ConflictError, ForbiddenError, LeadqError, NotFoundError, RefusedError
from leadq_dagster.store.agents import Agent
from leadq_dagster.store.holds import Held

BIGINT_MAX: Final = 2**63 - 1
TEXT_CHARACTERS_MAX: Final = 10_000
# No call lasts a day; what a dialler says beyond it is not seconds.
TALK_TIME_SECONDS_MAX: Final = 24 * 60 * 60
# Calls without an id of the dialler's are named so.
ASSIGNMENT_CALL: Final = "assignment-"


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


def demand_storable(agent_id: int, assignment_id: int | None, *texts: str | None) -> None:
    """Raises for ids that nothing can have and for texts that no database keeps.

    Before the request joins others: what breaks a statement breaks it for the whole batch.
    """
    if not 0 < agent_id <= BIGINT_MAX:
        raise NotFoundError(f"there is no agent {agent_id}")
    if assignment_id is not None and not 0 < assignment_id <= BIGINT_MAX:
        raise NotFoundError(f"there is no assignment {assignment_id}")
    for text in texts:
        if text is not None and not _is_storable(text):
            raise RefusedError("a text has a character that is none, or is too long")


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return "\0" not in text and len(text) <= TEXT_CHARACTERS_MAX


def refusal_of_agent(agent_id: int, agent: Agent | None) -> LeadqError | None:
    """Unless the agent is known and active."""
    if agent is None:
        return NotFoundError(f"there is no agent {agent_id}")
    if not agent.is_active:
        return ForbiddenError(f"agent {agent_id} is revoked: a new token gives access again")
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
        return ConflictError(
            "the lease token is another one: send the lease_token that came with the assignment"
        )
    return None


def refusal_of_outcome(request: OutcomeRequest, terms: DeskTerms, now: datetime) -> RefusedError | None:
    """Unless the outcome comes with an agreed time where it needs one, and with times that can be meant."""
    times = (request.callback_at, request.started_at)
    if any(instant is not None and instant.tzinfo is None for instant in times):
        return RefusedError("callback_at and started_at need a time zone")
    if request.talk_time_seconds is not None and not 0 <= request.talk_time_seconds <= TALK_TIME_SECONDS_MAX:
        return RefusedError(f"talk_time_seconds is not within 0 to {TALK_TIME_SECONDS_MAX}")
    own = f"{ASSIGNMENT_CALL}{request.assignment_id}"
    if request.call_id is not None and request.call_id.startswith(ASSIGNMENT_CALL) and request.call_id != own:
        return RefusedError(
            f"call_id is not the dialler's own: what begins with {ASSIGNMENT_CALL} names calls without one"
        )
    consequence = terms.rules.consequences[request.outcome]
    if consequence.must_agree and request.callback_at is None:
        return RefusedError(f"outcome {request.outcome} needs the agreed time in callback_at")
    if request.callback_at is not None:
        if not consequence.may_agree:
            return RefusedError(f"outcome {request.outcome} has no agreed time: leave out callback_at")
        if not now < request.callback_at <= now + terms.promise_reach:
            return RefusedError(
                f"callback_at is to be after now and at most {terms.promise_reach.days} days ahead"
            )
    if request.started_at is not None and request.started_at > now:
        return RefusedError("started_at is to be now or before")
    return None
