"""The hourly conversion checks: every case of leaving a queue, noticed once and by everybody alike."""

import itertools
from collections.abc import Callable
from datetime import UTC

import pytest

from leadq_dagster.domain.conversion_tally import ConversionTally
from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.provenance import Source
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster_tests.stages.checking import (
    REQUIREMENTS,
    SIGNATURE,
    SIGNED,
    add_queued,
    add_requirement,
    call,
    change_requirements,
    check,
    discover,
    kinds,
    ledger,
    remove,
    signed,
    unsigned,
)
from leadq_dagster_tests.stages.discovering import NOON, Discovery, at, beat, change_user, hour
from leadq_dagster_tests.stages.stored import broken_promises, dump, nothing_changes, queues
from leadq_dagster_tests.stages.test_two_at_once import WatchedReplica

OBTAINED, COMPLETED = "signature_obtained", "requirements_completed"
OUTSTANDING = "outstanding_requests"
CASE = 8911
# Of the users of that case, those who signed long ago and owe a document.
FIRST_SIGNED = 9911


def pre_call_validation(on: Discovery, user_id: int) -> None:
    remove(on, user_id, Source.PRE_CALL_VALIDATION)


def call_completion(on: Discovery, user_id: int) -> None:
    call(on, user_id, agent=2, at=at("10:02"))
    remove(on, user_id, Source.OUTCOME)


def disabling(on: Discovery, user_id: int) -> None:
    change_user(on.source.engine, user_id, is_enabled=0, updated_at=at("10:20"))
    check(on, SIGNATURE)
    check(on, REQUIREMENTS)


def operator(on: Discovery, user_id: int) -> None:
    remove(on, user_id, Source.OPERATOR)


def success(on: Discovery, user_id: int) -> None:
    """At 10:20 the user signs; one who has signed long ago has the last document approved."""
    if user_id < FIRST_SIGNED:
        change_user(on.source.engine, user_id, **SIGNED, updated_at=at("10:20"))
    else:
        change_requirements(on, user_id, status="approved", updated_at=at("10:20"))


def hourly_check(on: Discovery, _: int) -> None:
    check(on, SIGNATURE)
    check(on, REQUIREMENTS)


def call_record(on: Discovery, user_id: int) -> None:
    call(on, user_id, at=at("09:50"))


@pytest.mark.parametrize("first_user", [CASE, FIRST_SIGNED], ids=["signature", "approval"])
@pytest.mark.parametrize("remover", [pre_call_validation, call_completion, disabling, operator])
def test_the_case_of_user_8911(
    discovery: Discovery, remover: Callable[[Discovery, int], None], first_user: int
) -> None:
    """P1, P2, P3, P13: whoever closes the stay, four events in each of their 24 orders: one conversion.

    An agent called at 09:50, and the record of it arrives at some time. The user signs, or has the last
    document approved, at 10:20. Somebody who does not know of it closes the stay before or after that, so
    that the hourly checks meet a closed stay, an open one, or one that they have seen before.
    """
    of_signature = first_user == CASE
    steps = (remover, success, hourly_check, call_record)
    for user_id, order in enumerate(itertools.permutations(steps), start=first_user):
        told = [step.__name__ for step in order]
        if not of_signature:
            add_requirement(discovery, user_id)
        add_queued(discovery, unsigned(user_id) if of_signature else signed(user_id))
        for step in order:
            step(discovery, user_id)
        hourly_check(discovery, user_id)
        (conversion,) = ledger(discovery.store_url, user_id)
        kind = OBTAINED if of_signature else COMPLETED
        assert (conversion["conversion_type"], conversion["source"]) == (kind, "hourly_check"), told
        assert conversion["converted_at"] == at("10:20").replace(tzinfo=UTC), told
        latest, other = (2, [1]) if remover is call_completion else (1, [])
        assert (conversion["primary_agent_id"], conversion["contributing_agents"]) == (latest, other), told
        assert (conversion["dagster_run_id"], conversion["partition_key"]) == ("run-1", "2026-03-04-10:00")
        assert queues(discovery.store_url)[user_id] is None, told
    nothing_changes(discovery.store_url, lambda: hourly_check(discovery, first_user))
    assert broken_promises(discovery.store_url) == []


def test_who_signs_without_ever_being_called_is_detected(discovery: Discovery) -> None:
    """P3, P13, P14: and nobody is credited, which is NULL and an empty list; twice is as once."""
    add_queued(discovery, unsigned(1), unsigned(2))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("10:20"))
    report = check(discovery)
    assert report.total == ConversionTally(candidates=1, detected=1)
    assert report.by_hour == {hour(10): report.total}
    (conversion,) = ledger(discovery.store_url)
    assert (conversion["user_id"], conversion["primary_agent_id"]) == (1, None)
    assert conversion["contributing_agents"] == []
    assert queues(discovery.store_url) == {1: None, 2: "unsigned_users"}
    nothing_changes(discovery.store_url, lambda: check(discovery))
    assert check(discovery).total == ConversionTally(candidates=1, already_recorded=1)


def test_who_was_called_lately_is_looked_at_though_the_source_has_no_date(discovery: Discovery) -> None:
    """P7, P12: an update that left no trace in time is found by the call of the last 48 hours."""
    add_queued(discovery, *(unsigned(n, updated_at=None) for n in range(1, 8)))
    for n in range(1, 8):
        change_user(discovery.source.engine, n, **SIGNED, updated_at=None)
        if n < 7:
            call(discovery, n, at=at("09:00"))
    assert check(discovery).total == ConversionTally(candidates=6, detected=6)
    assert {user_id for user_id, _ in kinds(discovery.store_url)} == set(range(1, 7))
    assert {row["converted_at"] for row in ledger(discovery.store_url)} == {NOON}


def test_newly_signed_with_something_to_supply_moves_on(discovery: Discovery) -> None:
    """P3, P5: to the next queue and not to none, with the conversion of the first stay."""
    add_queued(discovery, unsigned(1))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("10:20"))
    add_requirement(discovery, 1)
    assert check(discovery).total == ConversionTally(candidates=1, detected=1)
    assert queues(discovery.store_url) == {1: OUTSTANDING}
    assert kinds(discovery.store_url) == [(1, OBTAINED)]
    nothing_changes(discovery.store_url, lambda: check(discovery))


def sign_and_approve_within_the_hour(on: Discovery, between: Callable[[Discovery], object]) -> None:
    add_queued(on, unsigned(1))
    call(on, 1, at=at("09:50"))
    change_user(on.source.engine, 1, **SIGNED, updated_at=at("10:10"))
    add_requirement(on, 1, created_at=at("10:10"))
    between(on)
    change_requirements(on, 1, status="Approved", updated_at=at("10:40"))


@pytest.mark.parametrize("order", [(SIGNATURE, REQUIREMENTS), (REQUIREMENTS, SIGNATURE)])
@pytest.mark.parametrize("closed_first", [False, True])
def test_signature_and_approval_within_one_hour_are_two_conversions(
    discovery: Discovery, order: tuple[QueueType, ...], closed_first: bool
) -> None:
    """P3: where the user was in both queues, however briefly; both checks run late, in either order.

    The signature was noticed at 10:15, or somebody closed the first stay without a look and the discovery of
    requirements queued the user. The second stay is closed without a look, too.
    """

    def enter_the_second_queue(on: Discovery) -> None:
        if closed_first:
            remove(on, 1, Source.PRE_CALL_VALIDATION)
            discover(on)
        else:
            check(on, SIGNATURE)
        assert queues(on.store_url) == {1: OUTSTANDING}
        remove(on, 1, Source.OUTCOME)

    sign_and_approve_within_the_hour(discovery, enter_the_second_queue)
    for checked in order:
        check(discovery, checked)
    found = {(row["conversion_type"], row["converted_at"]) for row in ledger(discovery.store_url)}
    assert found == {
        (OBTAINED, at("10:10").replace(tzinfo=UTC)),
        (COMPLETED, at("10:40").replace(tzinfo=UTC)),
    }
    assert len(ledger(discovery.store_url)) == 2
    assert {row["primary_agent_id"] for row in ledger(discovery.store_url)} == {1}
    assert queues(discovery.store_url) == {1: None}
    assert broken_promises(discovery.store_url) == []


@pytest.mark.parametrize("order", [(SIGNATURE, REQUIREMENTS), (REQUIREMENTS, SIGNATURE)])
@pytest.mark.parametrize("between", [lambda _: None, discover])
def test_who_passed_the_second_queue_unseen_has_both_conversions(
    discovery: Discovery, order: tuple[QueueType, ...], between: Callable[[Discovery], object]
) -> None:
    """P3: both checks run when all is approved already, in either order, twice.

    A discovery of requirements in between leaves the user in the first queue: who is in a queue is judged by
    the checks alone, so that the signature is not passed over.
    """
    sign_and_approve_within_the_hour(discovery, between)
    for checked in (*order, *order):
        check(discovery, checked)
    assert sorted(kinds(discovery.store_url)) == sorted([(1, OBTAINED), (1, COMPLETED)])
    assert queues(discovery.store_url) == {1: None}
    assert broken_promises(discovery.store_url) == []


def test_of_a_range_every_conversion_is_counted_by_the_check_that_wrote_it_in_its_own_hour(
    discovery: Discovery,
) -> None:
    """P3, P14: the signature at nine and the approval at half past ten, both seen by the first check."""
    add_queued(discovery, unsigned(1))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("09:10"))
    add_requirement(discovery, 1, status="approved", created_at=at("09:10"), updated_at=at("10:30"))
    morning = Window(hour(8).start, hour(10).end)
    report = check(discovery, SIGNATURE, morning)
    assert report.by_hour == {
        hour(8): ConversionTally(),
        hour(9): ConversionTally(1, detected=1),
        hour(10): ConversionTally(also_detected=1),
    }
    assert report.total.recorded == 2
    assert [(row["conversion_type"], row["partition_key"]) for row in ledger(discovery.store_url)] == [
        (OBTAINED, hour(9).partition_key),
        (COMPLETED, hour(10).partition_key),
    ]
    assert check(discovery, REQUIREMENTS, morning).total == ConversionTally(1, already_recorded=1)


def test_who_departed_earlier_is_not_counted_as_waiting(discovery: Discovery) -> None:
    """P14: nor departed once more; who came back waits again."""
    add_queued(discovery, unsigned(1), unsigned(2), unsigned(3))
    remove(discovery, 1, Source.OPERATOR)
    change_user(discovery.source.engine, 1, is_enabled=0, updated_at=at("10:10"))
    change_user(discovery.source.engine, 2, is_enabled=0, updated_at=at("10:10"))
    change_user(discovery.source.engine, 3, updated_at=at("10:10"))
    first = check(discovery).total
    assert first == ConversionTally(3, departed={"user_disabled": 1}, departed_earlier=1, waiting=1)
    assert check(discovery).total == ConversionTally(3, departed_earlier=2, waiting=1)
    change_user(discovery.source.engine, 1, is_enabled=1, updated_at=at("10:20"))
    assert check(discovery).total == ConversionTally(3, departed_earlier=1, waiting=2)


def test_what_another_check_recorded_meanwhile_is_already_recorded(discovery: Discovery) -> None:
    """P3, P14: it saw them unconverted, and the other was faster."""
    add_queued(discovery, unsigned(1))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("10:20"))
    slow = WatchedReplica(discovery.replica, lambda: check(discovery))
    assert check(discovery, replica=slow).total == ConversionTally(1, already_recorded=1)
    assert kinds(discovery.store_url) == [(1, OBTAINED)]


def test_what_was_approved_in_an_hour_before_the_signature_is_no_second_conversion(
    discovery: Discovery,
) -> None:
    """P3: before they signed nobody was to call them about it, and when they had, nothing was owing."""
    add_queued(discovery, unsigned(1))
    add_requirement(discovery, 1, status="approved", updated_at=at("08:59"))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("10:10"))
    for checked in (SIGNATURE, REQUIREMENTS, SIGNATURE):
        check(discovery, checked)
    assert kinds(discovery.store_url) == [(1, OBTAINED)]


@pytest.mark.parametrize("status", ["rejected", "withdrawn"])
def test_all_requirements_rejected_is_a_departure(discovery: Discovery, status: str) -> None:
    """P2, P14: noticed and counted by its reason, without a conversion."""
    add_requirement(discovery, 1, "a")
    add_requirement(discovery, 1, "b")
    add_queued(discovery, signed(1))
    assert queues(discovery.store_url) == {1: OUTSTANDING}
    change_requirements(discovery, 1, status=status, updated_at=at("10:30"))
    report = check(discovery, REQUIREMENTS)
    assert report.total == ConversionTally(candidates=1, departed={"nothing_outstanding": 1})
    assert queues(discovery.store_url) == {1: None}
    assert ledger(discovery.store_url) == []


def test_one_approved_and_the_rest_rejected_is_a_conversion(discovery: Discovery) -> None:
    """P2, P13: as of the approval."""
    add_requirement(discovery, 1, "a", status="approved", updated_at=at("10:05"))
    add_requirement(discovery, 1, "b")
    add_requirement(discovery, 1, "c", type="cfa")
    add_queued(discovery, signed(1))
    assert check(discovery, REQUIREMENTS).total == ConversionTally(candidates=1, waiting=1)
    with discovery.source.engine.begin() as connection:
        rejected = schema.claim_requirements.update().where(schema.claim_requirements.c.id == "1-b")
        connection.execute(rejected.values(status="Rejected", updated_at=at("10:30")))
    assert check(discovery, REQUIREMENTS).total == ConversionTally(candidates=1, detected=1)
    (conversion,) = ledger(discovery.store_url)
    assert conversion["converted_at"] == at("10:05").replace(tzinfo=UTC)


def cancel_claims(on: Discovery, user_id: int) -> None:
    claims = schema.claims
    with on.source.engine.begin() as connection:
        cancelled = claims.update().where(claims.c.user_id == user_id)
        connection.execute(cancelled.values(status="Cancelled", updated_at=at("10:30")))


@pytest.mark.parametrize("checked", [SIGNATURE, REQUIREMENTS])
def test_who_leaves_eligibility_is_noticed_without_a_conversion(
    discovery: Discovery, checked: QueueType
) -> None:
    """P2, P10, P14: disabled, cancelled, all claims cancelled, each by its reason in the same pass."""
    row = unsigned if checked is SIGNATURE else signed
    for n in range(1, 5):
        add_requirement(discovery, n)
    add_queued(discovery, *(row(n) for n in range(1, 5)))
    assert set(queues(discovery.store_url).values()) == {checked.value}
    change_user(discovery.source.engine, 1, is_enabled=0, updated_at=at("10:10"))
    change_user(discovery.source.engine, 2, status="CANCELLED", updated_at=at("10:20"))
    cancel_claims(discovery, 3)
    departed = {"user_disabled": 1, "user_cancelled": 1, "all_claims_cancelled": 1}
    assert check(discovery, checked).total == ConversionTally(candidates=3, departed=departed)
    assert queues(discovery.store_url) == {1: None, 2: None, 3: None, 4: checked.value}
    assert ledger(discovery.store_url) == []
    nothing_changes(discovery.store_url, lambda: check(discovery, checked))


def test_who_is_not_found_at_the_replica_stays(discovery: Discovery) -> None:
    """P4, P14: nothing is decided, and the tally says so."""
    add_queued(discovery, unsigned(1), unsigned(2))
    call(discovery, 1)
    call(discovery, 2)
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.users.delete().where(schema.users.c.id == 1))
    before = dump(discovery.store_url)
    assert check(discovery).total == ConversionTally(candidates=2, waiting=1, undecided=1)
    assert dump(discovery.store_url) == before


def test_a_replica_that_is_behind_decides_nothing(discovery: Discovery) -> None:
    """P4, P6: the check fails and says that another try helps; caught up, it ends as if on time."""
    add_queued(discovery, unsigned(1))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("10:20"))
    beat(discovery.source.engine, hour(10).start)
    before = dump(discovery.store_url)
    with pytest.raises(TransientError, match="window ends at"):
        check(discovery)
    assert dump(discovery.store_url) == before
    beat(discovery.source.engine, NOON)
    assert check(discovery).total.detected == 1


def test_a_change_that_was_committed_late_is_found_by_the_next_hour_and_counted_as_late(
    discovery: Discovery,
) -> None:
    """P7, P14: it converted in its own hour, whichever hour noticed."""
    add_queued(discovery, unsigned(1))
    assert check(discovery, window=hour(9)).total == ConversionTally()
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("09:50"))
    assert check(discovery, window=hour(10)).total == ConversionTally(candidates=1, detected=1, late=1)
    (conversion,) = ledger(discovery.store_url)
    assert conversion["converted_at"] == at("09:50").replace(tzinfo=UTC)
    assert conversion["partition_key"] == hour(10).partition_key
