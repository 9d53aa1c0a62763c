"""How a score is made: versioned configuration and pure functions. 0 is hottest, lower is called first.

A score belongs to a stay: it starts at 0 when the user enters a queue, and three things raise it: what the
outcomes of the stay's calls say, how many calls there were, and how long the user has been in the queue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from leadq_dagster.domain.outcomes import CONSEQUENCES, Consequence, Outcome


@dataclass(frozen=True)
class ScoreRules:
    """One version of the rules. A recorded event names the version under which it was counted.

    `attempt_prices`: (over, price) pairs in rising order; an attempt costs the price of the highest step that
    it is over. `age_price` is due for each full `age_step` in the queue. From `not_called_from` on a lead
    stays in the queue and is not called.
    """

    version: int
    consequences: Mapping[Outcome, Consequence]
    attempt_prices: tuple[tuple[int, int], ...]
    age_step: timedelta
    age_price: int
    not_called_from: int

    def price_of_attempt(self, attempt: int) -> int:
        """What the attempt of this number (1 is the first of the stay) adds to the score."""
        return next((price for over, price in reversed(self.attempt_prices) if attempt > over), 0)

    def price_of_attempts(self, attempts: int) -> int:
        """What so many attempts have added together."""
        return sum(self.price_of_attempt(number) for number in range(1, attempts + 1))

    def price_of_age(self, entered_at: datetime, as_of: datetime) -> int:
        """What the time from entering the queue until `as_of` adds: a function of the two, nothing else."""
        return self.age_price * max(0, (as_of - entered_at) // self.age_step)


RULES = {
    1: ScoreRules(
        version=1,
        consequences=CONSEQUENCES,
        attempt_prices=((5, 1), (10, 3)),
        age_step=timedelta(days=7),
        age_price=5,
        not_called_from=200,
    )
}
CURRENT_RULES = RULES[max(RULES)]


@dataclass(frozen=True)
class ScoreChange:
    """What one event adds to the three parts of a score."""

    outcome: int = 0
    attempts: int = 0
    age: int = 0

    def __add__(self, other: "ScoreChange") -> "ScoreChange":
        return ScoreChange(self.outcome + other.outcome, self.attempts + other.attempts, self.age + other.age)

    @property
    def total(self) -> int:
        """The change of the score as a whole."""
        return self.outcome + self.attempts + self.age


def change_of_outcome(rules: ScoreRules, outcome: Outcome, attempt: int) -> ScoreChange:
    """What the outcome of the stay's call of this number adds."""
    return ScoreChange(rules.consequences[outcome].score_change, rules.price_of_attempt(attempt))


def change_of_age(rules: ScoreRules, entered_at: datetime, as_of: datetime, aged: int) -> ScoreChange:
    """What ageing until `as_of` adds to a score whose age part is `aged` already; nothing once it is due."""
    return ScoreChange(age=max(0, rules.price_of_age(entered_at, as_of) - aged))


def recompute(changes: Sequence[ScoreChange]) -> ScoreChange:
    """The parts of the score that these events of one stay make together, from nothing."""
    return sum(changes, ScoreChange())


def next_call_after(
    rules: ScoreRules, outcome: Outcome, now: datetime, agreed_at: datetime | None
) -> datetime:
    """When the lead may be called again after this outcome: the agreed time, or the cool-down from now."""
    consequence = rules.consequences[outcome]
    if agreed_at is not None and consequence.may_agree:
        return agreed_at
    return now + consequence.cool_down
