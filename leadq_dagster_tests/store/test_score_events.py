"""Score events are kept as they were recorded, in their order, and of one stay each."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_history import ScoredStay, ScoreEvent
from leadq_dagster.domain.score_rules import ScoreChange
from leadq_dagster.store import score_events
from leadq_dagster.store.connection import Store
from leadq_dagster.store.score_events import BEFORE_ALL, AgeingStay
from leadq_dagster_tests.store.rows import NOWHERE, OUTSTANDING, TEN, UNSIGNED, know, move, rows

LATER = TEN + timedelta(days=8)
OUTCOME = (
    "INSERT INTO score_events (call_queue_id, kind, outcome, attempt, outcome_change, attempt_change,"
    " rules_version, happened_at) VALUES (%s, 'outcome', %s, %s, %s, %s, 1, %s)"
)


def stay_id(plain: Connection[TupleRow], user_id: int) -> int:
    [(found,)] = rows(plain, "SELECT max(id) FROM call_queue WHERE user_id = %s", user_id)
    return int(found)


def test_a_stay_without_events_has_none_and_one_with_some_has_them_in_order(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: 0 is a score, NULL is no event, and a user in no queue is absent."""
    know(store, [1, 2, 3])
    move(store, [1, 2], UNSIGNED)
    first, second = stay_id(plain, 1), stay_id(plain, 2)
    for attempt, outcome, change in ((1, "missed_call", 0), (2, "bad_number", 50)):
        plain.execute(OUTCOME, [second, outcome, attempt, change, 0, TEN])
    plain.execute("UPDATE user_call_scores SET outcome_penalty_score = 50 WHERE user_id = 2")
    with store.transaction() as cursor:
        page = score_events.scored_page(cursor, BEFORE_ALL, 10)
        assert [score_events.scored_stay(cursor, user_id) for user_id in (1, 2, 3, 4)] == [*page, None, None]
    assert page == [
        ScoredStay(1, first, TEN, True, False, 0, 0, ScoreChange(), ()),
        ScoredStay(
            2, second, TEN, True, False, 0, 0, ScoreChange(outcome=50),
            (
                ScoreEvent(ScoreChange(), 1, TEN, Outcome.MISSED_CALL, 1),
                ScoreEvent(ScoreChange(outcome=50), 1, TEN, Outcome.BAD_NUMBER, 2),
            ),
        ),
    ]  # fmt: skip


def test_a_new_stay_has_none_of_the_events_of_the_one_before(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: and who left keeps score and events until then."""
    know(store, [1])
    move(store, [1], UNSIGNED)
    with store.transaction() as cursor:
        stays = score_events.lock(cursor, [1])
        assert score_events.record_ageing(cursor, [(stays[0], ScoreChange(age=5))], LATER, 1, LATER) == 1
    move(store, [1], NOWHERE)
    with store.transaction() as cursor:
        left = score_events.scored_stay(cursor, 1)
        assert score_events.scored_page(cursor, BEFORE_ALL, 10) == []
        assert score_events.live_page(cursor, BEFORE_ALL, 10) == []
        assert score_events.lock(cursor, [1]) == []
    assert left is not None
    assert (left.is_live, left.score, len(left.events)) == (False, 5, 1)
    move(store, [1], OUTSTANDING)
    with store.transaction() as cursor:
        back = score_events.scored_stay(cursor, 1)
    assert back is not None
    assert (back.is_live, back.score, back.events) == (True, 0, ())


def test_pages_go_on_after_the_last_user(store: Store, plain: Connection[TupleRow]) -> None:
    """P8, P12."""
    users = [-3, 5, 2**53 + 1, 2**63 - 1]
    know(store, users)
    move(store, users, UNSIGNED)
    with store.transaction() as cursor:
        first = score_events.live_page(cursor, BEFORE_ALL, 3)
        rest = score_events.live_page(cursor, first[-1].user_id, 3)
        none = score_events.live_page(cursor, rest[-1].user_id, 3)
    assert [stay.user_id for stay in (*first, *rest, *none)] == users
    assert first[1] == AgeingStay(5, stay_id(plain, 5), TEN, 0)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE score_events SET age_change = 0", "DELETE FROM score_events", "TRUNCATE score_events"],
)
def test_an_event_is_never_changed(store: Store, plain: Connection[TupleRow], statement: str) -> None:
    """P25: else no recomputation would mean anything."""
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation) as refused:
        plain.execute(statement.encode())
    assert refused.value.diag.constraint_name == "a_score_event_is_never_changed"
