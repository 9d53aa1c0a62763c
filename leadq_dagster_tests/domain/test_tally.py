"""A tally accounts for every row, or there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.tally import Tally

counts = st.integers(0, 10_000)


@st.composite
def balanced(draw: st.DrawFn) -> Tally:
    stored, known = draw(counts), draw(counts)
    refused = draw(st.dictionaries(st.sampled_from(["user_disabled", "odd"]), st.integers(1, 100)))
    seen = stored + known + sum(refused.values())
    return Tally(seen, stored, known, refused, queued=draw(counts), late=draw(counts), converted=draw(counts))


@given(balanced(), counts.filter(bool))
def test_a_tally_that_does_not_balance_is_refused(tally: Tally, lost: int) -> None:
    """P14: and the text says every number."""
    with pytest.raises(PermanentError, match=f"seen {tally.seen + lost}, but stored {tally.stored}"):
        Tally(tally.seen + lost, tally.stored, tally.already_known, tally.refused)


@given(balanced(), balanced(), balanced())
def test_tallies_add_up_in_any_order(one: Tally, two: Tally, three: Tally) -> None:
    """P6, P14: hour by hour or all at once, the same total."""
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Tally() == one
    assert (one + two).seen == one.seen + two.seen
    assert (one + two).converted == one.converted + two.converted
    assert sum((one + two).refused.values()) == sum(one.refused.values()) + sum(two.refused.values())


def test_refusals_are_kept_apart_by_their_reason() -> None:
    """P14: refused is not one number."""
    one = Tally(seen=3, stored=1, refused={"user_disabled": 2})
    two = Tally(seen=4, already_known=1, refused={"user_disabled": 1, "odd": 2})
    assert one + two == Tally(seen=7, stored=1, already_known=1, refused={"user_disabled": 3, "odd": 2})
