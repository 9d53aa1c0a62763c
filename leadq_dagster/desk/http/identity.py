"""Who asks: by the bearer token, of which only a hash is stored."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.requests import Request

from leadq_dagster.desk.combiner import Combiner
from leadq_dagster.desk.http.hand_over import HandOver
from leadq_dagster.desk.http.problems import ProblemError
from leadq_dagster.desk.retrying import retried
from leadq_dagster.store import agents
from leadq_dagster.store.agents import Identity, Role
from leadq_dagster.store.connection import Store

# How long an agent's token that was replaced may still be taken for good.
REMEMBERED_SECONDS = 5.0
REMEMBERED_MAX = 10_000


class Tokens:
    """Whose tokens these are; each is looked up at the store once in a few seconds.

    Those that are asked about at the same moment are looked up together: a statement for each of 64 agents
    who come back after a pause was most of what they waited for.
    """

    def __init__(
        self, store: Store, hand_over: HandOver, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._hand_over = hand_over
        self._seconds = seconds
        self._remembered: dict[bytes, tuple[Identity, float]] = {}
        # Any number of requests about one token are in a batch: no two have the same key.
        self._lookups: Combiner[bytes, Identity | None] = Combiner(
            self._look_up, lambda _: object(), "leadq-tokens", hand_over.bring
        )

    def close(self) -> None:
        """Answer what has been asked, then stop. The store is its opener's to close."""
        self._lookups.close()

    async def identify(self, request: Request) -> Identity:
        """Who sent this request. Raises ProblemError 401 without a known token, 403 for a revoked one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("send your token: Authorization: Bearer …", "")
        hashed = agents.token_hash(token.strip())
        identity, expires = self._remembered.get(hashed, (None, 0.0))
        if identity is None or self._seconds() >= expires:
            identity = await self._hand_over.wait_for(self._lookups.submit(hashed))
        if identity is None:
            raise _unauthorized("this token is not known", ', error="invalid_token"')
        if not identity.is_active:
            raise ProblemError(
                HTTPStatus.FORBIDDEN, f"agent {identity.agent_id} is revoked: a new token gives access again"
            )
        return identity

    def _look_up(self, hashes: Sequence[bytes]) -> list[Identity | None]:
        """Unknown tokens are not remembered: there is no end to them.

        Nor are supervisors': the desk looks at the agent in every transaction, not at who acts on the agent.
        """
        for hashed in hashes:
            self._remembered.pop(hashed, None)
        found = retried(lambda: self._found(hashes))
        if len(self._remembered) + len(found) > REMEMBERED_MAX:
            self._remembered.clear()
        expires = self._seconds() + REMEMBERED_SECONDS
        self._remembered |= {
            hashed: (identity, expires)
            for hashed, identity in found.items()
            if identity.role is not Role.SUPERVISOR
        }
        return [found.get(hashed) for hashed in hashes]

    def _found(self, hashes: Sequence[bytes]) -> dict[bytes, Identity]:
        with self._store.transaction() as cursor:
            return agents.by_tokens(cursor, hashes)


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
