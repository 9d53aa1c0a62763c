"""Every user of the source, by key: whoever no hour finds becomes known and enters the queue they belong in.

No hour finds users without a date, those from before the first partition, and rows committed later than the
overlap reaches.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from leadq_dagster.domain.facts import SourceUser
from leadq_dagster.domain.reconciliation_tally import UserTally
from leadq_dagster.stages.admission import decide_unsettled
from leadq_dagster.stages.reconciliation import Reconciliation, changed_since
from leadq_dagster.store import queue, scores
from leadq_dagster.store.queue import Move, Moved


@dataclass(frozen=True)
class EverybodyReport:
    """What one look at every user did; `last_user_id` is where another may go on."""

    tally: UserTally
    last_user_id: int | None


def admit_everybody(
    work: Reconciliation,
    *,
    after_user_id: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _last: None,
) -> EverybodyReport:
    """Admit who is unknown, or known and wrongly in no queue; who is in a queue is left to `reconcile_stays`.

    Suppressed users stay as they are. In pages by the user's id, each a transaction of its own: cut off
    midway, it is finished by another from `last_user_id` on, or from the start. Twice is the same as once.
    `progress` is told the users done and the id of the last.
    """
    report = EverybodyReport(UserTally(), after_user_id)
    while True:
        with work.store.transaction() as cursor:
            seen_at = queue.clock(cursor)
        page = work.replica.users_after(report.last_user_id)
        if not page:
            return report
        last_user_id = page[-1].user_id
        report = EverybodyReport(report.tally + _admit_page(work, page, seen_at), last_user_id)
        progress(report.tally.seen, last_user_id)


def _admit_page(work: Reconciliation, page: Sequence[SourceUser], seen_at: datetime) -> UserTally:
    """No transaction at the store is open while the replica is asked."""
    enabled = [user for user in page if user.is_enabled]
    with work.store.transaction() as cursor:
        known = scores.known(cursor, [user.user_id for user in enabled])
    judged = decide_unsettled(work.replica, work.store, enabled)
    unknown = {user.user_id: user for user in enabled if user.user_id not in known}
    moves = {
        fact.user.user_id: Move(fact.user.user_id, decision, None, fact)
        for fact, decision in judged
        if decision.queue
    }
    found = unknown.keys() | moves.keys()
    early = found & changed_since(work.replica, work.worked_until) if found else set[int]()
    due = found - early
    tally = UserTally(
        seen=len(page) - len(due),
        settled=len(enabled) - len(judged),
        right=len(judged) - len(found),
        refused=len(page) - len(enabled),
        early=len(early),
    )
    if not due:
        return tally
    with work.store.transaction() as cursor:
        now = work.now()
        new = [user for user_id, user in unknown.items() if user_id in due]
        stored = scores.make_known(cursor, new, now)
        moved = queue.move_users(
            cursor,
            [move for user_id, move in moves.items() if user_id in due],
            work.provenance,
            now,
            seen_at=seen_at,
            spare_assigned=True,
        )
        # Inside the transaction: a tally that does not balance leaves nothing behind.
        return tally + _tally_of(due, stored, moved)


def _tally_of(due: Set[int], stored: Set[int], moved: Moved) -> UserTally:
    entered = moved.queues.keys() - stored
    return UserTally(
        seen=len(due),
        stored=len(stored),
        entered=len(entered),
        overtaken=len(due) - len(stored) - len(entered),
        queued=len(moved.queues),
        converted=len(moved.conversions),
    )
