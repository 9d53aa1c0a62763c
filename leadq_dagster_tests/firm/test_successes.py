"""The oracle of conversions: each line of the rule by example, and the laws of a whole history."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from leadq_dagster.firm.catalogue import PAPERWORK, REQUESTS, SIGNATURE, Kind
from leadq_dagster.firm.transaction import (
    Change,
    ClaimState,
    Key,
    RequirementState,
    RequirementStatus,
    State,
    TableName,
    UserState,
)
from leadq_dagster.firm.truth import Success, Truth
from leadq_dagster.firm.world import Firm

START = datetime(2025, 3, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
USER, CLAIM = 2**53 + 1, 11
COUNTED = Kind("proof_of_address", None, True)
UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"
SIGNED, COMPLETED = "signature_obtained", "requirements_completed"


def change(table: TableName, key: Key, state: State, hour: int, *, is_dated: bool = True) -> Change:
    at = START + hour * HOUR
    return Change(
        table, key, True, {"updated_at": at.replace(tzinfo=None) if is_dated else None}, state, at, at
    )


def user(hour: int = 0, *, signed: bool = True, enabled: bool = True, cancelled: bool = False) -> Change:
    return change("users", USER, UserState(USER, enabled, cancelled, signed), hour)


def claim(claim_id: int = CLAIM, *, cancelled: bool = False, hour: int = 0) -> Change:
    return change("claims", claim_id, ClaimState(claim_id, USER, cancelled), hour)


def item(
    status: RequirementStatus, hour: int = 0, key: str = "r", kind: Kind = COUNTED, claim_id: int = CLAIM
) -> Change:
    return change("claim_requirements", key, RequirementState(key, claim_id, kind, status), hour)


def success(changes: list[Change], queue: str) -> Success | None:
    truth = Truth()
    truth.see(changes)
    return truth.success_of(USER, queue)


def test_a_signature_is_dated_by_the_users_row_which_may_have_moved_on() -> None:
    """P2, P13: the firm knows when it was; the row tells of its last change."""
    assert success([user(1, signed=False)], UNSIGNED) is None
    assert success([], UNSIGNED) is None
    signed = [user(1, signed=False), user(2)]
    at = START + 2 * HOUR
    assert success(signed, UNSIGNED) == Success(SIGNED, at, at)
    assert success([*signed, user(5, enabled=False)], UNSIGNED) == Success(SIGNED, at, START + 5 * HOUR)
    undated = change("users", USER, UserState(USER, True, False, True), 2, is_dated=False)
    assert success([undated], UNSIGNED) == Success(SIGNED, at, None)


@pytest.mark.parametrize(
    ("changes", "hour"),
    [
        ([], None),
        ([item("pending")], None),
        ([item("rejected")], None),
        ([item("withdrawn")], None),
        ([item("approved", 3)], 3),
        ([item("pending", 1), item("approved", 3)], 3),
        ([item("approved", 3), item("pending", 4)], None),
        ([item("approved", 3), item("pending", 4), item("approved", 6)], 6),
        ([item("approved", 3), item("approved", 5, "s")], 5),
        ([item("approved", 3), item("pending", 5, "s")], None),
        ([item("approved", 3), item("rejected", 5, "s")], 3),
        ([item("approved", 3), item("withdrawn", 5, "s")], 3),
        ([item("approved", 3), item("pending", 5, "s", SIGNATURE)], 3),
        ([item("approved", 3), item("approved", 5, "s", SIGNATURE)], 3),
        *(([item("approved", 3, kind=kind)], None) for kind in (SIGNATURE, *PAPERWORK, *REQUESTS[1:3])),
        ([item("approved", 3, kind=REQUESTS[0])], 3),
        ([item("approved", 3), claim(cancelled=True, hour=4)], None),
        ([item("approved", 3), claim(12), item("pending", 4, "s", claim_id=12)], None),
        ([item("approved", 3), claim(12, cancelled=True), item("pending", 4, "s", claim_id=12)], 3),
        ([item("approved", 3), user(4, enabled=False)], 3),
        ([item("approved", 3), user(4, cancelled=True)], 3),
    ],
)
def test_requirements_succeed_by_an_approval_with_nothing_waited_for(
    changes: list[Change], hour: int | None
) -> None:
    """P2: rejected and withdrawn ones, paperwork, cancelled claims and flags of the user say nothing."""
    at = None if hour is None else START + hour * HOUR
    expected = None if at is None else Success(COMPLETED, at, at)
    assert success([user(), claim(), *changes], OUTSTANDING) == expected


def test_over_a_history_successes_of_both_kinds_come_and_are_told_no_earlier_than_they_happened() -> None:
    """P2, P13: and who is waited for in a queue has not come to anything there."""
    firm, truth = Firm(3, START, 300, undated_share=0.02), Truth()
    seen = Counter[str]()
    for day in range(1, 16):
        truth.see(firm.advance(START + timedelta(days=day)))
        for user_id in truth.users:
            assert truth.queue_of(user_id) is None or not truth.success_of(
                user_id, truth.queue_of(user_id) or ""
            )
            for found in filter(None, (truth.success_of(user_id, name) for name in (UNSIGNED, OUTSTANDING))):
                seen[found.type] += 1
                assert found.told_at is None or found.told_at >= found.happened_at
                seen["told later"] += found.told_at is not None and found.told_at > found.happened_at
                seen["undated"] += found.told_at is None
    assert min(seen[what] for what in (SIGNED, COMPLETED, "told later", "undated")) > 0
