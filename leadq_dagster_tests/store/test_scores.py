"""Users become known once, exactly as the source has them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.store.connection import Store
from leadq_dagster.store.scores import known, make_known, settled
from leadq_dagster_tests.store.rows import TEN, UNSIGNED, know, move, rows, source_user


def test_a_new_user_is_known_with_score_zero_and_callable_at_once(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: NULL, 0 and absent are three things; no call has been made yet."""
    with store.transaction() as cursor:
        assert make_known(cursor, [source_user(7, created_at=TEN - timedelta(days=3))], TEN) == {7}
    assert rows(
        plain,
        "SELECT user_id, current_score, current_queue_type, is_active, total_attempts, last_call_at, "
        "last_outcome, next_call_after, discovered_at, created_at FROM user_call_scores",
    ) == [(7, 0, None, True, 0, None, None, TEN, TEN, TEN - timedelta(days=3))]


def test_who_is_known_already_is_left_exactly_as_they_are(store: Store, plain: Connection[TupleRow]) -> None:
    """P6: rediscovery changes nothing, neither the score nor when the user was first seen."""
    know(store, [7])
    plain.execute("UPDATE user_call_scores SET outcome_penalty_score = 50, last_outcome = 'bad_number'")
    before = rows(plain, "SELECT *, xmin FROM user_call_scores")
    with store.transaction() as cursor:
        users = [source_user(7, created_at=None), source_user(8)]
        assert make_known(cursor, users, TEN + timedelta(hours=1)) == {8}
        assert known(cursor, [6, 7, 8]) == {7, 8}
    assert rows(plain, "SELECT *, xmin FROM user_call_scores WHERE user_id = 7") == before


@pytest.mark.parametrize("user_id", [2**53 + 1, 2**63 - 1])
def test_ids_past_the_precision_of_a_float_survive(store: Store, user_id: int) -> None:
    """P12: the neighbour that a double would round to is somebody else."""
    with store.transaction() as cursor:
        assert make_known(cursor, [source_user(user_id), source_user(user_id - 1)], TEN) == {
            user_id,
            user_id - 1,
        }
        assert known(cursor, [user_id, user_id - 2]) == {user_id}


def test_a_user_without_a_date_of_creation_is_known_without_one(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P12: a NULL among dates, and dates in any zone, arrive as what they are."""
    old = datetime(1, 1, 1, tzinfo=UTC)
    with store.transaction() as cursor:
        users = [source_user(1, created_at=None), source_user(2), source_user(3, created_at=old)]
        make_known(cursor, users, TEN)
    assert rows(plain, "SELECT user_id, created_at FROM user_call_scores ORDER BY 1") == [
        (1, None),
        (2, TEN),
        (3, old),
    ]


def test_nobody_to_make_known_is_no_error(store: Store) -> None:
    """P8: the last page of a work list may be empty."""
    with store.transaction() as cursor:
        assert make_known(cursor, [], TEN) == set()
        assert known(cursor, []) == settled(cursor, []) == set()


def test_settled_are_the_queued_and_the_suppressed(store: Store, plain: Connection[TupleRow]) -> None:
    """P9, P22: who is known and in no queue is looked at again."""
    know(store, [1, 2, 3])
    move(store, [2], UNSIGNED)
    suppress = "UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'"
    plain.execute(f"{suppress} WHERE user_id = 3".encode())
    with store.transaction() as cursor:
        assert settled(cursor, [1, 2, 3, 4]) == {2, 3}


def test_discoverers_at_once_make_each_user_known_once(store: Store, plain: Connection[TupleRow]) -> None:
    """P3, P14: overlapping lists in opposite orders; every user is one discoverer's, and nobody deadlocks."""
    discoverers = 4
    together = threading.Barrier(discoverers)

    def discover(number: int) -> set[int]:
        users = [source_user(user_id) for user_id in range(1 + 500 * number, 2_001 + 500 * number)]
        together.wait(timeout=30)
        with store.transaction() as cursor:
            return make_known(cursor, users[:: -1 if number % 2 else 1], TEN)

    with ThreadPoolExecutor(discoverers) as pool:
        made = list(pool.map(discover, range(discoverers)))
    assert sum(len(users) for users in made) == len(set[int]().union(*made)) == 3_500
    assert rows(plain, "SELECT count(*) FROM user_call_scores") == [(3_500,)]
