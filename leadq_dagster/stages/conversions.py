"""S3 and S4: whoever converted leaves with exactly one conversion, whoever departed leaves without."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from leadq_dagster.domain.conversion_tally import ConversionTally
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueDecision, QueueType, decide_queue
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.replica.heartbeat import Observation
from leadq_dagster.replica.users import ChangedUser
from leadq_dagster.stages.conversion_hours import conversion_hours, keys_of
from leadq_dagster.stages.observing import observed_part, rest_of
from leadq_dagster.store import conversions, queue
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, Moved


@dataclass(frozen=True)
class ConversionReport:
    """What one check did: a tally for each hour that it covered, and what it cost.

    `not_observed` is the rest of the window, which the replica had not reached yet; None if it had.
    """

    by_hour: dict[Window, ConversionTally]
    observed: Observation
    replica_queries: int
    not_observed: Window | None = None

    @property
    def total(self) -> ConversionTally:
        """The tallies of all hours together."""
        return sum(self.by_hour.values(), ConversionTally())


@dataclass(frozen=True)
class _Check:
    """What every step of one check needs."""

    queue: QueueType
    window: Window
    replica: Replica
    store: Store
    provenance: Provenance
    now: datetime


def check_conversions(
    checked: QueueType,
    window: Window,
    *,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    overlap: timedelta,
    recent_activity: timedelta,
    batch_rows: int,
) -> ConversionReport:
    """Judge everybody who has been in the `checked` queue and may have changed, and move them by the door.

    Candidates: users changed at the source in the window or the overlap before it (themselves, their
    claims or their requirements), and users called within `recent_activity` before its end; with a stay in
    the queue that has no conversion, open or closed by whomever. Twice is the same as once, and a check cut
    off midway is finished by running it again. Of a range, the hours that the replica has observed are
    checked and the rest is reported. Raises TransientError while it has not observed the first hour's end;
    nothing is written then.
    """
    queries_before = replica.queries
    observed = replica.observed_until()
    asked, window = window, observed_part(window, observed)
    check = _Check(checked, window, replica, store, provenance, now)
    by_hour = {hour: ConversionTally() for hour in window.hours()}
    seen: set[int] = set()
    for page in _changed_or_called(check, overlap, recent_activity, batch_rows):
        fresh = {user_id: hour for user_id, hour in page.items() if user_id not in seen}
        if not fresh:
            continue
        seen.update(fresh)
        for hour, tally in _check_page(check, fresh).items():
            by_hour[hour] += tally
    with store.transaction() as cursor:
        conversions.credit(cursor, conversions.to_recredit(cursor, window.start - overlap))
    return ConversionReport(by_hour, observed, replica.queries - queries_before, rest_of(asked, window))


def _changed_or_called(
    check: _Check, overlap: timedelta, recent_activity: timedelta, batch_rows: int
) -> Iterator[dict[int, Window]]:
    """Users with the hour of the window in which they are looked at; a user may come twice."""
    reach = Window(check.window.start - overlap, check.window.end)
    for users in check.replica.changed_users(reach):
        yield {changed.user.user_id: _met_in(check.window, changed) for changed in users}
    last_hour = check.window.nearest_hour(check.window.end)
    for pages in (
        check.replica.users_of_changed_claims(reach),
        check.replica.users_of_changed_requirements(reach),
    ):
        for instants in pages:
            yield {user_id: check.window.nearest_hour(at) for user_id, at in instants.items()}
    active = Window(check.window.end - recent_activity, check.window.end)
    after = -1
    while True:
        with check.store.transaction() as cursor:
            called = conversions.called_users(cursor, active, after, batch_rows)
        if not called:
            return
        yield dict.fromkeys(called, last_hour)
        after = called[-1]


def _met_in(window: Window, changed: ChangedUser) -> Window:
    """The hour of their last change, if the window has it: who was created in the overlap is met later."""
    updated_at = changed.user.updated_at
    return window.nearest_hour(updated_at if updated_at and updated_at in window else changed.changed_at)


def _check_page(check: _Check, page: Mapping[int, Window]) -> dict[Window, ConversionTally]:
    """One page, in one transaction at the store; none is open while the replica is asked."""
    with check.store.transaction() as cursor:
        seen_at = queue.clock(cursor)
        is_converted = conversions.candidates(cursor, check.queue, list(page))
    open_ids = [user_id for user_id, converted in is_converted.items() if not converted]
    facts = check.replica.read_facts(check.replica.read_users(open_ids))
    decisions = {fact.user.user_id: decide_queue(fact) for fact in facts}
    hours = {
        fact.user.user_id: conversion_hours(check.window, fact, page[fact.user.user_id]) for fact in facts
    }
    moves = [
        Move(
            fact.user.user_id,
            decisions[fact.user.user_id],
            hours[fact.user.user_id][check.queue].partition_key,
            fact,
            keys_of(hours[fact.user.user_id]),
        )
        for fact in facts
    ]
    with check.store.transaction() as cursor:
        moved = queue.move_users(cursor, moves, check.provenance, check.now, seen_at=seen_at)
        # Another check may have been faster with some of them.
        elsewhere = {user_id for user_id, was_in in moved.before.items() if was_in is not check.queue}
        unsettled = [*moved.overtaken, *elsewhere]
        is_converted_now = conversions.candidates(cursor, check.queue, unsettled) if unsettled else {}
    detected = {item.user_id: item for item in moved.conversions if item.queue is check.queue}
    tallies = {hour: ConversionTally() for hour in check.window.hours()}
    for user_id, converted in is_converted.items():
        hour = hours[user_id][check.queue] if user_id in hours else page[user_id]
        if user_id in detected:
            is_late = detected[user_id].converted_at < check.window.start
            tallies[hour] += ConversionTally(1, detected=1, late=int(is_late))
        elif converted or is_converted_now.get(user_id):
            tallies[hour] += ConversionTally(1, already_recorded=1)
        else:
            tallies[hour] += _tally_of(check, user_id, decisions.get(user_id), moved)
    for item in moved.conversions:
        if item.queue is not check.queue:
            tallies[hours[item.user_id][item.queue]] += ConversionTally(also_detected=1)
    return tallies


def _tally_of(check: _Check, user_id: int, decision: QueueDecision | None, moved: Moved) -> ConversionTally:
    """What became of a candidate without a conversion."""
    if decision is None or user_id in moved.overtaken:
        return ConversionTally(1, undecided=1)
    was_in = moved.before.get(user_id)
    if moved.queues.get(user_id, was_in) is check.queue:
        return ConversionTally(1, waiting=1)
    if was_in is check.queue:
        return ConversionTally(1, departed=Counter({decision.reason.value: 1}))
    return ConversionTally(1, departed_earlier=1)
