"""Promised calls over HTTP: promise, accept, snooze, cancel, and which are whose."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field, WithJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.callback_terms import (
    SNOOZE_MINUTES,
    SNOOZE_MINUTES_MAX,
    CallbackRequest,
    CallbackState,
    CancelReason,
    PromiseRequest,
)
from leadq_dagster.desk.http.bodies import BIGINT_MAX, Id, RequestBody, as_json, read_body, request_id_of, utc
from leadq_dagster.desk.http.contract import described
from leadq_dagster.desk.http.identity import demand_self_or_supervisor, demand_supervisor
from leadq_dagster.desk.http.service import service_of
from leadq_dagster.desk.http.shapes import Instant
from leadq_dagster.domain.callback_health import Level
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store.agents import Identity, Role
from leadq_dagster.store.callback_monitor import CallbackHealth
from leadq_dagster.store.callbacks import CallbackStatus, PendingCallback

router = APIRouter(tags=["callbacks"])
AgentId = Annotated[
    int, Path(ge=1, le=BIGINT_MAX, description="The agent; another than oneself: supervisors.")
]
CallbackId = Annotated[int, Path(ge=1, le=BIGINT_MAX, description="As it came when the call was promised.")]
Hours = Annotated[int, Query(ge=1, le=744, description="How far back from now.")]
ReasonName = Annotated[
    CancelReason, WithJsonSchema({"type": "string", "enum": [item.value for item in CancelReason]})
]
PROMISE = {"request_id": "7f6f0b0e-promise-1", "user_id": 8911, "due_at": "2026-11-20T15:30:00+00:00"}
ABOUT = {"request_id": "7f6f0b0e-callback-1", "callback_id": 17}


class PromiseBody(RequestBody):
    """Promise a user a call."""

    user_id: Id
    due_at: Instant = Field(description="The promised time: after now and at most 90 days ahead.")
    preferred_agent_id: Id | None = Field(
        default=None,
        description="Who is to call, if available then; by default whoever is. The first promise's holds.",
    )


class AcceptBody(RequestBody):
    """About one callback."""

    callback_id: Id


class SnoozeBody(AcceptBody):
    """Call later."""

    minutes: Annotated[int, Field(ge=1, le=SNOOZE_MINUTES_MAX)] = Field(
        default=SNOOZE_MINUTES, description="From now; not before the promised time."
    )


class CancelBody(RequestBody):
    """Do not call."""

    reason: ReasonName


class CallbackAnswer(BaseModel):
    """A callback as the request left it."""

    callback_id: Id
    user_id: Id
    status: CallbackStatus
    due_at: AwareDatetime = Field(description="The promised time; it never changes.")
    call_after: AwareDatetime = Field(description="When to call: the promised time, or later once snoozed.")
    accepted_by_agent_id: Id | None
    is_raised: bool = Field(description="Whether it is in front of the queue.")


class PendingShape(BaseModel):
    """A promised call that is the agent's to make soon."""

    callback_id: Id
    user_id: Id
    queue_type: QueueType | None = Field(description="null until it is in front of a queue.")
    status: CallbackStatus
    due_at: AwareDatetime
    call_after: AwareDatetime
    is_raised: bool
    is_assigned: bool = Field(description="The agent has the lead in hand.")


class PendingAnswer(BaseModel):
    """The agent's calls due within ten minutes or overdue, by call_after, at most a hundred."""

    callbacks: list[PendingShape]


class MeasureShape(BaseModel):
    """A share."""

    name: str
    numerator: int
    denominator: int
    share: float | None = Field(description="From 0 to 1; null where there is no data.")
    level: Level = Field(description="warning below 80 %, critical below 50 %.")


class MonitorAnswer(BaseModel):
    """How promised calls were kept in [since, until)."""

    hours: int
    since: AwareDatetime
    until: AwareDatetime
    health_score: float | None = Field(
        description="Percent of inbound calls with an outcome; null: no calls."
    )
    measures: list[MeasureShape]
    alerts: list[str] = Field(description="The measures below 80 %, in words.")
    completed_calls_without_outcome: int
    overdue: int = Field(description="Open callbacks whose time to call has come.")
    overdue_since: AwareDatetime | None = Field(description="When the first of them was to be made.")


@router.post("/api/callbacks", **described(CallbackAnswer, PromiseBody, [404, 409], example=PROMISE))
async def promise_callback(request: Request) -> Response:
    """Promise a call. The same user and time again is the same callback."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, PromiseBody)
    promise = PromiseRequest(
        agent.agent_id, request_id_of(request, body), body.user_id, body.due_at, body.preferred_agent_id
    )
    return _told(await run_in_threadpool(service.desk.promise_callback, promise))


@router.post("/api/callbacks/accept", **described(CallbackAnswer, AcceptBody, [404, 409], example=ABOUT))
async def accept_callback(request: Request) -> Response:
    """Make the call one's own: the next lead, unless it is due later. One agent wins, the others get 409."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, AcceptBody)
    about = _about(agent, request_id_of(request, body), body.callback_id)
    return _told(await run_in_threadpool(service.desk.accept_callback, about))


@router.post("/api/callbacks/snooze", **described(CallbackAnswer, SnoozeBody, [404, 409], example=ABOUT))
async def snooze_callback(request: Request) -> Response:
    """Put the call off. It leaves the front at once, and the agent's hand if it is there."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, SnoozeBody)
    about = _about(agent, request_id_of(request, body), body.callback_id)
    return _told(await run_in_threadpool(service.desk.snooze_callback, about, body.minutes))


@router.post(
    "/api/callbacks/{callback_id}/cancel",
    **described(
        CallbackAnswer, CancelBody, [404, 409], example={"request_id": "7f6f", "reason": "agreed_otherwise"}
    ),
)
async def cancel_callback(request: Request, callback_id: CallbackId) -> Response:
    """The call is not to be made."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, CancelBody)
    about = _about(agent, request_id_of(request, body), callback_id)
    return _told(await run_in_threadpool(service.desk.cancel_callback, about, body.reason))


@router.get("/api/agents/{agent_id}/pending-callbacks", **described(PendingAnswer, refusals=[404, 422]))
async def list_pending_callbacks(request: Request, agent_id: AgentId) -> Response:
    """The calls that the agent accepted, or that are reserved for them, or that prefer them as yet."""
    service = service_of(request)
    demand_self_or_supervisor(await service.identify(request), agent_id)
    pending = await run_in_threadpool(service.desk.pending_callbacks, agent_id)
    return as_json({"callbacks": [_pending(item) for item in pending]})


@router.get("/api/debug/callback-monitoring", **described(MonitorAnswer, refusals=[422]))
async def tell_callback_health(request: Request, hours: Hours = 24) -> Response:
    """How promised calls were kept lately, for supervisors; docs/measures.md says what is counted."""
    service = service_of(request)
    demand_supervisor(await service.identify(request))
    health = await run_in_threadpool(service.desk.callback_health, timedelta(hours=hours))
    return as_json({"hours": hours, **_health(health)})


def _about(agent: Identity, request_id: str, callback_id: int) -> CallbackRequest:
    return CallbackRequest(agent.agent_id, request_id, callback_id, agent.role is Role.SUPERVISOR)


def _told(state: CallbackState) -> Response:
    times = {"due_at": utc(state.due_at), "call_after": utc(state.call_after)}
    return as_json({**vars(state), **times})


def _pending(item: PendingCallback) -> dict[str, Any]:
    return {
        "callback_id": item.id,
        "user_id": item.user_id,
        "queue_type": item.queue,
        "status": item.status,
        "due_at": utc(item.due_at),
        "call_after": utc(item.call_after),
        "is_raised": item.is_raised,
        "is_assigned": item.is_assigned,
    }


def _health(health: CallbackHealth) -> dict[str, Any]:
    by_name = {measure.name: measure for measure in health.measures}
    score, completed = by_name["inbound_calls_with_outcome"], by_name["completed_calls_with_outcome"]
    return {
        "since": utc(health.since),
        "until": utc(health.until),
        "health_score": None if score.share is None else round(100 * score.share, 1),
        "measures": [
            {**vars(measure), "share": measure.share, "level": measure.level} for measure in health.measures
        ],
        "alerts": list(map(str, health.alerts)),
        "completed_calls_without_outcome": completed.denominator - completed.numerator,
        "overdue": health.overdue,
        "overdue_since": utc(health.overdue_since),
    }
