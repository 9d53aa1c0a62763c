"""The assignment desk as its two doors use it, the HTTP service and Dagster: many threads, one object."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import Self, TypeVar, cast

from leadq_dagster.desk.callback_terms import (
    SNOOZE_MINUTES,
    CallbackRequest,
    CallbackState,
    CancelReason,
    PromiseRequest,
)
from leadq_dagster.desk.callbacks import Callbacks
from leadq_dagster.desk.claiming import Claiming, Locked, Uncounted
from leadq_dagster.desk.combiner import Again, Combiner
from leadq_dagster.desk.gate import Gate, Source
from leadq_dagster.desk.holding import Expired, Holding, HoldRequest
from leadq_dagster.desk.look_ahead import LookAhead
from leadq_dagster.desk.no_work import StandingsCache
from leadq_dagster.desk.presence import Presence
from leadq_dagster.desk.refusals import demand_storable
from leadq_dagster.desk.reporting import OutcomeAnswer, Reporting
from leadq_dagster.desk.retrying import retried
from leadq_dagster.desk.routing import Routed, Routing
from leadq_dagster.desk.taking import Invalid, Taking
from leadq_dagster.desk.terms import DeskTerms, NoWork, OutcomeRequest, Recorded, Taken, TakeRequest
from leadq_dagster.domain.errors import TransientError
from leadq_dagster.store import assignments, levels
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster.store.callback_monitor import CallbackHealth
from leadq_dagster.store.callbacks import PendingCallback
from leadq_dagster.store.connection import Store
from leadq_dagster.store.levels import Levels

Request = TypeVar("Request")
Answer = TypeVar("Answer")

# Between two looks for a lead that others have locked.
LOCKED_PAUSE_SECONDS = 0.01
# Others are served while the standings are counted, which takes seconds where a million are known.
COUNTING_PAUSE_SECONDS = 0.1


class AssignmentDesk:
    """Hands each lead to exactly one agent and records what came of it. Close it, or use it with `with`.

    `now` is the time to go by, None for the store's. `after_batch` is called each time that requests which
    were submitted have their answers, from the thread that has them. Every method raises TransientError when
    the store does not answer within seconds, and RefusedError or a kind of it for a request that cannot be
    met.
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
        self.gate = Gate(source, terms.source_patience)
        self._now = now
        self._standings = StandingsCache(store, terms.rules.not_called_from)
        self._taking = Taking(store, self.gate, terms, Claiming(store, terms, self._standings))
        self._look_ahead = LookAhead(store, self.gate, terms)
        self._reporting = Reporting(store, self.gate, terms)
        self._holding = Holding(store, terms)
        self._callbacks = Callbacks(store, self.gate, terms)
        self._routing = Routing(store, self.gate, terms)
        self._presence = Presence(store)
        self.after_batch: Callable[[], None] = lambda: None
        self._in_the_way: list[Again] = []
        self._takes: Combiner[TakeRequest, Taken | NoWork] = Combiner(
            self._serve_takes, lambda request: request.agent_id, "leadq-takes", lambda: self.after_batch()
        )
        self._outcomes: Combiner[OutcomeRequest, Recorded] = Combiner(
            self._serve_outcomes,
            lambda request: request.agent_id,
            "leadq-outcomes",
            lambda: self.after_batch(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer what has been asked, then stop. The store is its opener's to close."""
        self._takes.close()
        self._outcomes.close()
        self.gate.close()

    def submit_take(self, request: TakeRequest) -> "Future[Taken | NoWork]":
        """The next lead, to come."""
        demand_storable(request.agent_id, None, request.request_id)
        return self._takes.submit(request)

    def take(self, request: TakeRequest) -> Taken | NoWork:
        """The next lead for an agent, or none and why."""
        return self.submit_take(request).result()

    def submit_outcome(self, request: OutcomeRequest) -> "Future[Recorded]":
        """What an outcome did, to come."""
        texts = (request.request_id, request.call_id, request.notes)
        demand_storable(request.agent_id, request.assignment_id, *texts)
        return self._outcomes.submit(request)

    def record_outcome(self, request: OutcomeRequest) -> Recorded:
        """Record how a call went. Raises ConflictError for a late one, whose call is recorded all the
        same."""
        return self.submit_outcome(request).result()

    def release(self, request: HoldRequest) -> datetime:
        """Give a lead back uncalled; when it may be handed out again."""
        demand_storable(request.agent_id, request.assignment_id, request.request_id)
        return retried(lambda: self._holding.release(request, self._now()))

    def extend(self, request: HoldRequest, lease: timedelta | None = None) -> datetime:
        """Keep a lead longer; until when."""
        demand_storable(request.agent_id, request.assignment_id, request.request_id)
        return retried(lambda: self._holding.extend(request, lease, self._now()))

    def expire(self) -> Expired:
        """Return the leads whose lease has ended."""
        return retried(lambda: self._holding.expire(self._now()))

    def set_status(self, agent_id: int, status: AgentStatus) -> AgentStatus:
        """An agent says what they do."""
        return retried(lambda: self._presence.set_status(agent_id, status, self._now()))

    def beat(self, agent_id: int) -> AgentStatus:
        """An agent is there; what they do, as the desk knows it."""
        return retried(lambda: self._presence.beat(agent_id, self._now()))

    def levels(self) -> Levels:
        """How full the queues are and how all known users stand; reads every known user."""

        def count() -> Levels:
            with self.store.transaction() as cursor:
                moment, _ = assignments.clock(cursor, self._now())
                return levels.count(cursor, moment, self.terms.rules.not_called_from)

        return retried(count)

    def route_callbacks(self) -> Routed:
        """Bring the promised calls that are near or overdue to the front, each for whom it should be."""
        return retried(lambda: self._routing.route(self._now()))

    def promise_callback(self, request: PromiseRequest) -> CallbackState:
        """Promise a user a call."""
        return retried(lambda: self._callbacks.promise(request, self._now()))

    def accept_callback(self, request: CallbackRequest) -> CallbackState:
        """Make a promised call one's own; one agent wins."""
        return retried(lambda: self._callbacks.accept(request, self._now()))

    def snooze_callback(self, request: CallbackRequest, minutes: int = SNOOZE_MINUTES) -> CallbackState:
        """Put a promised call off by so many minutes."""
        return retried(lambda: self._callbacks.snooze(request, minutes, self._now()))

    def cancel_callback(self, request: CallbackRequest, reason: CancelReason) -> CallbackState:
        """A promised call is not to be made."""
        return retried(lambda: self._callbacks.cancel(request, reason, self._now()))

    def pending_callbacks(self, agent_id: int) -> list[PendingCallback]:
        """The promised calls that are this agent's to make soon."""
        return retried(lambda: self._callbacks.pending(agent_id, self._now()))

    def callback_health(self, span: timedelta) -> CallbackHealth:
        """How promised calls were kept over the span up to now."""
        return retried(lambda: self._callbacks.health(span, self._now()))

    def _serve_takes(self, requests: Sequence[TakeRequest]) -> Sequence[Taken | NoWork | Exception | Again]:
        self._clear_the_way()
        answers = self._together(requests, self._taking.serve)
        self._in_the_way = [answer for answer in answers if isinstance(answer, Again)]
        return answers

    def _clear_the_way(self) -> None:
        """What kept requests of the last batch from an answer; those that got one did not wait for this."""
        in_the_way, self._in_the_way = self._in_the_way, []
        for queue in sorted({each.queue for each in in_the_way if isinstance(each, Invalid)}):
            retried(partial(self._look_ahead.judge, queue, self._now()))
        if any(isinstance(each, Uncounted) for each in in_the_way):
            self._standings.wait(COUNTING_PAUSE_SECONDS)
        if any(isinstance(each, Locked) for each in in_the_way):
            time.sleep(LOCKED_PAUSE_SECONDS)

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
            return retried(lambda: serve(requests, self._now()))
        except TransientError:
            raise
        except Exception:  # noqa: BLE001  whatever it is, it is to be that one's alone
            return [self._alone(request, serve) for request in requests]

    def _alone(
        self,
        request: Request,
        serve: Callable[[Sequence[Request], datetime | None], Sequence[Answer]],
    ) -> Answer | Exception:
        try:
            return retried(lambda: serve([request], self._now()))[0]
        except Exception as error:  # noqa: BLE001  given to who asked
            return error
