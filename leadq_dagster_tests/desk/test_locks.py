"""Who waits for whom: a lead that is locked is not taken for missing, and nobody waits in a circle."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.desk.claiming import Locked
from leadq_dagster.desk.routing import Routed
from leadq_dagster.desk.terms import NoWork, Taken, TakeRequest
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster_tests.desk.at_work import AtWork
from leadq_dagster_tests.desk.promising import here, promised, raised, reserved_for
from leadq_dagster_tests.store.waiting import wait_until

LOCK = b"SELECT id FROM call_queue WHERE user_id = %s AND status <> 'left' FOR NO KEY UPDATE"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@contextmanager
def locking(work: AtWork, *user_ids: int) -> Iterator[Connection[TupleRow]]:
    """Somebody else has these users' stays locked, as a run that moves users has for a while."""
    with psycopg.connect(work.store_url) as other:
        for user_id in user_ids:
            other.execute(LOCK, [user_id])
        yield other


def test_a_queue_whose_leads_are_all_locked_for_a_moment_is_not_empty(work: AtWork) -> None:
    """P16, P17: the request waits for them, and gets the first one."""
    agent = work.agent(QueueType.UNSIGNED_USERS)
    work.lead(1)
    work.lead(2)
    with locking(work, 1, 2) as other:
        claim = work.desk._taking.claiming.claim([TakeRequest(agent, "a")], work.clock.now)
        assert [type(answer) for answer in claim.answers] == [Locked]
        waiting = work.desk.submit_take(TakeRequest(agent, "a"))
        # Another agent asks after it and is answered, though the first one is not.
        nobody = work.agent()
        work.lead(3, owing=True)
        taken = work.desk.take(TakeRequest(nobody, "b", QueueType.OUTSTANDING_REQUESTS))
        assert isinstance(taken, Taken)
        assert not waiting.done()
        other.rollback()
        got = waiting.result(30)
    assert isinstance(got, Taken)
    assert got.assignment.user_id == 1


def test_a_locked_lead_in_front_is_passed_over_and_comes_next(work: AtWork) -> None:
    """P17: nobody waits for it while there is another, and it is not lost."""
    agents = [work.agent() for _ in range(3)]
    for user_id in (1, 2, 3):
        work.lead(user_id)
    with locking(work, 1):
        assert work.taken(agents[0]).assignment.user_id == 2
    assert [work.taken(agent).assignment.user_id for agent in agents[1:]] == [1, 3]


def test_one_s_own_promised_call_comes_before_any_lead_also_while_it_is_locked(work: AtWork) -> None:
    """P27: it is waited for. Others, whose call it is not, are given their leads."""
    agent, other_agent = here(work), here(work)
    for user_id in (1, 2, 3):
        work.lead(user_id)
    callback = promised(work, 3, 1, agent)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    with locking(work, 3) as door:
        requests = [TakeRequest(agent, "a"), TakeRequest(other_agent, "b")]
        claim = work.desk._taking.claiming.claim(requests, work.clock.now)
        assert isinstance(claim.answers[0], Locked)
        assert claim.answers[1].user_id == 1
        door.rollback()
    assert work.taken(agent, "a").assignment.callback_id == callback


@pytest.mark.parametrize("locked", ["user", "stay"])
def test_whom_somebody_holds_for_long_holds_up_nobody_else_s_call(work: AtWork, locked: str) -> None:
    """P30: the look waits for nobody; the next minute's has who was left out."""
    agent = here(work)
    for user_id in (1, 2, 3):
        work.lead(user_id)
    callbacks = [promised(work, user_id, 5) for user_id in (1, 2, 3)]
    with psycopg.connect(work.store_url) as other:
        table = "user_call_scores" if locked == "user" else "call_queue"
        other.execute(f"SELECT FROM {table} WHERE user_id = 2 FOR UPDATE".encode())
        routed = work.desk.route_callbacks()
    assert routed == Routed(processed=3, notified=2, routed=2, postponed=1)
    assert [raised(work, callback) is not None for callback in callbacks] == [True, False, True]
    assert work.desk.route_callbacks().routed == 1
    assert reserved_for(work, callbacks[1]) == agent


def test_leads_that_lapsed_are_returned_in_the_order_of_the_users(work: AtWork) -> None:
    """P15: the door, which locks in this order, and a desk that returns several never wait in a circle."""
    agents = [work.agent(), work.agent()]
    work.lead(2)
    work.lead(1)
    assert [work.taken(agent).assignment.user_id for agent in agents] == [2, 1]
    work.clock.advance(minutes=6)
    requests = [TakeRequest(agent, "next") for agent in agents]
    with locking(work, 1) as door:
        desk = threading.Thread(
            target=lambda: work.desk._taking.claiming.claim(requests, work.clock.now), daemon=True
        )
        desk.start()
        wait_until(lambda: work.rows(WAITING) == [(1,)])
        door.execute(LOCK, [2])
        door.commit()
        desk.join(30)
    assert not desk.is_alive()
    assert work.rows("SELECT count(*) FROM assignments WHERE ended_at IS NULL") == [(2,)]


def test_outcomes_lock_stays_in_the_order_of_the_users(work: AtWork) -> None:
    """P15: against whoever locks stays without the users, such as a desk that returns leads."""
    agents = [work.agent(), work.agent()]
    work.lead(2)
    work.lead(1)
    taken = [work.taken(agent) for agent in agents]
    reports = [work.outcome_request(each, Outcome.NO_ANSWER) for each in taken]
    with locking(work, 1) as other:
        desk = threading.Thread(target=lambda: work.desk._serve_outcomes(reports), daemon=True)
        desk.start()
        wait_until(lambda: work.rows(WAITING) == [(1,)])
        other.execute(LOCK, [2])
        other.commit()
        desk.join(30)
    assert not desk.is_alive()
    assert work.rows("SELECT count(*) FROM call_outcomes") == [(2,)]


def test_expiry_leaves_to_others_what_they_are_just_ending(work: AtWork) -> None:
    """P19: it waits for nobody, and returns the lead at its next look."""
    agents = [work.agent(), work.agent()]
    work.lead(1)
    work.lead(2)
    for agent in agents:
        work.taken(agent)
    work.clock.advance(minutes=6)
    with locking(work, 1):
        assert work.desk.expire().leads_returned == 1
    assert work.desk.expire().leads_returned == 1
    assert work.desk.expire().leads_returned == 0
    assert work.rows("SELECT end_reason, count(*) FROM assignments GROUP BY 1") == [("expired", 2)]


def test_a_cooling_lead_appears_when_its_time_has_come(work: AtWork) -> None:
    """P18: to the second, without anybody's doing."""
    agent = work.agent()
    work.lead(1)
    told = work.outcome(work.taken(agent), Outcome.NO_ANSWER)
    assert told.next_call_after == work.clock.now + timedelta(hours=4)
    work.clock.advance(hours=4, seconds=-1)
    assert isinstance(work.take(agent), NoWork)
    work.clock.advance(seconds=1)
    assert work.taken(agent).assignment.user_id == 1
