"""The table of consequences: each row as the firm gave it, and that every outcome has one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.outcomes import CONSEQUENCES, UNANSWERED, Outcome
from leadq_dagster.domain.score_rules import CURRENT_RULES, RULES, next_call_after

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
AGREED = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
STAYING = sorted(set(Outcome) - {Outcome.NO_CLAIM, Outcome.DO_NOT_CONTACT})

outcomes = st.sampled_from(sorted(Outcome))
times = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("outcome", "change", "hours"),
    [
        ("completed_form", 0, 24),
        ("going_to_complete", 0, 72),
        ("might_complete", 2, 24),
        ("no_answer", 1, 4),
        ("hung_up", 2, 4),
        ("missed_call", 0, 0),
        ("bad_number", 50, 672),
        ("not_interested", 100, 672),
    ],
)
def test_each_outcome_changes_the_score_and_cools_the_lead_as_the_firm_says(
    outcome: str, change: int, hours: int
) -> None:
    """P25: the table, row by row: the change, and the hours until the next call."""
    assert CURRENT_RULES.consequences[Outcome(outcome)].score_change == change
    assert next_call_after(CURRENT_RULES, Outcome(outcome), TEN, None) == TEN + hours * HOUR


@pytest.mark.parametrize("outcome", ["no_claim", "do_not_contact"])
def test_who_has_no_claim_or_opts_out_leaves_the_queue(outcome: str) -> None:
    """P22: these and no others, and the score says nothing of it."""
    assert CONSEQUENCES[Outcome(outcome)].leaves
    assert CONSEQUENCES[Outcome(outcome)].score_change == 0


@pytest.mark.parametrize("outcome", STAYING)
def test_nobody_else_leaves_by_an_outcome(outcome: Outcome) -> None:
    """P2: what an agent reports takes a lead away only where the user said so."""
    assert not CONSEQUENCES[outcome].leaves


def test_a_call_back_is_at_the_agreed_time_and_needs_one() -> None:
    """P26: it adds nothing to the score."""
    consequence = CONSEQUENCES[Outcome.CALL_BACK]
    assert consequence.must_agree
    assert consequence.score_change == 0
    assert next_call_after(CURRENT_RULES, Outcome.CALL_BACK, TEN, AGREED) == AGREED
    assert [outcome for outcome in Outcome if CONSEQUENCES[outcome].must_agree] == [Outcome.CALL_BACK]


def test_who_is_going_to_complete_may_agree_a_time_instead_of_three_days() -> None:
    """P28: the agreed time to the minute."""
    assert next_call_after(CURRENT_RULES, Outcome.GOING_TO_COMPLETE, TEN, AGREED) == AGREED
    assert next_call_after(CURRENT_RULES, Outcome.GOING_TO_COMPLETE, TEN, None) == TEN + 72 * HOUR


@given(outcomes, times, st.none() | times)
def test_every_outcome_has_a_consequence_under_every_version(
    outcome: Outcome, now: datetime, agreed_at: datetime | None
) -> None:
    """P25: total, and a cool-down is never negative."""
    for rules in RULES.values():
        consequence = rules.consequences[outcome]
        assert consequence.score_change >= 0
        assert consequence.may_agree or not consequence.must_agree
        after = next_call_after(rules, outcome, now, agreed_at)
        agreed = agreed_at if consequence.may_agree else None
        assert after == (agreed or now + consequence.cool_down) >= min(now, agreed or now)


@given(outcomes, times, times)
def test_a_time_that_nobody_could_agree_on_is_not_taken(
    outcome: Outcome, now: datetime, agreed_at: datetime
) -> None:
    """P28: who did not answer has agreed to nothing."""
    if not CONSEQUENCES[outcome].may_agree:
        assert next_call_after(CURRENT_RULES, outcome, now, agreed_at) == next_call_after(
            CURRENT_RULES, outcome, now, None
        )


def test_who_did_not_answer_was_not_spoken_to() -> None:
    """P26, P37: a conversation is a successful call; an unanswered call is none and keeps no promise."""
    spoken = {outcome for outcome in Outcome if CONSEQUENCES[outcome].is_conversation}
    assert spoken == {
        Outcome.COMPLETED_FORM, Outcome.GOING_TO_COMPLETE, Outcome.MIGHT_COMPLETE, Outcome.CALL_BACK,
        Outcome.NOT_INTERESTED, Outcome.NO_CLAIM, Outcome.DO_NOT_CONTACT,
    }  # fmt: skip
    assert {Outcome.NO_ANSWER, Outcome.MISSED_CALL} == UNANSWERED
    assert not UNANSWERED & spoken
