"""S1: every new enabled user becomes known to the store; who belongs in a queue enters it."""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueDecision, Reason, decide_queue
from leadq_dagster.domain.tally import Tally
from leadq_dagster.domain.windows import Window, floor_to_hour, join_touching
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.heartbeat import Observation
from leadq_dagster.replica.users import ChangedUser
from leadq_dagster.stages.observing import observed_part
from leadq_dagster.store import queue, scores, windows
from leadq_dagster.store.connection import Store


@dataclass(frozen=True)
class DiscoveryReport:
    """What one discovery did: a tally for each hour that it covered, and what it cost.

    `not_observed` is the rest of the window, which the replica had not reached yet; None if it had.
    """

    by_hour: dict[Window, Tally]
    observed: Observation
    replica_queries: int
    not_observed: Window | None = None

    @property
    def total(self) -> Tally:
        """The tallies of all hours together."""
        return sum(self.by_hour.values(), Tally())


@dataclass(frozen=True)
class _Discovery:
    """What every step of one discovery needs."""

    window: Window
    replica: Replica
    store: Store
    provenance: Provenance
    now: datetime


def discover_new_users(
    window: Window,
    *,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    overlap: timedelta,
    progress: Callable[[int], None] = lambda _: None,
) -> DiscoveryReport:
    """Make known every enabled user who was created or updated in the window, and queue those who belong.

    Before the window, hours within `overlap` that an earlier discovery completed are read again for rows
    that became visible late: users still unknown, and known ones who by now belong in a queue. An hour
    nobody completed yet is left to its own discovery, so that any order of windows ends in the same state.

    Twice is the same as once; a discovery cut off midway is finished by running it again. `progress` is
    called with the number of users seen so far. Of a range, the hours that the replica has observed are
    discovered and the rest is reported: a replica that is always behind would otherwise never let a range
    through. Raises TransientError while it has not observed the first hour's end; nothing is written then.
    """
    queries_before = replica.queries
    observed = replica.observed_until()
    asked, window = window, observed_part(window, observed)
    discovery = _Discovery(window, replica, store, provenance, now)
    by_hour = {hour: Tally() for hour in window.hours()}
    seen = 0
    for page in chain(_late_pages(discovery, overlap), replica.changed_users(window)):
        for hour, tally in _discover_page(discovery, page).items():
            by_hour[hour] += tally
        seen += len(page)
        progress(seen)
    with store.transaction() as cursor:
        windows.complete_hours(cursor, window, observed.until, provenance, now)
    rest = Window(window.end, asked.end) if window.end < asked.end else None
    return DiscoveryReport(by_hour, observed, replica.queries - queries_before, rest)


def _late_pages(discovery: _Discovery, overlap: timedelta) -> Iterator[list[ChangedUser]]:
    """Whom an earlier discovery of the overlap's hours could not see yet as they are now, page by page."""
    if not overlap:
        return
    start = discovery.window.start
    # From the full hour: hours are completed whole, and the overlap may end within one.
    reach = Window(floor_to_hour(start - overlap), start)
    with discovery.store.transaction() as cursor:
        completed = windows.completed_hours(cursor, discovery.provenance.actor, reach)
    for part in join_touching(completed):
        for page in discovery.replica.changed_users(Window(part.start, min(part.end, start))):
            if late := _late(discovery, page):
                yield late


def _late(discovery: _Discovery, page: Sequence[ChangedUser]) -> list[ChangedUser]:
    """Who is enabled and still unknown, or known and in no queue although they belong in one.

    The second is what an update committed late looks like: the user was judged by the row before it.
    """
    enabled = [
        changed
        for changed in page
        # Who is of the window itself, too, is read with it, and counted there.
        if changed.user.is_enabled
        and changed.user.created_at not in discovery.window
        and changed.user.updated_at not in discovery.window
    ]
    with discovery.store.transaction() as cursor:
        known = scores.known(cursor, [changed.user.user_id for changed in enabled])
    decisions = _decide(discovery, [changed.user for changed in enabled if changed.user.user_id in known])
    belonging = {user_id for user_id, decision in decisions.items() if decision.queue}
    return [
        changed
        for changed in enabled
        if changed.user.user_id not in known or changed.user.user_id in belonging
    ]


def _discover_page(discovery: _Discovery, page: Sequence[ChangedUser]) -> dict[Window, Tally]:
    """One page, in one transaction at the store; none is open while the replica is asked."""
    hours = {changed.user.user_id: discovery.window.nearest_hour(changed.changed_at) for changed in page}
    enabled = [changed.user for changed in page if changed.user.is_enabled]
    moves = [
        queue.Move(user_id, decision, hours[user_id].partition_key)
        for user_id, decision in _decide(discovery, enabled).items()
        if decision.queue
    ]
    with discovery.store.transaction() as cursor:
        stored = scores.make_known(cursor, enabled, discovery.now)
        known = scores.known(cursor, [user.user_id for user in enabled])
        # Somebody who read later may have queued them since they were judged, and knows better.
        queued = queue.move_users(cursor, moves, discovery.provenance, discovery.now, unless_queued=True)
        # Inside the transaction: a tally that does not balance leaves nothing behind.
        return _tallies(discovery.window, page, stored, known - stored, queued)


def _decide(discovery: _Discovery, users: Sequence[SourceUser]) -> dict[int, QueueDecision]:
    """Where those belong who are in no queue yet; who is in one is judged by the conversion checks."""
    with discovery.store.transaction() as cursor:
        settled = scores.settled(cursor, [user.user_id for user in users])
    facts = discovery.replica.read_facts([user for user in users if user.user_id not in settled])
    return {fact.user.user_id: decide_queue(fact) for fact in facts}


def _tallies(
    window: Window,
    page: Sequence[ChangedUser],
    stored: Set[int],
    already_known: Set[int],
    queued: Container[int],
) -> dict[Window, Tally]:
    by_hour: dict[Window, list[ChangedUser]] = {}
    for changed in page:
        by_hour.setdefault(window.nearest_hour(changed.changed_at), []).append(changed)
    return {
        hour: Tally(
            seen=len(rows),
            stored=sum(row.user.user_id in stored for row in rows),
            already_known=sum(row.user.user_id in already_known for row in rows),
            refused=Counter(Reason.USER_DISABLED.value for row in rows if not row.user.is_enabled),
            queued=sum(row.user.user_id in queued for row in rows),
            late=sum(row.user.user_id in stored and row.changed_at < window.start for row in rows),
        )
        for hour, rows in by_hour.items()
    }
