"""Past the door: whoever writes a stay, a queue or an audit line alone is refused."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueDecision, Reason
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, move_users
from leadq_dagster_tests.store.converted import LATER, state
from leadq_dagster_tests.store.rows import BY, OUTSTANDING, TEN, UNSIGNED, know, move, rows


@pytest.mark.parametrize(
    ("bypass", "sentence"),
    [
        ("UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 7",
         "the current queue is that of the live stay"),
        ("UPDATE user_call_scores SET current_queue_type = 'outstanding_requests' WHERE user_id = 7",
         "the current queue is that of the live stay"),
        ("UPDATE call_queue SET status = 'left', left_at = now(), left_reason = 'mine' WHERE user_id = 7",
         "a live stay is in the users current queue"),
        ("UPDATE call_queue SET status = 'left', left_at = now(), left_reason = 'mine' WHERE user_id = 7; "
         "UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 7",
         "a stay closes with its transition"),
        ("INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at) "
         "VALUES (8, 'unsigned_users', 'mine', now(), now())", "a live stay is in the users current queue"),
        ("INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at) "
         "VALUES (8, 'unsigned_users', 'mine', now(), now()); "
         "UPDATE user_call_scores SET current_queue_type = 'unsigned_users' WHERE user_id = 8",
         "a stay opens with its transition"),
    ],
)  # fmt: skip
def test_a_bypass_of_the_door_is_refused_at_commit(
    store: Store, store_url: str, plain: Connection[TupleRow], bypass: str, sentence: str
) -> None:
    """P1: by whatever connection; with the promise in words, and nothing of it stays."""
    know(store, [7, 8])
    move(store, [7], UNSIGNED)
    before = state(plain)
    with psycopg.connect(store_url) as connection:
        connection.execute(bypass.encode())
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=sentence):
            connection.commit()
    assert state(plain) == before


def test_within_one_transaction_a_user_may_move_twice(store: Store, plain: Connection[TupleRow]) -> None:
    """P5: what the guards compare is how a transaction ends."""
    know(store, [7])
    with store.transaction() as cursor:
        for decision in (UNSIGNED, OUTSTANDING, QueueDecision(None, Reason.USER_CANCELLED)):
            move_users(cursor, [Move(7, decision)], BY, TEN, seen_at=LATER)
    assert rows(plain, "SELECT status FROM call_queue") == [("left",), ("left",)]
