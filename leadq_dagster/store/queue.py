"""The one door through which a user enters or leaves a queue, and through which a conversion is recorded."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.conversion_rule import decide_conversion, has_passed_through
from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import KEEPS_A_PROMISE, QueueDecision, QueueType, Reason
from leadq_dagster.named_sql import queries
from leadq_dagster.store import conversions
from leadq_dagster.store.conversions import DueConversion, RecordedConversion, UnconvertedStay

SQL = queries("queue")


@dataclass(frozen=True)
class Move:
    """Where a user belongs as of now, the partition that noticed (None outside partitions), and the facts.

    Without facts nothing is known of the source: the user may be moved, no conversion is decided.
    `conversion_keys` is the partition of the conversion of a stay in each queue, where it is another one.
    """

    user_id: int
    decision: QueueDecision
    partition_key: str | None = None
    facts: UserFacts | None = None
    conversion_keys: Mapping[QueueType, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Moved:
    """Who moved, with where they are now, the conversions recorded, and whom nobody judged.

    The `overtaken` were moved meanwhile on later knowledge than ours; the `spared` are with an agent.
    `before` is where each of the others was.
    """

    queues: Mapping[int, QueueType | None]
    conversions: Sequence[RecordedConversion]
    overtaken: Set[int] = frozenset()
    before: Mapping[int, QueueType | None] = field(default_factory=dict, compare=False)
    spared: Set[int] = frozenset()


@dataclass(frozen=True)
class Standing:
    """Where a user is; of their live stay, whether an agent has it and whether it is for a promised call
    only."""

    queue: QueueType | None
    is_active: bool
    is_assigned: bool = False
    is_promise: bool = False

    def moves_by(self, decision: QueueDecision) -> bool:
        """Whether this decision takes them elsewhere."""
        if not self.is_active or self.queue is decision.queue:
            return False
        return not (self.is_promise and decision.reason in KEEPS_A_PROMISE)

    def is_adopted_by(self, decision: QueueDecision) -> bool:
        """Whether who was there for a promise only belongs there now."""
        return (
            self.is_promise and self.queue is decision.queue and decision.reason is not Reason.PROMISED_CALL
        )


def clock(cursor: Cursor[TupleRow]) -> datetime:
    """The store's own time, to be taken before the source is asked."""
    row = cursor.execute(SQL["select_clock"]).fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def move_users(
    cursor: Cursor[TupleRow],
    moves: Sequence[Move],
    provenance: Provenance,
    now: datetime,
    *,
    seen_at: datetime,
    spare_assigned: bool = False,
) -> Moved:
    """Bring each user into the queue where they belong, and record what the facts say they converted to.

    Closes the stay they leave, opens the one they enter, writes the audit line, and decides, records and
    credits the conversion of the stay left and of stays that somebody closed without one: all in the
    caller's transaction. Moving twice is the same as once. At most one move a user. Who signed and
    supplied all that they owed since passes through `outstanding_requests`, with a conversion for each.

    Who is in the right queue already, is unknown, or is inactive does not move. `seen_at` is when the source
    was asked, by the store's clock: a user whom somebody moved on later knowledge stays where they are. So
    does, with `spare_assigned`, whom an agent has. A stay for a promised call only is not closed because
    nothing is owed, ends in no conversion, and is a lead's from the moment the user belongs there.
    """
    standings, overtaken = _lock(cursor, [move.user_id for move in moves], seen_at)
    spared = {user_id for user_id, standing in standings.items() if spare_assigned and standing.is_assigned}
    current = [move for move in moves if move.user_id in standings and move.user_id not in spared]
    if adopted := [move for move in current if standings[move.user_id].is_adopted_by(move.decision)]:
        _adopt(cursor, adopted)
    due = _due(conversions.unconverted_stays(cursor, [move.user_id for move in current]), current)
    moving = [move for move in current if standings[move.user_id].moves_by(move.decision)]
    # The conversion first: it keeps the score with which the stay ended, and a new stay starts at 0.
    recorded = conversions.record(cursor, due, provenance, now)
    if recorded:
        # Who does not move, too: a signature seen on a closed stay is later knowledge than its absence.
        cursor.execute(
            SQL["set_checked"], {"user_ids": [item.user_id for item in recorded], "seen_at": seen_at}
        )
    if moving:
        _apply(cursor, moving, standings, provenance, now, seen_at)
    if passing := _passing(cursor, recorded, current, standings):
        recorded = [*recorded, *_pass_through(cursor, passing, standings, provenance, now, seen_at)]
    before = {user_id: standing.queue for user_id, standing in standings.items()}
    queues = {move.user_id: move.decision.queue for move in moving}
    return Moved(queues, recorded, overtaken, before, spared)


def _lock(
    cursor: Cursor[TupleRow], user_ids: Sequence[int], seen_at: datetime
) -> tuple[dict[int, Standing], set[int]]:
    """Where each user stands, and who was moved on later knowledge than that of `seen_at`."""
    standings, overtaken = {}, set()
    parameters = {"user_ids": list(user_ids)}
    users = cursor.execute(SQL["lock_users"], parameters).fetchall()
    stays = {user_id: rest for user_id, *rest in cursor.execute(SQL["lock_stays"], parameters)}
    for user_id, queue_type, is_active, checked_at in users:
        if checked_at is None or checked_at <= seen_at:
            queue = QueueType(queue_type) if queue_type else None
            standings[user_id] = Standing(queue, is_active, *stays.get(user_id, ()))
        else:
            overtaken.add(user_id)
    return standings, overtaken


def _adopt(cursor: Cursor[TupleRow], adopted: Sequence[Move]) -> None:
    columns = {
        "user_ids": [move.user_id for move in adopted],
        "reasons": [move.decision.reason for move in adopted],
    }
    cursor.execute(SQL["adopt_stays"], columns)


def _due(stays: Iterable[UnconvertedStay], moves: Iterable[Move]) -> list[DueConversion]:
    judged = {move.user_id: move for move in moves}
    due = []
    for stay in stays:
        move = judged[stay.user_id]
        if move.facts and (conversion := decide_conversion(stay.queue, move.facts)):
            key = move.conversion_keys.get(stay.queue, move.partition_key)
            due.append(DueConversion(stay, conversion, key))
    return due


def _passing(
    cursor: Cursor[TupleRow],
    recorded: Iterable[RecordedConversion],
    moves: Iterable[Move],
    standings: Mapping[int, Standing],
) -> list[Move]:
    """Of those whose signature was just recorded, who passed through `outstanding_requests` unseen."""
    signed = {item.user_id: item for item in recorded if item.queue is QueueType.UNSIGNED_USERS}
    passing = [
        move
        for move in moves
        if move.user_id in signed
        and standings[move.user_id].is_active
        and move.facts
        and move.decision.reason is Reason.NOTHING_OUTSTANDING
        and has_passed_through(signed[move.user_id].converted_at, move.facts)
    ]
    # Whose signature is found late may have been there, and seen, in the meantime.
    parameters = {
        "user_ids": [move.user_id for move in passing],
        "stay_ids": [signed[move.user_id].stay_id for move in passing],
    }
    seen = (
        {user_id for (user_id,) in cursor.execute(SQL["select_seen_owing"], parameters)} if passing else set()
    )
    return [move for move in passing if move.user_id not in seen]


def _pass_through(
    cursor: Cursor[TupleRow],
    passing: Sequence[Move],
    standings: Mapping[int, Standing],
    provenance: Provenance,
    now: datetime,
    seen_at: datetime,
) -> list[RecordedConversion]:
    """Enter `outstanding_requests` and leave it converted: a stay, a transition each way and a conversion.

    Who is there already for a promised call goes on in that stay; a stay for a promise elsewhere is left.
    """
    owing = QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PENDING_REQUIREMENTS)
    owed = [replace(move, decision=owing) for move in passing]
    there_already = [move for move in owed if standings[move.user_id].is_adopted_by(owing)]
    entering = [move for move in owed if move not in there_already]
    if there_already:
        _adopt(cursor, there_already)
    if entering:
        # Owing nothing they have just left every stay, but for one that keeps a promise.
        were = {move.user_id: standings[move.user_id] for move in entering}
        origins = {user_id: was if was.is_promise else Standing(None, True) for user_id, was in were.items()}
        _apply(cursor, entering, origins, provenance, now, seen_at)
    stays = conversions.unconverted_stays(cursor, [move.user_id for move in passing])
    recorded = conversions.record(cursor, _due(stays, passing), provenance, now)
    there = {move.user_id: Standing(QueueType.OUTSTANDING_REQUESTS, True) for move in entering}
    there |= {move.user_id: standings[move.user_id] for move in there_already}
    _apply(cursor, passing, there, provenance, now, seen_at)
    return recorded


def _apply(
    cursor: Cursor[TupleRow],
    moving: Sequence[Move],
    origins: Mapping[int, Standing],
    provenance: Provenance,
    now: datetime,
    seen_at: datetime,
) -> None:
    user_ids = [move.user_id for move in moving]
    columns = {
        "user_ids": user_ids,
        "from_queues": [origins[user_id].queue for user_id in user_ids],
        "to_queues": [move.decision.queue for move in moving],
        "reasons": [move.decision.reason for move in moving],
        "partition_keys": [move.partition_key for move in moving],
        "actor": provenance.actor,
        "run_id": provenance.run_id,
        "now": now,
        "seen_at": seen_at,
    }
    left_stays: dict[int, int] = dict(cursor.execute(SQL["close_stays"], columns).fetchall())
    if any(origin.is_assigned for origin in origins.values()):
        is_invalid = provenance.source is Source.PRE_CALL_VALIDATION
        ending = {"stay_ids": list(left_stays.values()), "end_reason": "invalid" if is_invalid else "left"}
        cursor.execute(SQL["end_assignments"], {**ending, "now": now})
    entered_stays: dict[int, int] = dict(cursor.execute(SQL["open_stays"], columns).fetchall())
    cursor.execute(SQL["set_queue"], columns)
    columns["left_stay_ids"] = [left_stays.get(user_id) for user_id in user_ids]
    columns["entered_stay_ids"] = [entered_stays.get(user_id) for user_id in user_ids]
    cursor.execute(SQL["record_transitions"], columns)
