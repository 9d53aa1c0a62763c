"""Taking the next lead: many requests at once, each with one lead, nobody's lead twice.

Claim in one transaction, ask the source in none, and put right in another what no longer belongs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from leadq_dagster.desk.claiming import Claim, Claiming
from leadq_dagster.desk.combiner import Again
from leadq_dagster.desk.gate import Gate, belongs
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.look_ahead import NOT_FOUND_PAUSE, PRE_CALL, moves_of
from leadq_dagster.desk.terms import DeskTerms, NoWork, Taken, TakeRequest
from leadq_dagster.domain.errors import LeadqError, TransientError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import assignments, queue
from leadq_dagster.store.assignments import Assignment, EndReason
from leadq_dagster.store.connection import Store

UNREACHABLE: Final = "the source could not be asked"
UNASKED: Final = "the source cannot be asked about the lead: try again"

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
        final = self._unvalidated(held, claim) if leads is None else self._validated(held, leads, claim)
        return [
            self._answer(item, final, leads, claim.ended) if isinstance(item, Assignment) else item
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
            new = {item.id: claim.now for item in held if item.id in claim.given}
            assignments.give_back(cursor, new, EndReason.REFUSED, claim.now)
        return {item.id: TransientError(UNASKED) for item in held}

    def _validated(
        self, held: Sequence[Assignment], leads: dict[int, SourceLead], claim: Claim
    ) -> dict[int, Any]:
        """What becomes of those that are not simply handed out, by assignment."""
        missing = [item for item in held if item.user_id not in leads]
        leaving = [
            item
            for item in held
            if item.user_id in leads and not belongs(leads[item.user_id], item.queue, item.queue_reason)
        ]
        if not missing and not leaving:
            return {}
        with self.store.transaction() as cursor:
            moves = moves_of([leads[item.user_id] for item in leaving])
            moved = queue.move_users(cursor, moves, PRE_CALL, claim.now, seen_at=claim.seen_at)
            later = claim.now + NOT_FOUND_PAUSE
            assignments.give_back(
                cursor, {item.id: later for item in missing}, EndReason.NOT_FOUND, claim.now
            )
        for item in leaving:
            if item.user_id not in moved.queues:
                race_lost(agent_id=item.agent_id, user_id=item.user_id, stay_id=item.stay_id)
        return {item.id: Invalid(item.queue) for item in (*missing, *leaving)}

    def _answer(
        self,
        item: Assignment,
        final: dict[int, Any],
        leads: dict[int, SourceLead] | None,
        ended: set[int],
    ) -> TakeAnswer | Again:
        if item.id in final:
            answer: TakeAnswer | Again = final[item.id]
            return answer
        lead = (leads or {}).get(item.user_id)
        is_validated = item.unvalidated_reason is None if item.id in ended else leads is not None
        return Taken(item, lead.contact if lead else None, is_validated)
