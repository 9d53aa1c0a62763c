"""Who asks: by the bearer token, of which only a hash is stored."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from leadq_dagster.desk.http.problems import ProblemError
from leadq_dagster.store import agents
from leadq_dagster.store.agents import Identity, Role
from leadq_dagster.store.connection import Store

# How long a token that was replaced may still be taken for good. Whoever is revoked is refused by the desk
# itself, at once: it looks at the agent in every transaction.
REMEMBERED_SECONDS = 5.0
REMEMBERED_MAX = 10_000


@dataclass
class Tokens:
    """Whose tokens these are; each is looked up at the store once in a few seconds."""

    store: Store
    seconds: Callable[[], float] = time.monotonic
    _remembered: dict[bytes, tuple[Identity, float]] = field(default_factory=dict, repr=False)

    async def identify(self, request: Request) -> Identity:
        """Who sent this request. Raises ProblemError 401 without a known token, 403 for a revoked one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("send your token: Authorization: Bearer …", "")
        hashed = agents.token_hash(token.strip())
        identity, expires = self._remembered.get(hashed, (None, 0.0))
        if identity is None or self.seconds() >= expires:
            identity = await run_in_threadpool(self._look_up, hashed)
        if identity is None:
            raise _unauthorized("this token is not known", ', error="invalid_token"')
        if not identity.is_active:
            raise ProblemError(HTTPStatus.FORBIDDEN, f"agent {identity.agent_id} is not active")
        return identity

    def _look_up(self, hashed: bytes) -> Identity | None:
        """Unknown tokens are not remembered: there is no end to them."""
        self._remembered.pop(hashed, None)
        with self.store.transaction() as cursor:
            identity = agents.by_token(cursor, hashed)
        if identity is not None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[hashed] = (identity, self.seconds() + REMEMBERED_SECONDS)
        return identity


def demand_self_or_supervisor(identity: Identity, agent_id: int) -> None:
    """Raises ProblemError 403 unless the agent of the path is who asks, or a supervisor asks."""
    if identity.agent_id != agent_id and identity.role is not Role.SUPERVISOR:
        raise ProblemError(
            HTTPStatus.FORBIDDEN, f"you are agent {identity.agent_id}: only supervisors act on others"
        )


def demand_supervisor(identity: Identity) -> None:
    """Raises ProblemError 403 unless a supervisor asks."""
    if identity.role is not Role.SUPERVISOR:
        raise ProblemError(HTTPStatus.FORBIDDEN, "this is for supervisors")


def _unauthorized(detail: str, more: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": f'Bearer realm="leadq"{more}'}
    )
