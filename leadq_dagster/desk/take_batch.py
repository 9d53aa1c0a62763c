"""A batch of requests for the next lead while it is served: who is answered what, who still wants one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.no_work import no_work_from
from leadq_dagster.desk.refusals import refusal_of_agent
from leadq_dagster.desk.terms import NoWork, TakeRequest
from leadq_dagster.desk.told import REUSED
from leadq_dagster.domain.errors import ConflictError, ForbiddenError, LeadqError
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import answers, assignments, holds
from leadq_dagster.store.agents import Agent
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.assignments import Asker, Assignment

TAKE: Final = "take"
# In the answer to a request that was told of the lead that another one had brought: the assignment.
LEAD: Final = "assignment_id"
# A desk that has claimed a lead tells of it within so long, or never: it ended in between. Until then whoever
# asks again may be the first to be told, and the lead is judged as a new one is; afterwards it is in hand.
TOLD_WITHIN: Final = timedelta(seconds=10)


@dataclass
class Claim:
    """What a batch got, in the order of its requests.

    An answer is an assignment until the source was asked; `ended` ones are only repeated. `untold` are those
    that nobody may have been told of yet, with how often they were repeated.
    """

    now: datetime
    seen_at: datetime
    answers: list[Any] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    untold: dict[int, int] = field(default_factory=dict)


@dataclass
class Batch:
    """Requests being served, at most one an agent; `wanting` are the places of those that have no answer yet,
    `repeated` those of agents who hold a lead; `given` are the agents who were given a new one."""

    cursor: Cursor[TupleRow]
    requests: Sequence[TakeRequest]
    askers: Sequence[Asker]
    known: Mapping[int, Agent]
    is_any_raised: bool
    claim: Claim
    wanting: list[int] = field(default_factory=list)
    repeated: dict[int, Assignment] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)

    def repeat(
        self,
        earlier: Mapping[tuple[int, str], Answer],
        holding: Mapping[int, Assignment],
        given: Mapping[Asker, Assignment],
    ) -> None:
        """Answer those who may not ask, who were answered before, and who hold a lead.

        Who is told of a lead that another request brought is told of it again, also once it has ended.
        """
        for place, (request, asker) in enumerate(zip(self.requests, self.askers, strict=True)):
            held, before = holding.get(request.agent_id), given.get(asker)
            refusal = _refusal(request, self.known.get(request.agent_id))
            answer: Any = refusal or _replay(request, earlier)
            if answer is None and before is not None and (held is None or held.id != before.id):
                self.claim.ended.add(before.id)
                answer = before
            if answer is None and held is not None:
                answer = self.repeated[place] = held
            if answer is None:
                self.wanting.append(place)
            self.claim.answers.append(answer)

    def note_repeats(self) -> None:
        """From now on no other desk takes these back; we do, where nobody can have been told of them yet."""
        if not self.repeated:
            return
        now = self.claim.now
        repeats = holds.repeat(self.cursor, [item.id for item in self.repeated.values()])
        self.claim.untold |= {
            item.id: repeats[item.id]
            for item in self.repeated.values()
            if item.id in repeats and item.assigned_at <= now < item.assigned_at + TOLD_WITHIN
        }
        told = [
            Answer(item.agent_id, self.requests[place].request_id, TAKE, {LEAD: item.id})
            for place, item in self.repeated.items()
            if item.request_id != self.requests[place].request_id
        ]
        if told:
            answers.keep(self.cursor, told, now)

    def agent(self, place: int) -> Agent:
        """Who asks at this place."""
        return self.known[self.requests[place].agent_id]

    def choices(self, place: int) -> tuple[QueueType, ...]:
        """The queues that may serve the request, the first choice first."""
        asked = self.requests[place].queue
        return (asked,) if asked else self.agent(place).queues

    def wanting_by_choice(self, rank: int) -> dict[QueueType, list[int]]:
        """The places of the wanting by their choice of this rank."""
        by_queue: dict[QueueType, list[int]] = {}
        for place in self.wanting:
            choices = self.choices(place)
            if rank < len(choices):
                by_queue.setdefault(choices[rank], []).append(place)
        return by_queue

    def raised_for(self) -> Mapping[int, bool]:
        """Of the wanting agents those for whom a promised call waits, and whether it is their own."""
        wanting = [self.agent(place).id for place in self.wanting]
        return assignments.raised_for(self.cursor, wanting, self.claim.now)

    def give(self, place: int, got: Assignment) -> None:
        """A new lead for the request; nobody has been told of it."""
        self.claim.untold[got.id] = 0
        self.given.add(got.agent_id)
        self.answer(place, got)

    def answer(self, place: int, answer: Any) -> None:
        """What the request gets; it wants nothing more."""
        self.claim.answers[place] = answer
        self.wanting.remove(place)


def _refusal(request: TakeRequest, agent: Agent | None) -> LeadqError | None:
    if refusal := refusal_of_agent(request.agent_id, agent):
        return refusal
    if request.queue is not None and agent is not None and request.queue not in agent.queues:
        return ForbiddenError(f"agent {request.agent_id} does not serve the queue {request.queue}")
    return None


def _replay(request: TakeRequest, earlier: Mapping[tuple[int, str], Answer]) -> NoWork | ConflictError | None:
    answer = earlier.get((request.agent_id, request.request_id))
    if answer is None:
        return None
    if answer.request != TAKE:
        return ConflictError(REUSED)
    return None if LEAD in answer.content else no_work_from(answer.content)


def told_before(
    cursor: Cursor[TupleRow], earlier: Mapping[tuple[int, str], Answer]
) -> dict[Asker, Assignment]:
    """The leads that requests were told of which other requests of their agents had brought.

    Where such a lead was taken back since, the request was told of nothing.
    """
    told = {
        Asker(*asked): answer.content[LEAD]
        for asked, answer in earlier.items()
        if answer.request == TAKE and LEAD in answer.content
    }
    if not told:
        return {}
    given = assignments.of_ids(cursor, told.values())()
    untold = [asker for asker, number in told.items() if number not in given]
    answers.withdraw(cursor, untold)
    return {asker: given[number] for asker, number in told.items() if number in given}
