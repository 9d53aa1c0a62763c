"""The two requests of every call, served without FastAPI's own handling, which costs a quarter of a request.

FastAPI describes them and has routes of its own for them, behind these: they answer what is left, an id in
the path that is none.
"""

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from leadq_dagster.desk.http.holding import record_outcome
from leadq_dagster.desk.http.taking import take_next_lead


class _Id(Convertor[int]):
    """An id as it is written; not the last few that fit into a bigint, nor what looks like none."""

    regex = "[1-9][0-9]{0,17}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("id", _Id())


class _QuickRoute(Route):
    """A route that is written down as FastAPI's are: by its template."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        child_scope["route"] = self
        return match, child_scope


async def _record_outcome(request: Request) -> Response:
    return await record_outcome(request, request.path_params["assignment_id"])


ROUTES = (
    _QuickRoute("/api/queue/next", take_next_lead, methods=["POST"], include_in_schema=False),
    _QuickRoute(
        "/api/assignments/{assignment_id:id}/outcome",
        _record_outcome,
        methods=["POST"],
        include_in_schema=False,
    ),
)
