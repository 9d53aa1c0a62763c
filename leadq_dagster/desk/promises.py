"""What an outcome does to promised calls: the one that was kept, and the one that was just agreed."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest
from leadq_dagster.domain.outcomes import UNANSWERED
from leadq_dagster.store import callbacks
from leadq_dagster.store.assignments import Held
from leadq_dagster.store.callbacks import CallbackStatus, Closing, Promise
from leadq_dagster.store.outcomes import ReportedCall


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
    """A promised call that somebody answered is kept. Unanswered, it is tried again, or closed as not
    kept."""
    promised = [call.callback_id for call in calls if call.callback_id is not None]
    if not promised:
        return
    known = callbacks.lock(cursor, promised)
    closings, again = [], []
    for call in calls:
        callback = known.get(call.callback_id or 0)
        if callback is None:
            continue
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
