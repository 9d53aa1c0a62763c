"""The one door through which users enter and leave queues."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueDecision, QueueType
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, clock, move_users
from leadq_dagster_tests.store.rows import BY, NOWHERE, OUTSTANDING, TEN, UNSIGNED, know, move, moved, rows

LATER = TEN + timedelta(hours=1)
STAYS = """SELECT queue_type, status, queue_reason, entered_at, left_at, left_reason
           FROM call_queue WHERE user_id = %s ORDER BY id"""
TRANSITIONS = """SELECT from_queue_type, to_queue_type, reason, actor, happened_at, dagster_run_id,
                        partition_key
                 FROM queue_transitions WHERE user_id = %s ORDER BY id"""
BROKEN_PROMISES = """
    SELECT score.user_id
    FROM user_call_scores AS score
    LEFT JOIN call_queue AS stay ON stay.user_id = score.user_id AND stay.status <> 'left'
    LEFT JOIN LATERAL (
        SELECT to_queue_type, entered_stay_id FROM queue_transitions
        WHERE user_id = score.user_id ORDER BY id DESC LIMIT 1
    ) AS last ON true
    WHERE score.current_queue_type IS DISTINCT FROM stay.queue_type
       OR last.to_queue_type IS DISTINCT FROM stay.queue_type
       OR last.entered_stay_id IS DISTINCT FROM stay.id"""


def test_who_enters_has_one_stay_a_score_of_zero_and_an_audit_line(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P14: the stay, the score row and the transition say the same."""
    know(store, [7])
    assert move(store, [7], UNSIGNED) == {7: QueueType.UNSIGNED_USERS}
    assert rows(plain, STAYS, 7) == [("unsigned_users", "pending", "no_signature", TEN, None, None)]
    assert rows(plain, "SELECT current_queue_type, current_score, next_call_after FROM user_call_scores") == [
        ("unsigned_users", 0, TEN)
    ]
    assert rows(plain, "SELECT priority_score, available_from, lease_token FROM call_queue") == [(0, TEN, 0)]
    assert rows(plain, TRANSITIONS, 7) == [
        (None, "unsigned_users", "no_signature", "a_test", TEN, "run-1", "2026-03-04-10:00")
    ]


def test_moving_twice_is_the_same_as_once(store: Store, plain: Connection[TupleRow]) -> None:
    """P6: the second run finds nothing to do and writes nothing."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    assert move(store, [7], UNSIGNED, LATER) == {}
    assert rows(plain, "SELECT count(*), max(happened_at) FROM queue_transitions") == [(1, TEN)]
    assert rows(plain, "SELECT count(*), max(entered_at) FROM call_queue") == [(1, TEN)]


def test_from_one_queue_to_the_next_is_one_transition_with_both_stays(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P5: the first stay is closed, the second is open, and neither moment is without a record."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    move(store, [7], OUTSTANDING, LATER)
    assert rows(plain, STAYS, 7) == [
        ("unsigned_users", "left", "no_signature", TEN, LATER, "pending_requirements"),
        ("outstanding_requests", "pending", "pending_requirements", LATER, None, None),
    ]
    both = "SELECT left_stay_id, entered_stay_id FROM queue_transitions WHERE from_queue_type IS NOT NULL"
    assert rows(plain, both) == rows(plain, "SELECT min(id), max(id) FROM call_queue")
    assert rows(plain, BROKEN_PROMISES) == []


def test_a_new_stay_starts_at_score_zero_and_leaving_keeps_the_score(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: what was earned in one queue is not carried into the next."""
    know(store, [7, 8])
    move(store, [7, 8], UNSIGNED)
    plain.execute(
        "UPDATE user_call_scores SET base_score = 1, outcome_penalty_score = 2, attempt_penalty_score = 3, "
        "time_penalty_score = 5"
    )
    move(store, [7], OUTSTANDING, LATER)
    move(store, [8], NOWHERE, LATER)
    assert rows(plain, "SELECT user_id, current_score FROM user_call_scores ORDER BY 1") == [(7, 0), (8, 11)]


def test_who_leaves_has_a_closed_stay_and_may_come_back(store: Store, plain: Connection[TupleRow]) -> None:
    """P10: a second stay is another row; the first one stays as it ended."""
    know(store, [7])
    move(store, [7], UNSIGNED)
    assert move(store, [7], NOWHERE, LATER) == {7: None}
    assert rows(plain, STAYS, 7) == [("unsigned_users", "left", "no_signature", TEN, LATER, "user_disabled")]
    assert move(store, [7], NOWHERE, LATER) == {}
    move(store, [7], UNSIGNED, LATER)
    assert [status for _, status, *_ in rows(plain, STAYS, 7)] == ["left", "pending"]
    assert rows(plain, BROKEN_PROMISES) == []


def test_who_was_moved_on_later_knowledge_stays_where_they_are(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P3: somebody judged on facts from before another's move is not moved back by them."""
    know(store, [7, 8])
    with store.transaction() as cursor:
        seen_at = clock(cursor)
    move(store, [7], OUTSTANDING)
    with store.transaction() as cursor:
        moves = [Move(7, UNSIGNED), Move(8, UNSIGNED)]
        assert move_users(cursor, moves, BY, LATER, seen_at=seen_at).queues == {8: QueueType.UNSIGNED_USERS}
    assert rows(plain, "SELECT queue_type FROM call_queue WHERE user_id = 7") == [("outstanding_requests",)]
    assert rows(plain, BROKEN_PROMISES) == []


def test_knowledge_of_the_same_instant_still_moves(store: Store, plain: Connection[TupleRow]) -> None:
    """P5: one run may move a user twice, the second time by a later page on the same reading of the clock."""
    know(store, [7])
    for decision in (UNSIGNED, OUTSTANDING):
        with store.transaction() as cursor:
            assert len(move_users(cursor, [Move(7, decision)], BY, TEN, seen_at=LATER).queues) == 1
    assert rows(plain, "SELECT last_queue_check FROM user_call_scores") == [(LATER,)]
    assert rows(plain, BROKEN_PROMISES) == []


def test_an_inactive_user_never_enters(store: Store, plain: Connection[TupleRow]) -> None:
    """P22: do_not_contact is final, whichever path wants to queue the user."""
    know(store, [7])
    plain.execute("UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'")
    assert move(store, [7], UNSIGNED) == {}
    assert rows(plain, "SELECT * FROM call_queue") == rows(plain, "SELECT * FROM queue_transitions") == []


def test_unknown_users_and_empty_lists_change_nothing(store: Store, plain: Connection[TupleRow]) -> None:
    """P23: an id nobody knows is no reason to fail, and makes no rows."""
    assert move(store, [404], UNSIGNED) == {}
    assert move(store, [], UNSIGNED) == {}
    assert rows(plain, "SELECT * FROM user_call_scores") == []


def test_of_a_mixed_list_each_goes_their_own_way(store: Store, plain: Connection[TupleRow]) -> None:
    """P5, P10, P12: entering, changing, leaving, staying and unknown, past 2^53, in one call."""
    big = 2**53 + 1
    know(store, [1, 2, 3, 4, big])
    move(store, [2, 3, 4], UNSIGNED)
    wanted = {big: UNSIGNED, 2: OUTSTANDING, 3: NOWHERE, 4: UNSIGNED, 99: UNSIGNED, 1: NOWHERE}
    with store.transaction() as cursor:
        went = moved(cursor, [Move(user_id, decision) for user_id, decision in wanted.items()], LATER)
    assert went.queues == {big: QueueType.UNSIGNED_USERS, 2: QueueType.OUTSTANDING_REQUESTS, 3: None}
    assert went.conversions == [], "nothing is known of the source"
    live = "SELECT user_id, queue_type FROM call_queue WHERE status <> 'left' ORDER BY user_id"
    assert rows(plain, live) == [(2, "outstanding_requests"), (4, "unsigned_users"), (big, "unsigned_users")]
    assert rows(plain, BROKEN_PROMISES) == []


def test_a_transaction_that_fails_moves_nobody(store: Store, plain: Connection[TupleRow]) -> None:
    """P1: the stay, the score and the audit line are stored together or not at all."""
    know(store, [7])
    with pytest.raises(ZeroDivisionError), store.transaction() as cursor:
        assert len(moved(cursor, [Move(7, UNSIGNED)]).queues) / 0
    assert rows(plain, "SELECT * FROM call_queue") == rows(plain, "SELECT * FROM queue_transitions") == []
    assert rows(plain, "SELECT current_queue_type FROM user_call_scores") == [(None,)]


class CountingCursor(Cursor[TupleRow]):
    """A cursor that counts what it sends."""

    statements = 0

    def execute(self, *arguments: Any, **options: Any) -> "CountingCursor":
        self.statements += 1
        return super().execute(*arguments, **options)


def test_five_thousand_users_cost_as_many_statements_as_one(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """The work is done in sets: the number of statements does not grow with the users."""
    many = range(1, 5_001)
    know(store, many)
    counts = []
    for decision, users in [(UNSIGNED, [1]), (UNSIGNED, many), (OUTSTANDING, many)]:
        with plain.transaction(), CountingCursor(plain) as cursor:
            moved(cursor, [Move(user_id, decision) for user_id in users])
            counts.append(cursor.statements)
    assert counts == [8, 8, 8]
    assert rows(plain, "SELECT count(*) FROM call_queue WHERE status <> 'left'") == [(5_000,)]
    assert rows(plain, BROKEN_PROMISES) == []


def moved_by_another_plan(
    url: str, scan: str, users: Sequence[int], decision: QueueDecision, together: threading.Barrier
) -> set[int]:
    """Move the users on a connection of their own, which finds their rows by this kind of scan."""
    with psycopg.connect(url) as connection:
        for kind in {"seqscan", "indexscan", "bitmapscan", "indexonlyscan"} - {scan}:
            connection.execute(f"SET enable_{kind} = off".encode())
        with connection.transaction(), connection.cursor() as cursor:
            together.wait(timeout=30)
            moves = [Move(user_id, decision) for user_id in users]
            return set(move_users(cursor, moves, BY, TEN, seen_at=TEN).queues)


def test_two_movers_of_the_same_users_take_turns(
    store: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P3, P15: in opposite orders and by opposite plans they neither deadlock nor open two stays."""
    many = range(1, 401)
    # Laid down backwards: a scan of the table meets the users in the opposite order to a scan of the index.
    for user_id in reversed(many):
        plain.execute(
            "INSERT INTO user_call_scores (user_id, discovered_at, next_call_after) VALUES (%s, %s, %s)",
            (user_id, TEN, TEN),
        )
    for _ in range(10):
        together = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            movers = [
                pool.submit(moved_by_another_plan, store_url, "seqscan", many, UNSIGNED, together),
                pool.submit(moved_by_another_plan, store_url, "indexscan", many[::-1], OUTSTANDING, together),
            ]
            went = [mover.result(timeout=60) for mover in movers]
        assert all(len(users) in (0, len(many)) for users in went)
        assert set(many) in went
        assert rows(plain, BROKEN_PROMISES) == []
