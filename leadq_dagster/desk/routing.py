"""Routing promised calls: each minute whatever is near or overdue goes to the front, for whom it should be.

Pages of callbacks, each read in one transaction, asked about at the source in none, and routed in another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.gate import Gate
from leadq_dagster.desk.log import routing_failed
from leadq_dagster.desk.promises import admit
from leadq_dagster.desk.terms import DeskTerms
from leadq_dagster.domain.callback_routing import (
    REACH,
    Crew,
    Decision,
    DueCallback,
    decide_routes,
    is_to_be_routed,
)
from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.store import assignments, callbacks, routing
from leadq_dagster.store.connection import Store

PAGE_ROWS = 500


@dataclass(frozen=True)
class Routed:
    """The counts of one look: processed = routed + cancelled + postponed + errors.

    `routed`: put in front, or given to somebody else there. `notified`: those of them that are for an agent,
    who is told. `cancelled`: to users who may not be called. `postponed`: others were at work on the user.
    `errors`: could not be routed, each for a reason of its own.
    """

    processed: int = 0
    notified: int = 0
    routed: int = 0
    cancelled: int = 0
    postponed: int = 0
    errors: int = 0

    def __add__(self, other: "Routed") -> "Routed":
        return Routed(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    @property
    def is_balanced(self) -> bool:
        """Whether every callback is accounted for."""
        return (
            self.processed == self.routed + self.cancelled + self.postponed + self.errors
            and self.notified <= self.routed
        )


@dataclass(frozen=True)
class Look:
    """What one page showed: the callbacks to be routed, as of when."""

    now: datetime
    seen_at: datetime
    callbacks: Sequence[DueCallback]


@dataclass
class Routing:
    """Brings promised calls to the front of the queue, one look at a time. Looking twice is harmless."""

    store: Store
    gate: Gate
    terms: DeskTerms
    page_rows: int = field(default=PAGE_ROWS)

    def route(self, now: datetime | None = None) -> Routed:
        """Route whatever is due; what it came to.

        A callback that cannot be routed is counted and does not stop the others. Raises TransientError when
        the store does not answer.
        """
        done = Routed()
        for look in due_pages(self.store, self.terms, now, self.page_rows):
            if look.callbacks:
                leads = self.gate.ask(list({callback.user_id for callback in look.callbacks}))
                done += self._route(look, leads)
        if not done.is_balanced:
            raise PermanentError(f"the tally does not balance: {done}")
        return done

    def _route(self, look: Look, leads: dict[int, SourceLead] | None) -> Routed:
        """Route the page in one go; where something in it breaks that, each half by itself."""
        try:
            return self._together(look, leads)
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001  whatever one of them breaks must not stop the others
            if len(look.callbacks) == 1:
                return self._failed(look, error)
        middle = len(look.callbacks) // 2
        halves = (look.callbacks[:middle], look.callbacks[middle:])
        return sum((self._route(Look(look.now, look.seen_at, half), leads) for half in halves), Routed())

    def _together(self, look: Look, leads: dict[int, SourceLead] | None) -> Routed:
        user_ids = [callback.user_id for callback in look.callbacks]
        with self.store.transaction() as cursor:
            free = routing.lock_free_users(cursor, user_ids)
            admitted = admit(cursor, free, leads, look.now, look.seen_at)
            ids = [callback.id for callback in look.callbacks if callback.user_id in free]
            callbacks.lock(cursor, ids)
            due = routing.due_of(cursor, ids, look.now + REACH)
            crew = crew_at(cursor, self.terms, look.now)
            barred = {
                item.id: admitted.barred[item.user_id] for item in due if item.user_id in admitted.barred
            }
            lost = [item.id for item in due if item.user_id in admitted.unknown]
            routes = decide_routes([item for item in due if item.id not in barred], crew, look.now)
            if routes:
                routing.raise_stays(cursor, routes, look.now)
            if barred:
                callbacks.cancel(cursor, barred, look.now)
            others = [(callback_id, None, Decision.CANCELLED) for callback_id in barred]
            others += [(callback_id, None, Decision.FAILED) for callback_id in lost]
            if others:
                routing.notify(cursor, others, look.now)
        for callback_id in lost:
            routing_failed(callback_id, "the source does not show the user")
        ended = len(routes) + len(barred) + len(lost)
        notified = sum(route.agent_id is not None for route in routes)
        seen = len(look.callbacks)
        return Routed(seen, notified, len(routes), len(barred), seen - ended, len(lost))

    def _failed(self, look: Look, error: Exception) -> Routed:
        [callback] = look.callbacks
        routing_failed(callback.id, type(error).__name__)
        with self.store.transaction() as cursor:
            routing.notify(cursor, [(callback.id, None, Decision.FAILED)], look.now)
        return Routed(processed=1, errors=1)


def due_pages(
    store: Store, terms: DeskTerms, now: datetime | None = None, page_rows: int = PAGE_ROWS
) -> Iterator[Look]:
    """Page by page the callbacks that are near or overdue, of each page those to be routed."""
    after = routing.FIRST
    while True:
        with store.transaction() as cursor:
            moment, seen_at = assignments.clock(cursor, now)
            page = routing.due(cursor, moment + REACH, after, page_rows)
            crew = crew_at(cursor, terms, moment) if page else Crew(())
        yield Look(moment, seen_at, [item for item in page if is_to_be_routed(item, crew, moment)])
        if len(page) < page_rows:
            return
        after = page[-1].call_after, page[-1].id


def first_due(
    store: Store, terms: DeskTerms, now: datetime | None = None, page_rows: int = PAGE_ROWS
) -> Look | None:
    """The first page with a callback to be routed; None if there is nothing to do."""
    return next((look for look in due_pages(store, terms, now, page_rows) if look.callbacks), None)


def crew_at(cursor: Cursor[TupleRow], terms: DeskTerms, now: datetime) -> Crew:
    """Who is at work, by the terms' patience with silent agents."""
    return routing.crew(cursor, now - terms.agent_silence)
