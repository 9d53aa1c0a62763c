"""The next lead for an agent."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.http.bodies import as_json, read_body, request_id_of, utc
from leadq_dagster.desk.http.contract import described
from leadq_dagster.desk.http.service import service_of
from leadq_dagster.desk.http.shapes import TakeAnswer, TakeBody
from leadq_dagster.desk.terms import NoWork, Taken, TakeRequest
from leadq_dagster.store.assignments import Assignment
from leadq_dagster.store.standings import Standings

router = APIRouter(tags=["desk"])
EXAMPLE = {"request_id": "7f6f0b0e-take-1", "queue": "unsigned_users"}


@router.post("/api/queue/next", **described(TakeAnswer, TakeBody, [409], example=EXAMPLE))
async def take_next_lead(request: Request) -> Response:
    """The next lead: the one the agent holds already, else a promised call, else the first of the queues.

    The same request id brings the same lead. Without a lead, `no_work` says why.
    """
    service = service_of(request)
    agent = await service.identify(request)
    body = await read_body(request, TakeBody)
    asked = TakeRequest(agent.agent_id, request_id_of(request, body), body.queue)
    answer = await service.hand_over.wait_for(service.desk.submit_take(asked))
    service.meters.took(answer)
    return as_json(answer_of(answer))


def answer_of(answer: Taken | NoWork) -> dict[str, Any]:
    """The answer as `TakeAnswer` describes it."""
    if isinstance(answer, NoWork):
        no_work = {"reason": answer.reason, "standings": standings_of(answer.standings)}
        return {"assignment": None, "contact": None, "is_validated": False, "no_work": no_work}
    contact = answer.contact
    return {
        "assignment": _assignment_of(answer.assignment),
        "contact": contact
        and {
            "first_name": contact.first_name,
            "last_name": contact.last_name,
            "phone_number": contact.phone_number,
            "email_address": contact.email_address,
        },
        "is_validated": answer.is_validated,
        "no_work": None,
    }


def standings_of(standings: Standings) -> dict[str, Any]:
    """How all known users stand, as `StandingsShape` describes it."""
    return {
        **vars(standings),
        "counted_at": utc(standings.counted_at),
        "cooling_until": utc(standings.cooling_until),
    }


def _assignment_of(lead: Assignment) -> dict[str, Any]:
    callback = None
    if lead.callback_id is not None:
        callback = {"id": lead.callback_id, "due_at": utc(lead.callback_due_at)}
    return {
        "id": lead.id,
        "lease_token": lead.lease_token,
        "lease_expires_at": utc(lead.lease_expires_at),
        "assigned_at": utc(lead.assigned_at),
        "user_id": lead.user_id,
        "queue_type": lead.queue,
        "queue_reason": lead.queue_reason,
        "priority_score": lead.priority_score,
        "attempts": lead.attempts,
        "last_outcome": lead.last_outcome,
        "last_call_at": utc(lead.last_call_at),
        "callback": callback,
    }
