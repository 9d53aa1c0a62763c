"""S6: conversions that the ledger lacks: found by comparing it with the source, and recovered by a sweep."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from leadq_dagster.domain.conversion_rule import ConversionType, decide_conversion
from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType, decide_queue
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.store import conversions, queue
from leadq_dagster.store.connection import Store
from leadq_dagster.store.conversions import RecordedConversion, UnconvertedStay
from leadq_dagster.store.queue import Move


@dataclass(frozen=True)
class MissingConversion:
    """A conversion that the source shows and the ledger lacks, for which stay.

    `converted_at` is the source's time, None where it has none; `partition_key` is that of the hour in
    which the source changed, None where nobody asked by hours.
    """

    user_id: int
    stay_id: int
    queue: QueueType
    conversion_type: ConversionType
    converted_at: datetime | None
    partition_key: str | None = None


@dataclass(frozen=True)
class SweepReport:
    """What a sweep did: users judged (once a page), conversions recorded (or due), departures, not found.

    `last_stay_id` is where another sweep may go on.
    """

    judged: int
    recorded: tuple[MissingConversion, ...]
    departed: int
    undecided: int
    last_stay_id: int


def find_gaps(*, replica: Replica, store: Store, since: datetime, until: datetime) -> list[MissingConversion]:
    """Conversions of users who changed at the source within [since, until) that the ledger lacks.

    Reads only. Raises TransientError or PermanentError when it could not look: never an empty answer then.
    """
    window = Window(since, until)
    gaps: dict[int, MissingConversion] = {}
    for instants in _changed(replica, window):
        for stay, facts in _judged(replica, store, list(instants)):
            hour = window.nearest_hour(instants[stay.user_id])
            missing = _missing(stay, facts, hour.partition_key)
            # The facts are of now: whoever converted after the window is no gap in it.
            if missing and (missing.converted_at is None or missing.converted_at < until):
                gaps[stay.stay_id] = missing
    return list(gaps.values())


def sweep(
    *,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    batch_rows: int,
    since: datetime | None = None,
    after_stay_id: int = 0,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> SweepReport:
    """Judge every stay without a conversion, of any age, and move its user through the door.

    In pages by the stay's id, each a transaction of its own: cut off midway, it is finished by another from
    `last_stay_id` on, or from the start. `since` leaves out stays that ended before it. A dry run does it all
    and keeps nothing. `progress` is told the stays done and the stays there are.
    """
    with store.transaction() as cursor:
        total = conversions.count_unconverted(cursor, since, after_stay_id)
    report = SweepReport(0, (), 0, 0, after_stay_id)
    done, rehearsed = 0, set[int]()
    while True:
        with store.transaction() as cursor:
            page = conversions.page_of_unconverted(cursor, since, report.last_stay_id, batch_rows)
        if not page:
            return report
        # Of what was rehearsed nothing remains: another stay of the same user would tell it again.
        user_ids = sorted(set(page.values()) - rehearsed)
        report = _swept(report, replica, store, provenance, now, user_ids, max(page), keep=not dry_run)
        rehearsed.update(user_ids if dry_run else ())
        done += len(page)
        progress(done, max(total, done))


def _swept(
    report: SweepReport,
    replica: Replica,
    store: Store,
    provenance: Provenance,
    now: datetime,
    user_ids: Sequence[int],
    last_stay_id: int,
    *,
    keep: bool,
) -> SweepReport:
    with store.transaction() as cursor:
        seen_at = queue.clock(cursor)
    facts = {fact.user.user_id: fact for fact in replica.read_facts(replica.read_users(user_ids))}
    moves = [Move(user_id, decide_queue(fact), None, fact) for user_id, fact in facts.items()]
    with store.transaction(keep=keep) as cursor:
        moved = queue.move_users(cursor, moves, provenance, now, seen_at=seen_at)
    recorded = [_found(item, facts[item.user_id]) for item in moved.conversions]
    converted = {item.user_id for item in recorded}
    departed = sum(queued is None and user_id not in converted for user_id, queued in moved.queues.items())
    return SweepReport(
        judged=report.judged + len(user_ids),
        recorded=(*report.recorded, *recorded),
        departed=report.departed + departed,
        undecided=report.undecided + len(user_ids) - len(facts),
        last_stay_id=last_stay_id,
    )


def _changed(replica: Replica, window: Window) -> Iterator[dict[int, datetime]]:
    users = ({item.user.user_id: item.changed_at for item in page} for page in replica.changed_users(window))
    return chain(
        users, replica.users_of_changed_claims(window), replica.users_of_changed_requirements(window)
    )


def _judged(
    replica: Replica, store: Store, user_ids: Sequence[int]
) -> Iterator[tuple[UnconvertedStay, UserFacts]]:
    with store.transaction() as cursor:
        stays = conversions.unconverted_stays(cursor, user_ids)
    users = replica.read_users(list({stay.user_id for stay in stays}))
    facts = {fact.user.user_id: fact for fact in replica.read_facts(users)}
    for stay in stays:
        if stay.user_id in facts:
            yield stay, facts[stay.user_id]


def _found(item: RecordedConversion, facts: UserFacts) -> MissingConversion:
    """What was recorded, with the source's own time."""
    stay = UnconvertedStay(item.user_id, item.stay_id, item.queue)
    found = _missing(stay, facts, None)
    assert found is not None
    return found


def _missing(stay: UnconvertedStay, facts: UserFacts, partition_key: str | None) -> MissingConversion | None:
    conversion = decide_conversion(stay.queue, facts)
    if conversion is None:
        return None
    return MissingConversion(
        stay.user_id, stay.stay_id, stay.queue, conversion.type, conversion.converted_at, partition_key
    )
