"""A score derived again from what happened: it agrees, or it says where not."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_history import ScoredStay, ScoreEvent, derive, problems_of
from leadq_dagster.domain.score_rules import (
    CURRENT_RULES,
    RULES,
    ScoreChange,
    change_of_age,
    change_of_outcome,
    recompute,
)

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
WEEK = timedelta(days=7)
MEASURES = Path(__file__).parents[2] / "docs/measures.md"
DEARER = replace(CURRENT_RULES, version=2, age_price=7, attempt_prices=((2, 4),))


def stay(*events: ScoreEvent, **differing: object) -> ScoredStay:
    """A live stay whose stored score is the sum of these events."""
    stored = recompute([event.change for event in events])
    made = ScoredStay(1, 10, TEN, True, False, stored.total, 0, stored, events)
    return replace(made, **differing)  # type: ignore[arg-type]


def called(outcome: Outcome, attempt: int, **differing: object) -> ScoreEvent:
    change = change_of_outcome(CURRENT_RULES, outcome, attempt)
    return replace(ScoreEvent(change, 1, TEN, outcome, attempt), **differing)  # type: ignore[arg-type]


def aged(weeks: float, change: int, **differing: object) -> ScoreEvent:
    event = ScoreEvent(ScoreChange(age=change), 1, TEN, aged_to=TEN + weeks * WEEK)
    return replace(event, **differing)  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> list[ScoreEvent]:
    """What a stay went through: calls and days in any order, as the desk and the ageing would record them."""
    events: list[ScoreEvent] = []
    attempts = age = 0
    for step in draw(st.lists(st.one_of(st.sampled_from(Outcome), st.integers(0, 400)), max_size=30)):
        rules = draw(st.sampled_from([CURRENT_RULES, DEARER]))
        if isinstance(step, Outcome):
            attempts += 1
            change = change_of_outcome(rules, step, attempts)
            events.append(ScoreEvent(change, rules.version, TEN, step, attempts))
        elif (change := change_of_age(rules, TEN, TEN + timedelta(days=step), age)).total:
            age += change.age
            events.append(ScoreEvent(change, rules.version, TEN, aged_to=TEN + timedelta(days=step)))
    return events


@given(histories())
def test_what_the_rules_made_is_derived_again(events: list[ScoreEvent]) -> None:
    """P25: for every history, whichever version of the rules counted which event."""
    rules = {**RULES, 2: DEARER}
    assert list(derive(TEN, events, rules)) == [event.change for event in events]
    assert problems_of(stay(*events), rules) == []


@given(histories(), st.data())
def test_any_number_that_is_off_is_told(events: list[ScoreEvent], data: st.DataObject) -> None:
    """P25, P35: one part of the stored score, the place in the queue, or one recorded change."""
    rules = {**RULES, 2: DEARER}
    off = data.draw(st.integers(-9, 9).filter(bool))
    part = data.draw(st.sampled_from(["outcome", "attempts", "age"]))
    right = stay(*events)
    stored = replace(right.stored, **{part: getattr(right.stored, part) + off})
    assert problems_of(replace(right, stored=stored, priority_score=right.score + off), rules)
    assert problems_of(replace(right, base=off, priority_score=right.score + off), rules)
    assert problems_of(replace(right, priority_score=right.priority_score + off), rules)
    if events:
        place = data.draw(st.integers(0, len(events) - 1))
        change = replace(events[place].change, **{part: getattr(events[place].change, part) + off})
        altered = [*events[:place], replace(events[place], change=change), *events[place + 1 :]]
        # Score and events agree with each other; only the rules tell.
        assert problems_of(stay(*altered), rules)


def test_the_example_of_the_docs_computed_by_hand() -> None:
    """P37: docs/measures.md, each line derived again from its day and event alone."""
    text = MEASURES.read_text("utf-8").partition("### A score by hand")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.M)
    assert len(lines) == 8
    events, attempts = [], 0
    for day, what, *numbers in lines:
        outcome, attempt, age, _ = map(int, numbers)
        event = ScoreEvent(ScoreChange(outcome, attempt, age), 1, TEN)
        if what == "aged":
            events.append(replace(event, aged_to=TEN + timedelta(days=int(day))))
        else:
            attempts += 1
            events.append(replace(event, outcome=Outcome(what), attempt=attempts))
    assert list(derive(TEN, events)) == [event.change for event in events]
    sums = [stay(*events[: number + 1]).score for number in range(len(events))]
    assert sums == [int(score) for *_, score in lines]


@pytest.mark.parametrize(
    ("scored", "sentence"),
    [
        (
            stay(called(Outcome.HUNG_UP, 1), stored=ScoreChange(3, 0, 0), priority_score=3),
            "the score is 3 (outcomes 3, attempts 0, age 0), the events add up to 2 "
            "(outcomes 2, attempts 0, age 0)",
        ),
        (
            stay(base=4, priority_score=4),
            "the score is 4 (base 4, outcomes 0, attempts 0, age 0), the events add up to 0 "
            "(outcomes 0, attempts 0, age 0)",
        ),
        (
            stay(called(Outcome.HUNG_UP, 1, change=ScoreChange(3))),
            "event 1 added 3 (outcomes 3, attempts 0, age 0), the rules say 2 "
            "(outcomes 2, attempts 0, age 0)",
        ),
        (
            stay(aged(1, 5), aged(1.5, 5)),
            "event 2 added 5 (outcomes 0, attempts 0, age 5), the rules say 0 "
            "(outcomes 0, attempts 0, age 0)",
        ),
        (stay(aged(1, 5, rules_version=9)), "event 1 was counted by rules of version 9: unknown"),
        (stay(aged(1, 5), priority_score=0), "the score is 5, the place in the queue 0"),
    ],
    ids=["a part", "the base", "an outcome", "aged twice", "unknown rules", "the place"],
)
def test_each_disagreement_is_a_sentence(scored: ScoredStay, sentence: str) -> None:
    assert problems_of(scored) == [sentence]


@pytest.mark.parametrize("differing", [{"is_raised": True}, {"is_live": False}])
def test_a_raised_or_ended_stay_has_a_place_of_its_own(differing: dict[str, bool]) -> None:
    """P26: its score is compared all the same."""
    assert problems_of(stay(aged(1, 5), priority_score=-1000, **differing)) == []
    off: Callable[..., ScoredStay] = stay
    assert problems_of(off(aged(1, 5), stored=ScoreChange(age=6), **differing))
