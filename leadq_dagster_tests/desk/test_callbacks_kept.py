"""Ways in which a promise was once broken: by a conversion meanwhile, by its own time, by being put off."""

import pytest

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster_tests.desk.at_work import AtWork
from leadq_dagster_tests.desk.promising import MINUTE, accept, here, promised, reserved_for, snooze, standing


@pytest.mark.parametrize("is_raised_again", [False, True])
def test_a_call_made_to_who_converts_meanwhile_keeps_its_promise(work: AtWork, is_raised_again: bool) -> None:
    """P27: the user is not called again for it, even where it was put in front again meanwhile."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 1, agent)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    taken = work.taken(agent)
    assert taken.assignment.callback_id == callback
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
    work.lead(1)
    callback = promised(work, 1, 1, agent)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    taken = work.taken(agent)
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
