"""Promised calls: what an outcome does to them, and how a user whom one is due to comes into a queue."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.look_ahead import moves_of
from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.outcomes import UNANSWERED
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import (
    KEEPS_A_PROMISE,
    QueueDecision,
    QueueType,
    Reason,
    decide_queue,
)
from leadq_dagster.store import callbacks, queue, routing
from leadq_dagster.store.callbacks import CallbackStatus, Closing, Promise
from leadq_dagster.store.holds import Held
from leadq_dagster.store.outcomes import ReportedCall
from leadq_dagster.store.routing import LockedStay

BY_PROMISE: Final = Provenance("callback", None, Source.PRE_CALL_VALIDATION)
PROMISED: Final = QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PROMISED_CALL)
ENDED: Final = QueueDecision(None, Reason.PROMISE_ENDED)


def promises_of(reports: Iterable[tuple[OutcomeRequest, Held]]) -> list[Promise]:
    """The calls that these outcomes agreed on, preferably by the agent who agreed."""
    return [
        Promise(held.user_id, held.queue, request.callback_at, request.agent_id, held.id)
        for request, held in reports
        if request.callback_at is not None
    ]


def settle_callbacks(
    cursor: Cursor[TupleRow], calls: Sequence[ReportedCall], terms: DeskTerms, now: datetime
) -> None:
    """A promised call that was answered is kept, however late it is told, but where another agent has it.

    Unanswered, and told in time, it is tried again, or closed as not kept.
    """
    promised = [call.callback_id for call in calls if call.callback_id is not None]
    if not promised:
        return
    stays = routing.lock_stays(cursor, sorted({call.user_id for call in calls if call.callback_id}))
    known = callbacks.lock(cursor, promised)
    closings, again = [], []
    for call in calls:
        callback = known.get(call.callback_id or 0)
        if callback is None:
            continue
        # Who left the queue during the call, or was told late, may have been put in front again for it.
        stay = stays.get(call.user_id)
        is_raised = stay is not None and stay.callback_id == callback.id
        if stay is not None and is_raised and (call.is_late or stay.id != call.stay_id):
            if stay.is_assigned:
                continue
            lower(cursor, stay, None, now)
        if call.outcome not in UNANSWERED:
            closings.append(Closing(callback.id, CallbackStatus.COMPLETED, call.outcome))
        elif callback.attempts < terms.callback_retries_max:
            again.append(callback.id)
        else:
            closings.append(Closing(callback.id, CallbackStatus.CANCELLED, f"not kept: {call.outcome}"))
    if closings:
        callbacks.close(cursor, closings, now)
    if again:
        callbacks.retry(cursor, again, now + terms.callback_retry, now)


@dataclass(frozen=True)
class Admitted:
    """Users to be called as promised, locked: their live stays, who may not be called and why, and whom the
    source does not show.

    Who is in none of them is being moved by others on later knowledge.
    """

    stays: Mapping[int, LockedStay]
    barred: Mapping[int, str] = field(default_factory=dict)
    unknown: Set[int] = frozenset()


def admit(
    cursor: Cursor[TupleRow],
    user_ids: Iterable[int],
    leads: Mapping[int, SourceLead] | None,
    now: datetime,
    seen_at: datetime,
) -> Admitted:
    """Bring these users to where they belong by the source's facts, and into a queue as promised.

    Who owes nothing any more is called all the same, in `outstanding_requests`; who is suppressed, disabled
    or cancelled is not. `leads` None: the source could not be asked, and whoever has no stay gets one: before
    the call it is asked again. Who is with an agent stays there.
    """
    users = routing.lock_users(cursor, sorted(set(user_ids)))
    barred = {user.user_id: user.suppressed_reason for user in users.values() if user.suppressed_reason}
    callable_ids = [user_id for user_id in users if user_id not in barred]
    shown = [leads[user_id] for user_id in callable_ids if leads and user_id in leads]
    moved = queue.move_users(cursor, moves_of(shown), BY_PROMISE, now, seen_at=seen_at, spare_assigned=True)
    stays = routing.lock_stays(cursor, callable_ids)
    without = [user_id for user_id in callable_ids if user_id not in stays]
    reasons = {lead.facts.user.user_id: decide_queue(lead.facts).reason for lead in shown}
    unknown = set() if leads is None else {user_id for user_id in without if user_id not in reasons}
    owed = [
        user_id
        for user_id in without
        if user_id not in moved.overtaken and (leads is None or reasons.get(user_id) in KEEPS_A_PROMISE)
    ]
    barred |= {
        user_id: reasons[user_id]
        for user_id in without
        if user_id in reasons and user_id not in moved.overtaken and reasons[user_id] not in KEEPS_A_PROMISE
    }
    if owed:
        moves = [queue.Move(user_id, PROMISED) for user_id in owed]
        queue.move_users(cursor, moves, BY_PROMISE, now, seen_at=seen_at)
        stays |= routing.lock_stays(cursor, owed)
    return Admitted(stays, barred, unknown)


def lower(cursor: Cursor[TupleRow], stay: LockedStay, not_before: datetime | None, now: datetime) -> None:
    """Take a waiting stay from the front: to the lead's own place, or, for a promised call only, out of the
    queue."""
    if stay.queue_reason != Reason.PROMISED_CALL:
        routing.lower_stays(cursor, {stay.user_id: not_before}, now)
        return
    # What is done to a promise with its user locked is later than whatever moved them before.
    seen_at = routing.latest(cursor, stay.user_id)
    queue.move_users(cursor, [queue.Move(stay.user_id, ENDED)], BY_PROMISE, now, seen_at=seen_at)
