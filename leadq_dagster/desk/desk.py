"""The assignment desk as its two doors use it, the HTTP service and Dagster: many threads, one object."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import Self, TypeVar, cast

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from leadq_dagster.desk.combiner import Combiner
from leadq_dagster.desk.gate import Gate, Source
from leadq_dagster.desk.holding import Expired, Holding, HoldRequest
from leadq_dagster.desk.look_ahead import LookAhead
from leadq_dagster.desk.no_work import StandingsCache
from leadq_dagster.desk.reporting import OutcomeAnswer, Reporting
from leadq_dagster.desk.taking import Again, TakeAnswer, Taking
from leadq_dagster.desk.terms import DeskTerms, NoWork, OutcomeRequest, Recorded, Taken, TakeRequest
from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.store.connection import Store

Request = TypeVar("Request")
Answer = TypeVar("Answer")

RETRIED_FOR_SECONDS = 5.0
# Each round judges up to 64 leads that no longer belong.
ROUNDS_MAX = 50
SWAMPED = "too many leads in front no longer belong: ask again"


class AssignmentDesk:
    """Hands each lead to exactly one agent and records what came of it. Close it, or use it with `with`.

    `now` is the time to go by, None for the store's. Every method raises TransientError when the store does
    not answer within seconds, and RefusedError or a kind of it for a request that cannot be met.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        terms: DeskTerms,
        now: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self.terms = terms
        self.store = store
        self.gate = Gate(source)
        self._now = now
        self._taking = Taking(store, self.gate, terms, StandingsCache(terms.rules.not_called_from))
        self._look_ahead = LookAhead(store, self.gate, terms)
        self._reporting = Reporting(store, self.gate, terms)
        self._holding = Holding(store, terms)
        self._takes: Combiner[TakeRequest, Taken | NoWork] = Combiner(
            self._serve_takes, lambda request: request.agent_id, "leadq-takes"
        )
        self._outcomes: Combiner[OutcomeRequest, Recorded] = Combiner(
            self._serve_outcomes, lambda request: request.agent_id, "leadq-outcomes"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what has been asked, then stop. The store is its opener's to close."""
        self._takes.close()
        self._outcomes.close()

    def submit_take(self, request: TakeRequest) -> "Future[Taken | NoWork]":
        """The next lead, to come."""
        return self._takes.submit(request)

    def take(self, request: TakeRequest) -> Taken | NoWork:
        """The next lead for an agent, or none and why."""
        return self.submit_take(request).result()

    def submit_outcome(self, request: OutcomeRequest) -> "Future[Recorded]":
        """What an outcome did, to come."""
        return self._outcomes.submit(request)

    def record_outcome(self, request: OutcomeRequest) -> Recorded:
        """Record how a call went. Raises ConflictError for a late one, whose call is recorded all the
        same."""
        return self.submit_outcome(request).result()

    def release(self, request: HoldRequest) -> datetime:
        """Give a lead back uncalled; when it may be handed out again."""
        return self._retried(lambda: self._holding.release(request, self._now()))

    def extend(self, request: HoldRequest, lease: timedelta | None = None) -> datetime:
        """Keep a lead longer; until when."""
        return self._retried(lambda: self._holding.extend(request, lease, self._now()))

    def expire(self) -> Expired:
        """Return the leads whose lease has ended."""
        return self._retried(lambda: self._holding.expire(self._now()))

    def _serve_takes(self, requests: Sequence[TakeRequest]) -> Sequence[Taken | NoWork | Exception]:
        answers: dict[int, TakeAnswer | Exception] = {}
        places = list(range(len(requests)))
        for _ in range(ROUNDS_MAX):
            got = self._together([requests[place] for place in places], self._taking.serve)
            answers |= {
                place: answer
                for place, answer in zip(places, got, strict=True)
                if not isinstance(answer, Again)
            }
            again = {
                place: answer for place, answer in zip(places, got, strict=True) if isinstance(answer, Again)
            }
            if not again:
                break
            places = list(again)
            for queue in sorted({answer.queue for answer in again.values()}):
                self._retried(partial(self._look_ahead.judge, queue, self._now()))
        return [answers.get(place, TransientError(SWAMPED)) for place in range(len(requests))]

    def _serve_outcomes(self, requests: Sequence[OutcomeRequest]) -> Sequence[Recorded | Exception]:
        return cast(list[OutcomeAnswer | Exception], self._together(requests, self._reporting.serve))

    def _together(
        self,
        requests: Sequence[Request],
        serve: Callable[[Sequence[Request], datetime | None], Sequence[Answer]],
    ) -> Sequence[Answer | Exception]:
        """Serve them in one go; where one of them breaks that, each by itself, so that it breaks its own
        only."""
        try:
            return self._retried(lambda: serve(requests, self._now()))
        except PermanentError as error:
            if len(requests) == 1:
                return [error]
        return [self._alone(request, serve) for request in requests]

    def _alone(
        self,
        request: Request,
        serve: Callable[[Sequence[Request], datetime | None], Sequence[Answer]],
    ) -> Answer | Exception:
        try:
            return self._retried(lambda: serve([request], self._now()))[0]
        except (PermanentError, TransientError) as error:
            return error

    def _retried(self, work: Callable[[], Answer]) -> Answer:
        """What another try can heal is tried again: a cut connection, a deadlock. Each try is all or
        nothing."""
        tries = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_delay(RETRIED_FOR_SECONDS),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            reraise=True,
        )
        return tries(work)
