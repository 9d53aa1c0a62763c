"""A conversion check accounts for every candidate, or there is no tally of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.conversion_tally import ConversionTally
from leadq_dagster.domain.errors import PermanentError

counts = st.integers(0, 10_000)


@st.composite
def balanced(draw: st.DrawFn) -> ConversionTally:
    detected, recorded, earlier, waiting, undecided, also = (draw(counts) for _ in range(6))
    departed = draw(st.dictionaries(st.sampled_from(["user_disabled", "odd"]), st.integers(1, 100)))
    candidates = detected + recorded + sum(departed.values()) + earlier + waiting + undecided
    late = draw(st.integers(0, detected))
    return ConversionTally(
        candidates, detected, recorded, departed, earlier, waiting, undecided, late, also_detected=also
    )


@given(balanced(), counts.filter(bool))
def test_a_tally_that_does_not_balance_is_refused(tally: ConversionTally, lost: int) -> None:
    """P14: and the text says every number."""
    with pytest.raises(
        PermanentError, match=f"{tally.candidates + lost} candidates, but {tally.candidates} acc"
    ):
        ConversionTally(
            tally.candidates + lost,
            tally.detected,
            tally.already_recorded,
            tally.departed,
            tally.departed_earlier,
            tally.waiting,
            tally.undecided,
        )


@given(balanced(), balanced(), balanced())
def test_tallies_add_up_in_any_order(
    one: ConversionTally, two: ConversionTally, three: ConversionTally
) -> None:
    """P6, P14: hour by hour or all at once, the same total."""
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + ConversionTally() == one
    both = one + two
    assert both.candidates == one.candidates + two.candidates
    assert both.late == one.late + two.late
    assert both.recorded == one.detected + one.also_detected + two.detected + two.also_detected
    assert sum(both.departed.values()) == sum(one.departed.values()) + sum(two.departed.values())


def test_departures_are_kept_apart_by_their_reason() -> None:
    """P14: departed is not one number."""
    one = ConversionTally(3, detected=1, departed={"user_disabled": 2})
    two = ConversionTally(4, undecided=1, departed={"user_disabled": 1, "user_cancelled": 2})
    assert one + two == ConversionTally(
        7, detected=1, undecided=1, departed={"user_disabled": 3, "user_cancelled": 2}
    )
