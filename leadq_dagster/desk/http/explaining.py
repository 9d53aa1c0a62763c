"""Why a lead is, or is not, in the queue."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import RootModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.explain import Explanation, explain, plain
from leadq_dagster.desk.http.bodies import BIGINT_MAX, as_json
from leadq_dagster.desk.http.contract import described
from leadq_dagster.desk.http.service import service_of

router = APIRouter(prefix="/api/leads", tags=["leads"])
UserId = Annotated[int, Path(ge=1, le=BIGINT_MAX, description="The user's id at the source.")]


class ExplainAnswer(RootModel[Explanation]):
    """Why a user is where they are, and how that came to be."""


@router.get("/{user_id}/explain", **described(ExplainAnswer, None, [404, 422]))
async def explain_lead(request: Request, user_id: UserId) -> Response:
    """Why a user is, or is not, in a queue. An agent may ask about users who are or were theirs to call."""
    service = service_of(request)
    asker = await service.identify(request)
    desk = service.desk
    ask = partial(explain, store=desk.store, gate=desk.gate, rules=desk.terms.rules, asker=asker)
    return as_json(plain(await run_in_threadpool(ask, user_id)))
