"""Whether the service lives and can work, what it counts, and how full the queues are."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.http.bodies import as_json, utc
from leadq_dagster.desk.http.contract import described
from leadq_dagster.desk.http.service import Service, service_of
from leadq_dagster.desk.http.shapes import HealthAnswer, LevelsAnswer
from leadq_dagster.desk.http.taking import standings_of
from leadq_dagster.domain.errors import LeadqError
from leadq_dagster.store import assignments
from leadq_dagster.store.standings import Standings

router = APIRouter(tags=["health"])
NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": HealthAnswer, "description": "Not ready, and why."}
}
IN_A_QUEUE = ("waiting", "cooling", "promised", "too_high", "assigned")


@router.get("/health/live", responses={200: {"model": HealthAnswer}})
async def tell_life() -> Response:
    """The process answers. Asks nothing else: a store that is down is no reason to restart the service."""
    return as_json({"status": "ok", "reasons": []})


@router.get("/health/ready", responses={200: {"model": HealthAnswer}, **NOT_READY})
async def tell_readiness(request: Request) -> Response:
    """Whether requests can be served: the store answers, and its schema is what the migrations give."""
    reasons = await run_in_threadpool(_reasons, service_of(request))
    return as_json({"status": "not ready" if reasons else "ok", "reasons": reasons}, 503 if reasons else 200)


@router.get("/metrics", responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}})
async def tell_counts(request: Request) -> Response:
    """The service's counts in Prometheus' text format."""
    text = await run_in_threadpool(service_of(request).meters.text)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/api/health/queues", **described(LevelsAnswer))
async def tell_levels(request: Request) -> Response:
    """How full the queues are, and how all known users stand; counted at most every few seconds."""
    service = service_of(request)
    await service.identify(request)
    levels = await run_in_threadpool(service.levels)
    queues = {queue: _in_queue(standings) for queue, standings in levels.by_queue.items()}
    return as_json({"standings": standings_of(levels.of_all), "queues": queues})


def _in_queue(standings: Standings) -> dict[str, Any]:
    counts = {name: getattr(standings, name) for name in IN_A_QUEUE}
    return {**counts, "cooling_until": utc(standings.cooling_until)}


def _reasons(service: Service) -> list[str]:
    """Why the service is not ready; without hosts or tables, which the log has."""
    try:
        with service.desk.store.transaction() as cursor:
            assignments.clock(cursor, None)
        return ["the store's schema is not what the migrations give"] if service.differences() else []
    except LeadqError:
        return ["the store does not answer"]
