"""The bodies and answers of the desk's routes, as the OpenAPI document shows them.

Answers are built as plain objects where they are given: these classes only describe them, and the tests hold
one against the other.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, WithJsonSchema

from leadq_dagster.desk.http.bodies import Body, Id, Name, RequestBody
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store.agents import AgentStatus, Role

FIRST_YEAR = 2000
NOTES_MAX = 4_000


def _is_recent(instant: datetime) -> datetime:
    if instant.replace(tzinfo=UTC).year < FIRST_YEAR or instant.replace(tzinfo=UTC).year > 9000:
        raise ValueError(f"should be a time after the year {FIRST_YEAR}")
    return instant


def _has_no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("should not contain the character NUL")
    return text


# Enumerations inline, so that a body's schema stands by itself.
QueueName = Annotated[
    QueueType, WithJsonSchema({"type": "string", "enum": [item.value for item in QueueType]})
]
OutcomeName = Annotated[Outcome, WithJsonSchema({"type": "string", "enum": [item.value for item in Outcome]})]
StatusName = Annotated[
    AgentStatus, WithJsonSchema({"type": "string", "enum": [item.value for item in AgentStatus]})
]
Instant = Annotated[AwareDatetime, AfterValidator(_is_recent)]
Text = Annotated[str, AfterValidator(_has_no_nul)]


class TakeBody(RequestBody):
    """Ask for the next lead."""

    queue: QueueName | None = Field(
        default=None, description="Only of this queue; else of the agent's own queues, in their order."
    )


class HoldBody(RequestBody):
    """Something about an assignment that is the agent's."""

    lease_token: Id = Field(description="As it came with the assignment.")


class ExtendBody(HoldBody):
    """Keep a lead longer."""

    lease_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="From now; by default as long as a new lease. Never makes it shorter."
    )


class OutcomeBody(HoldBody):
    """Report how the call went."""

    outcome: OutcomeName
    callback_at: Instant | None = Field(
        default=None, description="The agreed time of another call; call_back needs one."
    )
    call_id: Name | None = Field(default=None, description="The dialler's own id of the call.")
    started_at: Instant | None = Field(
        default=None, description="When the call began; by default when the lead was handed out."
    )
    talk_time_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        default=None, description="Leave out when not known: credit for a conversion waits for it."
    )
    notes: Annotated[Text, Field(max_length=NOTES_MAX)] | None = None


class StatusBody(Body):
    """What an agent does now."""

    status: StatusName


class AssignmentShape(BaseModel):
    """A lead lent to the agent."""

    id: Id
    lease_token: Id
    lease_expires_at: AwareDatetime
    assigned_at: AwareDatetime
    user_id: Id
    queue_type: QueueType
    queue_reason: str = Field(
        description="Why the user is in the queue, such as no_signature or promised_call."
    )
    priority_score: int = Field(description="Lower is called first; below 0 a promised call.")
    attempts: int = Field(description="Outcomes reported of this user so far, in any queue.")
    last_outcome: str | None = Field(description="What the last of them was; null: none yet.")
    last_call_at: AwareDatetime | None
    callback: "CallbackShape | None" = Field(description="The promised call that this one keeps, if any.")


class CallbackShape(BaseModel):
    """A promised call."""

    id: Id
    due_at: AwareDatetime


class ContactShape(BaseModel):
    """Whom to call, as the source has it."""

    first_name: str | None
    last_name: str | None
    phone_number: str | None
    email_address: str | None


class CountsShape(BaseModel):
    """Known users, each in one class."""

    waiting: int = Field(description="Callable now.")
    cooling: int = Field(description="In a queue, callable later.")
    promised: int = Field(description="In front for a promised call.")
    too_high: int = Field(description="In a queue with a score that is not called.")
    assigned: int = Field(description="With an agent.")


class StandingsShape(CountsShape):
    """How all known users stand; the classes sum to `known`."""

    counted_at: AwareDatetime
    suppressed: int = Field(description="Never queued, such as do_not_contact.")
    converted: int
    not_needed: int
    known: int
    cooling_until: AwareDatetime | None = Field(description="When the first of those who cool may be called.")


class NoWorkShape(BaseModel):
    """Why there is no lead."""

    reason: str = Field(description="no_lead_is_waiting or out_of_hours.")
    standings: StandingsShape


class TakeAnswer(BaseModel):
    """A lead, or none and why."""

    assignment: AssignmentShape | None
    contact: ContactShape | None = Field(
        description="null while the source cannot be asked, and where a lead is repeated that has ended."
    )
    is_validated: bool = Field(
        description="false: the source could not be asked whether to call, or has no reason to any more."
    )
    no_work: NoWorkShape | None


class OutcomeAnswer(BaseModel):
    """What the outcome did."""

    assignment_id: Id
    lead: str = Field(description="waiting (again, from next_call_after) or left.")
    next_call_after: AwareDatetime | None
    callback_id: Id | None = Field(description="Of the call that was agreed, if any.")


class ReleaseAnswer(BaseModel):
    """The lead went back."""

    assignment_id: Id
    available_from: AwareDatetime = Field(description="From when on it may be handed out, to anybody.")


class ExtendAnswer(BaseModel):
    """The lease lasts longer."""

    assignment_id: Id
    lease_expires_at: AwareDatetime


class MeAnswer(BaseModel):
    """Whom a token belongs to."""

    agent_id: Id
    name: str
    role: Role


class PresenceAnswer(BaseModel):
    """What the agent does, as the desk knows it."""

    agent_id: Id
    status: AgentStatus


class QueueLevels(CountsShape):
    """Who is in one queue."""

    cooling_until: AwareDatetime | None


class LevelsAnswer(BaseModel):
    """All known users by class, and those in a queue by queue: of one instant, so the sums agree."""

    standings: StandingsShape
    queues: dict[str, QueueLevels]


class HealthAnswer(BaseModel):
    """Whether the service can work, and else why not."""

    status: str = Field(description="ok or not ready.")
    reasons: list[str] = Field(description="Why it is not ready, in words; empty when it is.")
