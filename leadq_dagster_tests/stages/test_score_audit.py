"""Every score is what its events make: after real work, and found out where somebody interfered."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random

import pytest

from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.stages.ageing import age_scores
from leadq_dagster.stages.score_audit import LISTED_MAX, ScoreAudit, WrongScore, audit_scores
from leadq_dagster.store import score_events
from leadq_dagster_tests.desk.at_work import AtWork, fresh_work
from leadq_dagster_tests.servers.running import Servers


@pytest.fixture
def work(servers: Servers) -> Iterator[AtWork]:
    with fresh_work(servers) as work:
        yield work


def call(work: AtWork, agent: int, outcome: Outcome) -> None:
    agreed = {"callback_at": work.clock.now + timedelta(days=2)} if outcome is Outcome.CALL_BACK else {}
    work.outcome(work.taken(agent), outcome, **agreed)


def age(work: AtWork) -> None:
    age_scores(work.clock.now, store=work.store, now=work.clock.now)


def test_weeks_of_work_leave_no_score_unexplained(work: AtWork) -> None:
    """P25: outcomes of every kind, ageing on most days, leads leaving and coming back, late outcomes."""
    random = Random(25)
    agent = work.agent()
    for user_id in range(1, 9):
        work.lead(user_id)
    staying = [item for item in Outcome if item not in (Outcome.NO_CLAIM, Outcome.DO_NOT_CONTACT)]
    calls = 0
    for _ in range(120):
        work.clock.advance(hours=random.randrange(1, 20))
        if random.random() < 0.4:
            age(work)
        if random.random() < 0.05:
            user_id = random.randrange(1, 9)
            work.change(user_id, is_enabled=0)
            work.judge(user_id)
            work.change(user_id, is_enabled=1)
            work.judge(user_id)
        got = work.take(agent)
        if isinstance(got, NoWork):
            continue
        if random.random() < 0.1:
            work.clock.advance(hours=1)
            work.desk.expire()
            continue
        outcome = random.choices(staying, weights=[1, 1, 4, 2, 8, 4, 4, 1, 1])[0]
        agreed = {"callback_at": work.clock.now + timedelta(days=2)} if outcome is Outcome.CALL_BACK else {}
        work.outcome(got, outcome, **agreed)
        calls += 1
    audit = audit_scores(work.store, page_rows=3)
    assert (audit.checked, audit.wrong, audit.listed) == (8, 0, ())
    kinds = dict(work.rows("SELECT kind, count(*) FROM score_events GROUP BY kind"))
    assert kinds["outcome"] == calls > 40
    assert kinds["age"] > 5
    assert work.rows("SELECT count(*) > 8 FROM call_queue") == [(True,)]
    assert work.rows("SELECT max(attempt_penalty_score) > 0 FROM user_call_scores") == [(True,)]


@pytest.fixture
def scored(work: AtWork) -> AtWork:
    """User 1 was called twice and has aged by two weeks; user 2 waits with score 0."""
    agent = work.agent()
    work.lead(1)
    call(work, agent, Outcome.HUNG_UP)
    work.clock.advance(hours=5)
    call(work, agent, Outcome.NO_ANSWER)
    work.clock.advance(days=15)
    age(work)
    work.lead(2)
    assert audit_scores(work.store) == ScoreAudit(2, 0, ())
    return work


PLANTED = {
    "UPDATE user_call_scores SET outcome_penalty_score = outcome_penalty_score + 1": "the score is",
    "UPDATE user_call_scores SET attempt_penalty_score = 3": "the score is",
    "UPDATE user_call_scores SET time_penalty_score = 0": "the score is",
    "UPDATE user_call_scores SET base_score = 1": "(base 1, ",
    "UPDATE user_call_scores SET outcome_penalty_score = 8, time_penalty_score = 5": "the score is",
    "UPDATE call_queue SET priority_score = 12": "the place in the queue 12",
    "UPDATE score_events SET outcome_change = 3 WHERE outcome = 'hung_up'": "event 1 added 3",
    "UPDATE score_events SET attempt = 12 WHERE attempt = 2": "event 2 added 1",
    "UPDATE score_events SET outcome = 'bad_number' WHERE attempt = 1": "event 1 added 2",
    "UPDATE score_events SET aged_to = aged_to - interval '9 days' WHERE kind = 'age'": "event 3 added 10",
    "UPDATE score_events SET rules_version = 9 WHERE kind = 'age'": "version 9",
    "DELETE FROM score_events WHERE attempt = 1": "the events add up to",
    "UPDATE call_queue SET entered_at = entered_at + interval '2 days'": "event 3 added 10",
}


@pytest.mark.parametrize("statement", PLANTED)
def test_it_finds_what_was_planted_and_names_the_user(scored: AtWork, statement: str) -> None:
    """P25, P35: whichever of the numbers, or of the facts behind them, somebody changed."""
    where = "WHERE" if " WHERE " not in statement else "AND"
    only = "user_id = 1" if "score_events" not in statement else "true"
    scored.execute(
        "SET session_replication_role = replica;" + f"{statement} {where} {only}".replace("%", "%%")
    )
    audit = audit_scores(scored.store)
    assert (audit.checked, audit.wrong) == (2, 1)
    (wrong,) = audit.listed
    assert wrong.user_id == 1
    assert PLANTED[statement] in " ".join(wrong.problems)


def test_a_row_too_many_is_found(scored: AtWork) -> None:
    """P25: an ageing recorded twice, and counted once."""
    scored.execute(
        "INSERT INTO score_events (call_queue_id, kind, aged_to, age_change, rules_version, happened_at)"
        " SELECT call_queue_id, kind, aged_to, age_change, rules_version, happened_at FROM score_events"
        " WHERE kind = 'age'"
    )
    (wrong,) = audit_scores(scored.store).listed
    assert len(wrong.problems) == 2


def test_the_list_is_bounded_and_the_count_is_not(work: AtWork) -> None:
    users = range(1, LISTED_MAX + 6)
    for user_id in users:
        work.appear(user_id)
    work.judge(*users)
    work.execute("UPDATE call_queue SET priority_score = 1")
    audit = audit_scores(work.store, page_rows=10)
    assert (audit.checked, audit.wrong) == (LISTED_MAX + 5, LISTED_MAX + 5)
    assert [item.user_id for item in audit.listed] == list(users)[:LISTED_MAX]
    assert isinstance(audit.listed[0], WrongScore)


def test_score_and_events_are_of_one_moment(scored: AtWork) -> None:
    """P35: an outcome recorded meanwhile is no difference: it is all there or not at all."""
    agent = scored.agent()
    scored.clock.advance(days=1)
    with scored.store.transaction() as cursor:
        before = score_events.scored_page(cursor, 0, 10)
        call(scored, agent, Outcome.HUNG_UP)
        after = score_events.scored_page(cursor, 0, 10)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [len(new.events) - len(old.events) for old, new in changed] == [1]
    assert [new.score - old.score for old, new in changed] == [2]


def test_agents_at_work_and_ageing_at_once_lose_no_change_and_never_deadlock(work: AtWork) -> None:
    """P15, P25: each outcome and each week is in the score once, whoever came first."""
    agents, users, weeks, calls_each = [work.agent() for _ in range(4)], range(1, 41), 25, 30
    for user_id in users:
        work.appear(user_id)
    work.judge(*users)
    entered_at, together = work.clock.now, threading.Barrier(len(agents) + 1)

    def work_on(agent: int) -> None:
        together.wait(timeout=30)
        for _ in range(calls_each):
            call(work, agent, Outcome.MISSED_CALL)

    def grow_older() -> None:
        together.wait(timeout=30)
        for week in range(1, weeks + 1):
            as_of = entered_at + timedelta(days=7 * week)
            age_scores(as_of, store=work.store, now=as_of, batch_rows=7)

    with ThreadPoolExecutor(len(agents) + 1) as pool:
        for running in [*(pool.submit(work_on, agent) for agent in agents), pool.submit(grow_older)]:
            running.result(timeout=120)
    assert audit_scores(work.store) == ScoreAudit(len(users), 0, ())
    assert work.rows("SELECT DISTINCT time_penalty_score FROM user_call_scores") == [(5 * weeks,)]
    assert work.rows("SELECT sum(total_attempts) FROM user_call_scores") == [(len(agents) * calls_each,)]
