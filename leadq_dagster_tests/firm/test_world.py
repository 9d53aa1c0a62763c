"""The firm's world: the same every time, however its clock is moved, and odd in every way it promises."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest

from leadq_dagster.firm.catalogue import ODD_NAMES, PAPERWORK, REQUESTS, SIGNATURE
from leadq_dagster.firm.transaction import Change, ClaimState, RequirementState, UserState
from leadq_dagster.firm.world import COMMIT_DELAY_MAX, DAY_CURVE, Firm

START = datetime(2025, 3, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEKS = timedelta(weeks=3)


def live(span: timedelta, seed: int = 7, sign_ups_per_day: float = 70, **shares: float) -> list[Change]:
    """All that becomes visible in the first `span` of a firm."""
    return Firm(seed, START, sign_ups_per_day, **shares).advance(START + span)


@pytest.fixture(scope="module")
def history() -> list[Change]:
    """Some weeks of a firm of the usual size."""
    return Firm(7, START).advance(START + WEEKS)


def test_the_same_seed_lives_the_same_life() -> None:
    """P6: a failing run can be lived again."""
    assert live(3 * DAY) == live(3 * DAY)
    assert live(3 * DAY) != live(3 * DAY, seed=8)


@pytest.mark.parametrize("step", [timedelta(seconds=97), HOUR, timedelta(hours=7, microseconds=3)])
def test_one_step_and_many_steps_show_the_same_changes_in_the_same_order(step: timedelta) -> None:
    """P6: hours, halves of hours and days add up to the same."""
    firm, seen, now = Firm(7, START, 70, late_share=0.2), [], START
    while now < START + 3 * DAY:
        now = min(now + step, START + 3 * DAY)
        shown = firm.advance(now)
        assert all(now - step < change.visible_at <= now for change in shown)
        seen += shown
    assert seen == live(3 * DAY, late_share=0.2)


def test_an_instant_already_passed_shows_nothing() -> None:
    """A clock that is set back does not make the firm live anything twice."""
    firm = Firm(7, START, 70)
    firm.advance(START + DAY)
    assert firm.advance(START) == []
    assert firm.advance(START + DAY) == []


def test_changes_come_in_the_order_in_which_they_became_visible(history: list[Change]) -> None:
    """Nothing is shown before it was written, nor later than the longest transaction lasts."""
    assert history == sorted(history, key=lambda change: change.visible_at)
    assert all(timedelta() <= change.visible_at - change.at < COMMIT_DELAY_MAX for change in history)


def test_a_row_is_made_once_and_before_it_is_changed_and_after_its_parent(history: list[Change]) -> None:
    """The row lock: a late transaction is overtaken by nothing that concerns the same person."""
    last_written: dict[tuple[str, int | str], datetime] = {}
    for change in history:
        key = (change.table, change.key)
        assert change.is_insert == (key not in last_written)
        assert last_written.get(key, START) <= change.at
        last_written[key] = change.at
        match change.state:
            case ClaimState() as claim:
                assert ("users", claim.user_id) in last_written
            case RequirementState() as item:
                assert ("claims", item.claim_id) in last_written


def test_a_row_keeps_one_of_its_dates_and_it_says_when_it_was_written(history: list[Change]) -> None:
    """P12: a date may be missing, yet a change can be found by the other one."""
    for change in history:
        dates = [change.row.get("created_at"), change.row.get("updated_at")]
        assert change.at.replace(tzinfo=None) in dates
        assert change.is_insert or "created_at" not in change.row
        assert change.at.microsecond == 0


def test_wholly_undated_users_exist_only_where_they_are_asked_for(history: list[Change]) -> None:
    """P12: rows that no window can find, for the reconciliation over everything."""

    def undated(changes: Iterable[Change]) -> int:
        return sum(
            change.table == "users" and not change.row.get("created_at") and not change.row["updated_at"]
            for change in changes
        )

    assert undated(history) == 0
    assert undated(live(3 * DAY, undated_share=0.1)) > 5


def test_a_firm_has_thousands_of_users_and_hardly_any_sign_up_at_night(history: list[Change]) -> None:
    """420 sign-ups a day within a tenth, and the day curve."""
    hours = Counter(change.at.hour for change in history if change.table == "users" and change.is_insert)
    assert 0.9 < hours.total() / (420 * WEEKS.days) < 1.1
    assert sum(hours[hour] for hour in range(5)) < hours.total() * 0.05
    assert hours[10] > 5 * hours[23]


def test_a_large_firm_keeps_its_pace_although_it_writes_whole_seconds() -> None:
    """Benchmarks ask for about one sign-up a second at night already."""
    share_of_first_hour = DAY_CURVE[0] / sum(DAY_CURVE)
    sign_ups = sum(change.is_insert and change.table == "users" for change in live(HOUR, 7, 500_000))
    assert 0.9 < sign_ups / (500_000 * share_of_first_hour) < 1.1


def test_everybody_is_invented(history: list[Change]) -> None:
    """P40: no address or number of the firm can belong to anybody."""
    people = [change.row for change in history if change.table == "users" and change.is_insert]
    for row in people:
        digits = re.sub(r"\D", "", str(row["phone_number"]))
        assert re.fullmatch(r"(0|44|0044)7700900\d{3}", digits)
        assert str(row["email_address"]).endswith("@example.com")
        assert str(row["email_address"]).isascii()
    assert {row["first_name"] for row in people} >= set(ODD_NAMES)


def test_everything_that_can_be_asked_for_is_asked_for_and_ends_in_every_way(history: list[Change]) -> None:
    """All types of requirements, counted or not, pending, approved, rejected and withdrawn."""
    items = [change.state for change in history if isinstance(change.state, RequirementState)]
    assert {item.kind for item in items} == {SIGNATURE, *REQUESTS, *PAPERWORK}
    assert {item.status for item in items} == {"pending", "approved", "rejected", "withdrawn"}


def users_of(changes: Iterable[Change]) -> dict[int, list[UserState]]:
    """What each user was, one state after the other."""
    lives: dict[int, list[UserState]] = {}
    for change in changes:
        if isinstance(change.state, UserState):
            lives.setdefault(change.state.user_id, []).append(change.state)
    return lives


def enabled_in_turn(changes: Iterable[Change]) -> set[tuple[bool, ...]]:
    """How users were enabled and disabled, repetitions left out."""
    return {
        tuple(
            state.is_enabled
            for before, state in zip([None, *states], states, strict=False)
            if before is None or before.is_enabled != state.is_enabled
        )
        for states in users_of(changes).values()
    }


def reopened(changes: Iterable[Change]) -> set[str]:
    """The verdicts after which something was asked for once more."""
    status: dict[str, str] = {}
    verdicts = set()
    for change in changes:
        if isinstance(change.state, RequirementState):
            if change.state.status == "pending" and change.key in status:
                verdicts.add(status[change.state.requirement_id])
            status[change.state.requirement_id] = change.state.status
    return verdicts


def cancelled_shares(changes: Iterable[Change]) -> dict[int, tuple[int, int]]:
    """Of each user with claims: how many are cancelled, of how many."""
    claims = {change.key: change.state for change in changes if isinstance(change.state, ClaimState)}
    totals: dict[int, tuple[int, int]] = {}
    for claim in claims.values():
        cancelled, total = totals.get(claim.user_id, (0, 0))
        totals[claim.user_id] = (cancelled + claim.is_cancelled, total + 1)
    return totals


def signing_delays(changes: Iterable[Change]) -> list[timedelta]:
    """How long after sign-up people signed who had not signed at once."""
    began: dict[int, datetime] = {}
    delays = []
    for change in changes:
        if isinstance(change.state, UserState):
            if not change.state.is_signed:
                began.setdefault(change.state.user_id, change.at)
            elif change.state.user_id in began:
                delays.append(change.at - began.pop(change.state.user_id))
    return delays


def column(changes: Iterable[Change], table: str, name: str) -> set[object]:
    """Every value that was ever written to a column."""
    return {change.row[name] for change in changes if change.table == table and name in change.row}


SOMETIMES: dict[str, Callable[[list[Change]], bool]] = {
    "somebody signs within the hour": lambda all_: min(signing_delays(all_)) < HOUR,
    "somebody signs after two weeks": lambda all_: max(signing_delays(all_)) > 14 * DAY,
    "somebody has signed already at sign-up": lambda all_: any(
        states[0].is_signed for states in users_of(all_).values()
    ),
    "somebody never signs": lambda all_: any(not states[-1].is_signed for states in users_of(all_).values()),
    "somebody is disabled and enabled again": lambda all_: (True, False, True) in enabled_in_turn(all_),
    "somebody is disabled for good": lambda all_: (True, False) in enabled_in_turn(all_),
    "somebody is created disabled and enabled later": lambda all_: (False, True) in enabled_in_turn(all_),
    "somebody is never enabled": lambda all_: (False,) in enabled_in_turn(all_),
    "somebody is cancelled": lambda all_: any(states[-1].is_cancelled for states in users_of(all_).values()),
    "somebody cancelled is won back": lambda all_: any(
        states[-1].is_cancelled < any(state.is_cancelled for state in states)
        for states in users_of(all_).values()
    ),
    "somebody has no claim": lambda all_: len(cancelled_shares(all_)) < len(users_of(all_)),
    "somebody has four claims": lambda all_: 4 in {total for _, total in cancelled_shares(all_).values()},
    "some of a person's claims are cancelled": lambda all_: any(
        0 < cancelled < total for cancelled, total in cancelled_shares(all_).values()
    ),
    "all of a person's many claims are cancelled": lambda all_: any(
        1 < cancelled == total for cancelled, total in cancelled_shares(all_).values()
    ),
    "requirements are reopened after every verdict": lambda all_: (
        reopened(all_) == {"approved", "rejected", "withdrawn"}
    ),
    "a row is visible an hour late, and another hour names it": lambda all_: any(
        change.visible_at - change.at > HOUR for change in all_ if change.is_insert
    ),
    "an update is visible an hour late": lambda all_: any(
        change.visible_at - change.at > HOUR for change in all_ if not change.is_insert
    ),
    "a later id is visible before an earlier one": lambda all_: (
        (ids := [change.key for change in all_ if change.table == "users" and change.is_insert])
        != sorted(ids, key=lambda key: (isinstance(key, int) and key > 2**53, key))
    ),
    "ids beyond 2^53 that a float cannot tell apart": lambda all_: (
        len({float(key) for key in users_of(all_) if key > 2**53})
        < sum(key > 2**53 for key in users_of(all_))
    ),
    "claim ids beyond 2^53": lambda all_: any(
        isinstance(value, int) and value > 2**53 for value in column(all_, "claims", "id")
    ),
    "is_enabled is 2": lambda all_: column(all_, "users", "is_enabled") == {0, 1, 2},
    "the signature is the empty string, or NULL": lambda all_: (
        {"", None} <= column(all_, "users", "current_signature_file_id")
    ),
    "a user's status is NULL": lambda all_: None in column(all_, "users", "status"),
    "cancelled is written in many ways": lambda all_: (
        {"cancelled", "CANCELLED", " cancelled"} <= column(all_, "claims", "status")
    ),
    "pending is written in many ways": lambda all_: (
        {"pending", "Pending", "PENDING", "pending ", " Pending "}
        <= column(all_, "claim_requirements", "status")
    ),
    "created_at is NULL": lambda all_: all(
        None in column(all_, table, "created_at") for table in ("users", "claims", "claim_requirements")
    ),
    "updated_at is NULL": lambda all_: None in column(all_, "users", "updated_at"),
    "a name has four-byte characters": lambda all_: any(
        len(character.encode()) == 4
        for name in column(all_, "users", "first_name")
        for character in str(name)
    ),
}


@pytest.mark.parametrize("what", SOMETIMES)
def test_it_does_happen_in_some_weeks(what: str, history: list[Change]) -> None:
    """P7, P12: what the firm promises to contain, it contains."""
    assert SOMETIMES[what](history)


def test_a_firm_without_a_zone_or_without_clients_is_refused() -> None:
    """A naive start could mean any zone; no sign-up would ever come."""
    with pytest.raises(ValueError, match="time zone"):
        Firm(7, datetime(2025, 3, 3))
    with pytest.raises(ValueError, match="sign-ups"):
        Firm(7, START, 0)
