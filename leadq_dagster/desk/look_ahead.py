"""After a lead that no longer belonged, the first leads of its queue are judged by one question.

Else a queue with a thousand such leads in front would cost an agent a thousand questions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from leadq_dagster.desk.gate import Gate
from leadq_dagster.desk.terms import DeskTerms
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueType, decide_queue
from leadq_dagster.store import assignments, queue
from leadq_dagster.store.connection import Store

LEADS_MAX = 64
# Whom the source does not show may be there again soon: a replica that lags or is being rebuilt.
NOT_FOUND_PAUSE = timedelta(minutes=5)
PRE_CALL: Final = Provenance("pre_call_validation", None, Source.PRE_CALL_VALIDATION)


@dataclass
class LookAhead:
    """Takes out of a queue's front who no longer belongs, with the conversions that are due."""

    store: Store
    gate: Gate
    terms: DeskTerms

    def judge(self, queue_type: QueueType, now: datetime | None = None) -> None:
        """Judge the first leads of this queue; who is with an agent meanwhile is left alone.

        Whom the source does not show stays in the queue, and is handed out no earlier than in a while.
        """
        with self.store.transaction() as cursor:
            moment, seen_at = assignments.clock(cursor, now)
            users = assignments.peek(cursor, queue_type, moment, LEADS_MAX, self.terms.rules.not_called_from)
        leads = self.gate.ask(users)
        if leads is None:
            return
        leaving = [lead for lead in leads.values() if decide_queue(lead.facts).queue is not queue_type]
        missing = [user_id for user_id in users if user_id not in leads]
        if leaving or missing:
            with self.store.transaction() as cursor:
                queue.move_users(
                    cursor, moves_of(leaving), PRE_CALL, moment, seen_at=seen_at, spare_assigned=True
                )
                assignments.postpone(cursor, missing, moment + NOT_FOUND_PAUSE)


def moves_of(leads: Iterable[SourceLead]) -> list[queue.Move]:
    """Where the rule has these users, with the facts it judged by."""
    return [queue.Move(lead.facts.user.user_id, decide_queue(lead.facts), None, lead.facts) for lead in leads]
