"""The oracle: each line of the rule by example, and held against leadq's own rule over a whole history."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from leadq_dagster.domain.conversion_rule import decide_conversion
from leadq_dagster.domain.facts import Requirement, SourceUser, UserFacts, normalise
from leadq_dagster.domain.queue_rule import QueueType, decide_queue
from leadq_dagster.firm.catalogue import PAPERWORK, REQUESTS, SIGNATURE, Kind
from leadq_dagster.firm.transaction import (
    Change,
    ClaimState,
    Key,
    RequirementState,
    RequirementStatus,
    Row,
    State,
    TableName,
    UserState,
)
from leadq_dagster.firm.truth import Truth
from leadq_dagster.firm.world import Firm

START = datetime(2025, 3, 3, tzinfo=UTC)
USER, CLAIM = 2**53 + 1, 11
COUNTED = Kind("proof_of_address", None, True)


def shown(table: TableName, key: Key, state: State, **row: str | int | datetime | None) -> Change:
    return Change(table, key, True, row, state, START, START)


def user(*, enabled: bool = True, cancelled: bool = False, signed: bool = True) -> Change:
    return shown("users", USER, UserState(USER, enabled, cancelled, signed))


def claim(claim_id: int = CLAIM, *, cancelled: bool = False) -> Change:
    return shown("claims", claim_id, ClaimState(claim_id, USER, cancelled))


def requirement(status: RequirementStatus = "pending", kind: Kind = COUNTED, claim_id: int = CLAIM) -> Change:
    return shown("claim_requirements", "r", RequirementState("r", claim_id, kind, status))


UNSIGNED, OUTSTANDING = "unsigned_users", "outstanding_requests"


@pytest.mark.parametrize(
    ("changes", "queue"),
    [
        ([], None),
        ([user(signed=False)], UNSIGNED),
        ([user(signed=False, enabled=False)], None),
        ([user(signed=False, cancelled=True)], None),
        ([user(signed=False), claim(cancelled=True)], None),
        ([user(signed=False), claim(cancelled=True), claim(12)], UNSIGNED),
        ([user(signed=False), claim(), requirement()], UNSIGNED),
        ([user()], None),
        ([user(), claim()], None),
        ([user(), claim(), requirement()], OUTSTANDING),
        ([user(enabled=False), claim(), requirement()], None),
        ([user(cancelled=True), claim(), requirement()], None),
        ([user(), claim(cancelled=True), requirement()], None),
        ([user(), claim(cancelled=True), claim(12), requirement()], None),
        ([user(), claim(cancelled=True), claim(12), requirement(claim_id=12)], OUTSTANDING),
        ([user(), claim(), requirement("approved")], None),
        ([user(), claim(), requirement("rejected")], None),
        ([user(), claim(), requirement("withdrawn")], None),
        ([user(), claim(), requirement("approved"), requirement("pending")], OUTSTANDING),
        ([user(), claim(), requirement("pending"), requirement("approved")], None),
        *(([user(), claim(), requirement(kind=kind)], None) for kind in (SIGNATURE, *PAPERWORK)),
        ([user(), claim(), requirement(kind=REQUESTS[0])], OUTSTANDING),
        ([user(), claim(), requirement(kind=REQUESTS[1])], None),
        ([user(), claim(), requirement(kind=REQUESTS[2])], None),
        ([user(), claim(), requirement(kind=REQUESTS[3])], OUTSTANDING),
    ],
)
def test_the_oracle_puts_a_user_where_the_rule_says(changes: list[Change], queue: str | None) -> None:
    """P5: the rule of the queues, stated a second time for tests only."""
    truth = Truth()
    truth.see(changes)
    assert truth.queue_of(USER) == queue
    assert truth.queues() == ({USER: queue} if changes else {})


def test_enabled_users_are_those_whose_last_word_is_enabled() -> None:
    """P7: switched on late counts as on."""
    truth = Truth()
    truth.see([user(enabled=False)])
    assert truth.enabled_users() == set()
    truth.see([user()])
    assert truth.enabled_users() == {USER}


def test_a_user_is_dated_within_a_window_by_either_date_from_its_start_to_before_its_end() -> None:
    """P7: half-open, and one date is enough."""
    noon = datetime(2025, 3, 3, 12)
    hour = (START + timedelta(hours=12), START + timedelta(hours=13))

    def dated(created_at: datetime | None, updated_at: datetime | None) -> bool:
        truth = Truth()
        state = UserState(USER, True, False, False)
        truth.see([shown("users", USER, state, created_at=created_at, updated_at=updated_at)])
        return truth.dated_within(*hour) == {USER}

    assert dated(noon, None)
    assert dated(None, noon)
    assert dated(noon - timedelta(days=9), noon + timedelta(minutes=59, seconds=59))
    assert not dated(noon - timedelta(seconds=1), noon + timedelta(hours=1))
    assert not dated(None, None)


def facts_from(rows: dict[TableName, dict[Key, Row]]) -> list[UserFacts]:
    """What a reader of the rows would tell the rule, written down here for the comparison only."""
    claims, items = defaultdict(list), defaultdict(list)
    for row in rows["claims"].values():
        claims[row["user_id"]].append(row)
    for row in rows["claim_requirements"].values():
        items[row["claim_id"]].append(row)
    return [
        UserFacts(
            SourceUser(
                int(str(row["id"])),
                bool(row["is_enabled"]),
                text(row["status"]),
                bool(row["current_signature_file_id"]),
                updated_at=moment(row["updated_at"]),
            ),
            len(claims[row["id"]]),
            sum(text(claim["status"]) == "cancelled" for claim in claims[row["id"]]),
            tuple(
                Requirement(
                    text(item["type"]),
                    text(item["status"]),
                    text(item["claim_requirement_reason"]),
                    text(claim["status"]) == "cancelled",
                    moment(item["updated_at"]),
                )
                for claim in claims[row["id"]]
                for item in items[claim["id"]]
            ),
        )
        for row in rows["users"].values()
    ]


def text(value: object) -> str:
    return normalise(None if value is None else str(value))


def moment(value: object) -> datetime | None:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None


def test_oracle_and_rule_agree_on_everybody_at_any_time() -> None:
    """P5, P12: two statements of one rule, one on meanings and one on rows with all their oddities."""
    firm, truth = Firm(3, START, 300), Truth()
    for day in (1, 4, 9, 20):
        truth.see(firm.advance(START + timedelta(days=day)))
        decided = {
            facts.user.user_id: queue and str(queue)
            for facts in facts_from(truth.rows)
            for queue in [decide_queue(facts).queue]
        }
        assert decided == truth.queues()
    assert set(decided.values()) == {UNSIGNED, OUTSTANDING, None}


def test_oracle_and_rule_agree_on_every_conversion_at_any_time() -> None:
    """P2, P12: what a stay in either queue has come to, and since when by the rows."""
    firm, truth = Firm(3, START, 300, undated_share=0.02), Truth()
    found = set()
    for day in (1, 4, 9, 20):
        truth.see(firm.advance(START + timedelta(days=day)))
        for facts in facts_from(truth.rows):
            for queue in QueueType:
                conversion = decide_conversion(queue, facts)
                success = truth.success_of(facts.user.user_id, queue)
                assert (conversion is None) == (success is None)
                if conversion and success:
                    assert (conversion.type, conversion.converted_at) == (success.type, success.told_at)
                    found.add(success.type)
    assert found == {"signature_obtained", "requirements_completed"}
