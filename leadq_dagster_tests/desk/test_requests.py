"""Requests repeated, foreign, stale, unfit, or two at once: one clean answer each, nothing moved by it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from leadq_dagster.desk.terms import NoWork, Taken, TakeRequest
from leadq_dagster.domain.errors import (
    ConflictError,
    ForbiddenError,
    LeadqError,
    NotFoundError,
    RefusedError,
)
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster_tests.desk.at_work import TEN, AtWork, at_work
from leadq_dagster_tests.stages.stored import nothing_changes

CALLS = "SELECT id, agent_id, user_id, talk_time_seconds FROM call_sessions ORDER BY id"
SEEN = "SELECT status, status_since, last_seen_at FROM agents ORDER BY id"
STAY = "SELECT status, assigned_to_agent_id, priority_score FROM call_queue WHERE user_id = %s"


def test_the_same_request_gets_the_same_lead_and_another_one_gets_the_lead_that_is_held(work: AtWork) -> None:
    """P20."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    first = work.taken(agent, "a")
    assert work.taken(agent, "a") == first
    assert work.taken(agent, "b") == first
    work.outcome(first, Outcome.NO_ANSWER)
    again = work.taken(agent, "a")
    assert (again.assignment.id, again.assignment.user_id, again.is_validated) == (
        first.assignment.id,
        1,
        True,
    )
    assert work.taken(agent, "c").assignment.user_id == 2
    assert work.taken(agent, "a").assignment.id == first.assignment.id


def test_two_agents_may_choose_the_same_request_id(work: AtWork) -> None:
    """P20: a request id is its agent's own."""
    one, two = work.agent(), work.agent()
    work.lead(1)
    work.lead(2)
    assert [work.taken(agent, "a").assignment.user_id for agent in (one, two)] == [1, 2]


def test_no_work_is_answered_again_to_the_same_request_only(work: AtWork) -> None:
    """P20."""
    agent = work.agent()
    nothing = work.take(agent, "a")
    assert isinstance(nothing, NoWork)
    work.lead(1)
    assert work.take(agent, "a") == nothing
    assert work.taken(agent, "b").assignment.user_id == 1


@pytest.mark.parametrize("same", [True, False])
def test_one_agent_at_two_processes_at_once_holds_one_lead(work: AtWork, same: bool) -> None:
    """P15, P20: whether the request ids are the same or not."""
    agent = work.agent()
    for user_id in range(1, 21):
        work.lead(user_id)
    with at_work(work.store_url, work.source) as other, ThreadPoolExecutor(8) as pool:
        other.clock.now = work.clock.now
        asked = [
            (desk, f"{n if same else (n, place)}")
            for n in range(10)
            for place, desk in enumerate((work, other, work, other))
        ]
        got = list(pool.map(lambda each: each[0].taken(agent, each[1]).assignment.id, asked))
    assert set(got) == {got[0]}
    assert work.rows("SELECT count(*) FROM call_queue WHERE status = 'assigned'") == [(1,)]
    assert work.rows("SELECT count(*) FROM assignments") == [(1,)]


def test_two_different_outcomes_at_once_are_one_outcome_and_one_conflict(work: AtWork) -> None:
    """P15, P20: at two processes."""
    agent = work.agent()
    work.lead(1)
    with at_work(work.store_url, work.source) as other, ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            work.clock.advance(days=40)
            other.clock.now = work.clock.now
            taken = work.taken(agent)
            reports = [
                pool.submit(desk.outcome, taken, outcome)
                for desk, outcome in ((work, Outcome.HUNG_UP), (other, Outcome.MISSED_CALL))
            ]
            raised = [report.exception() for report in reports]
            assert [type(error) for error in raised if error] == [ConflictError]
    assert work.rows("SELECT count(*), count(DISTINCT assignment_id) FROM call_outcomes") == [(10, 10)]
    assert work.rows("SELECT total_attempts FROM user_call_scores") == [(10,)]


def test_a_foreign_stale_or_unknown_assignment_is_refused_and_nothing_changes(work: AtWork) -> None:
    """P23: outcome, release and extend alike."""
    agent, other = work.agent(), work.agent()
    work.lead(1)
    taken = work.taken(agent)
    number, token = taken.assignment.id, taken.assignment.lease_token
    wrong: list[tuple[dict[str, int], type[LeadqError]]] = [
        ({"agent_id": other}, ForbiddenError),
        ({"agent_id": 99}, NotFoundError),
        ({"agent_id": 2**70}, NotFoundError),
        ({"assignment_id": number + 1}, NotFoundError),
        ({"assignment_id": 2**70}, NotFoundError),
        ({"assignment_id": -1}, NotFoundError),
        ({"lease_token": token + 1}, ConflictError),
        ({"lease_token": 2**70}, ConflictError),
    ]
    for differing, kind in wrong:
        hold = work.hold_request(taken, **differing)
        report = work.outcome_request(taken, Outcome.NO_ANSWER, **differing)

        def all_three(kind: type[LeadqError] = kind, hold=hold, report=report) -> None:  # type: ignore[no-untyped-def]
            for ask in (
                lambda: work.desk.release(hold),
                lambda: work.desk.extend(hold),
                lambda: work.desk.record_outcome(report),
            ):
                with pytest.raises(kind):
                    ask()

        before = work.rows(STAY, 1), work.rows("SELECT * FROM assignments"), work.rows(CALLS)
        all_three()
        assert (work.rows(STAY, 1), work.rows("SELECT * FROM assignments"), work.rows(CALLS)) == before
    with pytest.raises(NotFoundError):
        work.take(2**70)
    with pytest.raises(NotFoundError):
        work.take(98)


def test_what_cannot_be_meant_is_refused_and_the_lead_stays_with_the_agent(work: AtWork) -> None:
    """P23: the text says what would be acceptable; a repeated request that is fit goes through."""
    agent = work.agent()
    work.lead(1)
    taken = work.taken(agent)
    cases: list[tuple[Outcome, dict[str, Any]]] = [
        (Outcome.NO_ANSWER, {"talk_time_seconds": -1}),
        (Outcome.NO_ANSWER, {"talk_time_seconds": 2**40}),
        (Outcome.NO_ANSWER, {"started_at": work.clock.now + timedelta(minutes=1)}),
        (Outcome.NO_ANSWER, {"started_at": datetime(2026, 3, 4, 9)}),
        (Outcome.NO_ANSWER, {"callback_at": work.clock.now + timedelta(hours=1)}),
        (Outcome.CALL_BACK, {}),
        (Outcome.CALL_BACK, {"callback_at": work.clock.now}),
        (Outcome.CALL_BACK, {"callback_at": datetime(2026, 3, 5, 9)}),
        (Outcome.CALL_BACK, {"callback_at": work.clock.now + timedelta(days=91)}),
        (Outcome.NO_ANSWER, {"call_id": "a\0b"}),
        (Outcome.NO_ANSWER, {"notes": "a\0b"}),
        (Outcome.NO_ANSWER, {"notes": "\ud800"}),
        (Outcome.NO_ANSWER, {"request_id": "a\0b"}),
        (Outcome.NO_ANSWER, {"call_id": "assignment-77"}),
    ]
    for outcome, unfit in cases:
        with pytest.raises(RefusedError):
            work.outcome(taken, outcome, **unfit)
        assert work.rows(STAY, 1) == [("assigned", agent, 0)], unfit
        assert work.rows("SELECT status FROM agents") == [("on_call",)], unfit
    assert work.rows(CALLS) == []
    assert work.outcome(taken, Outcome.NO_ANSWER, talk_time_seconds=0).lead == "waiting"


def test_one_bad_request_in_a_batch_hurts_nobody_else(work: AtWork) -> None:
    """P23: unfit in every way that a driver may trip over, amid fifteen others of the same moment."""
    names = [work.agent() for _ in range(16)]
    for user_id in range(1, 17):
        work.lead(user_id)
    bad = names[7]
    takes = [TakeRequest(agent, "a\0b" if agent == bad else "a") for agent in names]
    answers = work.desk._serve_takes(takes)
    assert [isinstance(answer, Taken) for answer in answers] == [agent != bad for agent in names]
    assert isinstance(answers[7], LeadqError)
    taken = [work.taken(agent) for agent in names]
    each_unfit: list[dict[str, Any]] = [
        {"notes": "a\0b"},
        {"notes": "\ud800"},
        {"started_at": datetime(2026, 3, 4)},
        {"assignment_id": 2**70},
    ]
    for unfit in each_unfit:
        reports = [
            work.outcome_request(
                each, Outcome.MISSED_CALL, **(unfit if each.assignment.agent_id == bad else {})
            )
            for each in taken
        ]
        told = work.desk._serve_outcomes(reports)
        assert [isinstance(each, Exception) for each in told] == [agent == bad for agent in names], unfit
        work.outcome(taken[7], Outcome.MISSED_CALL)
        work.clock.advance(seconds=1)
        taken = [work.taken(agent) for agent in names]


def test_an_agent_who_is_no_longer_active_is_refused_and_the_lead_returns_after_the_lease(
    work: AtWork,
) -> None:
    """P19, P23: deactivated in the middle of a call."""
    agent, other = work.agent(), work.agent()
    work.lead(1)
    taken = work.taken(agent)
    work.execute("UPDATE agents SET is_active = false WHERE id = %s", agent)
    for ask in (
        lambda: work.outcome(taken, Outcome.NO_ANSWER),
        lambda: work.desk.release(work.hold_request(taken)),
        lambda: work.take(agent),
    ):
        with pytest.raises(ForbiddenError):
            ask()
    assert isinstance(work.take(other), NoWork)
    work.clock.advance(minutes=5)
    assert work.desk.expire().leads_returned == 1
    assert work.taken(other).assignment.user_id == 1


def test_an_agent_serves_only_the_queues_allowed(work: AtWork) -> None:
    """P23: asking for another is refused, and the lead that is held stays held."""
    agent = work.agent(QueueType.OUTSTANDING_REQUESTS)
    work.lead(1)
    assert isinstance(work.take(agent), NoWork)
    work.lead(2, owing=True)
    assert work.taken(agent).assignment.user_id == 2
    with pytest.raises(ForbiddenError):
        work.take(agent, queue=QueueType.UNSIGNED_USERS)
    assert work.rows("SELECT status FROM agents") == [("on_call",)]


def test_an_outcome_reported_late_does_not_take_the_agents_next_lead_for_ended(work: AtWork) -> None:
    """P19: the late call is recorded, and who holds another lead by now is on a call still."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    first = work.taken(agent)
    work.desk.release(work.hold_request(first))
    second = work.taken(agent)
    with pytest.raises(ConflictError):
        work.outcome(first, Outcome.NO_ANSWER)
    assert work.rows("SELECT status FROM agents") == [("on_call",)]
    assert work.rows("SELECT is_late, outcome FROM call_outcomes") == [(True, "no_answer")]
    assert work.taken(agent).assignment == second.assignment


def test_an_outcome_after_the_stay_left_is_in_time_and_the_call_is_recorded(work: AtWork) -> None:
    """P1, P2: who signs in the middle of the call leaves by the check; the agent's report moves nothing."""
    agent = work.agent()
    work.lead(1)
    taken = work.taken(agent)
    work.clock.advance(minutes=1)
    work.sign(1)
    work.judge(1)
    work.clock.advance(minutes=1)
    told = work.outcome(taken, Outcome.NOT_INTERESTED, talk_time_seconds=60)
    assert (told.lead, told.next_call_after) == ("left", None)
    assert work.rows(CALLS) == [(f"assignment-{taken.assignment.id}", agent, 1, 60)]
    assert work.rows("SELECT end_reason FROM assignments") == [("left",)]
    assert work.rows("SELECT current_score, total_attempts FROM user_call_scores") == [(0, 0)]
    assert work.rows("SELECT is_late FROM call_outcomes") == [(False,)]


def test_a_run_that_looked_earlier_does_not_end_an_assignment_before_it_began(work: AtWork) -> None:
    """P15: the audit of who held what has no span that ends before it begins."""
    agent = work.agent()
    work.lead(1)
    looked_at = work.clock.now
    work.clock.advance(minutes=3)
    work.taken(agent)
    work.sign(1)
    held_from, work.clock.now = work.clock.now, looked_at
    work.judge(1)
    assert work.rows("SELECT assigned_at, ended_at, end_reason FROM assignments") == [
        (held_from, held_from, "left")
    ]


def test_do_not_contact_holds_however_late_it_is_told(work: AtWork) -> None:
    """P22: the next holder's lead leaves at once, and a call agreed in a later report is not promised."""
    agent, other, third = (work.agent() for _ in range(3))
    work.lead(1)
    first = work.taken(agent)
    work.clock.advance(minutes=6)
    work.desk.expire()
    second = work.taken(other)
    work.clock.advance(minutes=6)
    work.desk.expire()
    third_taken = work.taken(third)
    with pytest.raises(ConflictError):
        work.outcome(first, Outcome.DO_NOT_CONTACT)
    assert work.rows("SELECT is_active, suppressed_reason FROM user_call_scores") == [
        (False, "do_not_contact")
    ]
    assert work.rows("SELECT status, left_reason FROM call_queue") == [("left", "do_not_contact")]
    agreed = work.clock.now + timedelta(hours=1)
    with pytest.raises(ConflictError):
        work.outcome(second, Outcome.CALL_BACK, callback_at=agreed)
    assert work.outcome(third_taken, Outcome.GOING_TO_COMPLETE, callback_at=agreed).callback_id is None
    assert work.rows("SELECT count(*) FROM callbacks WHERE status IN ('pending', 'accepted')") == [(0,)]
    work.judge(1)
    assert isinstance(work.take(agent), NoWork)
    assert work.rows("SELECT count(*) FROM call_outcomes") == [(3,)]


def test_do_not_contact_is_recorded_whatever_the_clocks_of_others_say(work: AtWork) -> None:
    """P22: the user was moved by somebody whose clock was ahead, before a failover for instance."""
    agent = work.agent()
    work.lead(1)
    taken = work.taken(agent)
    work.execute("UPDATE user_call_scores SET last_queue_check = clock_timestamp() + interval '1 hour'")
    assert work.outcome(taken, Outcome.DO_NOT_CONTACT).lead == "left"
    assert work.rows("SELECT is_active, suppressed_reason FROM user_call_scores") == [
        (False, "do_not_contact")
    ]


def test_who_signed_before_saying_no_is_converted(work: AtWork) -> None:
    """P1, P2: the source made the conversion; the outcome that ends the stay records it."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    taken = work.taken(agent)
    work.sign(1)
    work.outcome(taken, Outcome.NO_CLAIM)
    work.outcome(work.taken(agent), Outcome.DO_NOT_CONTACT)
    assert work.rows("SELECT user_id, source FROM conversions") == [(1, "outcome")]
    reasons = "SELECT user_id, suppressed_reason FROM user_call_scores ORDER BY 1"
    assert work.rows(reasons) == [(1, "no_claim"), (2, "do_not_contact")]


def test_a_call_id_of_somebody_elses_call_is_refused_even_when_both_come_at_once(work: AtWork) -> None:
    """P13, P23: no call is credited to an agent who did not make it, in one batch or at two processes."""
    agents = [work.agent() for _ in range(4)]
    for user_id in range(1, 5):
        work.lead(user_id)
    taken = [work.taken(agent) for agent in agents]
    both = [work.outcome_request(each, Outcome.HUNG_UP, call_id="one") for each in taken[:2]]
    told = work.desk._serve_outcomes(both)
    assert [isinstance(each, ConflictError) for each in told] == [False, True]
    assert work.rows(CALLS) == [("one", agents[0], 1, None)]
    assert work.rows(STAY, 2) == [("assigned", agents[1], 0)]
    with at_work(work.store_url, work.source) as other, ThreadPoolExecutor(2) as pool:
        other.clock.now = work.clock.now
        reports = [
            pool.submit(desk.outcome, each, Outcome.HUNG_UP, call_id="two")
            for desk, each in ((work, taken[2]), (other, taken[3]))
        ]
        raised = [report.exception() for report in reports]
    assert sorted(type(error).__name__ for error in raised) == ["ConflictError", "NoneType"]
    assert work.rows("SELECT count(*) FROM call_sessions WHERE id = 'two'") == [(1,)]
    assert work.rows(
        "SELECT count(*) FROM call_outcomes AS told"
        " JOIN call_sessions AS call ON call.id = told.call_session_id"
        " WHERE told.agent_id <> call.agent_id OR told.user_id <> call.user_id"
    ) == [(0,)]


def test_a_lease_of_no_length_is_refused(work: AtWork) -> None:
    """P23."""
    work.lead(1)
    taken = work.taken(work.agent())
    for lease in (timedelta(0), timedelta(seconds=-1), timedelta(hours=2)):
        with pytest.raises(RefusedError):
            work.desk.extend(work.hold_request(taken), lease)
    assert work.desk.extend(work.hold_request(taken)) == work.clock.now + timedelta(minutes=5)


def test_release_and_extend_answer_the_same_request_the_same(work: AtWork) -> None:
    """P20: also after the assignment has ended; the id of another request is a conflict."""
    agent = work.agent()
    work.lead(1)
    taken = work.taken(agent)
    longer = work.hold_request(taken)
    until = work.desk.extend(longer, timedelta(minutes=20))
    work.clock.advance(minutes=10)
    release = work.hold_request(taken)
    later = work.desk.release(release)
    work.clock.advance(minutes=10)
    assert work.desk.release(release) == later
    assert work.desk.extend(longer, timedelta(minutes=20)) == until
    with pytest.raises(ConflictError):
        work.desk.release(longer)
    with pytest.raises(ConflictError):
        work.desk.extend(replace(release, request_id="new"))
    assert until == taken.assignment.assigned_at + timedelta(minutes=20)
    assert work.rows(
        "SELECT count(*) FROM assignments WHERE ended_at = %s", TEN + timedelta(seconds=601)
    ) == [(1,)]


def test_a_lead_given_back_does_not_come_straight_back(work: AtWork) -> None:
    """P20, P18: not to the same agent, not to another; after the pause it does."""
    agent, other = work.agent(), work.agent()
    work.lead(1)
    work.desk.release(work.hold_request(work.taken(agent)))
    assert isinstance(work.take(agent), NoWork)
    work.clock.advance(minutes=5, seconds=-1)
    assert isinstance(work.take(other), NoWork)
    work.clock.advance(seconds=1)
    assert work.taken(other).assignment.user_id == 1


def test_nothing_is_written_by_a_request_for_work_of_an_unknown_agent(work: AtWork) -> None:
    """P23."""
    work.lead(1)

    def ask() -> None:
        with pytest.raises(NotFoundError):
            work.take(77)

    nothing_changes(work.store_url, ask)


def test_who_asks_is_there_whether_or_not_they_get_a_lead(work: AtWork) -> None:
    """P26: routing goes by this; who may not work any more is left alone."""
    idle, calling, gone = work.agent(), work.agent(), work.agent()
    work.execute("UPDATE agents SET is_active = false, status = 'offline' WHERE id = %s", gone)
    left_alone = work.rows(SEEN)[2]
    work.lead(1)
    began = work.clock.now
    work.taken(calling)
    assert isinstance(work.take(idle), NoWork)
    assert work.rows(SEEN) == [("available", began, began), ("on_call", began, began), left_alone]
    later = work.clock.advance(minutes=1)
    for agent in (idle, calling):
        work.take(agent)
    with pytest.raises(ForbiddenError):
        work.take(gone)
    assert work.rows(SEEN) == [("available", began, later), ("on_call", began, later), left_alone]
