"""Calls at the firm: whose a success is, line by line, and that the records are as bad as real ones."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from leadq_dagster.firm.calls import place_call, whose

AT = datetime(2025, 3, 31, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ANN, BEN, CEM = 1, 2, 3


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], (None, set())),
        ([(ANN, AT - MINUTE, 31)], (ANN, set())),
        ([(ANN, AT - MINUTE, 30)], (None, set())),
        ([(ANN, AT - MINUTE, 0)], (None, set())),
        ([(ANN, AT - MINUTE, None)], (None, set())),
        ([(None, AT - MINUTE, 90)], (None, set())),
        ([(ANN, AT, 90)], (None, set())),
        ([(ANN, AT + MINUTE, 90)], (None, set())),
        ([(ANN, AT - 30 * DAY, 90)], (ANN, set())),
        ([(ANN, AT - 30 * DAY - MINUTE, 90)], (None, set())),
        ([(ANN, AT - 2 * MINUTE, 90), (BEN, AT - MINUTE, 90)], (BEN, {ANN})),
        ([(BEN, AT - MINUTE, 90), (ANN, AT - 2 * MINUTE, 90)], (BEN, {ANN})),
        ([(ANN, AT - 2 * MINUTE, 90), (ANN, AT - MINUTE, 90)], (ANN, set())),
        ([(ANN, AT - 2 * MINUTE, 90), (BEN, AT - MINUTE, 9)], (ANN, set())),
        ([(n, AT - n * MINUTE, 90) for n in (CEM, ANN, BEN, CEM)], (ANN, {BEN, CEM})),
    ],
)
def test_a_success_is_whose_talk_came_before_it(
    calls: list[tuple[int | None, datetime, int | None]], expected: tuple[int | None, set[int]]
) -> None:
    """P13: the rule of credit, stated a second time for tests only."""
    assert whose(calls, AT) == expected


def test_calls_are_of_every_kind_and_their_records_arrive_in_order() -> None:
    """P13: nobody there, on the edge, a conversation; records and talk times hours late; no agent."""
    rng = Random(1)
    calls = [place_call(rng, number, ANN, 7, AT) for number in range(400)]
    assert len({call.call_id for call in calls}) == 400
    assert {0, 30, 31} < {call.talk_seconds for call in calls}
    assert all(call.started_at < call.ended_at <= call.recorded_at <= call.talk_told_at for call in calls)
    for share in (
        sum(call.recorded_at > call.ended_at for call in calls) / 400,
        sum(call.talk_told_at > call.recorded_at for call in calls) / 400,
        sum(call.talk_seconds > 30 for call in calls) / 400,
    ):
        assert 0.1 < share < 0.6
    assert {call.agent_id for call in calls} == {ANN, None}


def test_the_same_dice_place_the_same_call() -> None:
    """What makes a printed seed worth printing."""
    assert place_call(Random(3), 1, ANN, 7, AT) == place_call(Random(3), 1, ANN, 7, AT)
