"""Taking the next lead: many requests at once, each with one lead, nobody's lead twice.

Claim in one transaction, ask the source in none, and put right in another what no longer belongs.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.claiming import Claiming
from leadq_dagster.desk.combiner import AGAIN, Again
from leadq_dagster.desk.gate import Gate, belongs
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.look_ahead import NOT_FOUND_PAUSE, PRE_CALL, moves_of
from leadq_dagster.desk.take_batch import Claim
from leadq_dagster.desk.terms import DeskTerms, NoWork, Taken, TakeRequest
from leadq_dagster.domain.errors import LeadqError, TransientError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import agents, assignments, holds, outcomes, queue
from leadq_dagster.store.assignments import Assignment, EndReason
from leadq_dagster.store.connection import Store

UNREACHABLE: Final = "the source could not be asked"
# A lead that was never handed out waits where it did.
UNCHANGED: Final = datetime.min.replace(tzinfo=UTC)
# A client who waits so long may have asked another desk, or done something else, meanwhile.
LOOKED_AGAIN_AFTER_SECONDS: Final = 0.1
UNASKED: Final = "the source cannot be asked about the lead: try again, with the same request id"

TakeAnswer = Taken | NoWork | LeadqError


class Invalid(Again):
    """The lead claimed for the request was none any more."""

    def __init__(self, queue: QueueType) -> None:
        self.queue = queue


@dataclass
class Taking:
    """Serves batches of requests for the next lead, at most one request an agent in a batch."""

    store: Store
    gate: Gate
    terms: DeskTerms
    claiming: Claiming

    def serve(self, requests: Sequence[TakeRequest], now: datetime | None = None) -> list[TakeAnswer | Again]:
        """An answer for each request, in order: a lead, none and why, or the error that it gets.

        The same request id gets the same lead again, and an agent who holds a lead gets that one.
        """
        claim = self.claiming.claim(requests, now)
        held = [item for item in claim.answers if isinstance(item, Assignment) and item.id not in claim.ended]
        began = self.gate.seconds()
        leads = self.gate.ask(list({item.user_id for item in held}))
        final: dict[int, Any] = {}
        if self.gate.seconds() - began >= LOOKED_AGAIN_AFTER_SECONDS:
            final = self._ended_meanwhile(held)
        held = [item for item in held if item.id not in final]
        valid = {item.id for item in held if leads and _belongs(item, leads.get(item.user_id))}
        if leads is None:
            final |= self._unvalidated(held, claim)
        else:
            final |= self._taken_back([item for item in held if item.id not in valid], leads, claim)
        return [
            _answer(item, final, leads or {}, valid, claim.ended) if isinstance(item, Assignment) else item
            for item in claim.answers
        ]

    def _ended_meanwhile(self, held: Sequence[Assignment]) -> dict[int, Any]:
        """Those that somebody ended while the source was thinking: their requests are served again."""
        with self.store.transaction() as cursor:
            return dict.fromkeys(holds.ended(cursor, [item.id for item in held]), AGAIN)

    def _unvalidated(self, held: Sequence[Assignment], claim: Claim) -> dict[int, Any]:
        """The source does not answer: by the terms, hand out and mark, or take back and refuse.

        What the agent may have been told of is not taken back: they may be talking to the user.
        """
        with self.store.transaction() as cursor:
            if self.terms.hands_out_unvalidated:
                agents.lock(cursor, [item.agent_id for item in held])
                assignments.mark_unvalidated(cursor, [item.id for item in held], UNREACHABLE)
                return {}
            repeats = _lock_held(cursor, held)
            new = {
                item.id: UNCHANGED for item in held if repeats.get(item.id) == claim.untold.get(item.id) == 0
            }
            assignments.give_back(cursor, new, EndReason.REFUSED, claim.now)
        return {item.id: TransientError(UNASKED) for item in held}

    def _taken_back(
        self, unfit: Sequence[Assignment], leads: dict[int, SourceLead], claim: Claim
    ) -> dict[int, Any]:
        """What becomes of those that the source does not have in this queue.

        The agent is not told of who is elsewhere, or not shown; on doubt, what they may have been told of
        stays in their hand. Whoever left that way is found by the hourly check.
        """
        untold = [
            item
            for item in unfit
            if item.id in claim.untold and (item.user_id in leads or not claim.untold[item.id])
        ]
        if not untold:
            return {}
        with self.store.transaction() as cursor:
            repeats = _lock_held(cursor, untold)
            ours = [item for item in untold if repeats.get(item.id) == claim.untold[item.id]]
            moves = moves_of([leads[item.user_id] for item in ours if item.user_id in leads])
            moved = queue.move_users(cursor, moves, PRE_CALL, claim.now, seen_at=claim.seen_at).queues
            # Not shown; or judged on later knowledge, also by a clock that is ahead of ours: looked at later.
            new = [item for item in ours if item.user_id not in moved and not claim.untold[item.id]]
            for reason, is_shown in ((EndReason.INVALID, True), (EndReason.NOT_FOUND, False)):
                later = {
                    item.id: claim.now + NOT_FOUND_PAUSE
                    for item in new
                    if (item.user_id in leads) is is_shown
                }
                assignments.give_back(cursor, later, reason, claim.now)
        for item in ours:
            if item.user_id in leads and item.user_id not in moved:
                race_lost(agent_id=item.agent_id, user_id=item.user_id, stay_id=item.stay_id)
        left = [item for item in ours if item.user_id in moved]
        in_hand = set(repeats) - {item.id for item in (*left, *new)}
        return {item.id: Invalid(item.queue) for item in untold if item.id not in in_hand}


def _belongs(item: Assignment, lead: SourceLead | None) -> bool:
    return lead is not None and belongs(lead, item.queue, item.queue_reason)


def _lock_held(cursor: Cursor[TupleRow], items: Sequence[Assignment]) -> dict[int, int]:
    """Of these those still held, with how often they were repeated: with all that it takes locked, so that no
    other desk repeats or ends them before we have."""
    ids = [item.id for item in items]
    agents.lock(cursor, [item.agent_id for item in items])
    outcomes.locking_users(cursor, ids)()
    return holds.lock_held(cursor, ids)


def _answer(
    item: Assignment,
    final: Mapping[int, Any],
    leads: Mapping[int, SourceLead],
    valid: Set[int],
    ended: Set[int],
) -> TakeAnswer | Again:
    if item.id in final:
        answer: TakeAnswer | Again = final[item.id]
        return answer
    lead = leads.get(item.user_id)
    is_validated = item.unvalidated_reason is None if item.id in ended else item.id in valid
    return Taken(item, lead.contact if lead else None, is_validated)
