"""Ageing: what a score is due for the time in the queue, whoever asks for it when and how often."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from random import Random

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.domain.score_rules import CURRENT_RULES
from leadq_dagster.stages.ageing import AgeingTally
from leadq_dagster.store.connection import Store
from leadq_dagster.store.score_events import SQL
from leadq_dagster_tests.stages.failing import Countdown, CutStore, KilledError, When
from leadq_dagster_tests.stages.scored import (
    DAY,
    MIDNIGHT,
    WEEK,
    age,
    ages,
    assign,
    events,
    queue_since,
    raise_stay,
    scores,
)
from leadq_dagster_tests.store.rows import NOWHERE, OUTSTANDING, UNSIGNED, know, move, rows
from leadq_dagster_tests.store.waiting import wait_until

MOMENT = timedelta(microseconds=1)


def test_a_score_gets_five_for_each_full_week_in_the_queue(store: Store, plain: Connection[TupleRow]) -> None:
    """P25: as of the day's end, a moment less than a week is none."""
    for user_id, since in enumerate([WEEK - MOMENT, WEEK, 2 * WEEK - MOMENT, 2 * WEEK, 7 * WEEK], start=1):
        queue_since(store, user_id, MIDNIGHT - since)
    assert age(store, MIDNIGHT) == AgeingTally(seen=5, aged=4, unchanged=1, aged_by=55)
    assert scores(plain) == [(1, 0, 0, 0), (2, 5, 5, 5), (3, 5, 5, 5), (4, 10, 10, 10), (5, 35, 35, 35)]
    assert events(plain) == [
        (user, MIDNIGHT, 5 * weeks, 1) for user, weeks in ((2, 1), (3, 1), (4, 2), (5, 7))
    ]


def test_twice_in_a_day_is_the_same_as_once(store: Store, plain: Connection[TupleRow]) -> None:
    """P25: and leaves no second event."""
    queue_since(store, 1, MIDNIGHT - 3 * WEEK)
    age(store, MIDNIGHT)
    before = (scores(plain), events(plain))
    assert age(store, MIDNIGHT) == AgeingTally(seen=1, unchanged=1)
    assert (scores(plain), events(plain)) == before


def test_an_older_day_after_a_newer_one_changes_nothing(store: Store, plain: Connection[TupleRow]) -> None:
    """P25, P6."""
    queue_since(store, 1, MIDNIGHT - 3 * WEEK)
    age(store, MIDNIGHT)
    for days in range(1, 22):
        assert age(store, MIDNIGHT - days * DAY).aged == 0
    assert ages(plain) == {1: 15}


def test_days_in_any_order_missed_or_repeated_give_the_score_of_the_last_one(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25, P6: every order of four days, each with its own users, against a single run of the last day."""
    days = [MIDNIGHT, MIDNIGHT + 5 * DAY, MIDNIGHT + WEEK, MIDNIGHT + 15 * DAY]
    orders = list(permutations(days))
    for number, _ in enumerate(orders):
        for kind in range(10):
            queue_since(store, 10 * number + kind + 1, MIDNIGHT - kind * 2 * DAY)
    expected = {
        10 * number + kind + 1: 5 * ((15 + 2 * kind) // 7) for number in range(24) for kind in range(10)
    }
    for number, order in enumerate(orders):
        users = range(10 * number + 1, 10 * number + 11)
        for day in (*order, order[0]):
            age(store, day)
        assert {user: ages(plain)[user] for user in users} == {user: expected[user] for user in users}
    assert ages(plain) == expected


def test_after_a_week_of_downtime_one_day_makes_up_for_all(store: Store, plain: Connection[TupleRow]) -> None:
    """P25: day by day for one, once at the end for the other: the same score, though not the same events."""
    queue_since(store, 1, MIDNIGHT - 4 * WEEK)
    for days in range(28, -1, -1):
        age(store, MIDNIGHT - days * DAY)
    assert [change for _, _, change, _ in events(plain)] == [5, 5, 5, 5]
    queue_since(store, 2, MIDNIGHT - 4 * WEEK)
    age(store, MIDNIGHT)
    assert ages(plain) == {1: 20, 2: 20}
    assert events(plain)[-1] == (2, MIDNIGHT, 20, 1)


def test_a_new_stay_starts_at_zero_and_ages_from_its_own_beginning(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: the years of an earlier stay are its own."""
    queue_since(store, 1, MIDNIGHT - 10 * WEEK)
    age(store, MIDNIGHT - 5 * WEEK)
    move(store, [1], NOWHERE, MIDNIGHT - 4 * WEEK)
    assert age(store, MIDNIGHT - 3 * WEEK) == AgeingTally()
    assert rows(plain, "SELECT current_score FROM user_call_scores") == [(25,)]
    move(store, [1], OUTSTANDING, MIDNIGHT - 8 * DAY)
    assert scores(plain) == [(1, 0, 0, 0)]
    assert age(store, MIDNIGHT).aged == 1
    assert scores(plain) == [(1, 5, 5, 5)]


def test_a_stay_that_began_after_the_day_is_not_younger_than_nothing(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: a backfill of last year."""
    queue_since(store, 1, MIDNIGHT)
    assert age(store, MIDNIGHT - 365 * DAY) == AgeingTally(seen=1, unchanged=1)
    assert scores(plain) == [(1, 0, 0, 0)]


def test_age_adds_to_what_outcomes_and_attempts_made(store: Store, plain: Connection[TupleRow]) -> None:
    queue_since(store, 1, MIDNIGHT - WEEK)
    plain.execute("UPDATE user_call_scores SET outcome_penalty_score = 52, attempt_penalty_score = 4")
    age(store, MIDNIGHT)
    assert scores(plain) == [(1, 5, 61, 61)]


@pytest.mark.parametrize("priority", [-1000, -2000])
def test_a_raised_stay_keeps_its_place_in_front(
    store: Store, plain: Connection[TupleRow], priority: int
) -> None:
    """P26: its score ages all the same, and is its place once the promised call is over."""
    queue_since(store, 1, MIDNIGHT - WEEK)
    raise_stay(plain, 1, priority)
    assert age(store, MIDNIGHT) == AgeingTally(seen=1, aged=1, aged_by=5)
    assert scores(plain) == [(1, 5, 5, priority)]
    assert events(plain) == [(1, MIDNIGHT, 5, 1)]


def test_of_an_assigned_stay_nothing_but_the_place_changes(store: Store, plain: Connection[TupleRow]) -> None:
    """P15, P16: who has it keeps it, by the same token, until the same time."""
    queue_since(store, 1, MIDNIGHT - WEEK)
    assign(plain, 1, 7)
    others = (
        "SELECT status, assigned_to_agent_id, assigned_at, lease_expires_at, lease_token, available_from,"
        " entered_at, queue_reason, callback_id FROM call_queue"
    )
    before = rows(plain, others)
    assert age(store, MIDNIGHT).aged == 1
    assert scores(plain) == [(1, 5, 5, 5)]
    assert rows(plain, others) == before


def test_stays_that_ended_and_users_in_no_queue_do_not_age(store: Store, plain: Connection[TupleRow]) -> None:
    queue_since(store, 1, MIDNIGHT - 10 * WEEK)
    move(store, [1], NOWHERE, MIDNIGHT - 9 * WEEK)
    know(store, [2])
    before = rows(plain, "SELECT *, xmin FROM user_call_scores ORDER BY user_id")
    assert age(store, MIDNIGHT) == AgeingTally()
    assert rows(plain, "SELECT *, xmin FROM user_call_scores ORDER BY user_id") == before


def test_who_is_due_nothing_is_not_written(store: Store, plain: Connection[TupleRow]) -> None:
    """Six of seven days: a row that is written costs the desk its index."""
    queue_since(store, 1, MIDNIGHT - WEEK)
    age(store, MIDNIGHT)
    before = rows(plain, "SELECT *, call_queue.xmin, score.xmin FROM call_queue, user_call_scores AS score")
    for days in range(1, 7):
        age(store, MIDNIGHT + days * DAY)
    now = rows(plain, "SELECT *, call_queue.xmin, score.xmin FROM call_queue, user_call_scores AS score")
    assert now == before


@pytest.mark.parametrize("batch_rows", [1, 3, 1_000])
def test_pages_of_any_size_see_every_live_stay_once(
    store: Store, plain: Connection[TupleRow], batch_rows: int
) -> None:
    """P8, P12, P14: the highest id there is, and one below zero."""
    users = [-5, 1, 2, 3, 2**53 + 1, 2**63 - 1, 10]
    for user_id in users:
        queue_since(store, user_id, MIDNIGHT - WEEK)
    move(store, [3], NOWHERE)
    assert age(store, MIDNIGHT, batch_rows=batch_rows) == AgeingTally(seen=6, aged=6, aged_by=30)
    assert ages(plain) == dict.fromkeys(sorted({*users} - {3}), 5)


def test_a_tally_that_does_not_balance_is_refused() -> None:
    """P14."""
    with pytest.raises(PermanentError, match="7 stays seen, but 6 accounted for"):
        AgeingTally(seen=7, aged=1, unchanged=2, left=3)


@pytest.mark.parametrize("when", ["after the statement", "after the commit"])
def test_cut_off_anywhere_another_run_finishes_it(
    store: Store, store_url: str, plain: Connection[TupleRow], when: When
) -> None:
    """P8, P25: at each statement in turn; no stay has aged by half, and none twice."""
    for user_id in range(1, 7):
        queue_since(store, user_id, MIDNIGHT - user_id * WEEK)
    cuts, as_of = 0, MIDNIGHT
    while True:
        countdown = Countdown(cuts + 1)
        try:
            age(CutStore(store, store_url, when, countdown), as_of, batch_rows=2)
        except (TransientError, KilledError):
            cuts += 1
        else:
            break
        for user_id, aged, score, place in scores(plain):
            recorded = sum(change for user, _, change, _ in events(plain) if user == user_id)
            assert aged == score == place == recorded
        assert age(store, as_of).seen == 6
        weeks = (as_of - MIDNIGHT) // WEEK
        assert ages(plain) == {user_id: 5 * (user_id + weeks) for user_id in range(1, 7)}
        as_of += WEEK
    assert cuts >= 4


def test_two_runs_at_once_age_each_stay_once(store: Store, plain: Connection[TupleRow]) -> None:
    """P25: both see what is due; the second to get the locks sees it done."""
    for user_id in range(1, 201):
        queue_since(store, user_id, MIDNIGHT - WEEK)
    together = threading.Barrier(4)

    def run(_: int) -> AgeingTally:
        together.wait(timeout=30)
        return age(store, MIDNIGHT, batch_rows=20)

    with ThreadPoolExecutor(4) as pool:
        tallies = list(pool.map(run, range(4)))
    assert sum(tally.aged for tally in tallies) == len(events(plain)) == 200
    assert {tally.seen for tally in tallies} == {200}
    assert set(ages(plain).values()) == {5}


def test_what_happened_until_the_locks_were_got_is_seen(
    store: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P25, P14: one left, one left and came back, one was aged; none of them ages by what was read before."""
    for user_id in (1, 2, 3, 4):
        queue_since(store, user_id, MIDNIGHT - WEEK)
    with psycopg.connect(store_url) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT FROM user_call_scores WHERE user_id = 1 FOR UPDATE")
        running = pool.submit(age, store, MIDNIGHT)
        wait_until(lambda: rows(plain, "SELECT FROM pg_locks WHERE NOT granted"))
        move(store, [2, 3], NOWHERE)
        move(store, [3], UNSIGNED, MIDNIGHT)
        plain.execute("UPDATE user_call_scores SET time_penalty_score = 5 WHERE user_id = 4")
        holder.rollback()
        assert running.result(timeout=30) == AgeingTally(seen=4, aged=1, unchanged=2, left=1, aged_by=5)
    assert [event[0] for event in events(plain)] == [1]
    assert ages(plain) == {1: 5, 3: 0, 4: 5}


def test_it_waits_for_an_agent_s_outcome_and_neither_is_lost(
    store: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P25: users before stays, as everybody who moves them: an outcome in between is added to, not undone."""
    queue_since(store, 1, MIDNIGHT - WEEK)
    with psycopg.connect(store_url) as outcome, ThreadPoolExecutor(1) as pool:
        outcome.execute("SELECT FROM user_call_scores WHERE user_id = 1 FOR NO KEY UPDATE")
        running = pool.submit(age, store, MIDNIGHT)
        wait_until(lambda: rows(plain, "SELECT FROM pg_locks WHERE NOT granted"))
        outcome.execute("SELECT FROM call_queue WHERE user_id = 1 FOR NO KEY UPDATE")
        outcome.execute("UPDATE user_call_scores SET outcome_penalty_score = 50")
        outcome.execute("UPDATE call_queue SET priority_score = 50")
        outcome.commit()
        assert running.result(timeout=30).aged == 1
    assert scores(plain) == [(1, 5, 55, 55)]


def test_dearer_rules_raise_what_is_due_and_cheaper_ones_take_nothing_back(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: each event names the rules by which it was counted."""
    queue_since(store, 1, MIDNIGHT - 3 * WEEK)
    age(store, MIDNIGHT)
    age(store, MIDNIGHT, rules=replace(CURRENT_RULES, version=2, age_price=7))
    age(store, MIDNIGHT, rules=replace(CURRENT_RULES, version=3, age_price=1))
    assert events(plain) == [(1, MIDNIGHT, 15, 1), (1, MIDNIGHT, 6, 2)]


def test_any_history_of_runs_ends_in_the_age_of_the_last_day(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P25: random days, page sizes, comings and goings, against the rule told in one line."""
    random = Random(25)
    since, latest = dict[int, int](), 0
    for user_id in range(1, 31):
        since[user_id] = random.randrange(60)
        queue_since(store, user_id, MIDNIGHT + since[user_id] * DAY)
    for _ in range(40):
        day = random.randrange(100)
        tally = age(store, MIDNIGHT + day * DAY, batch_rows=random.choice([1, 7, 50]))
        latest = max(latest, day)
        assert tally.seen == 30
        assert ages(plain) == {user: 5 * max(0, (latest - start) // 7) for user, start in since.items()}
        back = random.randrange(1, 31)
        move(store, [back], NOWHERE)
        move(store, [back], UNSIGNED, MIDNIGHT + latest * DAY)
        since[back] = latest


def test_a_page_is_read_by_the_index_of_live_stays(store: Store, plain: Connection[TupleRow]) -> None:
    """P8: the cost follows who is queued, not all the stays there ever were."""
    for user_id in range(1, 4):
        queue_since(store, user_id, MIDNIGHT)
    plain.execute("SET enable_seqscan = off")
    statement = psycopg.ClientCursor(plain).mogrify(SQL["select_live_page"], {"after": 0, "rows_max": 1_000})
    told = "\n".join(line for (line,) in rows(plain, f"EXPLAIN {statement}"))
    assert "one_live_stay_per_user" in told
