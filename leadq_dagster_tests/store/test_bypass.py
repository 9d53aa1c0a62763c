"""Past the door: whoever writes a stay, a queue or an audit line alone is refused."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueDecision, Reason
from leadq_dagster.store.connection import Store
from leadq_dagster.store.queue import Move, move_users
from leadq_dagster_tests.store.converted import LATER, add_agents, state
from leadq_dagster_tests.store.rows import BY, OUTSTANDING, TEN, UNSIGNED, know, move, rows

HOLD = (
    "UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = 1, assigned_at = now(), "
    "lease_expires_at = now(), lease_token = lease_token + 1 WHERE user_id = 7"
)
RETURN = "UPDATE call_queue SET status = 'pending', assigned_to_agent_id = NULL WHERE user_id = 7"
CLOSE = "UPDATE call_queue SET status = 'left', left_at = now(), left_reason = 'mine' WHERE user_id = 7"
LINE = (
    "INSERT INTO queue_transitions (user_id, from_queue_type, left_stay_id, reason, actor, happened_at) "
    "SELECT user_id, queue_type, id, 'mine', 'a_test', now() FROM call_queue WHERE user_id = 7"
)


def run_and_commit(url: str, *statements: str) -> None:
    """All of them in one transaction of a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("bypass", "sentence"),
    [
        ("UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 7",
         "the current queue is that of the live stay"),
        ("UPDATE user_call_scores SET current_queue_type = 'outstanding_requests' WHERE user_id = 7",
         "the current queue is that of the live stay"),
        (CLOSE, "a closed stay is not the users current queue"),
        (f"{CLOSE}; UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 7",
         "a stay closes with its transition"),
        ("INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at) "
         "VALUES (8, 'unsigned_users', 'mine', now(), now())", "a live stay is in the users current queue"),
        ("INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at) "
         "VALUES (8, 'unsigned_users', 'mine', now(), now()); "
         "UPDATE user_call_scores SET current_queue_type = 'unsigned_users' WHERE user_id = 8",
         "a stay opens with its transition"),
        (f"{HOLD}; UPDATE user_call_scores SET current_queue_type = NULL WHERE user_id = 7",
         "the current queue is that of the live stay"),
        (f"{HOLD}; {CLOSE}", "a closed stay is not the users current queue"),
        ("UPDATE call_queue SET queue_type = 'outstanding_requests' WHERE user_id = 7; "
         "UPDATE user_call_scores SET current_queue_type = 'outstanding_requests' WHERE user_id = 7",
         "a stay keeps its user and queue"),
    ],
)  # fmt: skip
def test_a_bypass_of_the_door_is_refused(
    store: Store, store_url: str, plain: Connection[TupleRow], bypass: str, sentence: str
) -> None:
    """P1: by whatever connection; with the promise in words, and nothing of it stays."""
    know(store, [7, 8])
    add_agents(plain)
    move(store, [7], UNSIGNED)
    before = state(plain)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=sentence):
        run_and_commit(store_url, bypass)
    assert state(plain) == before


def test_within_one_transaction_a_user_may_move_twice(store: Store, plain: Connection[TupleRow]) -> None:
    """P5: what the guards compare is how a transaction ends."""
    know(store, [7])
    with store.transaction() as cursor:
        for decision in (UNSIGNED, OUTSTANDING, QueueDecision(None, Reason.USER_CANCELLED)):
            move_users(cursor, [Move(7, decision)], BY, TEN, seen_at=LATER)
    assert rows(plain, "SELECT status FROM call_queue") == [("left",), ("left",)]


@pytest.mark.parametrize("was_held", [False, True])
@pytest.mark.parametrize(
    "changes", [[], [HOLD], [RETURN], [CLOSE, LINE], [HOLD, CLOSE, LINE], [HOLD, RETURN]]
)
@pytest.mark.parametrize("queue", ["unsigned_users", "outstanding_requests", None])
def test_however_a_stay_is_handed_about_its_user_is_in_its_queue_exactly_while_it_lives(
    store: Store,
    store_url: str,
    plain: Connection[TupleRow],
    was_held: bool,
    changes: list[str],
    queue: str | None,
) -> None:
    """P1, P15: assigning and returning are not compared with the user's queue, and need not be."""
    know(store, [7])
    add_agents(plain)
    move(store, [7], UNSIGNED)
    if was_held:
        plain.execute(HOLD.encode())
    agrees = queue == (None if CLOSE in changes else "unsigned_users")
    before = state(plain)
    target = f"'{queue}'" if queue else "NULL"
    statements = [*changes, f"UPDATE user_call_scores SET current_queue_type = {target} WHERE user_id = 7"]
    if agrees:
        run_and_commit(store_url, *statements)
    else:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="queue"):
            run_and_commit(store_url, *statements)
        assert state(plain) == before
