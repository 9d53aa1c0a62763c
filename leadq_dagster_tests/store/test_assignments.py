"""Assignments: repeated, extended, given back, expired; whose token is stale changes nothing."""

from datetime import datetime, timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.store import assignments, holds
from leadq_dagster.store.assignments import Asker, EndReason
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster_tests.store.converted import LATER, add_agents
from leadq_dagster_tests.store.leads import LEASE, add_lead, hold, place, raise_lead, report
from leadq_dagster_tests.store.rows import TEN, rows

SECOND = timedelta(seconds=1)
STAY = """SELECT status, assigned_to_agent_id, assigned_at, lease_expires_at, lease_token, available_from,
                 priority_score FROM call_queue WHERE user_id = 7"""
ENDS = "SELECT end_reason, ended_at FROM assignments ORDER BY id"


@pytest.fixture
def waiting(store: Store, plain: Connection[TupleRow]) -> Store:
    """User 7 waits with score 3; agents 1, 2 and 3 are there."""
    add_agents(plain)
    add_lead(store, plain, 7, score=3)
    return store


def give_back(
    store: Store, assignment: int, at: datetime = TEN, reason: EndReason = EndReason.RELEASED
) -> list[int]:
    with store.transaction() as cursor:
        return assignments.give_back(cursor, {assignment: at}, reason, TEN)


def extend(store: Store, assignment: int, until: datetime) -> datetime | None:
    with store.transaction() as cursor:
        return assignments.extend(cursor, assignment, until)


@pytest.mark.parametrize("reason", [reason for reason in EndReason if reason is not EndReason.OUTCOME])
def test_what_is_given_back_waits_in_its_place_from_the_time_given(
    waiting: Store, plain: Connection[TupleRow], reason: EndReason
) -> None:
    """P17, P19, P20: with its score and its token; the assignment has ended for this reason."""
    held = hold(waiting)
    assert give_back(waiting, held.id, LATER, reason) == [held.id]
    assert rows(plain, STAY) == [("pending", None, None, None, 1, LATER, 3)]
    assert rows(plain, ENDS) == [(reason.value, TEN)]
    assert hold(waiting, 2, LATER).lease_token == 2


def test_what_is_given_back_is_not_available_earlier_than_it_was(
    waiting: Store, plain: Connection[TupleRow]
) -> None:
    """P18: a cool-down is not shortened."""
    held = hold(waiting)
    place(plain, 7, 3, LATER)
    give_back(waiting, held.id, TEN)
    assert rows(plain, "SELECT available_from FROM call_queue") == [(LATER,)]


@pytest.mark.parametrize("passed_on", [False, True])
def test_a_stale_assignment_returns_and_extends_nothing(
    waiting: Store, plain: Connection[TupleRow], passed_on: bool
) -> None:
    """P19: its token is not the stay's any more, whether or not somebody else has it."""
    stale = hold(waiting)
    give_back(waiting, stale.id)
    if passed_on:
        hold(waiting, 2)
    before = rows(plain, STAY) + rows(plain, ENDS)
    assert give_back(waiting, stale.id, LATER, EndReason.EXPIRED) == []
    assert extend(waiting, stale.id, LATER) is None
    assert rows(plain, STAY) + rows(plain, ENDS) == before


def test_a_lease_is_never_shortened_by_extending_it(waiting: Store, plain: Connection[TupleRow]) -> None:
    """P19: what was granted stands in the history; the stay has what was added."""
    held = hold(waiting)
    assert extend(waiting, held.id, TEN + LEASE - SECOND) == TEN + LEASE
    assert extend(waiting, held.id, LATER) == LATER
    assert extend(waiting, held.id, TEN + LEASE) == LATER
    assert extend(waiting, 404, LATER) is None
    assert rows(plain, "SELECT lease_expires_at FROM assignments") == [(TEN + LEASE,)]


def test_a_lease_expires_at_its_instant_and_once(waiting: Store, plain: Connection[TupleRow]) -> None:
    """P19: the first in time first, no more than asked for."""
    add_lead(waiting, plain, 8, score=4)
    early, late = hold(waiting, 1, TEN), hold(waiting, 2, TEN + SECOND)
    with waiting.transaction() as cursor:
        assert assignments.expired(cursor, TEN + LEASE - SECOND, 10) == {}
        assert assignments.expired(cursor, TEN + LEASE, 10) == {early.id: 1}
        assert assignments.expired(cursor, LATER, 1) == {early.id: 1}
        page = assignments.expired(cursor, LATER, 10)
        assert page == {early.id: 1, late.id: 2}
        returned = assignments.give_back(cursor, dict.fromkeys(page, LATER), EndReason.EXPIRED, LATER)
        assert sorted(returned) == [early.id, late.id]
        assert assignments.expired(cursor, LATER, 10) == {}
    assert rows(plain, ENDS) == [("expired", LATER)] * 2


def test_a_lead_that_somebody_is_just_ending_is_not_expired(
    waiting: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P19: an outcome on its way is waited for by nobody, and wins."""
    held = hold(waiting)
    with open_store(store_url) as desk, desk.transaction() as ending:
        holds.lock(ending, [held.id], TEN)
        with waiting.transaction() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            assert assignments.expired(cursor, LATER, 10) == {}
        report(ending, held, Outcome.NO_ANSWER)
    assert rows(plain, ENDS) == [("outcome", TEN)]


def test_a_raised_lead_that_comes_back_is_nobodys_and_in_front(
    waiting: Store, plain: Connection[TupleRow]
) -> None:
    """P26, P27: accepted or not, it is routed anew; the callback is open and pending."""
    callback = raise_lead(plain, 7, agent=1, score=-2000)
    plain.execute("UPDATE callbacks SET status = 'accepted', accepted_by_agent_id = 1, accepted_at = now()")
    with waiting.transaction() as cursor:
        got = assignments.claim_raised(cursor, Asker(1, "ask"), [], TEN, TEN + LEASE)
        assert got is not None
        assert got.callback_id == callback
        assignments.give_back(cursor, {got.id: TEN}, EndReason.EXPIRED, TEN)
    assert rows(plain, "SELECT priority_score, reserved_for_agent_id, callback_id FROM call_queue") == [
        (-1000, None, callback)
    ]
    assert rows(plain, "SELECT status, accepted_by_agent_id, accepted_at FROM callbacks") == [
        ("pending", None, None)
    ]


def test_the_same_request_finds_what_it_was_given_and_the_agent_what_they_hold(
    waiting: Store, plain: Connection[TupleRow]
) -> None:
    """P20: each as the desk gave it; the held one with its lease as extended."""
    first = hold(waiting, 1, TEN)
    give_back(waiting, first.id)
    held = hold(waiting, 1, LATER)
    extend(waiting, held.id, LATER + 2 * LEASE)
    askers = [Asker(1, first.request_id), Asker(2, first.request_id), Asker(1, "unheard of")]
    with waiting.transaction() as cursor:
        holding, given = assignments.of_askers(cursor, askers)()
    assert list(holding) == [1]
    assert (holding[1].id, holding[1].lease_expires_at) == (held.id, LATER + 2 * LEASE)
    assert list(given) == [askers[0]], "a request id is its agent's own"
    assert given[askers[0]] == first._replace(lease_expires_at=TEN), "the lease of what has ended is over"


def test_locked_assignments_say_whether_they_are_current_in_time_and_reported(
    waiting: Store, plain: Connection[TupleRow]
) -> None:
    """P19, P23: unknown ones are absent."""
    first = hold(waiting, 1, TEN)
    with waiting.transaction() as cursor:
        held = holds.lock(cursor, [first.id, 404], TEN + LEASE - SECOND)
        assert list(held) == [first.id]
        assert (held[first.id].is_current, held[first.id].is_in_time) == (True, True)
        assert (held[first.id].report, held[first.id].attempts) == (None, 0)
        assert not holds.lock(cursor, [first.id], TEN + LEASE)[first.id].is_in_time
        report(cursor, first, Outcome.HUNG_UP)
        done = holds.lock(cursor, [first.id], TEN)[first.id]
    assert (done.is_current, done.is_in_time, done.attempts) == (False, False, 1)
    assert done.end_reason is EndReason.OUTCOME
    assert done.report is not None
    assert done.report.outcome is Outcome.HUNG_UP


def test_an_outcome_moves_the_score_and_explains_it(waiting: Store, plain: Connection[TupleRow]) -> None:
    """P25: each attempt once; the lead has the score as its place and cools."""
    now = TEN
    plain.execute("UPDATE call_queue SET priority_score = 0")
    for attempt in range(1, 8):
        with waiting.transaction() as cursor:
            report(cursor, hold(waiting, 1, now), Outcome.NO_ANSWER, now, attempt)
        now += timedelta(hours=4)
    parts = "base_score, outcome_penalty_score, attempt_penalty_score, time_penalty_score, current_score"
    assert rows(plain, f"SELECT {parts}, total_attempts FROM user_call_scores") == [(0, 7, 2, 0, 9, 7)]
    summed = "SELECT sum(outcome_change), sum(attempt_change), count(DISTINCT attempt) FROM score_events"
    assert rows(plain, summed) == [(7, 2, 7)]
    assert rows(plain, "SELECT priority_score, available_from, status FROM call_queue") == [
        (9, now, "pending")
    ]
