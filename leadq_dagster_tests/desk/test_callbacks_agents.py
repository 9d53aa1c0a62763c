"""What agents do with promised calls: promise, accept, snooze, cancel, and see which are theirs."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from leadq_dagster.desk.callback_terms import CallbackRequest, CallbackState, CancelReason, PromiseRequest
from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.errors import ConflictError, ForbiddenError, NotFoundError, RefusedError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster_tests.desk.at_work import AtWork
from leadq_dagster_tests.desk.promising import (
    MINUTE,
    accept,
    cancel,
    decisions,
    here,
    promised,
    raised,
    snooze,
    standing,
    stay_of,
)

UNSIGNED, OUTSTANDING = QueueType.UNSIGNED_USERS, QueueType.OUTSTANDING_REQUESTS


def promise(work: AtWork, agent: int, user_id: int, minutes: float = 30, **more: object) -> PromiseRequest:
    return PromiseRequest(agent, work.request_id(), user_id, work.clock.now + minutes * MINUTE, **more)  # type: ignore[arg-type]


def raised_for_the_promise_only(work: AtWork) -> int:
    """A promised call, in front, to a user who owes nothing any more."""
    work.lead(1)
    work.sign(1)
    work.judge(1)
    callback = promised(work, 1, 5)
    work.desk.route_callbacks()
    return callback


def test_the_same_user_and_time_is_the_same_callback(work: AtWork) -> None:
    """P20: by another request, and by the same one."""
    agent = here(work)
    work.lead(1)
    first = promise(work, agent, 1)
    told = work.desk.promise_callback(first)
    assert (told.user_id, told.due_at, told.is_raised) == (1, first.due_at, False)
    assert work.desk.promise_callback(first) == told
    assert work.desk.promise_callback(promise(work, agent, 1)).callback_id == told.callback_id
    assert work.rows("SELECT count(*), min(queue_type) FROM callbacks") == [(1, "unsigned_users")]


def test_a_user_in_no_queue_is_promised_a_call_of_outstanding_requests(work: AtWork) -> None:
    agent = here(work)
    work.appear(1, is_enabled=0)
    work.judge(1)
    work.desk.promise_callback(promise(work, agent, 1))
    assert work.rows("SELECT queue_type FROM callbacks") == [("outstanding_requests",)]


def test_unknown_and_suppressed_users_unknown_agents_and_times_that_cannot_be_meant_are_refused(
    work: AtWork,
) -> None:
    """P22, P23."""
    agent = here(work)
    work.lead(1)
    ask = work.desk.promise_callback
    with pytest.raises(NotFoundError, match="no user 9"):
        ask(promise(work, agent, 9))
    with pytest.raises(NotFoundError, match="no agent 99"):
        ask(promise(work, agent, 1, preferred_agent_id=99))
    with pytest.raises(NotFoundError, match="no agent 99"):
        ask(promise(work, 99, 1))
    for minutes in (0, -1, 91 * 24 * 60):
        with pytest.raises(RefusedError, match="at most 90 days ahead"):
            ask(promise(work, agent, 1, minutes))
    work.outcome(work.taken(agent), Outcome.DO_NOT_CONTACT)
    with pytest.raises(ConflictError, match="do_not_contact"):
        ask(promise(work, agent, 1))
    assert work.rows("SELECT count(*) FROM callbacks") == [(0,)]


def test_accepting_puts_it_in_front_of_everything_for_the_accepter_now(work: AtWork) -> None:
    agent, other = here(work), here(work)
    work.lead(1)
    work.lead(2)
    early, late = promised(work, 1, 1), promised(work, 2, 9)
    work.desk.route_callbacks()
    told = accept(work, agent, late)
    assert (told.status, told.accepted_by_agent_id, told.is_raised) == ("accepted", agent, True)
    assert raised(work, late) == (-2000, agent, work.clock.now, UNSIGNED)
    work.clock.advance(minutes=1)
    assert work.taken(agent).assignment.callback_id == late
    work.desk.route_callbacks()
    assert work.taken(other).assignment.callback_id == early
    assert decisions(work, late) == [("accepted", agent)]


def test_one_agent_accepts_and_the_others_are_told(work: AtWork) -> None:
    """P26."""
    first, second = here(work), here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    told = accept(work, first, callback)
    with pytest.raises(ConflictError, match="another agent has accepted"):
        accept(work, second, callback)
    assert accept(work, first, callback) == told
    assert raised(work, callback)[1] == first  # type: ignore[index]


def test_the_same_request_is_answered_the_same_whatever_happened_since(work: AtWork) -> None:
    """P20."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    request = CallbackRequest(agent, "accept-once", callback)
    told = work.desk.accept_callback(request)
    snooze(work, agent, callback)
    assert work.desk.accept_callback(request) == told
    assert standing(work, callback) == ("pending", None)
    with pytest.raises(ConflictError, match="this request id was used"):
        work.desk.snooze_callback(CallbackRequest(agent, "accept-once", callback))


def test_who_is_with_an_agent_cannot_be_accepted_by_another(work: AtWork) -> None:
    """P15."""
    holder, other = here(work), here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.taken(holder)
    with pytest.raises(ConflictError, match="with an agent at this moment"):
        accept(work, other, callback)


def test_another_agent_s_callback_to_the_user_goes_first(work: AtWork) -> None:
    first, second = here(work), here(work)
    work.lead(1)
    one, two = promised(work, 1, 4), promised(work, 1, 5)
    accept(work, first, one)
    with pytest.raises(ConflictError, match="that one goes first"):
        accept(work, second, two)
    assert accept(work, first, two).is_raised
    assert raised(work, one) is None


def test_a_callback_of_a_queue_not_served_is_refused(work: AtWork) -> None:
    """P23."""
    agent = here(work, OUTSTANDING)
    work.lead(1)
    with pytest.raises(ForbiddenError, match="does not serve the queue unsigned_users"):
        accept(work, agent, promised(work, 1, 5))


def test_accepting_passes_the_gate(work: AtWork) -> None:
    """P29: who owes nothing is called all the same; who is disabled is not, and the callback is cancelled."""
    agent = here(work)
    for user_id in (1, 2):
        work.lead(user_id)
        work.sign(user_id)
        work.judge(user_id)
    kept, barred = promised(work, 1, 5), promised(work, 2, 5)
    work.change(2, is_enabled=0)
    assert accept(work, agent, kept).is_raised
    assert raised(work, kept) == (-2000, agent, work.clock.now, OUTSTANDING)
    request = CallbackRequest(agent, "accept-barred", barred)
    for _ in range(2):
        with pytest.raises(ConflictError, match="the callback is cancelled"):
            work.desk.accept_callback(request)
    assert standing(work, barred) == ("cancelled", "user_disabled")


def test_source_down_a_callback_is_accepted_all_the_same(work: AtWork) -> None:
    """P21."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    with work.source_down():
        assert accept(work, agent, callback).is_raised


def test_unknown_and_closed_callbacks_are_refused(work: AtWork) -> None:
    """P23."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    cancel(work, agent, callback)
    for act in (accept, snooze, cancel):
        with pytest.raises(NotFoundError, match="no callback 99"):
            act(work, agent, 99)
        with pytest.raises(ConflictError, match="cancelled already"):
            act(work, agent, callback)
        with pytest.raises(NotFoundError, match="no agent 99"):
            act(work, 99, callback)


def test_snoozing_lowers_the_stay_to_its_own_place_until_the_time_snoozed_to(work: AtWork) -> None:
    """P26, P28: at the last second, too."""
    agent = here(work)
    work.lead(1)
    work.outcome(work.taken(agent), Outcome.MIGHT_COMPLETE)
    work.clock.advance(days=2)
    work.desk.beat(agent)
    callback = promised(work, 1, 1)
    work.desk.route_callbacks()
    work.clock.advance(seconds=59.999)
    told = snooze(work, agent, callback, 20)
    later = work.clock.now + 20 * MINUTE
    assert (told.status, told.call_after, told.is_raised) == ("pending", later, False)
    assert stay_of(work, 1) == ("no_signature", 2, later, None)
    work.clock.advance(minutes=10)
    work.desk.beat(agent)
    work.desk.route_callbacks()
    assert isinstance(work.take(agent), NoWork)
    work.clock.now = later
    work.desk.beat(agent)
    work.desk.route_callbacks()
    assert work.taken(agent).assignment.callback_id == callback


def test_snoozing_a_call_in_hand_ends_the_assignment_as_snoozed(work: AtWork) -> None:
    """P26."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 1)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    held = work.taken(agent)
    snooze(work, agent, callback)
    assert work.rows("SELECT end_reason FROM assignments") == [("snoozed",)]
    assert work.rows("SELECT status FROM agents WHERE id = %s", agent) == [("available",)]
    with pytest.raises(ConflictError, match="lease had ended"):
        work.outcome(held, Outcome.COMPLETED_FORM)
    assert standing(work, callback) == ("pending", None)


def test_a_stay_for_a_promised_call_only_is_closed_while_snoozed_and_opened_again(work: AtWork) -> None:
    """P26, P29."""
    agent = here(work)
    callback = raised_for_the_promise_only(work)
    snooze(work, agent, callback, 10)
    assert stay_of(work, 1) is None
    work.clock.advance(minutes=4)
    work.desk.route_callbacks()
    assert stay_of(work, 1)[0] == "promised_call"  # type: ignore[index]
    assert work.rows(
        "SELECT left_reason FROM call_queue WHERE queue_reason = 'promised_call' ORDER BY id"
    ) == [
        ("promise_ended",),
        (None,),
    ]
    assert len(work.rows("SELECT FROM conversions")) == 1


@pytest.mark.parametrize("minutes", [0, 61, -5])
def test_minutes_out_of_bounds_are_refused(work: AtWork, minutes: int) -> None:
    """P23."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    with pytest.raises(RefusedError, match="1 to 60 minutes"):
        snooze(work, agent, callback, minutes)


def test_only_its_agent_or_a_supervisor_snoozes_or_cancels_it_and_nobody_s_anybody(work: AtWork) -> None:
    """P23."""
    mine, other = here(work), here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.desk.route_callbacks()
    assert raised(work, callback)[1] == mine  # type: ignore[index]
    for act in (snooze, cancel):
        with pytest.raises(ForbiddenError, match="another agent's"):
            act(work, other, callback)
    supervisor = CallbackRequest(other, work.request_id(), callback, is_supervisor=True)
    work.desk.snooze_callback(supervisor, 30)
    assert snooze(work, other, callback, 5).call_after == work.clock.now + 5 * MINUTE


def test_a_call_in_hand_is_its_holder_s_alone(work: AtWork) -> None:
    """P15: not even a supervisor ends a call that is being made."""
    holder, other = here(work), here(work)
    work.lead(1)
    callback = promised(work, 1, 1)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    work.taken(holder)
    supervisor = CallbackRequest(other, work.request_id(), callback, is_supervisor=True)
    with pytest.raises(ConflictError, match="making the call"):
        work.desk.cancel_callback(supervisor, CancelReason.NOT_WANTED)
    cancel(work, holder, callback)
    assert work.rows("SELECT end_reason FROM assignments") == [("cancelled",)]
    assert standing(work, callback) == ("cancelled", "cancelled by an agent: agreed_otherwise")
    assert stay_of(work, 1)[1:] == (0, stay_of(work, 1)[2], None)  # type: ignore[index]


def test_pending_callbacks_are_mine_or_reserved_for_me_within_ten_minutes_the_oldest_first(
    work: AtWork,
) -> None:
    me, other = here(work), here(work)
    for user_id in range(1, 8):
        work.lead(user_id)
    overdue = promised(work, 1, 0.1, me)
    work.clock.advance(minutes=1)
    preferred, far = promised(work, 2, 9.5, me), promised(work, 3, 11, me)
    accepted, foreign = promised(work, 4, 9, other), promised(work, 5, 9, me)
    promised(work, 6, 9)
    accept(work, me, accepted)
    accept(work, other, foreign)
    work.desk.route_callbacks()
    mine = work.desk.pending_callbacks(me)
    assert [item.id for item in mine] == [overdue, accepted, preferred]
    assert [item.is_raised for item in mine] == [True, True, False]
    assert far not in {item.id for item in mine}
    assert [item.id for item in work.desk.pending_callbacks(other)] == [foreign]
    with pytest.raises(NotFoundError, match="no agent 99"):
        work.desk.pending_callbacks(99)


def test_an_offline_agent_s_request_does_not_make_them_available(work: AtWork) -> None:
    """P26: whoever accepts from home is not there, and the call is routed to who is."""
    away = work.agent()
    work.lead(1)
    callback = promised(work, 1, 5)
    accept(work, away, callback)
    assert work.rows("SELECT status FROM agents WHERE id = %s", away) == [(AgentStatus.OFFLINE.value,)]
    agent = here(work)
    work.clock.advance(seconds=timedelta(seconds=1).total_seconds())
    work.desk.route_callbacks()
    assert raised(work, callback)[:2] == (-1000, agent)  # type: ignore[index]


@pytest.mark.parametrize("act", [snooze, cancel])
def test_a_call_is_taken_from_the_front_whatever_the_clocks_of_others_say(
    work: AtWork, act: Callable[[AtWork, int, int], CallbackState]
) -> None:
    """P27: the user was moved by a server whose clock was ahead, and is in a queue for the promise only."""
    agent = here(work)
    callback = raised_for_the_promise_only(work)
    assert raised(work, callback) is not None
    work.execute("UPDATE user_call_scores SET last_queue_check = clock_timestamp() + interval '1 hour'")
    act(work, agent, callback)
    assert stay_of(work, 1) is None
