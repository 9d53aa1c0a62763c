"""S7: every live stay is compared with what the rule says now, and repaired by the one door.

Nothing is rebuilt, and only who is in the wrong place is locked: a look at the whole queue takes no lead out
of an agent's reach.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import KEEPS_A_PROMISE, QueueDecision, Reason, decide_queue
from leadq_dagster.domain.reconciliation_tally import StayTally
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.engine import Replica
from leadq_dagster.store import queue, reconciliation
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, Moved
from leadq_dagster.store.reconciliation import BEFORE_EVERYBODY, Contradiction, LiveStay

# So many users are locked at a time: whatever else wants one of them waits for some tens of milliseconds.
MOVES_MAX = 200
# Who was changed by a clock that is ahead of ours is new all the same.
AHEAD = timedelta(days=1)


@dataclass(frozen=True)
class Reconciliation:
    """What every step of a reconciliation needs.

    `now` is looked at page by page. Whoever changed at the source at or after `worked_until` is left to the
    hourly jobs, which come to that hour by themselves. `batch_rows` is the page at the store.
    """

    replica: Replica
    store: Store
    provenance: Provenance
    now: Callable[[], datetime]
    worked_until: datetime
    batch_rows: int


@dataclass(frozen=True)
class StaysReport:
    """What one look at the live stays did; `last_user_id` is where another may go on."""

    tally: StayTally
    last_user_id: int


def reconcile_stays(
    work: Reconciliation,
    *,
    after_user_id: int = BEFORE_EVERYBODY,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> StaysReport:
    """Judge every live stay by the source's facts, and move who is not where they belong.

    In pages by the user's id, the moves of each in transactions of their own: cut off midway, it is finished
    by another from `last_user_id` on, or from the start. Assigned stays are not touched. A user whom the
    source does not show stays, counted as undecided. Twice is the same as once. `progress` is told the stays
    done and those there are.
    """
    with work.store.transaction() as cursor:
        total = reconciliation.count_live_stays(cursor, after_user_id)
    report = StaysReport(StayTally(), after_user_id)
    while True:
        with work.store.transaction() as cursor:
            seen_at = queue.clock(cursor)
            page = reconciliation.live_stays(cursor, report.last_user_id, work.batch_rows)
        if not page:
            return report
        report = StaysReport(report.tally + _reconcile_page(work, page, seen_at), page[-1].user_id)
        progress(report.tally.seen, max(total, report.tally.seen))


def lower_raised_stays(store: Store) -> int:
    """Put stays that a closed callback has left in front back into their own place; how many."""
    with store.transaction() as cursor:
        return len(reconciliation.lower_stays(cursor))


def find_contradictions(store: Store) -> list[Contradiction]:
    """What in the store contradicts itself and is left to people: expected to be nothing."""
    with store.transaction() as cursor:
        return reconciliation.contradictions(cursor)


def changed_since(replica: Replica, since: datetime) -> set[int]:
    """The users whose row, claims or requirements were created or changed at the source since then."""
    window = Window(since, since + AHEAD)
    users = ({item.user.user_id for item in page} for page in replica.changed_users(window))
    owed = chain(replica.users_of_changed_claims(window), replica.users_of_changed_requirements(window))
    return set[int]().union(*users, *owed)


def chunks(moves: Sequence[Move]) -> Iterable[Sequence[Move]]:
    """The moves in pieces of what is locked at a time."""
    return (moves[start : start + MOVES_MAX] for start in range(0, len(moves), MOVES_MAX))


def _reconcile_page(work: Reconciliation, page: Sequence[LiveStay], seen_at: datetime) -> StayTally:
    """No transaction at the store is open while the replica is asked."""
    waiting = {stay.user_id: stay for stay in page if not stay.standing.is_assigned}
    facts = work.replica.read_facts(work.replica.read_users(list(waiting)))
    wrong = [move for fact in facts if (move := move_of(waiting[fact.user.user_id], fact))]
    early = changed_since(work.replica, work.worked_until) if wrong else set[int]()
    due = [move for move in wrong if move.user_id not in early]
    tally = StayTally(
        seen=len(page) - len(due),
        right=len(facts) - len(wrong),
        early=len(wrong) - len(due),
        spared=len(page) - len(waiting),
        undecided=len(waiting) - len(facts),
    )
    for part in chunks(due):
        with work.store.transaction() as cursor:
            moved = queue.move_users(
                cursor, part, work.provenance, work.now(), seen_at=seen_at, spare_assigned=True
            )
            # Inside the transaction: a tally that does not balance leaves nothing behind.
            tally += _tally_of(part, moved, waiting)
    return tally


def move_of(stay: LiveStay, facts: UserFacts) -> Move | None:
    """Where the user of a stay has to go, or to be adopted, by these facts; None for who is right."""
    decision = decide_queue(facts)
    if stay.is_forsaken and decision.reason in KEEPS_A_PROMISE:
        decision = QueueDecision(None, Reason.PROMISE_ENDED)
    if stay.standing.moves_by(decision) or stay.standing.is_adopted_by(decision):
        return Move(stay.user_id, decision, None, facts)
    return None


def _tally_of(part: Sequence[Move], moved: Moved, stays: Mapping[int, LiveStay]) -> StayTally:
    left = [move for move in part if move.user_id in moved.queues]
    spared = sum(move.user_id in moved.spared for move in part)
    adopted = sum(
        move.user_id in moved.before
        and move.user_id not in moved.spared
        and stays[move.user_id].standing.is_adopted_by(move.decision)
        for move in part
    )
    return StayTally(
        seen=len(part),
        moved=Counter(move.decision.reason.value for move in left),
        adopted=adopted,
        spared=spared,
        overtaken=len(part) - len(left) - spared - adopted,
        converted=len(moved.conversions),
    )
