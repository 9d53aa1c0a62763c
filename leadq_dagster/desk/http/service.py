"""What every route of the application shares: the desk, whose tokens are whose, and the counts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar, cast

from starlette.requests import Request

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.http.hand_over import HandOver
from leadq_dagster.desk.http.identity import Tokens
from leadq_dagster.desk.http.meters import Meters
from leadq_dagster.domain.errors import LeadqError
from leadq_dagster.store.agents import Identity
from leadq_dagster.store.levels import Levels

Told = TypeVar("Told")
LEVELS_SECONDS = 5.0
FAILURE_SECONDS = 1.0
DIFFERENCES_SECONDS = 30.0


@dataclass(frozen=True)
class _Given(Generic[Told]):
    """What asking gave, to be given again: the answer, or the failure that is raised."""

    expires: float
    answer: Told | None = None
    failure: LeadqError | None = None

    def __call__(self) -> Told:
        if self.failure is not None:
            raise type(self.failure)(str(self.failure))
        return cast(Told, self.answer)


@dataclass
class Kept(Generic[Told]):
    """An answer that is asked for anew once it is `lasts_seconds` old, by one thread at a time.

    A failure is given again too, for a moment: what takes a minute to fail is not asked for by each of those
    who waited for it. While one thread asks, the others are given the last answer; only where there is none
    yet they wait.
    """

    ask: Callable[[], Told]
    lasts_seconds: float
    seconds: Callable[[], float] = time.monotonic
    _given: _Given[Told] | None = field(default=None, init=False)
    _asking: Lock = field(default_factory=Lock, init=False)

    def __call__(self) -> Told:
        """The answer. Raises what asking raised."""
        given = self._given
        if given is not None and (self.seconds() < given.expires or self._asking.locked()):
            return given()
        with self._asking:
            if self._given is given or self._given is None:
                self._given = self._asked()
            return self._given()

    def _asked(self) -> _Given[Told]:
        try:
            answer = self.ask()
        except LeadqError as failure:
            return _Given(self.seconds() + FAILURE_SECONDS, failure=failure)
        return _Given(self.seconds() + self.lasts_seconds, answer)


class Service:
    """One running service on a desk. `differences` names what the store's schema has otherwise."""

    def __init__(self, desk: AssignmentDesk, differences: Callable[[], Sequence[str]]) -> None:
        self.desk = desk
        self.hand_over = HandOver()
        desk.after_batch = self.hand_over.bring
        self.tokens = Tokens(desk.store, self.hand_over)
        self.meters = Meters()
        self.levels: Kept[Levels] = Kept(desk.levels, LEVELS_SECONDS)
        self.differences: Kept[Sequence[str]] = Kept(differences, DIFFERENCES_SECONDS)

    async def identify(self, request: Request) -> Identity:
        """Who sent this request; raises ProblemError 401 or 403."""
        return await self.tokens.identify(request)


def service_of(request: Request) -> Service:
    """The service that this request came to."""
    service: Service = request.app.state.service
    return service
