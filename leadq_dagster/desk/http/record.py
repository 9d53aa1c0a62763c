"""One line in the log and one observation in the metrics for each request, without anybody's data in them."""

import time
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leadq_dagster.desk.http.problems import problem_of
from leadq_dagster.desk.http.service import Service
from leadq_dagster.domain.errors import LeadqError, PermanentError, TransientError

log = structlog.get_logger("leadq.http")
NO_ROUTE = "none"


class Recording:
    """Middleware around everything: writes requests down, and answers what nobody else answered.

    The path is not written down, only its template: anything may stand in a path.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except ClientDisconnect:
            # Nobody is there to be answered, and nothing is wrong with the desk.
            log.info("gone", method=scope["method"], route=_template(scope))
            return
        except Exception as error:  # noqa: BLE001  whatever it is, it is told without what it says of people
            note_defect(error)
            if not status:
                await problem_of(error).response()(scope, receive, send_and_note)
        seconds = time.perf_counter() - started
        route = _template(scope)
        self.service.meters.answered(route, status, seconds)
        log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))


def note_defect(error: Exception) -> None:
    """Where something unforeseen happened and of what kind; not its words, which may quote a row."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
    log.error("defect", kind=type(error).__name__, where=where)


def failed(error: Exception) -> Response:
    """The answer to a request that could not be served, or not as it was asked; noted where it is ours."""
    if isinstance(error, TransientError | PermanentError):
        note_failure(error)
    return problem_of(error).response()


def note_failure(error: LeadqError) -> None:
    """Why the store or the source failed: leadq's own words, for the operator and not for who asked."""
    log.warning("failure", kind=type(error).__name__, reason=str(error))


def _template(scope: MutableMapping[str, Any]) -> str:
    route = scope.get("route")
    return getattr(route, "path_format", NO_ROUTE)
