"""The door and the desk at one stay: who holds it is spared or loses it, and neither waits for ever."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store import agents, assignments, callbacks, holds, outcomes
from leadq_dagster.store.assignments import Asker, EndReason
from leadq_dagster.store.callbacks import Promise
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster.store.queue import Move, Moved, clock, move_users
from leadq_dagster_tests.store.converted import LATER, add_agents, judged, signed, state
from leadq_dagster_tests.store.leads import LEASE, NOT_CALLED_FROM, add_lead, claim, hold, report
from leadq_dagster_tests.store.rows import BY, NOWHERE, OUTSTANDING, TEN, UNSIGNED, know, move, moved, rows
from leadq_dagster_tests.store.test_queue import BROKEN_PROMISES, CountingCursor
from leadq_dagster_tests.store.waiting import wait_until

# An assigned stay and its assignment that has not ended are two sides of one thing.
BROKEN_HOLDS = """
    SELECT stay.id, assignment.id
    FROM (SELECT * FROM call_queue WHERE status = 'assigned') AS stay
    FULL JOIN (SELECT * FROM assignments WHERE ended_at IS NULL) AS assignment
        ON assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
        AND assignment.agent_id = stay.assigned_to_agent_id
    WHERE stay.id IS NULL OR assignment.id IS NULL"""
ENDS = "SELECT agent_id, lease_token, end_reason, ended_at FROM assignments ORDER BY id"


@pytest.fixture
def held(store: Store, plain: Connection[TupleRow]) -> Store:
    """Users 7 and 8 in the queue, 7 with agent 1 after agent 2 gave it back."""
    add_agents(plain)
    add_lead(store, plain, 7)
    add_lead(store, plain, 8, score=1)
    first = hold(store, 2)
    with store.transaction() as cursor:
        assignments.give_back(cursor, {first.id: TEN}, EndReason.RELEASED, TEN)
    hold(store, 1)
    return store


def through(store: Store, *moves: Move, spare_assigned: bool = False, now: datetime = LATER) -> Moved:
    with store.transaction() as cursor:
        return move_users(cursor, moves, BY, now, seen_at=clock(cursor), spare_assigned=spare_assigned)


def test_whoever_holds_a_lead_that_leaves_holds_it_no_longer(
    held: Store, plain: Connection[TupleRow]
) -> None:
    """P1, P15: with the stay, in one transaction; how an earlier assignment ended stays as it was."""
    assert through(held, Move(7, NOWHERE), Move(8, NOWHERE)).queues == {7: None, 8: None}
    assert rows(plain, ENDS) == [(2, 1, "released", TEN), (1, 2, "left", LATER)]
    assert rows(plain, BROKEN_HOLDS) == rows(plain, BROKEN_PROMISES) == []
    move(held, [8], UNSIGNED, LATER)
    assert hold(held, 1, LATER).user_id == 8


def test_whoever_holds_a_lead_that_changes_queues_holds_it_no_longer(
    held: Store, plain: Connection[TupleRow]
) -> None:
    """P5, P15: the new stay is nobody's."""
    through(held, Move(7, OUTSTANDING))
    assert rows(plain, ENDS)[1] == (1, 2, "left", LATER)
    live = "SELECT queue_type, status, lease_token FROM call_queue WHERE user_id = 7 AND status <> 'left'"
    assert rows(plain, live) == [("outstanding_requests", "pending", 0)]


def test_a_held_stay_may_be_spared(held: Store, plain: Connection[TupleRow]) -> None:
    """P16: neither moved nor judged; the others go their way; and afterwards it is moved like any."""
    before = rows(plain, "SELECT * FROM call_queue WHERE user_id = 7")
    went = through(held, judged(signed(7)), judged(signed(8)), spare_assigned=True)
    assert (went.queues, went.spared, went.overtaken) == ({8: None}, {7}, set())
    assert [item.user_id for item in went.conversions] == [8]
    assert rows(plain, "SELECT * FROM call_queue WHERE user_id = 7") == before
    assert rows(plain, BROKEN_HOLDS) == []
    with held.transaction() as cursor:
        expired = assignments.expired(cursor, TEN + LEASE, 10)
        assignments.give_back(cursor, dict.fromkeys(expired, TEN), EndReason.EXPIRED, LATER)
    assert through(held, judged(signed(7)), spare_assigned=True).queues == {7: None}


def test_who_was_moved_on_later_knowledge_is_overtaken_and_not_spared(
    held: Store, plain: Connection[TupleRow]
) -> None:
    """P3, P16: each user is counted once."""
    with held.transaction() as cursor:
        seen_at = clock(cursor)
    through(held, Move(8, OUTSTANDING))
    before = state(plain)
    with held.transaction() as cursor:
        moves = [Move(7, NOWHERE), Move(8, NOWHERE)]
        went = move_users(cursor, moves, BY, LATER, seen_at=seen_at, spare_assigned=True)
    assert went == Moved({}, [], {8}, spared={7})
    assert state(plain) == before


@pytest.mark.parametrize("spare_assigned", [False, True])
def test_the_door_waits_for_a_take_that_holds_the_stay_and_the_take_not_for_the_door(
    store: Store, plain: Connection[TupleRow], store_url: str, spare_assigned: bool
) -> None:
    """P15, P16, P17: no deadlock, and what the take left behind is what the door finds."""
    add_agents(plain)
    add_lead(store, plain, 7)
    with (
        ThreadPoolExecutor(1) as pool,
        open_store(store_url) as desk,
        psycopg.connect(store_url, autocommit=True) as watcher,
    ):
        with desk.transaction() as cursor:
            agents.lock(cursor, [1])
            [taken] = claim(cursor, [1])
            door = pool.submit(through, store, Move(7, NOWHERE), spare_assigned=spare_assigned)
            wait_until(lambda: rows(watcher, "SELECT 1 FROM pg_locks WHERE NOT granted") != [])
            # The door has the user and waits for the stay; a row that refers to the user can be written.
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            callbacks.promise(cursor, [Promise(7, taken.queue, LATER, 1, taken.id)], TEN)
            agents.mark_seen(cursor, [1], TEN)
            assert not door.done()
        went = door.result(timeout=30)
    assert went.spared == ({7} if spare_assigned else set())
    assert rows(plain, ENDS) == [(1, 1, None, None) if spare_assigned else (1, 1, "left", LATER)]
    assert rows(plain, BROKEN_HOLDS) == rows(plain, BROKEN_PROMISES) == []


def test_takes_outcomes_moves_and_expiries_side_by_side_never_deadlock(
    store: Store, plain: Connection[TupleRow], store_url: str
) -> None:
    """P15, P16, P19: and each stay and each assignment are one thing at the end."""
    users = list(range(1, 31))
    agents_at_work = range(101, 107)
    for agent in agents_at_work:
        plain.execute("INSERT INTO agents (id, name) VALUES (%s, 'an agent')", [agent])
    know(store, users)
    move(store, users, UNSIGNED)
    rounds = 25
    together = threading.Barrier(5)

    def take_and_report(mine: list[int], seed: int) -> int:
        choice, served = random.Random(seed), 0
        for turn in range(rounds):
            now = TEN + timedelta(hours=5 * turn)
            with desk.transaction() as cursor:
                agents.lock(cursor, mine)
                askers = [Asker(agent, f"{agent}-{turn}") for agent in choice.sample(mine, len(mine))]
                got = assignments.claim_leads(
                    cursor, QueueType.UNSIGNED_USERS, askers, now, now + LEASE, NOT_CALLED_FROM
                )
            with desk.transaction() as cursor:
                agents.lock(cursor, mine)
                outcomes.locking_users(cursor, [item.id for item in got])()
                still = holds.lock(cursor, [item.id for item in got], now)
                for item in got:
                    if still[item.id].is_current:
                        report(cursor, item, Outcome.NO_ANSWER, now, still[item.id].attempts + 1)
                        served += 1
        return served

    def go_through_the_door(order: int) -> int:
        went = 0
        for turn in range(rounds):
            decision = (NOWHERE, UNSIGNED, OUTSTANDING, UNSIGNED)[turn % 4]
            moves = [Move(user_id, decision) for user_id in users[turn % 3 :: 3][::order]]
            went += len(through(store, *moves, spare_assigned=order < 0, now=LATER).queues)
        return went

    def expire() -> int:
        returned = 0
        for turn in range(rounds):
            now = TEN + timedelta(hours=5 * turn)
            with store.transaction() as cursor:
                page = assignments.expired(cursor, now, 100)
                returned += len(
                    assignments.give_back(cursor, dict.fromkeys(page, now), EndReason.EXPIRED, now)
                )
        return returned

    def at_once(work: Callable[[], int]) -> int:
        together.wait(timeout=30)
        return work()

    with ThreadPoolExecutor(5) as pool, open_store(store_url) as desk:
        running = [
            pool.submit(at_once, work)
            for work in (
                lambda: take_and_report([101, 102, 103], 1),
                lambda: take_and_report([104, 105, 106], 2),
                lambda: go_through_the_door(1),
                lambda: go_through_the_door(-1),
                expire,
            )
        ]
        done = [one.result(timeout=120) for one in running]
    # The two at the door ask for the same moves: what one of them did the other finds done.
    assert min(done[0], done[1], done[2] + done[3]) > 0
    assert rows(plain, BROKEN_HOLDS) == rows(plain, BROKEN_PROMISES) == []


def test_the_holders_of_many_leads_cost_one_statement_more(store: Store, plain: Connection[TupleRow]) -> None:
    """Two or twenty held leads that leave: the statements do not grow with them."""
    counts = []
    for size in (0, 2, 20):
        users = range(size * 100, size * 100 + 20)
        know(store, users)
        move(store, users, UNSIGNED)
        for agent in range(size * 100, size * 100 + size):
            plain.execute("INSERT INTO agents (id, name) VALUES (%s, 'an agent')", [agent])
        with store.transaction() as cursor:
            assert len(claim(cursor, range(size * 100, size * 100 + size))) == size
        with plain.transaction(), CountingCursor(plain) as cursor:
            assert len(moved(cursor, [Move(user_id, NOWHERE) for user_id in users]).queues) == 20
            counts.append(cursor.statements)
    assert counts == [8, 9, 9]
