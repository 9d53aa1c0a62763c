"""The application: the desk's routes, put together."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.http import callbacks, explaining, health, holding, page, presence, taking
from leadq_dagster.desk.http.contract import describe
from leadq_dagster.desk.http.problems import ProblemError, invalid_fields
from leadq_dagster.desk.http.quick import Quick
from leadq_dagster.desk.http.record import Recording, failed
from leadq_dagster.desk.http.service import Service
from leadq_dagster.domain.errors import LeadqError

ROUTERS = (
    taking.router,
    holding.router,
    presence.router,
    callbacks.router,
    explaining.router,
    health.router,
    page.router,
)


def create_app(
    desk: AssignmentDesk,
    differences: Callable[[], Sequence[str]] = list,
    close: Callable[[], None] | None = None,
) -> Recording:
    """The service on this desk.

    `differences` names what the store's schema has otherwise than the migrations give it. When the server
    stops, the requests in flight are finished and then `close` is called, by default the desk's.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.tokens.close)
        await run_in_threadpool(close or desk.close)

    # The interactive pages load their scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service = Service(desk, differences)
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = lambda: _described_once(app)  # type: ignore[method-assign]
    app.add_exception_handler(LeadqError, _answer)
    app.add_exception_handler(ProblemError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return Recording(Quick(app), service)


def _described_once(app: FastAPI) -> dict[str, object]:
    if app.openapi_schema is None:
        app.openapi_schema = describe(app)
    return app.openapi_schema


async def _answer(_: Request, error: Exception) -> Response:
    return failed(error)


async def _answer_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid_fields(error.errors()).response()
