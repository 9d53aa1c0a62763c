"""What made a score: the recorded events of a stay, and each change derived again from its rules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_rules import (
    RULES,
    ScoreChange,
    ScoreRules,
    change_of_age,
    change_of_outcome,
    recompute,
)


@dataclass(frozen=True)
class ScoreEvent:
    """One recorded event: the outcome of the stay's call number `attempt`, or the stay aged to an instant."""

    change: ScoreChange
    rules_version: int
    happened_at: datetime
    outcome: Outcome | None = None
    attempt: int | None = None
    aged_to: datetime | None = None


@dataclass(frozen=True)
class ScoredStay:
    """A stay with the score that the store has of its user, and the events that are to explain it.

    `priority_score` is the stay's place in the queue; a stay that a promised call raised has another one than
    its score. `events` in the order in which they were recorded.
    """

    user_id: int
    stay_id: int
    entered_at: datetime
    is_live: bool
    is_raised: bool
    priority_score: int
    base: int
    stored: ScoreChange
    events: tuple[ScoreEvent, ...] = ()

    @property
    def score(self) -> int:
        """The score as the store has it."""
        return self.base + self.stored.total


def derive(
    entered_at: datetime, events: Sequence[ScoreEvent], rules: Mapping[int, ScoreRules] = RULES
) -> Iterator[ScoreChange | None]:
    """What each event adds by the rules under which it was counted, of what happened alone.

    What was recorded as its change is not looked at. None: these rules are not known here.
    """
    aged = 0
    for event in events:
        version = rules.get(event.rules_version)
        if version is None:
            yield None
            continue
        change = _change(version, entered_at, event, aged)
        aged += change.age
        yield change


def _change(rules: ScoreRules, entered_at: datetime, event: ScoreEvent, aged: int) -> ScoreChange:
    if event.outcome is not None and event.attempt is not None:
        return change_of_outcome(rules, event.outcome, event.attempt)
    assert event.aged_to is not None
    return change_of_age(rules, entered_at, event.aged_to, aged)


def problems_of(scored: ScoredStay, rules: Mapping[int, ScoreRules] = RULES) -> list[str]:
    """Each way in which the stored score is not what its events make, as a sentence; none when all agrees."""
    problems = []
    recorded = recompute([event.change for event in scored.events])
    if (scored.base, scored.stored) != (0, recorded):
        problems.append(
            f"the score is {scored.score} ({_parts(scored.stored, scored.base)}), "
            f"the events add up to {recorded.total} ({_parts(recorded)})"
        )
    derived = derive(scored.entered_at, scored.events, rules)
    for number, (event, change) in enumerate(zip(scored.events, derived, strict=True), start=1):
        if change is None:
            problems.append(f"event {number} was counted by rules of version {event.rules_version}: unknown")
        elif change != event.change:
            problems.append(
                f"event {number} added {event.change.total} ({_parts(event.change)}), "
                f"the rules say {change.total} ({_parts(change)})"
            )
    if scored.is_live and not scored.is_raised and scored.priority_score != scored.score:
        problems.append(f"the score is {scored.score}, the place in the queue {scored.priority_score}")
    return problems


def _parts(change: ScoreChange, base: int = 0) -> str:
    parts = f"outcomes {change.outcome}, attempts {change.attempts}, age {change.age}"
    return f"base {base}, {parts}" if base else parts
