"""What every route of the application shares: the desk, whose tokens are whose, and the counts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

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
DIFFERENCES_SECONDS = 30.0


@dataclass
class Kept(Generic[Told]):
    """An answer that is asked for anew once it is `lasts_seconds` old, by one thread at a time.

    A failure is an answer too: what takes a minute to fail is not asked for by everybody who waits for it.
    While one thread asks, the others are told the last answer; only where there is none yet they wait.
    """

    ask: Callable[[], Told]
    lasts_seconds: float
    seconds: Callable[[], float] = time.monotonic
    _answer: Callable[[], Told] | None = field(default=None, init=False)
    _expires: float = field(default=0.0, init=False)
    _asking: Lock = field(default_factory=Lock, init=False)

    def __call__(self) -> Told:
        """The answer. Raises what asking raised."""
        answer = self._answer
        if answer is None or self.seconds() >= self._expires:
            answer = self._asked(answer)
        return answer()

    def _asked(self, last: Callable[[], Told] | None) -> Callable[[], Told]:
        if last is not None and self._asking.locked():
            return last
        with self._asking:
            answer = self._answer
            if answer is None or self.seconds() >= self._expires:
                answer = self._answer = _outcome_of(self.ask)
                self._expires = self.seconds() + self.lasts_seconds
            return answer


def _outcome_of(ask: Callable[[], Told]) -> Callable[[], Told]:
    """What asking gave, to be given again: the answer, or the error raised."""
    try:
        told = ask()
    except LeadqError as error:
        kind, sentence = type(error), str(error)

        def fail() -> Told:
            raise kind(sentence)

        return fail
    return lambda: told


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
