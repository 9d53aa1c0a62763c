"""The conversion ledger: once per stay and type, with the removal or not at all."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.conversion_rule import Conversion, ConversionType
from leadq_dagster.domain.facts import Requirement, UserFacts
from leadq_dagster.domain.provenance import Provenance, Source
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import conversions
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, Moved, clock, move_users
from leadq_dagster_tests.store.converted import (
    HALF_PAST,
    LATER,
    add_agents,
    add_call,
    judge,
    judged,
    signed,
    state,
)
from leadq_dagster_tests.store.rows import (
    BY,
    NOWHERE,
    OUTSTANDING,
    TEN,
    UNSIGNED,
    know,
    move,
    moved,
    rows,
    source_user,
)

PAPERS = Requirement("proof_of_address", "pending", "", claim_is_cancelled=False)
LEDGER = "SELECT user_id, conversion_type, converted_at FROM conversions ORDER BY user_id, id"


def test_a_conversion_says_what_was_true_when_it_was_noticed(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P1, P3: the score and attempts of the stay that ended, the source's time, and who noticed."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    plain.execute("UPDATE user_call_scores SET base_score = 12, total_attempts = 3, last_call_at = %s", [TEN])
    recorded = judge(store, signed(7, HALF_PAST, PAPERS)).conversions
    assert [(item.user_id, item.queue, item.converted_at) for item in recorded] == [
        (7, QueueType.UNSIGNED_USERS, HALF_PAST)
    ]
    columns = """call_queue_id, previous_queue_type, conversion_type, source, converted_at, detected_at,
                 final_score, total_call_attempts, last_call_at, primary_agent_id, contributing_agents,
                 signature_obtained, requirements_met, dagster_run_id, partition_key"""
    stay = rows(plain, "SELECT min(id) FROM call_queue")[0][0]
    assert rows(plain, f"SELECT {columns} FROM conversions") == [
        (stay, "unsigned_users", "signature_obtained", "hourly_check", HALF_PAST, LATER, 12, 3, TEN, None, [],
         True, False, "run-1", "2026-03-04-10:00")
    ]  # fmt: skip
    assert rows(plain, "SELECT current_queue_type, current_score FROM user_call_scores") == [
        ("outstanding_requests", 0)
    ]


def test_a_time_that_the_source_does_not_know_or_that_has_not_come_is_the_detection(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P13: never later than detection, and never missing."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    judge(store, signed(7, None), signed(8, LATER + timedelta(days=1)))
    assert [when for *_, when in rows(plain, LEDGER)] == [LATER, LATER]


def test_once_per_stay_and_type_and_again_for_another_stay(store: Store, plain: Connection[TupleRow]) -> None:
    """P3, P6: however often it is looked at; a user who comes back may convert again."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    assert len(judge(store, signed(7)).conversions) == 1
    for _ in range(2):
        assert judge(store, signed(7)) == Moved({}, [])
    move(store, [7], UNSIGNED)
    assert len(judge(store, signed(7)).conversions) == 1
    assert len(rows(plain, LEDGER)) == 2


@pytest.mark.parametrize("by", list(Source))
def test_a_stay_that_was_closed_without_facts_still_converts(
    store: Store, plain: Connection[TupleRow], by: Source
) -> None:
    """P1, P3: the case of user 8911; whoever closed it, without knowing of the signature or before it."""
    know(store, [8911])
    move(store, [8911], UNSIGNED)
    with store.transaction() as cursor:
        remover = Provenance("somebody", None, by)
        went = move_users(cursor, [Move(8911, NOWHERE)], remover, TEN, seen_at=clock(cursor))
    assert went == Moved({8911: None}, [])
    assert judge(store, signed(8911)).queues == {}
    assert judge(store, signed(8911)).conversions == []
    assert rows(plain, LEDGER) == [(8911, "signature_obtained", HALF_PAST)]


@pytest.mark.parametrize("by", list(Source))
def test_whoever_removes_writes_the_conversion_with_the_removal(
    store: Store, plain: Connection[TupleRow], by: Source
) -> None:
    """P1: where the remover knows the facts, nobody has to find it afterwards."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    with store.transaction() as cursor:
        remover = Provenance("somebody", None, by)
        move_users(cursor, [judged(signed(7))], remover, LATER, seen_at=clock(cursor))
    assert rows(plain, "SELECT source, dagster_run_id FROM conversions") == [(by.value, None)]
    assert rows(plain, "SELECT status, left_at FROM call_queue") == [("left", LATER)]


def test_signature_and_requirements_are_both_kept(store: Store, plain: Connection[TupleRow]) -> None:
    """P3, P5: two stays that somebody closed, and one look that finds what became of each."""
    know(store, [7])
    for decision in (UNSIGNED, OUTSTANDING, NOWHERE):
        move(store, [7], decision)
    approved = Requirement("proof_of_address", "approved", "", False, updated_at=LATER)
    assert len(judge(store, signed(7, HALF_PAST, approved)).conversions) == 2
    assert rows(plain, LEDGER) == [
        (7, "signature_obtained", HALF_PAST),
        (7, "requirements_completed", LATER),
    ]


def test_only_the_last_stay_in_a_queue_converts(store: Store, plain: Connection[TupleRow]) -> None:
    """P3: one signature is one conversion, however often the user was taken out and put back before."""
    know(store, [7])
    for decision in (UNSIGNED, NOWHERE, UNSIGNED, NOWHERE):
        move(store, [7], decision)
    judge(store, signed(7))
    assert rows(plain, "SELECT call_queue_id FROM conversions") == rows(
        plain, "SELECT max(id) FROM call_queue"
    )


def test_an_inactive_user_who_signed_has_converted(store: Store, plain: Connection[TupleRow]) -> None:
    """P2, P22: to be opted out neither makes a conversion nor unmakes one, and queues nobody."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    move(store, [7, 8], NOWHERE)
    plain.execute("UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'")
    assert judge(store, signed(7, HALF_PAST, PAPERS), UserFacts(source_user(8))).queues == {}
    assert rows(plain, LEDGER) == [(7, "signature_obtained", HALF_PAST)]


@pytest.mark.parametrize("change", [{"is_enabled": False}, {"status": "cancelled"}])
def test_to_be_disabled_or_cancelled_is_no_conversion(
    store: Store, plain: Connection[TupleRow], change: dict[str, Any]
) -> None:
    """P2, P10: the user leaves, and nothing is written to the ledger."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    assert judge(store, UserFacts(source_user(7, **change))) == Moved({7: None}, [])
    assert rows(plain, LEDGER) == []


class FailingError(Exception):
    """What a test breaks a transaction with."""


class FailingCursor(Cursor[TupleRow]):
    """A cursor that fails after its `last` statement."""

    last = 0

    def execute(self, *arguments: Any, **options: Any) -> "FailingCursor":
        super().execute(*arguments, **options)
        self.last -= 1
        if self.last == 0:
            raise FailingError
        return self


def test_after_a_failure_at_any_statement_nothing_is_half_written(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P1: the conversion, its credit, both stays, the queue and the audit line, or none of them."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    add_agents(plain)
    add_call(plain, 7, 1, TEN)
    before = state(plain)
    for k in itertools.count(1):
        try:
            with plain.transaction(), FailingCursor(plain) as cursor:
                cursor.last = k
                moved(cursor, [judged(signed(7, HALF_PAST, PAPERS)), Move(8, NOWHERE)], LATER)
        except FailingError:
            assert state(plain) == before, f"after statement {k}"
        else:
            break
    assert k > 8
    assert rows(plain, "SELECT user_id, primary_agent_id FROM conversions") == [(7, 1)]


@pytest.mark.parametrize("door", [True, False])
def test_two_detectors_at_once_make_one_conversion(
    store: Store, store_url: str, plain: Connection[TupleRow], door: bool
) -> None:
    """P3: through the door they take turns; and were there no turns, the ledger would still keep one."""
    users = list(range(1, 21))
    know(store, users)
    move(store, users, UNSIGNED)
    with store.transaction() as cursor:
        stays = conversions.unconverted_stays(cursor, users)
    signature = Conversion(ConversionType.SIGNATURE_OBTAINED, HALF_PAST)
    due = [conversions.DueConversion(stay, signature, None) for stay in stays]
    together = threading.Barrier(2)

    def detect(order: int) -> int:
        with psycopg.connect(store_url) as connection, connection.transaction():
            cursor = connection.cursor()
            together.wait(timeout=30)
            if door:
                return len(moved(cursor, [judged(signed(n)) for n in users[::order]], LATER).conversions)
            return len(conversions.record(cursor, due[::order], BY, LATER))

    with ThreadPoolExecutor(2) as pool:
        found = [one.result(timeout=60) for one in [pool.submit(detect, 1), pool.submit(detect, -1)]]
    assert sorted(found) == [0, 20]
    assert [user_id for user_id, *_ in rows(plain, LEDGER)] == users


def test_who_was_judged_on_later_knowledge_is_not_taken_back(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P3: one who read before the signature neither moves the user nor opens a stay that converts again."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    move(store, [8], NOWHERE)
    with store.transaction() as cursor:
        seen_at = clock(cursor)
    judge(store, signed(7), signed(8))
    before = state(plain)
    with store.transaction() as cursor:
        stale = [judged(UserFacts(source_user(user_id))) for user_id in (7, 8)]
        assert move_users(cursor, stale, BY, LATER, seen_at=seen_at) == Moved({}, [], {7, 8})
    assert state(plain) == before
    assert judge(store, signed(7), signed(8)) == Moved({}, [])
