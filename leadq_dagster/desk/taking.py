"""Taking the next lead: many requests at once, each with one lead, nobody's lead twice.

Claim in one transaction, ask the source in none, and put right in another what no longer belongs.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.claiming import Claiming
from leadq_dagster.desk.combiner import Again
from leadq_dagster.desk.gate import Gate, belongs
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.look_ahead import NOT_FOUND_PAUSE, PRE_CALL, moves_of
from leadq_dagster.desk.take_batch import Claim
from leadq_dagster.desk.terms import DeskTerms, NoWork, Taken, TakeRequest
from leadq_dagster.domain.errors import LeadqError, TransientError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import agents, assignments, queue
from leadq_dagster.store.assignments import Assignment, EndReason
from leadq_dagster.store.connection import Store

UNREACHABLE: Final = "the source could not be asked"
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
        leads = self.gate.ask(list({item.user_id for item in held}))
        valid = {item.id for item in held if leads and _belongs(item, leads.get(item.user_id))}
        if leads is None:
            final = self._unvalidated(held, claim)
        else:
            final = self._taken_back([item for item in held if item.id not in valid], leads, claim)
        return [
            _answer(item, final, leads or {}, valid, claim.ended) if isinstance(item, Assignment) else item
            for item in claim.answers
        ]

    def _unvalidated(self, held: Sequence[Assignment], claim: Claim) -> dict[int, Any]:
        """The source does not answer: by the terms, hand out and mark, or take back and refuse.

        A lead that the agent had before is not taken back: they may be talking to the user.
        """
        with self.store.transaction() as cursor:
            if self.terms.hands_out_unvalidated:
                assignments.mark_unvalidated(cursor, [item.id for item in held], UNREACHABLE)
                return {}
            new = [item for item in held if claim.untold.get(item.id) == 0]
            ours = {item.id: claim.now for item in _ours(cursor, new, claim)}
            assignments.give_back(cursor, ours, EndReason.REFUSED, claim.now)
        return {item.id: TransientError(UNASKED) for item in held}

    def _taken_back(
        self, unfit: Sequence[Assignment], leads: dict[int, SourceLead], claim: Claim
    ) -> dict[int, Any]:
        """What becomes of those that the source does not have in this queue: nobody is told of them.

        Whom somebody may have been told of stays in hand; the hourly check finds them there.
        """
        untold = [item for item in unfit if item.id in claim.untold]
        if not untold:
            return {}
        with self.store.transaction() as cursor:
            ours = _ours(cursor, untold, claim)
            leaving = [item for item in ours if item.user_id in leads]
            missing = [item for item in ours if item.user_id not in leads]
            moves = moves_of([leads[item.user_id] for item in leaving])
            moved = queue.move_users(cursor, moves, PRE_CALL, claim.now, seen_at=claim.seen_at)
            lost = [item for item in leaving if item.user_id not in moved.queues]
            # Judged on later knowledge, or by a clock that is ahead of ours: looked at again later.
            assignments.give_back(cursor, _pauses(lost, claim), EndReason.INVALID, claim.now)
            assignments.give_back(cursor, _pauses(missing, claim), EndReason.NOT_FOUND, claim.now)
        for item in lost:
            race_lost(agent_id=item.agent_id, user_id=item.user_id, stay_id=item.stay_id)
        return {item.id: Invalid(item.queue) for item in ours}


def _belongs(item: Assignment, lead: SourceLead | None) -> bool:
    return lead is not None and belongs(lead, item.queue, item.queue_reason)


def _ours(cursor: Cursor[TupleRow], items: Sequence[Assignment], claim: Claim) -> list[Assignment]:
    """Those of these that no other desk has repeated since; with their agents locked, none does now."""
    agents.lock(cursor, [item.agent_id for item in items])
    ours = assignments.unrepeated(cursor, {item.id: claim.untold[item.id] for item in items})
    return [item for item in items if item.id in ours]


def _pauses(items: Sequence[Assignment], claim: Claim) -> dict[int, datetime]:
    """When these may be handed out again; where another desk may have told of one, not within that lease."""
    later = claim.now + NOT_FOUND_PAUSE
    return {item.id: max(later, item.lease_expires_at) if claim.untold[item.id] else later for item in items}


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
