"""How a score is made: examples computed by hand, and laws over all histories."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_rules import (
    CURRENT_RULES,
    RULES,
    ScoreChange,
    ScoreRules,
    change_of_age,
    change_of_outcome,
    recompute,
)

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
DAY = timedelta(days=1)

parts = st.integers(0, 500)
changes = st.lists(st.builds(ScoreChange, parts, parts, parts), max_size=20)
ages = st.timedeltas(timedelta(days=-2), timedelta(days=400))
rule_sets = st.builds(
    lambda steps, days, price: replace(
        CURRENT_RULES,
        attempt_prices=tuple(zip(sorted(steps), sorted(steps.values()), strict=True)),
        age_step=timedelta(days=days),
        age_price=price,
    ),
    st.dictionaries(st.integers(0, 30), st.integers(0, 9), max_size=4),
    st.integers(1, 30),
    st.integers(0, 20),
)


def aged(entered_at: datetime, looks: list[datetime]) -> int:
    """The age part after ageing at each of these instants in turn."""
    so_far = 0
    for as_of in looks:
        so_far += change_of_age(CURRENT_RULES, entered_at, as_of, so_far).age
    return so_far


@pytest.mark.parametrize(
    ("attempts", "price"),
    [(0, 0), (1, 0), (5, 0), (6, 1), (7, 2), (8, 3), (9, 4), (10, 5), (11, 8), (12, 11), (15, 20), (20, 35)],
)
def test_attempts_over_five_cost_one_each_and_over_ten_three_each(attempts: int, price: int) -> None:
    """P25: computed by hand, as docs/decisions has it."""
    assert CURRENT_RULES.price_of_attempts(attempts) == price


@pytest.mark.parametrize(
    ("age", "price"),
    [
        (timedelta(0), 0),
        (7 * DAY - timedelta(microseconds=1), 0),
        (7 * DAY, 5),
        (13 * DAY, 5),
        (14 * DAY, 10),
        (365 * DAY, 260),
        (-30 * DAY, 0),
    ],
)
def test_each_full_week_in_the_queue_costs_five(age: timedelta, price: int) -> None:
    """P25: by the time itself; who entered in the future (a clock was set back) is not made hotter."""
    assert CURRENT_RULES.price_of_age(TEN, TEN + age) == price


def test_a_week_is_a_week_when_the_clocks_change() -> None:
    """P25: seven times 24 hours."""
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert CURRENT_RULES.price_of_age(before, before + 7 * DAY) == 5
    assert CURRENT_RULES.price_of_age(before, before + 7 * DAY - timedelta(hours=1)) == 0


def test_from_two_hundred_on_nobody_is_called() -> None:
    """P24: not interested twice, or forty weeks in the queue."""
    assert CURRENT_RULES.not_called_from == 200
    twice = [change_of_outcome(CURRENT_RULES, Outcome.NOT_INTERESTED, n).total for n in (1, 2)]
    assert sum(twice) >= 200
    assert CURRENT_RULES.price_of_age(TEN, TEN + 280 * DAY) >= 200


def test_an_outcome_costs_its_own_change_and_the_price_of_its_attempt() -> None:
    """P25: the parts are kept apart."""
    assert change_of_outcome(CURRENT_RULES, Outcome.NO_ANSWER, 5) == ScoreChange(1, 0, 0)
    assert change_of_outcome(CURRENT_RULES, Outcome.NO_ANSWER, 6) == ScoreChange(1, 1, 0)
    assert change_of_outcome(CURRENT_RULES, Outcome.BAD_NUMBER, 11) == ScoreChange(50, 3, 0)


def test_a_life_of_a_lead_computed_by_hand() -> None:
    """P25: twelve calls that nobody answers in three weeks: 12 + (5 + 6) + 15."""
    events = [change_of_outcome(CURRENT_RULES, Outcome.NO_ANSWER, n) for n in range(1, 13)]
    events.insert(4, change_of_age(CURRENT_RULES, TEN, TEN + 21 * DAY, 0))
    assert recompute(events) == ScoreChange(12, 11, 15)
    assert recompute(events).total == 38


def test_versions_are_kept_under_their_number() -> None:
    """P25: an event that names a version is explained by it for ever."""
    assert {number: rules.version for number, rules in RULES.items()} == {number: number for number in RULES}
    assert CURRENT_RULES is RULES[max(RULES)]


@given(rule_sets, st.integers(1, 60))
def test_no_attempt_is_cheaper_than_the_one_before(rules: ScoreRules, attempt: int) -> None:
    """P25: monotone, whatever the steps."""
    assert 0 <= rules.price_of_attempt(attempt) <= rules.price_of_attempt(attempt + 1)


@given(rule_sets, st.integers(0, 60))
def test_what_attempts_cost_together_is_what_each_added(rules: ScoreRules, attempts: int) -> None:
    """P25: recorded one by one, or derived from their number."""
    each = [rules.price_of_attempt(number) for number in range(1, attempts + 1)]
    assert rules.price_of_attempts(attempts) == sum(each)


@given(ages, ages)
def test_age_only_grows(first: timedelta, second: timedelta) -> None:
    """P25: a function of the two instants and nothing else."""
    earlier, later = sorted([TEN + first, TEN + second])
    assert CURRENT_RULES.price_of_age(TEN, earlier) <= CURRENT_RULES.price_of_age(TEN, later)


@given(st.lists(ages, min_size=1, max_size=30), st.randoms())
def test_ageing_daily_twice_late_or_in_any_order_is_ageing_once(
    looks: list[timedelta], random: Random
) -> None:
    """P25: what counts is the latest instant up to which somebody aged."""
    instants = [TEN + look for look in looks]
    once = CURRENT_RULES.price_of_age(TEN, max(instants))
    shuffled = [*instants, *instants]
    random.shuffle(shuffled)
    assert aged(TEN, instants) == aged(TEN, shuffled) == aged(TEN, [max(instants)]) == once


@given(st.integers(0, 60), st.sets(st.integers(0, 60)), st.timedeltas(timedelta(0), DAY))
def test_days_on_which_nobody_aged_are_made_up_for(days: int, missed: set[int], clock: timedelta) -> None:
    """P25: after a week of downtime the score is what it would have been."""
    every = [TEN + number * DAY + clock for number in range(days + 1)]
    some = [instant for number, instant in enumerate(every) if number not in missed or number == days]
    assert aged(TEN, every) == aged(TEN, some)


@given(ages, parts)
def test_ageing_never_takes_back(age: timedelta, so_far: int) -> None:
    """P25: a score that is older than the date (a clock was set back) stays."""
    change = change_of_age(CURRENT_RULES, TEN, TEN + age, so_far)
    assert change.age >= 0
    assert not change.outcome
    assert not change.attempts


@given(changes, st.randoms())
def test_a_score_is_the_sum_of_its_events_in_any_order(history: list[ScoreChange], random: Random) -> None:
    """P25: and of the parts of its parts."""
    shuffled = list(history)
    random.shuffle(shuffled)
    assert recompute(history) == recompute(shuffled)
    assert recompute(history).total == sum(event.total for event in history)
    half = len(history) // 2
    assert recompute([recompute(history[:half]), recompute(history[half:])]) == recompute(history)
