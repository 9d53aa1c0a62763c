"""Stays that were opened for a promised call alone: kept while nothing is owed, no conversion, adopted."""

from dataclasses import replace

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.facts import Requirement, UserFacts
from leadq_dagster.domain.queue_rule import QueueDecision, QueueType, Reason
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Moved
from leadq_dagster_tests.store.converted import HALF_PAST, LATER, add_agents, judge, signed, state
from leadq_dagster_tests.store.leads import claim
from leadq_dagster_tests.store.rows import NOWHERE, OUTSTANDING, TEN, UNSIGNED, know, move, rows, source_user

PAPERS = Requirement("proof_of_address", "pending", "", claim_is_cancelled=False)
APPROVED = replace(PAPERS, status="approved", updated_at=LATER)
PROMISED = QueueDecision(QueueType.OUTSTANDING_REQUESTS, Reason.PROMISED_CALL)
ENDED = QueueDecision(None, Reason.PROMISE_ENDED)
STAYS = "SELECT queue_type, status, queue_reason, left_reason FROM call_queue WHERE user_id = 7 ORDER BY id"
LEDGER = "SELECT conversion_type, call_queue_id FROM conversions ORDER BY id"
FOR_A_PROMISE = ("outstanding_requests", "pending", "promised_call", None)


@pytest.fixture
def promised(store: Store) -> Store:
    """User 7 owes nothing and is to be called as promised."""
    know(store, [7])
    move(store, [7], PROMISED)
    return store


@pytest.mark.parametrize(
    "facts",
    [
        signed(7),
        signed(7, HALF_PAST, replace(PAPERS, status="withdrawn")),
        signed(7, HALF_PAST, APPROVED),
        replace(signed(7), claims_total=2, claims_cancelled=2),
        replace(signed(7, HALF_PAST, PAPERS), claims_total=2, claims_cancelled=2),
        UserFacts(source_user(7), 1, 1),
    ],
)
def test_a_promise_is_kept_to_who_owes_nothing_any_more(
    promised: Store, plain: Connection[TupleRow], facts: UserFacts
) -> None:
    """P2, P29: neither closed nor converted, by facts that would close and may convert a lead's stay."""
    assert judge(promised, facts) == Moved({}, [])
    assert rows(plain, STAYS) == [FOR_A_PROMISE]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"is_enabled": False}, "user_disabled"), ({"status": "cancelled"}, "user_cancelled")],
)
def test_who_may_not_be_called_is_not_called_back(
    promised: Store, plain: Connection[TupleRow], change: dict[str, object], reason: str
) -> None:
    """P2, P29: the stay is closed, without a conversion though a signature is there."""
    known = signed(7, HALF_PAST, APPROVED)
    judged = judge(promised, replace(known, user=replace(known.user, **change)))  # type: ignore[arg-type]
    assert judged == Moved({7: None}, [])
    assert rows(plain, STAYS) == [("outstanding_requests", "left", "promised_call", reason)]


def test_who_comes_to_owe_something_goes_on_in_the_same_stay_as_a_lead(
    promised: Store, plain: Connection[TupleRow]
) -> None:
    """P5, P29: nobody left and nobody entered; from then on the stay converts like any other."""
    [stay] = rows(plain, "SELECT id FROM call_queue")
    assert judge(promised, signed(7, HALF_PAST, PAPERS)) == Moved({}, [])
    assert rows(plain, STAYS) == [("outstanding_requests", "pending", "pending_requirements", None)]
    assert rows(plain, "SELECT count(*) FROM queue_transitions") == [(1,)]
    assert judge(promised, signed(7, HALF_PAST, APPROVED)).queues == {7: None}
    assert rows(plain, LEDGER) == [("requirements_completed", *stay)]


def test_another_promise_does_not_make_a_leads_stay_of_it(
    promised: Store, plain: Connection[TupleRow]
) -> None:
    """P27: promising twice is promising; and a lead's stay is none for a promise because one is made."""
    assert move(promised, [7], PROMISED) == {}
    assert rows(plain, STAYS) == [FOR_A_PROMISE]
    know(promised, [8])
    move(promised, [8], OUTSTANDING)
    assert move(promised, [8], PROMISED) == {}
    assert rows(plain, "SELECT queue_reason FROM call_queue WHERE user_id = 8") == [("pending_requirements",)]


def test_a_promise_stay_ends_with_its_promise_and_without_a_conversion(
    promised: Store, plain: Connection[TupleRow]
) -> None:
    """P2, P27: whatever the source shows afterwards."""
    assert move(promised, [7], ENDED, LATER) == {7: None}
    before = state(plain)
    assert judge(promised, signed(7, HALF_PAST, APPROVED)) == Moved({}, [])
    assert state(plain) == before
    assert rows(plain, STAYS) == [("outstanding_requests", "left", "promised_call", "promise_ended")]


def test_who_is_in_the_wrong_queue_for_a_promise_moves_to_the_right_one(
    promised: Store, plain: Connection[TupleRow]
) -> None:
    """P5: one who never signed is called as unsigned; the callback raises the next stay."""
    judge(promised, UserFacts(source_user(7)))
    assert rows(plain, STAYS) == [
        ("outstanding_requests", "left", "promised_call", "no_signature"),
        ("unsigned_users", "pending", "no_signature", None),
    ]


def test_the_conversion_is_that_of_the_real_stay_which_somebody_closed_before(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P1, P3: the case of user 8911, called back while the approval is noticed."""
    know(store, [7])
    for decision in (OUTSTANDING, NOWHERE, PROMISED):
        move(store, [7], decision)
    [(real,), _] = rows(plain, "SELECT id FROM call_queue ORDER BY id")
    recorded = judge(store, signed(7, HALF_PAST, APPROVED))
    assert [item.stay_id for item in recorded.conversions] == [real]
    assert rows(plain, LEDGER) == [("requirements_completed", real)]
    assert rows(plain, STAYS)[1] == FOR_A_PROMISE
    assert judge(store, signed(7, HALF_PAST, APPROVED)) == Moved({}, [])


def test_a_signature_found_during_a_promise_converts_the_stay_before_it(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P3: by itself it brings nobody through the other queue."""
    know(store, [7])
    for decision in (UNSIGNED, NOWHERE, PROMISED):
        move(store, [7], decision)
    judge(store, signed(7))
    assert [kind for kind, _ in rows(plain, LEDGER)] == ["signature_obtained"]
    assert rows(plain, STAYS)[1] == FOR_A_PROMISE


@pytest.mark.parametrize("held", [False, True])
def test_signature_and_approval_seen_at_once_during_a_promise_are_both_kept(
    store: Store, plain: Connection[TupleRow], held: bool
) -> None:
    """P3, P15: who passed through the queue unseen did so in the stay that is there; an agent's hold on it
    ends with it."""
    know(store, [7])
    add_agents(plain)
    for decision in (UNSIGNED, NOWHERE, PROMISED):
        move(store, [7], decision)
    if held:
        with store.transaction() as cursor:
            assert len(claim(cursor, [1], queue=QueueType.OUTSTANDING_REQUESTS)) == 1
    [(unsigned,), (promise,)] = rows(plain, "SELECT id FROM call_queue ORDER BY id")
    judge(store, signed(7, HALF_PAST, APPROVED))
    assert rows(plain, LEDGER) == [("signature_obtained", unsigned), ("requirements_completed", promise)]
    assert rows(plain, STAYS)[1] == (
        "outstanding_requests", "left", "pending_requirements", "nothing_outstanding"
    )  # fmt: skip
    assert rows(plain, "SELECT end_reason, ended_at FROM assignments") == [("left", LATER)] * held
    assert judge(store, signed(7, HALF_PAST, APPROVED)) == Moved({}, [])


def test_the_same_where_the_promise_was_for_the_unsigned(store: Store, plain: Connection[TupleRow]) -> None:
    """P3, P5: the promise's stay is left by its own name, and both conversions are kept."""
    know(store, [7])
    for decision in (UNSIGNED, NOWHERE, replace(PROMISED, queue=QueueType.UNSIGNED_USERS)):
        move(store, [7], decision)
    judge(store, signed(7, HALF_PAST, APPROVED))
    assert [kind for kind, _ in rows(plain, LEDGER)] == ["signature_obtained", "requirements_completed"]
    assert rows(plain, STAYS)[1:] == [
        ("unsigned_users", "left", "promised_call", "pending_requirements"),
        ("outstanding_requests", "left", "pending_requirements", "nothing_outstanding"),
    ]


def test_a_promise_in_the_meantime_is_no_sign_of_having_owed(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P3: a promise's stay that has ended does not count as having been seen in the queue."""
    know(store, [7])
    for decision in (UNSIGNED, NOWHERE, PROMISED, ENDED):
        move(store, [7], decision, TEN)
    judge(store, signed(7, HALF_PAST, APPROVED))
    assert [kind for kind, _ in rows(plain, LEDGER)] == ["signature_obtained", "requirements_completed"]
