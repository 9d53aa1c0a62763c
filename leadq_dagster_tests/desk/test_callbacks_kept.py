"""Ways in which a promise was once broken: by a conversion meanwhile, by its own time, by being put off."""

from datetime import timedelta

import pytest

from leadq_dagster.desk.callback_terms import PromiseRequest
from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.errors import ConflictError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster_tests.desk.at_work import AtWork
from leadq_dagster_tests.desk.promising import (
    MINUTE,
    accept,
    cancel,
    here,
    promised,
    raised,
    reserved_for,
    snooze,
    standing,
    stay_of,
    taken_as_promised,
)


@pytest.mark.parametrize("is_raised_again", [False, True])
def test_a_call_made_to_who_converts_meanwhile_keeps_its_promise(work: AtWork, is_raised_again: bool) -> None:
    """P27: the user is not called again for it, even where it was put in front again meanwhile."""
    agent = here(work)
    callback, taken = taken_as_promised(work, agent)
    work.sign(1)
    work.judge(1)  # the hourly check, which spares nobody
    if is_raised_again:
        work.desk.route_callbacks()

    work.outcome(taken, Outcome.COMPLETED_FORM)

    assert standing(work, callback) == ("completed", Outcome.COMPLETED_FORM)
    assert work.rows("SELECT id FROM call_queue WHERE user_id = 1 AND status <> 'left'") == []


def test_unanswered_by_who_converted_meanwhile_it_is_tried_again_after_the_pause(work: AtWork) -> None:
    """P27."""
    agent = here(work)
    callback, taken = taken_as_promised(work, agent)
    work.sign(1)
    work.judge(1)
    work.outcome(taken, Outcome.NO_ANSWER)
    [(status, attempts, call_after)] = work.rows(
        "SELECT status, attempts, call_after FROM callbacks WHERE id = %s", callback
    )
    assert (status, attempts) == ("pending", 1)
    assert call_after == work.clock.now + work.desk.terms.callback_retry


def test_a_call_agreed_for_the_time_of_the_one_just_made_is_a_promise_of_its_own(work: AtWork) -> None:
    """P26: it was taken for the one that this outcome completes, and lost with it."""
    agent = here(work)
    work.lead(1)
    due_at = work.clock.now + 10 * MINUTE
    callback = promised(work, 1, 10, agent)
    accept(work, agent, callback)
    taken = work.taken(agent)
    told = work.outcome(taken, Outcome.CALL_BACK, callback_at=due_at)
    assert standing(work, callback) == ("completed", Outcome.CALL_BACK)
    assert told.callback_id not in (None, callback)
    assert work.rows("SELECT id FROM callbacks WHERE status = 'pending' AND due_at = %s", due_at) == [
        (told.callback_id,)
    ]


@pytest.mark.parametrize("minutes", [1, 5, 60])
def test_put_off_before_its_time_it_is_not_called_before_its_time(work: AtWork, minutes: int) -> None:
    """P28: the promised time, or later."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 24 * 60, agent)
    due_at = work.rows("SELECT due_at FROM callbacks WHERE id = %s", callback)[0][0]
    assert snooze(work, here(work), callback, minutes).call_after == due_at


def test_who_says_that_they_are_on_a_call_is_not_free(work: AtWork) -> None:
    """P26: an inbound call is none of the desk's, and keeps the agent busy all the same."""
    other, inbound = here(work), here(work)
    work.desk.set_status(inbound, AgentStatus.ON_CALL)
    work.lead(1)
    callback = promised(work, 1, 5, inbound)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == other


@pytest.mark.parametrize("how", ["routed", "accepted"])
def test_whoever_is_on_the_phone_is_promised_to_nobody_else_until_the_lease_ends(
    work: AtWork, how: str
) -> None:
    """P27: the user signs during the promised call, and leaves the queue; the call goes on."""
    first, second = here(work), here(work)
    callback, taken = taken_as_promised(work, first)
    work.sign(1)
    work.judge(1)
    if how == "routed":
        work.desk.route_callbacks()
    else:
        accept(work, second, callback)

    assert isinstance(work.take(second), NoWork)

    work.clock.now = taken.assignment.lease_expires_at  # not a word of the first
    assert work.taken(second).assignment.callback_id == callback


def test_put_off_by_another_it_is_still_not_called_during_the_call(work: AtWork) -> None:
    """P27: taken from the front, a lead does not come before the call ends either."""
    first, second = here(work), here(work)
    callback, taken = taken_as_promised(work, first)
    work.appear_owing(1)  # signs, and owes: queued elsewhere
    work.judge(1)
    accept(work, second, callback)
    cancel(work, second, callback)

    assert isinstance(work.take(second), NoWork)

    work.clock.now = taken.assignment.lease_expires_at
    assert work.taken(second).assignment.user_id == 1


@pytest.mark.parametrize("is_reported", [False, True])
def test_who_is_queued_elsewhere_during_a_call_is_no_lead_until_it_ends(
    work: AtWork, is_reported: bool
) -> None:
    """P15: a user signs during the call and owes a document: a lead of another queue, and on the phone."""
    first, second = here(work), here(work)
    work.lead(1)
    taken = work.taken(first)
    work.appear_owing(1)
    work.judge(1)

    assert isinstance(work.take(second), NoWork)

    if is_reported:
        work.outcome(taken, Outcome.COMPLETED_FORM)
        work.judge(1)
    work.clock.now = taken.assignment.lease_expires_at
    assert work.taken(second).assignment.user_id == 1


def test_once_the_call_is_reported_the_next_promise_waits_for_nothing(work: AtWork) -> None:
    """P26: agreed on in that very call, for two minutes later."""
    agent = here(work)
    work.lead(1)
    taken = work.taken(agent)
    work.sign(1)
    work.judge(1)
    work.outcome(taken, Outcome.CALL_BACK, callback_at=work.clock.now + 2 * MINUTE)
    work.desk.route_callbacks()
    work.clock.advance(minutes=2)
    assert work.clock.now < taken.assignment.lease_expires_at
    assert work.taken(agent).assignment.user_id == 1


def test_a_promise_kept_and_told_late_is_kept(work: AtWork) -> None:
    """P19, P26: nobody is called again who was spoken to; the lead is back in its own place."""
    agent, other = here(work), here(work)
    callback, held = taken_as_promised(work, agent)
    work.clock.advance(minutes=6)
    work.desk.expire()
    work.desk.route_callbacks()
    assert raised(work, callback) is not None
    with pytest.raises(ConflictError):
        work.outcome(held, Outcome.COMPLETED_FORM)
    assert standing(work, callback) == ("completed", "completed_form")
    assert raised(work, callback) is None
    assert work.taken(other).assignment.callback_id is None


@pytest.mark.parametrize("outcome", [Outcome.NO_ANSWER, Outcome.COMPLETED_FORM])
def test_a_late_report_takes_no_promise_from_who_is_keeping_it(work: AtWork, outcome: Outcome) -> None:
    """P27: nor does it count as a try in vain."""
    agent, other = here(work), here(work)
    callback, held = taken_as_promised(work, agent)
    work.clock.advance(minutes=6)
    work.desk.expire()
    if outcome is Outcome.COMPLETED_FORM:
        work.desk.set_status(agent, AgentStatus.BREAK)
        work.desk.set_status(other, AgentStatus.AVAILABLE)
        work.desk.route_callbacks()
        assert work.taken(other).assignment.callback_id == callback
    before = work.rows("SELECT * FROM callbacks"), stay_of(work, 1)
    with pytest.raises(ConflictError):
        work.outcome(held, outcome)
    assert (work.rows("SELECT * FROM callbacks"), stay_of(work, 1)) == before


def test_an_agent_sees_a_hundred_promised_calls_at_most_and_the_first_due_first(work: AtWork) -> None:
    """P26: the hundred and first is seen once one of them is done with."""
    agent = here(work)
    work.many_leads(101)
    for user_id in range(1, 102):  # whoever is promised later is called sooner
        due_at = work.clock.now + 9 * MINUTE - timedelta(seconds=user_id)
        work.desk.promise_callback(PromiseRequest(agent, work.request_id(), user_id, due_at, agent))

    pending = work.desk.pending_callbacks(agent)

    assert [callback.user_id for callback in pending] == list(range(101, 1, -1))
    cancel(work, agent, pending[0].id)
    assert [callback.user_id for callback in work.desk.pending_callbacks(agent)] == list(range(100, 0, -1))
