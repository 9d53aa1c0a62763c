"""Claiming leads for a batch of requests, in one transaction: each gets one, nobody's lead twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from leadq_dagster.desk.combiner import Again
from leadq_dagster.desk.no_work import StandingsCache, no_work_content
from leadq_dagster.desk.take_batch import TAKE, Batch, Claim, told_before
from leadq_dagster.desk.terms import DeskTerms, NoWork, TakeRequest
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import agents, answers, assignments
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.assignments import Asker, EndReason
from leadq_dagster.store.connection import Store


class Locked(Again):
    """There is a lead, and somebody else has it locked at this moment: a run that moves users, a desk."""


class Uncounted(Again):
    """There is no lead, and how everybody stands is to be counted first."""


@dataclass
class Claiming:
    """Claims leads; the agents of a batch are locked, so that their requests elsewhere take turns with it."""

    store: Store
    terms: DeskTerms
    standings: StandingsCache

    def claim(self, requests: Sequence[TakeRequest], now: datetime | None) -> Claim:
        """What each request held, was given before, or is given now; or why it gets nothing."""
        askers = [Asker(request.agent_id, request.request_id) for request in requests]
        with self.store.transaction() as cursor:
            # Sent together. The agents are locked by the first: what the others read is what is left then.
            locking = agents.locking(cursor, [request.agent_id for request in requests])
            telling = assignments.telling_time(cursor, now)
            holding_and_given = assignments.of_askers(cursor, askers)
            answered = answers.earlier(cursor, askers)
            known, clock, earlier = locking(), telling(), answered()
            held, given = holding_and_given()
            lapsed = {item.id: clock.now for item in held.values() if item.lease_expires_at <= clock.now}
            if lapsed:
                assignments.give_back(cursor, lapsed, EndReason.EXPIRED, clock.now)
            # What has just been given back may be a promised call, and then comes before any lead.
            is_any_raised = clock.is_any_raised or bool(lapsed)
            batch = Batch(cursor, requests, askers, known, is_any_raised, Claim(clock.now, clock.seen_at))
            holding = {agent_id: item for agent_id, item in held.items() if item.id not in lapsed}
            batch.repeat(earlier, holding, told_before(cursor, earlier) | given)
            batch.note_repeats()
            if clock.now in self.terms.calling_hours:
                self._hand_out(batch)
            self._say_no_work(batch, now)
            # Who was given a lead was marked with it.
            others = [agent.id for agent in known.values() if agent.is_active and agent.id not in batch.given]
            if others:
                agents.mark_seen(cursor, others, clock.now)
        return batch.claim

    def _hand_out(self, batch: Batch) -> None:
        """Promised calls first, then leads, queue by queue; whoever got one no longer wants."""
        now = batch.claim.now
        expires = now + self.terms.lease
        if batch.is_any_raised:
            self._hand_out_raised(batch, now, expires)
        for rank in range(len(QueueType)):
            for queue_type, places in batch.wanting_by_choice(rank).items():
                place_of = {batch.askers[place].agent_id: place for place in places}
                askers = [batch.askers[place] for place in places]
                for got in assignments.claim_leads(
                    batch.cursor, queue_type, askers, now, expires, self.terms.rules.not_called_from
                ):
                    batch.give(place_of[got.agent_id], got)

    def _hand_out_raised(self, batch: Batch, now: datetime, expires: datetime) -> None:
        """One's own promised call comes before any lead, also where somebody has it locked at this moment."""
        called = batch.raised_for()
        for place in [place for place in batch.wanting if batch.agent(place).id in called]:
            served = batch.agent(place).queues
            if got := assignments.claim_raised(batch.cursor, batch.askers[place], served, now, expires):
                batch.give(place, got)
        left = batch.raised_for() if called else {}
        for place in [place for place in batch.wanting if left.get(batch.agent(place).id)]:
            batch.answer(place, Locked())

    def _say_no_work(self, batch: Batch, now: datetime | None) -> None:
        """Only where there is none: a lead that somebody else has locked at this moment is waited for."""
        claim = batch.claim
        is_open = claim.now in self.terms.calling_hours
        locked = self._locked(batch) if is_open and batch.wanting else set()
        standings = self.standings.recent(now) if batch.wanting else None
        kept = []
        for place in batch.wanting:
            request = batch.requests[place]
            if place in locked:
                claim.answers[place] = Locked()
            elif standings is None:
                claim.answers[place] = Uncounted()
            else:
                answer = NoWork("no_lead_is_waiting" if is_open else "out_of_hours", standings)
                claim.answers[place] = answer
                kept.append(Answer(request.agent_id, request.request_id, TAKE, no_work_content(answer)))
        if kept:
            answers.keep(batch.cursor, kept, claim.now)

    def _locked(self, batch: Batch) -> set[int]:
        """Those of the wanting for whom there is a lead all the same."""
        now, not_called_from = batch.claim.now, self.terms.rules.not_called_from
        asked = {each for place in batch.wanting for each in batch.choices(place)}
        queues = {each for each in asked if assignments.peek(batch.cursor, each, now, 1, not_called_from)}
        raised = batch.raised_for() if batch.is_any_raised else {}
        return {
            place
            for place in batch.wanting
            if not queues.isdisjoint(batch.choices(place)) or batch.agent(place).id in raised
        }
