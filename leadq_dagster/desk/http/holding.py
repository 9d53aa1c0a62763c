"""What an agent does with a lead in hand: report the call, give it back, keep it longer."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.holding import HoldRequest
from leadq_dagster.desk.http.bodies import BIGINT_MAX, as_json, read_body, request_id_of, utc
from leadq_dagster.desk.http.contract import described
from leadq_dagster.desk.http.service import service_of
from leadq_dagster.desk.http.shapes import (
    ExtendAnswer,
    ExtendBody,
    HoldBody,
    OutcomeAnswer,
    OutcomeBody,
    ReleaseAnswer,
)
from leadq_dagster.desk.terms import OutcomeRequest

router = APIRouter(prefix="/api/assignments", tags=["desk"])
AssignmentId = Annotated[int, Path(ge=1, le=BIGINT_MAX, description="As it came with the lead.")]
OUTCOME = {
    "request_id": "7f6f0b0e-outcome-1",
    "lease_token": 3,
    "outcome": "call_back",
    "callback_at": "2026-11-20T15:30:00+00:00",
    "talk_time_seconds": 95,
}
HOLD = {"request_id": "7f6f0b0e-hold-1", "lease_token": 3}


@router.post("/{assignment_id}/outcome", **described(OutcomeAnswer, OutcomeBody, [404, 409], example=OUTCOME))
async def record_outcome(request: Request, assignment_id: AssignmentId) -> Response:
    """Report how the call went. After the lease (409) the call is recorded; the lead is not moved by it."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, OutcomeBody)
    reported = OutcomeRequest(
        agent_id=agent.agent_id,
        request_id=request_id_of(request, body),
        assignment_id=assignment_id,
        lease_token=body.lease_token,
        outcome=body.outcome,
        callback_at=body.callback_at,
        call_id=body.call_id,
        started_at=body.started_at,
        talk_time_seconds=body.talk_time_seconds,
        notes=body.notes,
    )
    recorded = await service.hand_over.wait_for(service.desk.submit_outcome(reported))
    service.meters.recorded(body.outcome)
    return as_json(
        {
            "assignment_id": recorded.assignment_id,
            "lead": recorded.lead,
            "next_call_after": utc(recorded.next_call_after),
            "callback_id": recorded.callback_id,
        }
    )


@router.post("/{assignment_id}/release", **described(ReleaseAnswer, HoldBody, [404, 409], example=HOLD))
async def release_lead(request: Request, assignment_id: AssignmentId) -> Response:
    """Give the lead back uncalled. It comes again later, to anybody."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, HoldBody)
    hold = HoldRequest(agent.agent_id, request_id_of(request, body), assignment_id, body.lease_token)
    available_from = await run_in_threadpool(service.desk.release, hold)
    return as_json({"assignment_id": assignment_id, "available_from": utc(available_from)})


@router.post("/{assignment_id}/extend", **described(ExtendAnswer, ExtendBody, [404, 409], example=HOLD))
async def extend_lease(request: Request, assignment_id: AssignmentId) -> Response:
    """Keep the lead longer."""
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, ExtendBody)
    hold = HoldRequest(agent.agent_id, request_id_of(request, body), assignment_id, body.lease_token)
    lease = timedelta(seconds=body.lease_seconds) if body.lease_seconds else None
    until = await run_in_threadpool(service.desk.extend, hold, lease)
    return as_json({"assignment_id": assignment_id, "lease_expires_at": utc(until)})
