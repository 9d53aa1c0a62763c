"""Promised calls, cut off at every statement and after every commit: asked again, all is as if once."""

import pytest

from leadq_dagster.desk.callback_terms import CallbackRequest, CancelReason, PromiseRequest
from leadq_dagster.desk.terms import Taken, TakeRequest
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster_tests.desk.at_work import AtWork
from leadq_dagster_tests.desk.cutting import Ask, Scenario, cut_off_everywhere
from leadq_dagster_tests.desk.promising import MINUTE, here, promised, reserved_for
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.failing import When


def raised_call(work: AtWork) -> tuple[int, int]:
    """An agent, and the callback that waits in front for them, callable now; a lead waits behind it."""
    agent = here(work)
    work.lead(1)
    work.lead(2)
    callback = promised(work, 1, 1, agent)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    work.desk.beat(agent)
    assert reserved_for(work, callback) == agent
    return agent, callback


def call_in_hand(work: AtWork) -> tuple[int, int, Taken]:
    """An agent who is making the promised call, and the callback."""
    agent, callback = raised_call(work)
    taken = work.taken(agent)
    assert taken.assignment.callback_id == callback
    return agent, callback, taken


def promise(work: AtWork) -> Ask:
    agent = here(work)
    work.lead(1)
    due_at = work.clock.now + 30 * MINUTE
    request = PromiseRequest(agent, work.request_id(), 1, due_at, agent)
    return lambda desk: desk.promise_callback(request)


def accept_one_waiting(work: AtWork) -> Ask:
    agent, callback = here(work), raised_call(work)[1]
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.accept_callback(request)


def accept_who_owes_nothing_any_more(work: AtWork) -> Ask:
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.sign(1)
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.accept_callback(request)


def accept_who_may_not_be_called(work: AtWork) -> Ask:
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.change(1, is_enabled=0)
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.accept_callback(request)


def snooze_one_waiting(work: AtWork) -> Ask:
    agent, callback = raised_call(work)
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.snooze_callback(request, 20)


def snooze_one_in_hand(work: AtWork) -> Ask:
    agent, callback, _ = call_in_hand(work)
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.snooze_callback(request, 20)


def cancel_one_waiting(work: AtWork) -> Ask:
    agent, callback = raised_call(work)
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.cancel_callback(request, CancelReason.NOT_WANTED)


def cancel_one_in_hand(work: AtWork) -> Ask:
    agent, callback, _ = call_in_hand(work)
    request = CallbackRequest(agent, work.request_id(), callback)
    return lambda desk: desk.cancel_callback(request, CancelReason.NOT_WANTED)


def take_one_raised(work: AtWork) -> Ask:
    agent, _ = raised_call(work)
    return lambda desk: desk.take(TakeRequest(agent, "a"))


def outcome_of_one_answered(work: AtWork) -> Ask:
    *_, taken = call_in_hand(work)
    request = work.outcome_request(taken, Outcome.MIGHT_COMPLETE, call_id="c", talk_time_seconds=40)
    return lambda desk: desk.record_outcome(request)


def outcome_of_one_unanswered(work: AtWork) -> Ask:
    *_, taken = call_in_hand(work)
    request = work.outcome_request(taken, Outcome.NO_ANSWER)
    return lambda desk: desk.record_outcome(request)


def route(work: AtWork) -> Ask:
    """One for its agent, one for whoever is free, one to a user who owes nothing, one who may not be
    called."""
    agent = here(work)
    here(work)
    for user_id in (1, 2, 3, 4):
        work.lead(user_id)
        promised(work, user_id, 5, agent if user_id == 1 else None)
    work.sign(3)
    work.change(4, is_enabled=0)
    return lambda desk: desk.route_callbacks()


# With how many statements each has at least.
SCENARIOS: dict[Scenario, int] = {
    promise: 10,
    accept_one_waiting: 16,
    accept_who_owes_nothing_any_more: 28,
    accept_who_may_not_be_called: 18,
    snooze_one_waiting: 11,
    snooze_one_in_hand: 12,
    cancel_one_waiting: 10,
    cancel_one_in_hand: 12,
    take_one_raised: 6,
    outcome_of_one_answered: 8,
    outcome_of_one_unanswered: 7,
    route: 27,
}


@pytest.mark.parametrize("when", ["after the statement", "after the commit"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_cut_off_anywhere_and_asked_again_a_promise_is_as_if_asked_once(
    scenario: Scenario, when: When, servers: Servers
) -> None:
    """P15, P20, P26, P27: for every k, the k-th statement or commit is the last of its connection."""
    steps = cut_off_everywhere(scenario, when, servers, has_request_id=scenario is not route)
    assert steps >= (1 if when == "after the commit" else SCENARIOS[scenario])
