"""What agents do with promised calls: promise, accept, snooze, cancel, and see which are theirs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk import told
from leadq_dagster.desk.callback_ownership import Locked, demand_own, take_down, why_not_accepted
from leadq_dagster.desk.callback_terms import (
    NEAR,
    PENDING_MAX,
    SNOOZE_MINUTES,
    SNOOZE_MINUTES_MAX,
    CallbackRequest,
    CallbackState,
    CancelReason,
    PromiseRequest,
    content,
    state_from,
)
from leadq_dagster.desk.gate import Gate
from leadq_dagster.desk.promises import PROMISED, admit
from leadq_dagster.desk.refusals import refusal_of_agent
from leadq_dagster.desk.terms import DeskTerms
from leadq_dagster.domain.callback_routing import Decision
from leadq_dagster.domain.errors import ConflictError, ForbiddenError, NotFoundError, RefusedError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.store import agents, answers, assignments, callback_monitor, callbacks, routing
from leadq_dagster.store.agents import Agent, AgentStatus
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.assignments import EndReason
from leadq_dagster.store.callback_monitor import CallbackHealth
from leadq_dagster.store.callbacks import CallbackStatus, PendingCallback, Promise
from leadq_dagster.store.connection import Store

OPEN = (CallbackStatus.PENDING, CallbackStatus.ACCEPTED)


Act = Callable[[Cursor[TupleRow], Locked, datetime], CallbackState]
Asked = Callable[[Cursor[TupleRow], Agent, datetime], CallbackState]


@dataclass
class Callbacks:
    """Promised calls in the hands of agents. Each request is one transaction, and its id is answered once."""

    store: Store
    gate: Gate
    terms: DeskTerms

    def promise(self, request: PromiseRequest, now: datetime | None = None) -> CallbackState:
        """Promise a call. The same user and time again is the same callback.

        Raises NotFoundError for an unknown user or preferred agent, ConflictError for who may not be called,
        RefusedError for a time that is past, too far away or without a zone.
        """

        def promise(cursor: Cursor[TupleRow], _: Agent, moment: datetime) -> CallbackState:
            preferred = request.preferred_agent_id
            if preferred is not None and not callbacks.has_agent(cursor, preferred):
                raise NotFoundError(f"there is no agent {preferred}")
            user = routing.lock_users(cursor, [request.user_id]).get(request.user_id)
            if user is None:
                raise NotFoundError(f"there is no user {request.user_id}")
            if user.suppressed_reason:
                raise ConflictError(f"user {request.user_id} is not called: {user.suppressed_reason}")
            if not moment < request.due_at <= moment + self.terms.promise_reach:
                raise RefusedError(
                    f"due_at is to be after now and at most {self.terms.promise_reach.days} days ahead"
                )
            stay = routing.lock_stays(cursor, [user.user_id]).get(user.user_id)
            queue = stay.queue if stay else PROMISED.queue
            assert queue is not None
            promised = Promise(user.user_id, queue, request.due_at, preferred)
            [callback_id] = callbacks.promise(cursor, [promised], moment).values()
            callback = callbacks.lock(cursor, [callback_id])[callback_id]
            return CallbackState.of(callback, is_raised=bool(stay and stay.callback_id == callback_id))

        if request.due_at.tzinfo is None:
            raise RefusedError("due_at needs a time zone")
        due_at, preferred_agent_id = request.due_at.isoformat(), request.preferred_agent_id
        what = f"callback to user {request.user_id} at {due_at}, preferring {preferred_agent_id}"
        return self._answered(request, what, promise, now)

    def accept(self, request: CallbackRequest, now: datetime | None = None) -> CallbackState:
        """The call is this agent's, and the first they are served; callable now if it is near.

        One agent wins. Raises ConflictError for the others, for a callback that is closed, for a user who is
        with an agent or may not be called (then it is cancelled), and ForbiddenError for a foreign queue.
        """
        leads, seen_at = self._ask(request.callback_id)

        def accept(cursor: Cursor[TupleRow], locked: Locked, moment: datetime) -> CallbackState:
            callback, stay = locked.callback, locked.stay
            if callback.accepted_by_agent_id == request.agent_id:
                return locked.state
            if problem := why_not_accepted(request, locked):
                locked.lost_by(request.agent_id)
                raise ConflictError(problem)
            is_near = callback.call_after <= moment + NEAR
            if is_near and not (stay and stay.is_assigned):
                admitted = admit(cursor, [callback.user_id], leads, moment, seen_at)
                if reason := admitted.barred.get(callback.user_id):
                    callbacks.cancel(cursor, {callback.id: reason}, moment)
                    return locked.state.cancelled()
                stay = admitted.stays.get(callback.user_id)
            if stay and stay.queue not in locked.agent.queues:
                raise ForbiddenError(f"agent {request.agent_id} does not serve the queue {stay.queue}")
            raised = stay if is_near else None
            callbacks.accept(cursor, callback.id, request.agent_id, raised.id if raised else None, moment)
            routing.notify(cursor, [(callback.id, request.agent_id, Decision.ACCEPTED)], moment)
            return replace(
                locked.state,
                status=CallbackStatus.ACCEPTED,
                accepted_by_agent_id=request.agent_id,
                is_raised=raised is not None,
            )

        state = self._once(request, f"accept callback {request.callback_id}", accept, now)
        if state.status is CallbackStatus.CANCELLED:
            raise ConflictError("the user may not be called any more: the callback is cancelled")
        return state

    def snooze(
        self, request: CallbackRequest, minutes: int = SNOOZE_MINUTES, now: datetime | None = None
    ) -> CallbackState:
        """Call later by so many minutes from now; until then the callback is nobody's and not in front.

        Raises RefusedError for minutes out of bounds, ForbiddenError for another agent's callback, and
        ConflictError for one that is closed or with another agent.
        """
        if not 1 <= minutes <= SNOOZE_MINUTES_MAX:
            raise RefusedError(f"a callback is snoozed for 1 to {SNOOZE_MINUTES_MAX} minutes")

        def snooze(cursor: Cursor[TupleRow], locked: Locked, moment: datetime) -> CallbackState:
            demand_own(request, locked)
            # Put off, it comes later: never before the promised time.
            call_after = max(moment + timedelta(minutes=minutes), locked.callback.due_at)
            take_down(cursor, locked, EndReason.SNOOZED, call_after, moment)
            callbacks.snooze(cursor, locked.callback.id, call_after, moment)
            routing.notify(cursor, [(locked.callback.id, request.agent_id, Decision.SNOOZED)], moment)
            return locked.state.pending(call_after)

        what = f"snooze callback {request.callback_id} by {minutes} minutes"
        return self._once(request, what, snooze, now)

    def cancel(
        self, request: CallbackRequest, reason: CancelReason, now: datetime | None = None
    ) -> CallbackState:
        """The call is not to be made. Raises as `snooze` does."""

        def cancel(cursor: Cursor[TupleRow], locked: Locked, moment: datetime) -> CallbackState:
            demand_own(request, locked)
            take_down(cursor, locked, EndReason.CANCELLED, None, moment)
            callbacks.cancel(cursor, {locked.callback.id: f"cancelled by an agent: {reason}"}, moment)
            return locked.state.cancelled()

        return self._once(request, f"cancel callback {request.callback_id}: {reason}", cancel, now)

    def pending(self, agent_id: int, now: datetime | None = None) -> list[PendingCallback]:
        """The agent's calls that are due within ten minutes or overdue, the oldest first, at most a hundred.

        Raises NotFoundError for an unknown agent.
        """
        with self.store.transaction() as cursor:
            if not agents.lock(cursor, [agent_id]):
                raise NotFoundError(f"there is no agent {agent_id}")
            moment, _ = assignments.clock(cursor, now)
            return callbacks.pending_of(cursor, agent_id, moment + NEAR, PENDING_MAX)

    def health(self, span: timedelta, now: datetime | None = None) -> CallbackHealth:
        """How promised calls were kept over the span up to now."""
        with self.store.transaction() as cursor:
            moment, _ = assignments.clock(cursor, now)
            return callback_monitor.measure(cursor, moment - span, moment)

    def _ask(self, callback_id: int) -> tuple[Mapping[int, SourceLead] | None, datetime]:
        """The source's facts about the callback's user, and since when they are known."""
        with self.store.transaction() as cursor:
            _, seen_at = assignments.clock(cursor, None)
            callback = callbacks.find(cursor, callback_id)
        return (self.gate.ask([callback.user_id]) if callback else {}), seen_at

    def _once(self, request: CallbackRequest, what: str, act: Act, now: datetime | None) -> CallbackState:
        """Act on the callback while it is open, with everything about it locked."""

        def on_callback(cursor: Cursor[TupleRow], agent: Agent, moment: datetime) -> CallbackState:
            found = callbacks.find(cursor, request.callback_id)
            if found is None:
                raise NotFoundError(f"there is no callback {request.callback_id}")
            routing.lock_users(cursor, [found.user_id])
            stay = routing.lock_stays(cursor, [found.user_id]).get(found.user_id)
            callback = callbacks.lock(cursor, [found.id])[found.id]
            if callback.status not in OPEN:
                raise ConflictError(f"the callback is {callback.status} already")
            return act(cursor, Locked(agent, callback, stay), moment)

        return self._answered(request, what, on_callback, now)

    def _answered(
        self, request: CallbackRequest | PromiseRequest, what: str, act: Asked, now: datetime | None
    ) -> CallbackState:
        """Act for the agent, or repeat the answer that the request got before."""
        with self.store.transaction() as cursor:
            agent = agents.lock(cursor, [request.agent_id]).get(request.agent_id)
            if answer := told.before(cursor, request.agent_id, request.request_id, what):
                return state_from(answer.content)
            if refusal := refusal_of_agent(request.agent_id, agent):
                raise refusal
            assert agent is not None
            moment, _ = assignments.clock(cursor, now)
            state = act(cursor, agent, moment)
            is_online = agent.status is not AgentStatus.OFFLINE
            agents.beat(cursor, request.agent_id, moment, is_online=is_online)
            kept = Answer(request.agent_id, request.request_id, what, content(state))
            answers.keep(cursor, [kept], moment)
            return state
