"""The two requests of every call, served without the framework, which costs as much as all the rest of one.

FastAPI describes them and has routes of its own for them, behind these: they answer what is left, such as an
id in the path that is none.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from leadq_dagster.desk.http.holding import record_outcome
from leadq_dagster.desk.http.problems import ProblemError
from leadq_dagster.desk.http.record import failed
from leadq_dagster.desk.http.taking import take_next_lead
from leadq_dagster.domain.errors import LeadqError

# An id as it is written; not the last few that fit into a bigint, nor what only looks like an id.
OUTCOME_PATH = re.compile("/api/assignments/([1-9][0-9]{0,17})/outcome")


@dataclass(frozen=True)
class _Route:
    """What the log calls the request, as a route of FastAPI has it."""

    path_format: str


TAKE = _Route("/api/queue/next")
OUTCOME = _Route("/api/assignments/{assignment_id}/outcome")


class Quick:
    """Before the application: what it does not serve itself goes on."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope. Raises what is no refusal and no failure of leadq's."""
        serve = _served(scope)
        if serve is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        try:
            response = await serve(Request(scope, receive))
        except (LeadqError, ProblemError) as error:
            response = failed(error)
        await response(scope, receive, send)


def _served(scope: Scope) -> Callable[[Request], Awaitable[Response]] | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path = scope["path"]
    if path == TAKE.path_format:
        scope["route"] = TAKE
        return take_next_lead
    if found := OUTCOME_PATH.fullmatch(path):
        scope["route"] = OUTCOME
        return lambda request: record_outcome(request, int(found[1]))
    return None
