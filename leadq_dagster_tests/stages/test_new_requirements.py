"""Discovery of requirements: who has come to owe something is queued for it."""

from datetime import timedelta

from leadq_dagster.domain.tally import Tally
from leadq_dagster.firm import schema
from leadq_dagster_tests.replica.rows import add, add_users, claim
from leadq_dagster_tests.stages.checking import (
    REQUIREMENTS,
    SIGNED,
    add_queued,
    add_requirement,
    change_requirements,
    check,
    discover,
    kinds,
    signed,
    unsigned,
)
from leadq_dagster_tests.stages.discovering import Discovery, at, change_user, hour
from leadq_dagster_tests.stages.stored import broken_promises, change, nothing_changes, queues

OUTSTANDING = "outstanding_requests"


def test_a_signed_user_with_a_new_requirement_is_queued_once(discovery: Discovery) -> None:
    """P5, P9, P14: known and in no queue before; of another hour or an uncounted kind, it changes nothing."""
    add_queued(discovery, *(signed(n) for n in range(1, 5)))
    add_requirement(discovery, 1, created_at=at("10:10"), updated_at=at("10:10"))
    add_requirement(discovery, 2, type="cfa", created_at=at("10:20"))
    add_requirement(discovery, 3, created_at=at("11:00"), updated_at=at("11:00"))
    report = discover(discovery)
    assert report.total == Tally(seen=2, already_known=2, queued=1)
    assert queues(discovery.store_url) == {1: OUTSTANDING, 2: None, 3: None, 4: None}
    nothing_changes(discovery.store_url, lambda: discover(discovery))
    assert broken_promises(discovery.store_url) == []


def test_a_reopened_requirement_queues_again(discovery: Discovery) -> None:
    """P7: created long ago, approved, and pending once more; the second stay converts by itself."""
    add_requirement(discovery, 1)
    add_queued(discovery, signed(1))
    for approved, reopened in (("08:10", "09:10"), ("10:10", None)):
        change_requirements(discovery, 1, status="approved", updated_at=at(approved))
        number = at(approved).hour
        assert check(discovery, REQUIREMENTS, hour(number)).total.detected == 1
        assert queues(discovery.store_url) == {1: None}
        if reopened:
            change_requirements(discovery, 1, status="pending", updated_at=at(reopened))
            assert discover(discovery, hour(at(reopened).hour)).total.queued == 1
            assert queues(discovery.store_url) == {1: OUTSTANDING}
    assert kinds(discovery.store_url) == [(1, "requirements_completed")] * 2


def test_a_signed_user_whom_nobody_knew_becomes_known(discovery: Discovery) -> None:
    """P9: with something to supply into the queue, without into none."""
    add_users(discovery.source.engine, signed(1), signed(2))
    add_requirement(discovery, 1, updated_at=at("10:10"))
    add_requirement(discovery, 2, status="approved", updated_at=at("10:10"))
    assert discover(discovery).total == Tally(seen=2, stored=2, queued=1)
    assert queues(discovery.store_url) == {1: OUTSTANDING, 2: None}


def test_unsigned_and_disabled_users_are_refused_by_their_reason(discovery: Discovery) -> None:
    """P2, P14: what they owe does not matter yet; seen = stored + known + refused."""
    add_users(discovery.source.engine, unsigned(1), signed(2, is_enabled=0), signed(3), signed(4))
    for n in range(1, 5):
        add_requirement(discovery, n, created_at=at("10:10"))
    refused = {"no_signature": 1, "user_disabled": 1}
    assert discover(discovery).total == Tally(seen=4, stored=2, refused=refused, queued=2)
    assert queues(discovery.store_url) == {3: OUTSTANDING, 4: OUTSTANDING}


def test_who_has_not_signed_and_is_back_with_another_claim_is_queued(discovery: Discovery) -> None:
    """P6, P9: all claims were cancelled when they became known, and nothing of themselves changes since.

    Who is back in the same way but suppressed, disabled, or with a claim that is cancelled too, is not.
    """
    people = (1, 2, 3, 4)
    add_users(discovery.source.engine, *(unsigned(n, created_at=at("08:10")) for n in people))
    for n in people:
        add(discovery.source.engine, schema.claims, claim(n * 10, n) | {"status": "cancelled"})
    discovery.run(hour(8))
    assert queues(discovery.store_url) == dict.fromkeys(people)
    suppressed = "is_active = false, suppressed_reason = 'do_not_contact'"
    change(discovery.store_url, f"UPDATE user_call_scores SET {suppressed} WHERE user_id = 2")
    change_user(discovery.source.engine, 3, is_enabled=0)
    for n in people:
        status = {"status": "cancelled" if n == 4 else "open"}
        dates = {"created_at": at("10:10"), "updated_at": at("10:10")}
        add(discovery.source.engine, schema.claims, claim(n * 10 + 1, n) | status | dates)
    refused = {"user_disabled": 1, "no_signature": 2}
    assert discover(discovery).total == Tally(seen=4, already_known=1, refused=refused, queued=1)
    assert queues(discovery.store_url) == dict.fromkeys(people) | {1: "unsigned_users"}
    nothing_changes(discovery.store_url, lambda: discover(discovery))


def test_another_claim_that_was_committed_late_brings_back_as_well(discovery: Discovery) -> None:
    """P7."""
    add_users(discovery.source.engine, unsigned(1, created_at=at("08:10")))
    add(discovery.source.engine, schema.claims, claim(10, 1) | {"status": "cancelled"})
    discovery.run(hour(8))
    with discovery.source.engine.begin() as connection:
        row = claim(11, 1) | {"created_at": at("09:50"), "updated_at": at("09:50")}
        connection.execute(schema.claims.insert().values(row))
        assert discover(discovery, hour(9)).total.seen == 0
    assert discover(discovery, hour(10)).total.queued == 1
    assert queues(discovery.store_url) == {1: "unsigned_users"}


def test_a_requirement_row_committed_late_is_found_by_the_next_hour(discovery: Discovery) -> None:
    """P7: while its hour is read it is not visible yet."""
    add_queued(discovery, signed(1), signed(2))
    with discovery.source.engine.begin() as connection:
        claim_row = {"id": 77, "user_id": 1, "status": "open"}
        connection.execute(schema.claims.insert().values(claim_row))
        row = {"id": "late", "claim_id": 77, "type": "payslip", "status": "pending"}
        connection.execute(schema.claim_requirements.insert().values(row | {"created_at": at("09:59")}))
        assert discover(discovery, hour(9)).total.seen == 0
    report = discover(discovery, hour(10))
    assert (report.total.seen, report.total.queued) == (1, 1)
    assert queues(discovery.store_url) == {1: OUTSTANDING, 2: None}
    assert discover(discovery, hour(10), timedelta()).total.seen == 0


def test_who_is_in_a_queue_already_is_left_to_the_checks(discovery: Discovery) -> None:
    """P1, P5: discovery does not take a newly signed user out of the first queue past the conversion."""
    add_queued(discovery, unsigned(1))
    change_user(discovery.source.engine, 1, **SIGNED, updated_at=at("10:20"))
    add_requirement(discovery, 1, created_at=at("10:25"))
    assert discover(discovery).total == Tally(seen=1, already_known=1)
    assert queues(discovery.store_url) == {1: "unsigned_users"}
    check(discovery)
    assert queues(discovery.store_url) == {1: OUTSTANDING}
    assert kinds(discovery.store_url) == [(1, "signature_obtained")]
