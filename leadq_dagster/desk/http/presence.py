"""What agents do: their status, and that they are there."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.http.bodies import BIGINT_MAX, as_json, read_body
from leadq_dagster.desk.http.contract import described
from leadq_dagster.desk.http.identity import demand_self_or_supervisor
from leadq_dagster.desk.http.service import service_of
from leadq_dagster.desk.http.shapes import MeAnswer, PresenceAnswer, StatusBody

router = APIRouter(prefix="/api/agents", tags=["agents"])
AgentId = Annotated[
    int, Path(ge=1, le=BIGINT_MAX, description="The agent; another than oneself: supervisors.")
]


@router.get("/me", **described(MeAnswer))
async def tell_who_i_am(request: Request) -> Response:
    """Whom the token belongs to."""
    identity = await service_of(request).identify(request)
    return as_json({"agent_id": identity.agent_id, "name": identity.name, "role": identity.role})


@router.put("/{agent_id}/status", **described(PresenceAnswer, StatusBody, [404], example={"status": "break"}))
async def set_status(request: Request, agent_id: AgentId) -> Response:
    """Say what the agent does. A take or an extension makes who holds a lead on_call, whatever was said; the
    outcome makes them available again, unless they said break meanwhile."""
    service = service_of(request)
    demand_self_or_supervisor(await service.identify(request), agent_id)
    body = await read_body(request, StatusBody)
    status = await run_in_threadpool(service.desk.set_status, agent_id, body.status)
    return as_json({"agent_id": agent_id, "status": status})


@router.post("/{agent_id}/heartbeat", **described(PresenceAnswer, refusals=[404, 422]))
async def beat(request: Request, agent_id: AgentId) -> Response:
    """A sign of life, every half a minute or so. It changes no status: the answer says which it is."""
    service = service_of(request)
    demand_self_or_supervisor(await service.identify(request), agent_id)
    status = await run_in_threadpool(service.desk.beat, agent_id)
    return as_json({"agent_id": agent_id, "status": status})
