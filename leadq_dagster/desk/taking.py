"""Taking the next lead: many requests at once, each with one lead, nobody's lead twice.

Claim in one transaction, ask the source in none, and put right in another what no longer belongs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from leadq_dagster.desk.gate import Gate, belongs
from leadq_dagster.desk.log import race_lost
from leadq_dagster.desk.look_ahead import PRE_CALL, moves_of
from leadq_dagster.desk.no_work import StandingsCache, no_work_content, no_work_from
from leadq_dagster.desk.refusals import refusal_of_agent
from leadq_dagster.desk.terms import DeskTerms, NoWork, Taken, TakeRequest
from leadq_dagster.desk.told import REUSED
from leadq_dagster.domain.errors import (
    ConflictError,
    ForbiddenError,
    LeadqError,
    TransientError,
)
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import agents, answers, assignments, queue
from leadq_dagster.store.agents import Agent
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.assignments import Asker, Assignment, EndReason
from leadq_dagster.store.connection import Store

NOT_FOUND_PAUSE = timedelta(minutes=5)

TakeAnswer = Taken | NoWork | LeadqError


@dataclass(frozen=True)
class Again:
    """The lead claimed for the request was none any more: the request is to be served again."""

    queue: QueueType


@dataclass
class Taking:
    """Serves batches of requests for the next lead, at most one request an agent in a batch."""

    store: Store
    gate: Gate
    terms: DeskTerms
    standings: StandingsCache

    def serve(self, requests: Sequence[TakeRequest], now: datetime | None = None) -> list[TakeAnswer | Again]:
        """An answer for each request, in order: a lead, none and why, or the error that it gets.

        The same request id gets the same lead again, and an agent who holds a lead gets that one.
        """
        claim = self._claim(requests, now)
        held = [item for item in claim.answers if isinstance(item, Assignment) and item.id not in claim.ended]
        leads = self.gate.ask(list({item.user_id for item in held}))
        final = self._unvalidated(held, claim.now) if leads is None else self._validated(held, leads, claim)
        return [
            self._answer(item, final, leads) if isinstance(item, Assignment) else item
            for item in claim.answers
        ]

    def _claim(self, requests: Sequence[TakeRequest], now: datetime | None) -> "_Claim":
        askers = [Asker(request.agent_id, request.request_id) for request in requests]
        with self.store.transaction() as cursor:
            # Sent together. The agents are locked by the first: what the others read is what is left then.
            locking = agents.locking(cursor, [request.agent_id for request in requests])
            telling = assignments.telling_time(cursor, now)
            holding_and_given = assignments.of_askers(cursor, askers)
            answered = answers.earlier(cursor, [(asker.agent_id, asker.request_id) for asker in askers])
            known, clock, earlier = locking(), telling(), answered()
            held, given = holding_and_given()
            moment = clock.now
            lapsed = {item.id: moment for item in held.values() if item.lease_expires_at <= moment}
            if lapsed:
                assignments.give_back(cursor, lapsed, EndReason.EXPIRED, moment)
            claim = _Claim(moment, clock.seen_at, clock.is_any_raised, [], set())
            wanting: list[int] = []
            for place, (request, asker) in enumerate(zip(requests, askers, strict=True)):
                agent = known.get(request.agent_id)
                holding = held.get(request.agent_id)
                answer: Any = _refusal(request, agent) or _replay(request, earlier)
                is_holding = holding is not None and holding.id not in lapsed
                if answer is None and asker in given:
                    answer = given[asker]
                    if is_holding and holding is not None and holding.id == answer.id:
                        answer = holding
                    else:
                        claim.ended.add(answer.id)
                elif answer is None and is_holding:
                    answer = holding
                if answer is None:
                    wanting.append(place)
                claim.answers.append(answer)
            if moment in self.terms.calling_hours:
                self._hand_out(cursor, requests, askers, known, wanting, claim)
            self._say_no_work(cursor, requests, wanting, claim)
            active = [agent.id for agent in known.values() if agent.is_active]
            holders = [
                item.agent_id
                for item in claim.answers
                if isinstance(item, Assignment) and item.id not in claim.ended
            ]
            agents.mark_seen(cursor, active, holders, moment)
        return claim

    def _hand_out(
        self,
        cursor: Any,
        requests: Sequence[TakeRequest],
        askers: Sequence[Asker],
        known: dict[int, Agent],
        wanting: list[int],
        claim: "_Claim",
    ) -> None:
        """Promised calls first, then leads, queue by queue; whoever got one no longer wants."""
        expires = claim.now + self.terms.lease
        if claim.is_any_raised:
            for place in list(wanting):
                served = known[requests[place].agent_id].queues
                if got := assignments.claim_raised(cursor, askers[place], served, claim.now, expires):
                    claim.give(place, got, wanting)
        for rank in range(len(QueueType)):
            by_queue: dict[QueueType, list[int]] = {}
            for place in wanting:
                choices = _choices(requests[place], known[requests[place].agent_id])
                if rank < len(choices):
                    by_queue.setdefault(choices[rank], []).append(place)
            for queue_type, places in by_queue.items():
                place_of = {askers[place]: place for place in places}
                for got in assignments.claim_leads(
                    cursor, queue_type, list(place_of), claim.now, expires, self.terms.rules.not_called_from
                ):
                    claim.give(place_of[Asker(got.agent_id, got.request_id)], got, wanting)

    def _say_no_work(
        self, cursor: Any, requests: Sequence[TakeRequest], wanting: Sequence[int], claim: "_Claim"
    ) -> None:
        if not wanting:
            return
        standings = self.standings.current(cursor, claim.now)
        reason = "no_lead_is_waiting" if claim.now in self.terms.calling_hours else "out_of_hours"
        kept = []
        for place in wanting:
            request, answer = requests[place], NoWork(reason, standings)
            claim.answers[place] = answer
            kept.append(Answer(request.agent_id, request.request_id, TAKE, no_work_content(answer)))
        answers.keep(cursor, kept, claim.now)

    def _unvalidated(self, held: Sequence[Assignment], now: datetime) -> dict[int, Any]:
        """The source does not answer: by the terms, hand out and mark, or take back and refuse."""
        with self.store.transaction() as cursor:
            if self.terms.hands_out_unvalidated:
                assignments.mark_unvalidated(cursor, [item.id for item in held], UNREACHABLE)
                return {}
            assignments.give_back(cursor, {item.id: now for item in held}, EndReason.REFUSED, now)
        return {
            item.id: TransientError("the source cannot be asked about the lead: try again") for item in held
        }

    def _validated(
        self, held: Sequence[Assignment], leads: dict[int, SourceLead], claim: "_Claim"
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
        return {item.id: Again(item.queue) for item in (*missing, *leaving)}

    def _answer(
        self,
        item: Assignment,
        final: dict[int, Any],
        leads: dict[int, SourceLead] | None,
    ) -> TakeAnswer | Again:
        if item.id in final:
            answer: TakeAnswer | Again = final[item.id]
            return answer
        lead = (leads or {}).get(item.user_id)
        return Taken(item, lead.contact if lead else None, is_validated=leads is not None)


@dataclass
class _Claim:
    """What a batch got. An answer is an assignment until the source was asked; `ended` ones are only
    repeated."""

    now: datetime
    seen_at: datetime
    is_any_raised: bool
    answers: list[Any]
    ended: set[int]

    def give(self, place: int, got: Assignment, wanting: list[int]) -> None:
        self.answers[place] = got
        wanting.remove(place)


TAKE = "take"
UNREACHABLE = "the source could not be asked"


def _refusal(request: TakeRequest, agent: Agent | None) -> LeadqError | None:
    if refusal := refusal_of_agent(request.agent_id, agent):
        return refusal
    if request.queue is not None and agent is not None and request.queue not in agent.queues:
        return ForbiddenError(f"agent {request.agent_id} does not serve the queue {request.queue}")
    return None


def _replay(request: TakeRequest, earlier: dict[tuple[int, str], Answer]) -> NoWork | ConflictError | None:
    answer = earlier.get((request.agent_id, request.request_id))
    if answer is None:
        return None
    if answer.request != TAKE:
        return ConflictError(REUSED)
    return no_work_from(answer.content)


def _choices(request: TakeRequest, agent: Agent) -> tuple[QueueType, ...]:
    return (request.queue,) if request.queue else agent.queues
