"""Admission: making users known and queueing those who belong, a page at a time, however they were found."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueDecision, Reason, decide_queue
from leadq_dagster.domain.tally import Tally
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.heartbeat import Observation
from leadq_dagster.replica.users import ChangedUser
from leadq_dagster.stages.conversion_hours import conversion_hours, keys_of
from leadq_dagster.stages.observing import observed_part, rest_of
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
class Discovery:
    """One discovery under way, over the part of the window asked for that the replica has observed.

    `seen_at` is the store's time before anything was read at the source.
    """

    asked: Window
    window: Window
    replica: Replica
    store: Store
    provenance: Provenance
    now: datetime
    refusal: Callable[[SourceUser], Reason | None]
    observed: Observation
    seen_at: datetime
    queries_before: int


def begin(
    window: Window,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    refusal: Callable[[SourceUser], Reason | None],
) -> Discovery:
    """A discovery over the window that admits those for whom `refusal` has no reason.

    Raises TransientError while the replica has not observed the first hour's end.
    """
    queries_before = replica.queries
    observed = replica.observed_until()
    covered = observed_part(window, observed)
    with store.transaction() as cursor:
        seen_at = queue.clock(cursor)
    return Discovery(
        window, covered, replica, store, provenance, now, refusal, observed, seen_at, queries_before
    )


def admit(
    discovery: Discovery, pages: Iterable[Sequence[ChangedUser]], progress: Callable[[int], None]
) -> DiscoveryReport:
    """Admit every page, then record the hours as complete; `progress` is told the users seen so far."""
    by_hour = {hour: Tally() for hour in discovery.window.hours()}
    seen = 0
    for page in pages:
        for hour, tally in _admit_page(discovery, page).items():
            by_hour[hour] += tally
        seen += len(page)
        progress(seen)
    with discovery.store.transaction() as cursor:
        windows.complete_hours(
            cursor, discovery.window, discovery.observed.until, discovery.provenance, discovery.now
        )
    return DiscoveryReport(
        by_hour,
        discovery.observed,
        discovery.replica.queries - discovery.queries_before,
        rest_of(discovery.asked, discovery.window),
    )


def late_of(discovery: Discovery, page: Sequence[ChangedUser]) -> list[ChangedUser]:
    """Who is admissible and still unknown, or known and in no queue although they belong in one.

    The second is what an update committed late looks like: the user was judged by the row before it.
    """
    admissible = [changed for changed in page if not discovery.refusal(changed.user)]
    with discovery.store.transaction() as cursor:
        known = scores.known(cursor, [changed.user.user_id for changed in admissible])
    known_users = [item.user for item in admissible if item.user.user_id in known]
    decisions = decide_unsettled(discovery.replica, discovery.store, known_users)
    belonging = {fact.user.user_id for fact, decision in decisions if decision.queue}
    return [item for item in admissible if item.user.user_id not in known or item.user.user_id in belonging]


def decide_unsettled(
    replica: Replica, store: Store, users: Sequence[SourceUser]
) -> list[tuple[UserFacts, QueueDecision]]:
    """Where those of these users belong who are in no queue yet and not suppressed.

    Who is in a queue is judged by the conversion checks and the reconciliation.
    """
    with store.transaction() as cursor:
        settled = scores.settled(cursor, [user.user_id for user in users])
    facts = replica.read_facts([user for user in users if user.user_id not in settled])
    return [(fact, decide_queue(fact)) for fact in facts]


def _admit_page(discovery: Discovery, page: Sequence[ChangedUser]) -> dict[Window, Tally]:
    """One page, in one transaction at the store; none is open while the replica is asked."""
    met_in = {changed.user.user_id: discovery.window.nearest_hour(changed.changed_at) for changed in page}
    admitted = [changed.user for changed in page if not discovery.refusal(changed.user)]
    judged = decide_unsettled(discovery.replica, discovery.store, admitted)
    decided = [(fact, decision) for fact, decision in judged if decision.queue]
    hours = {
        fact.user.user_id: conversion_hours(discovery.window, fact, met_in[fact.user.user_id])
        for fact, _ in decided
    }
    moves = [
        queue.Move(
            fact.user.user_id,
            decision,
            met_in[fact.user.user_id].partition_key,
            fact,
            keys_of(hours[fact.user.user_id]),
        )
        for fact, decision in decided
    ]
    with discovery.store.transaction() as cursor:
        stored = scores.make_known(cursor, admitted, discovery.now)
        known = scores.known(cursor, [user.user_id for user in admitted])
        moved = queue.move_users(
            cursor, moves, discovery.provenance, discovery.now, seen_at=discovery.seen_at
        )
        converted = [hours[item.user_id][item.queue] for item in moved.conversions]
        # Inside the transaction: a tally that does not balance leaves nothing behind.
        return _tallies(discovery, page, stored, known - stored, moved.queues, converted)


def _tallies(
    discovery: Discovery,
    page: Sequence[ChangedUser],
    stored: Set[int],
    already_known: Set[int],
    queued: Container[int],
    converted: Iterable[Window],
) -> dict[Window, Tally]:
    window = discovery.window
    by_hour: dict[Window, list[ChangedUser]] = {}
    for changed in page:
        by_hour.setdefault(window.nearest_hour(changed.changed_at), []).append(changed)
    tallies = {
        hour: Tally(
            seen=len(rows),
            stored=sum(row.user.user_id in stored for row in rows),
            already_known=sum(row.user.user_id in already_known for row in rows),
            refused=Counter(reason.value for row in rows if (reason := discovery.refusal(row.user))),
            queued=sum(row.user.user_id in queued for row in rows),
            late=sum(row.user.user_id in stored and row.changed_at < window.start for row in rows),
        )
        for hour, rows in by_hour.items()
    }
    for hour in converted:
        tallies[hour] = tallies.get(hour, Tally()) + Tally(converted=1)
    return tallies
