"""Recording outcomes: the call is kept whatever happens, and the lead moves if the agent still had it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk import told
from leadq_dagster.desk.gate import Gate
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.promises import promises_of, settle_callbacks
from leadq_dagster.desk.refusals import ASSIGNMENT_CALL, refusal_of_holder, refusal_of_outcome
from leadq_dagster.desk.terms import DeskTerms, OutcomeRequest, Recorded
from leadq_dagster.domain.errors import ConflictError, LeadqError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.outcomes import UNANSWERED, Outcome
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueDecision, Reason
from leadq_dagster.domain.score_rules import ScoreRules, change_of_outcome, next_call_after
from leadq_dagster.store import agents, assignments, callbacks, holds, outcomes, queue
from leadq_dagster.store.assignments import EndReason
from leadq_dagster.store.connection import Store
from leadq_dagster.store.holds import Held
from leadq_dagster.store.outcomes import CountedOutcome, ReportedCall

BY_OUTCOME: Final = Provenance("call_outcome", None, Source.OUTCOME)
LEAVING: Final = {Outcome.NO_CLAIM: Reason.NO_CLAIM, Outcome.DO_NOT_CONTACT: Reason.DO_NOT_CONTACT}

OutcomeAnswer = Recorded | LeadqError


@dataclass
class Reporting:
    """Serves batches of outcomes, at most one an agent in a batch."""

    store: Store
    gate: Gate
    terms: DeskTerms

    def serve(self, requests: Sequence[OutcomeRequest], now: datetime | None = None) -> list[OutcomeAnswer]:
        """An answer for each request, in order. A repeated request is answered as before and does nothing."""
        asked_at, leads = self._ask_about_leaving(requests)
        ids = [request.assignment_id for request in requests]
        with self.store.transaction() as cursor:
            # Sent together, and in this order: agents, users, stays are locked so everywhere.
            locking = agents.locking(cursor, [request.agent_id for request in requests])
            locking_users = outcomes.locking_users(cursor, ids)
            # With the users locked: what an agent reports now is later than whatever moved them before.
            telling = assignments.telling_time(cursor, now)
            locking_stays = holds.locking(cursor, ids, now)
            known, moved_at, clock, held = locking(), locking_users(), telling(), locking_stays()
            moment = clock.now
            # Their clock may have been ahead of ours, before a failover.
            seen_at = max([clock.seen_at, *(at for at in moved_at.values() if at)])
            answers: list[OutcomeAnswer | None] = [
                refusal_of_holder(request, known.get(request.agent_id), held.get(request.assignment_id))
                or told.again(request, held[request.assignment_id].report)
                or refusal_of_outcome(request, self.terms, moment)
                for request in requests
            ]
            reports = {
                place: _Report.of(request, held[request.assignment_id], self.terms.rules, moment)
                for place, request in enumerate(requests)
                if answers[place] is None
            }
            for place in _foreign(cursor, reports):
                answers[place] = ConflictError("the call id is that of another call: nothing was recorded")
                del reports[place]
            true_still = {
                user_id: lead
                for user_id, lead in leads.items()
                if (at := moved_at.get(user_id)) is None or at <= asked_at
            }
            if reports:
                self._write(cursor, list(reports.values()), true_still, moment, seen_at)
            for place, report in reports.items():
                answers[place] = report.answer
            active = [agent.id for agent in known.values() if agent.is_active]
            agents.mark_seen(cursor, active, moment)
        return [answer for answer in answers if answer is not None]

    def _ask_about_leaving(
        self, requests: Sequence[OutcomeRequest]
    ) -> tuple[datetime, dict[int, SourceLead]]:
        """The source's facts about those who are to leave, and since when they are known.

        Had they converted, it is recorded with the leaving.
        """
        leaving = [item.assignment_id for item in requests if item.outcome in LEAVING]
        if not leaving:
            return datetime.max.replace(tzinfo=UTC), {}
        with self.store.transaction() as cursor:
            _, asked_at = assignments.clock(cursor, None)
            users = assignments.users_of(cursor, leaving)
        return asked_at, self.gate.ask(users) or {}

    def _write(
        self,
        cursor: Cursor[TupleRow],
        reports: Sequence["_Report"],
        leads: Mapping[int, SourceLead],
        now: datetime,
        seen_at: datetime,
    ) -> None:
        """All that these reports do, in the caller's transaction; each gets its answer."""
        # Before new promises: a call agreed for the very time of the one just made is a promise of its own.
        settling = [report.call for report in reports if report.tells_of_a_promise]
        settle_callbacks(cursor, settling, self.terms, now)
        promised = callbacks.promise(
            cursor, promises_of([(report.request, report.held) for report in reports]), now
        )
        for report in reports:
            report.answer = report.decide_answer(promised)
            if report.call.is_late:
                race_lost(
                    agent_id=report.call.agent_id, user_id=report.call.user_id, stay_id=report.call.stay_id
                )
        outcomes.record(
            cursor,
            [(report.call, report.counted, told.content(report.answer)) for report in reports],
            self.terms.rules.version,
            now,
        )
        going = {report.call.user_id: report.leaves for report in reports if report.leaves}
        if going:
            _let_go(cursor, going, leads, now, seen_at)


@dataclass
class _Report:
    """One outcome: the call, and what it does to the lead, if the agent still had it (`counted`)."""

    request: OutcomeRequest
    held: Held
    call: ReportedCall
    counted: CountedOutcome | None
    answer: OutcomeAnswer = field(default_factory=lambda: ConflictError(told.TOO_LATE))

    @classmethod
    def of(cls, request: OutcomeRequest, held: Held, rules: ScoreRules, now: datetime) -> "_Report":
        call = _call(request, held)
        if call.is_late or not held.is_current:
            return cls(request, held, call, None)
        attempt = held.attempts + 1
        counted = CountedOutcome(
            call,
            attempt,
            change_of_outcome(rules, request.outcome, attempt),
            rules.consequences[request.outcome].is_conversation,
            next_call_after(rules, request.outcome, now, request.callback_at),
        )
        return cls(request, held, call, counted)

    @property
    def tells_of_a_promise(self) -> bool:
        """Whether this keeps or breaks one. Late, it keeps what only the time ended, and breaks none."""
        if not self.call.is_late:
            return True
        return self.held.end_reason in (None, EndReason.EXPIRED) and self.call.outcome not in UNANSWERED

    @property
    def leaves(self) -> Reason | None:
        """Why the user leaves the queue by this. do_not_contact holds however late it is reported."""
        if self.counted or self.call.outcome is Outcome.DO_NOT_CONTACT:
            if reason := LEAVING.get(self.call.outcome):
                return reason
            if self.held.queue_reason == Reason.PROMISED_CALL:
                return Reason.PROMISE_ENDED
        return None

    def decide_answer(self, promised: Mapping[tuple[int, datetime], int]) -> OutcomeAnswer:
        if self.call.is_late:
            return ConflictError(told.TOO_LATE)
        agreed_at = self.request.callback_at
        callback_id = promised.get((self.call.user_id, agreed_at)) if agreed_at else None
        stays = self.counted if not self.leaves else None
        return Recorded(
            self.call.assignment_id,
            told.WAITING if stays else told.LEFT,
            stays.next_call_after if stays else None,
            callback_id,
        )


def _let_go(
    cursor: Cursor[TupleRow],
    going: Mapping[int, Reason],
    leads: Mapping[int, SourceLead],
    now: datetime,
    seen_at: datetime,
) -> None:
    """These leave the queue; some for good: their promised calls are cancelled too."""
    moves = [
        queue.Move(
            user_id,
            QueueDecision(None, reason),
            None,
            leads[user_id].facts if user_id in leads else None,
        )
        for user_id, reason in going.items()
    ]
    queue.move_users(cursor, moves, BY_OUTCOME, now, seen_at=seen_at)
    for_good = {user_id: reason for user_id, reason in going.items() if reason in LEAVING.values()}
    if for_good:
        outcomes.suppress(cursor, for_good, now)
        callbacks.cancel_of_users(cursor, for_good, now)


def _call(request: OutcomeRequest, held: Held) -> ReportedCall:
    """The call as it is recorded. Late: the lease has ended. A lead that left by itself meanwhile is in
    time."""
    has_left = held.end_reason in (EndReason.LEFT, EndReason.INVALID)
    return ReportedCall(
        assignment_id=held.id,
        agent_id=held.agent_id,
        user_id=held.user_id,
        stay_id=held.stay_id,
        callback_id=held.callback_id,
        request_id=request.request_id,
        call_id=request.call_id or f"{ASSIGNMENT_CALL}{held.id}",
        outcome=request.outcome,
        started_at=request.started_at or held.assigned_at,
        talk_time_seconds=request.talk_time_seconds,
        notes=request.notes,
        is_late=not has_left and not (held.is_current and held.is_in_time),
    )


def _foreign(cursor: Cursor[TupleRow], reports: Mapping[int, _Report]) -> list[int]:
    """The places of those whose call id is that of another agent's call, or of a call to another person."""
    named = [report.call for report in reports.values() if report.request.call_id]
    calls = [(call.call_id, call.agent_id, call.user_id) for call in named]
    foreign = outcomes.foreign_calls(cursor, calls) if calls else set()
    return [place for place, report in reports.items() if report.call.call_id in foreign]
