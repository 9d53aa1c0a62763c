"""The desk as a page of plain Python: one thing happens at a time, and nothing is ever locked, cut or late.

It is held against the real desk step by step. It shares the queue rule with it, whose tests are elsewhere,
and nothing else: scores, order, leases, answers and refusals are written down here a second time.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from leadq_dagster.domain.facts import UserFacts
from leadq_dagster.domain.queue_rule import QueueType, decide_queue

# What an outcome adds to the score, and the hours until the next call.
CONSEQUENCES = {
    "completed_form": (0, 24), "going_to_complete": (0, 72), "might_complete": (2, 24), "call_back": (0, 0),
    "no_answer": (1, 4), "hung_up": (2, 4), "missed_call": (0, 0), "bad_number": (50, 672),
    "not_interested": (100, 672), "no_claim": (0, 0), "do_not_contact": (0, 0),
}  # fmt: skip
AGREES = {"going_to_complete", "might_complete", "call_back"}
LEAVES = {"no_claim", "do_not_contact"}
LEASE = PAUSE = timedelta(minutes=5)
TOLD_WITHIN = timedelta(seconds=10)
UNTOLD = ("invalid", "not_found", "refused")
Answer = tuple[object, ...]


@dataclass
class Stay:
    user_id: int
    queue: QueueType
    number: int
    available: datetime
    score: int = 0
    attempts: int = 0
    held_by: "Held | None" = None


@dataclass
class Held:
    """An assignment; `end` says how it ended, `repeats` how often the agent asked again while holding it."""

    agent_id: int
    request_id: str
    stay: Stay
    number: int
    token: int
    given_at: datetime
    expires: datetime
    repeats: int = 0
    end: str | None = None
    reported: tuple[str, str, Answer] | None = None


@dataclass
class Model:
    facts: dict[int, UserFacts] = field(default_factory=dict)
    suppressed: set[int] = field(default_factory=set)
    known: dict[int, datetime] = field(default_factory=dict)
    stays: dict[int, Stay] = field(default_factory=dict)
    serves: dict[int, tuple[QueueType, ...]] = field(default_factory=dict)
    holding: dict[int, Held] = field(default_factory=dict)
    given: dict[int, Held] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    answered: dict[tuple[int, str], tuple[object, Answer]] = field(default_factory=dict)
    told: dict[tuple[int, str], Held] = field(default_factory=dict)
    numbers: int = 0
    is_down: bool = False
    hands_out: bool = True

    def judge(self, user_id: int, now: datetime, end: str = "left", *, spare: bool = False) -> None:
        """Bring the user to where the rule says, a new stay at score 0 that keeps the cool-down."""
        stay, queue = self.stays.get(user_id), decide_queue(self.facts[user_id]).queue
        self.known.setdefault(user_id, now)
        if user_id in self.suppressed or (stay and (stay.queue is queue or (spare and stay.held_by))):
            return
        self.close(user_id, end)
        if queue:
            self.numbers += 1
            available = max(now, self.known[user_id], *self.calls_going_on(user_id, now))
            self.stays[user_id] = Stay(user_id, queue, self.numbers, available)

    def calls_going_on(self, user_id: int, now: datetime) -> list[datetime]:
        """Until when somebody may be talking to the user about a lead that left meanwhile."""
        return [
            held.expires
            for held in self.given.values()
            if held.stay.user_id == user_id
            and held.expires > now
            and not held.reported
            and (held.end == "left" or (held.end == "invalid" and held.repeats))
        ]

    def close(self, user_id: int, end: str) -> None:
        if (stay := self.stays.pop(user_id, None)) and stay.held_by:
            self.end(stay.held_by, end)

    def end(self, held: Held, end: str, available: datetime | None = None) -> None:
        held.end, held.stay.held_by = end, None
        del self.holding[held.agent_id]
        if available:
            held.stay.available = max(held.stay.available, available)

    def first(self, queues: tuple[QueueType, ...], now: datetime) -> Stay | None:
        for queue in queues:
            waiting = [
                stay
                for stay in self.stays.values()
                if stay.queue is queue and not stay.held_by and stay.score < 200 and stay.available <= now
            ]
            if waiting:
                return min(waiting, key=lambda stay: (stay.score, stay.available, stay.number))
        return None

    def take(self, agent_id: int, request_id: str, queue: QueueType | None, now: datetime) -> Answer:
        """The lead by user and token, and whether the source was asked; or why there is none."""
        self.lapse(now, agent_id)
        if queue and queue not in self.serves[agent_id]:
            return ("ForbiddenError",)
        if said := self.answered.get((agent_id, request_id)):
            return said[1] if said[0] == "take" else ("ConflictError",)
        held, before = self.holding.get(agent_id), self.told.get((agent_id, request_id))
        if before and before is not held and before.end not in UNTOLD:
            return ("lead", before.number, before.stay.user_id, before.token)
        is_new = held is None
        asked = (queue,) if queue else self.serves[agent_id]
        if held is None and 8 <= now.hour < 20 and (stay := self.first(asked, now)):
            held = self.give(agent_id, request_id, stay, now)
        if held is None:
            self.answered[(agent_id, request_id)] = ("take", ("no work",))
            return ("no work",)
        held.repeats += not is_new
        self.told[(agent_id, request_id)] = held
        if self.is_down and not self.hands_out:
            if is_new:
                self.end(held, "refused")
            return ("TransientError",)
        is_shown = held.stay.user_id in self.facts
        is_untold = now < held.given_at + TOLD_WITHIN and (is_shown or not held.repeats)
        if is_untold and not self.is_down and not self.is_confirmed(held):
            self.take_back(held, now)
            return self.take(agent_id, request_id, queue, now)
        return ("lead", held.number, held.stay.user_id, held.token)

    def give(self, agent_id: int, request_id: str, stay: Stay, now: datetime) -> Held:
        token = self.tokens[stay.number] = self.tokens.get(stay.number, 0) + 1
        held = Held(agent_id, request_id, stay, len(self.given) + 1, token, now, now + LEASE)
        self.given[held.number] = self.holding[agent_id] = stay.held_by = held
        return held

    def is_confirmed(self, held: Held) -> bool:
        """Whether the source, when it can be asked, has the lead in its queue."""
        facts = self.facts.get(held.stay.user_id)
        return facts is not None and decide_queue(facts).queue is held.stay.queue

    def take_back(self, held: Held, now: datetime) -> None:
        """The lead does not belong: the queue's first ones are judged with it."""
        user_id, queue = held.stay.user_id, held.stay.queue
        if user_id in self.facts:
            self.judge(user_id, now, "invalid")
        else:
            self.end(held, "not_found", now + PAUSE)
        for stay in [each for each in self.stays.values() if each.queue is queue and not each.held_by]:
            if stay.available <= now and stay.score < 200:
                if stay.user_id in self.facts:
                    self.judge(stay.user_id, now)
                else:
                    stay.available = now + PAUSE

    def lapse(self, now: datetime, agent_id: int | None = None) -> int:
        lapsed = [held for held in self.holding.values() if held.expires <= now]
        mine = [held for held in lapsed if agent_id in (None, held.agent_id)]
        for held in mine:
            self.end(held, "expired", now)
        return len(mine)

    def refusal(self, agent_id: int, number: int, token: int) -> Answer | None:
        held = self.given.get(number)
        if held is None:
            return ("NotFoundError",)
        if held.agent_id != agent_id:
            return ("ForbiddenError",)
        return ("ConflictError",) if held.token != token else None

    def outcome(
        self, agent_id: int, request_id: str, number: int, token: int, outcome: str,
        agreed: datetime | None, now: datetime,
    ) -> Answer:  # fmt: skip
        if refusal := self.refusal(agent_id, number, token):
            return refusal
        held = self.given[number]
        if held.reported:
            same = held.reported[:2] == (request_id, outcome)
            return held.reported[2] if same else ("ConflictError",)
        if (outcome == "call_back" and not agreed) or (agreed and outcome not in AGREES):
            return ("RefusedError",)
        is_current, user_id = held.end is None, held.stay.user_id
        is_in_time = is_current and held.expires > now
        answer: Answer = ("left", None)
        if is_in_time:
            points, hours = CONSEQUENCES[outcome]
            stay = held.stay
            stay.attempts += 1
            stay.score += points + (3 if stay.attempts > 10 else 1 if stay.attempts > 5 else 0)
            self.end(held, "outcome")
            stay.available = self.known[user_id] = agreed or now + timedelta(hours=hours)
            answer = ("waiting", stay.available)
        elif held.end not in ("left", "invalid"):
            answer = ("ConflictError",)
        if (is_in_time and outcome in LEAVES) or outcome == "do_not_contact":
            self.close(user_id, "left")
            self.suppressed.add(user_id)
            answer = ("left", None) if is_in_time else answer
        held.reported = (request_id, outcome, answer)
        return answer

    def hold(
        self, what: str, agent_id: int, request_id: str, number: int, token: int, now: datetime
    ) -> Answer:
        """Release or extend."""
        if before := self.answered.get((agent_id, request_id)):
            return before[1] if before[0] == (what, number) else ("ConflictError",)
        if (agent_id, request_id) in self.told:
            return ("ConflictError",)
        if refusal := self.refusal(agent_id, number, token):
            return refusal
        held = self.given[number]
        if held.end or held.expires <= now:
            return ("ConflictError",)
        if what == "release":
            self.end(held, "released", now + PAUSE)
            answer: Answer = (now + PAUSE,)
        else:
            held.expires = max(held.expires, now + LEASE)
            answer = (held.expires,)
        self.answered[(agent_id, request_id)] = ((what, number), answer)
        return answer
