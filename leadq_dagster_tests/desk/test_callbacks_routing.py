"""Each minute promised calls that are near or overdue go to the front, each for whom it should be."""

from datetime import timedelta

import pytest

from leadq_dagster.desk.routing import Routed, Routing
from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.callback_routing import FAILED_PAUSE
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.store.agents import AgentStatus
from leadq_dagster_tests.desk.at_work import AtWork
from leadq_dagster_tests.desk.promising import (
    MINUTE,
    accept,
    decisions,
    here,
    promised,
    raised,
    reserved_for,
    standing,
    stay_of,
)

UNSIGNED, OUTSTANDING = QueueType.UNSIGNED_USERS, QueueType.OUTSTANDING_REQUESTS


def test_a_call_due_in_ten_minutes_is_left_alone_and_one_due_in_six_is_raised(work: AtWork) -> None:
    """P28: and neither may be called before its minute."""
    agent = here(work)
    work.lead(1)
    work.lead(2)
    near, far = promised(work, 1, 6), promised(work, 2, 10)
    assert work.desk.route_callbacks() == Routed(processed=1, notified=1, routed=1)
    assert raised(work, near) == (-1000, agent, work.clock.now + 6 * MINUTE, UNSIGNED)
    assert raised(work, far) is None
    assert work.taken(agent).assignment.user_id == 2


def test_a_raised_call_is_callable_to_the_second(work: AtWork) -> None:
    """P28, and before any lead."""
    agent = here(work)
    work.lead(1)
    promised(work, 1, 5)
    work.desk.route_callbacks()
    work.clock.advance(minutes=5, microseconds=-1)
    assert isinstance(work.take(agent), NoWork)
    work.clock.advance(microseconds=1)
    work.lead(2)
    assert work.taken(agent).assignment.user_id == 1


def test_the_preferred_agent_gets_it_if_available(work: AtWork) -> None:
    here(work)
    preferred = here(work)
    work.lead(1)
    callback = promised(work, 1, 5, preferred)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == preferred
    assert decisions(work, callback) == [("reserved_for_preferred", preferred)]


@pytest.mark.parametrize("status", [AgentStatus.BREAK, AgentStatus.OFFLINE])
def test_else_the_available_agent_who_has_been_idle_longest(work: AtWork, status: AgentStatus) -> None:
    longest, other, preferred = here(work), here(work), here(work)
    work.desk.set_status(preferred, status)
    work.lead(1)
    callback = promised(work, 1, 5, preferred)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == longest != other
    assert decisions(work, callback) == [("reserved_for_available", longest)]


def test_an_agent_who_holds_a_lead_was_silent_or_serves_another_queue_is_not_available(work: AtWork) -> None:
    here(work, OUTSTANDING)
    silent, busy = here(work), here(work)
    work.clock.advance(minutes=3)
    work.lead(1)
    work.taken(busy)
    last = here(work)
    work.lead(2)
    callback = promised(work, 2, 5, preferred=silent)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == last


def test_nobody_available_it_waits_unassigned_in_front_and_is_routed_as_soon_as_somebody_is(
    work: AtWork,
) -> None:
    """P26."""
    work.lead(1)
    callback = promised(work, 1, 5)
    assert work.desk.route_callbacks() == Routed(processed=1, routed=1)
    due = work.clock.now + 5 * MINUTE
    assert raised(work, callback) == (-1000, None, due, UNSIGNED)
    assert work.desk.route_callbacks() == Routed()
    agent = here(work)
    assert work.desk.route_callbacks() == Routed(processed=1, notified=1, routed=1)
    assert raised(work, callback) == (-1000, agent, due, UNSIGNED)
    assert decisions(work, callback) == [("left_unassigned", None), ("reserved_for_available", agent)]


def test_unassigned_it_is_served_to_whoever_asks_first(work: AtWork) -> None:
    """P26: an agent who is served it was not even known to be there."""
    work.lead(1)
    work.lead(2)
    callback = promised(work, 2, 1)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    taken = work.taken(work.agent())
    assert taken.assignment.callback_id == callback


@pytest.mark.parametrize("status", [AgentStatus.BREAK, AgentStatus.OFFLINE])
def test_if_the_reserved_agent_goes_away_it_is_routed_again(work: AtWork, status: AgentStatus) -> None:
    """P26."""
    first, second = here(work), here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == first
    work.desk.set_status(first, status)
    assert work.desk.route_callbacks().notified == 1
    assert reserved_for(work, callback) == second


def test_if_the_reserved_agent_is_silent_inactive_or_serves_the_queue_no_more_it_is_routed_again(
    work: AtWork,
) -> None:
    """P26."""
    agents = [here(work) for _ in range(4)]
    work.lead(1)
    callback = promised(work, 1, 6)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == agents[0]
    work.execute("UPDATE agents SET is_active = false, status = 'offline' WHERE id = %s", agents[0])
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == agents[1]
    work.execute("UPDATE agents SET allowed_queues = ARRAY['outstanding_requests'] WHERE id = %s", agents[1])
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == agents[2]
    work.clock.advance(minutes=2.5)
    work.desk.beat(agents[3])
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == agents[3]


def test_an_accepter_who_goes_away_loses_it(work: AtWork) -> None:
    """P26: it is pending again, and somebody else's."""
    first, second = here(work), here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    accept(work, first, callback)
    work.desk.set_status(first, AgentStatus.OFFLINE)
    work.desk.route_callbacks()
    assert standing(work, callback) == ("pending", None)
    assert raised(work, callback)[:2] == (-1000, second)  # type: ignore[index]


def test_accepted_for_later_it_is_raised_for_its_accepter_in_time(work: AtWork) -> None:
    """P28: accepting one that is due in an hour does not make it callable now."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 60)
    assert accept(work, agent, callback).is_raised is False
    work.clock.advance(minutes=55)
    work.desk.beat(agent)
    work.desk.route_callbacks()
    assert raised(work, callback) == (-2000, agent, work.clock.now + 5 * MINUTE, UNSIGNED)
    assert standing(work, callback) == ("accepted", None)


def test_each_agent_gets_one_before_anybody_gets_a_second(work: AtWork) -> None:
    first, second = here(work), here(work)
    for user_id in (1, 2, 3):
        work.lead(user_id)
    callbacks = [promised(work, user_id, 5 + user_id / 10) for user_id in (1, 2, 3)]
    work.desk.route_callbacks()
    assert [reserved_for(work, callback) for callback in callbacks] == [first, second, first]


def test_one_that_is_due_does_not_wait_for_a_busy_agent_while_another_is_free(work: AtWork) -> None:
    """Whoever was promised a call is waiting."""
    busy = here(work)
    work.lead(1)
    work.lead(2)
    callback = promised(work, 2, 1)
    work.desk.route_callbacks()
    work.taken(busy)
    other = here(work)
    assert work.desk.route_callbacks() == Routed()
    work.clock.advance(minutes=1)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == other


def test_the_preferred_agent_gets_it_once_free_while_nobody_has_accepted_it(work: AtWork) -> None:
    preferred = here(work)
    work.lead(1)
    work.lead(2)
    callback = promised(work, 2, 6, preferred)
    held = work.taken(preferred)
    other = here(work)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == other
    work.outcome(held, Outcome.MIGHT_COMPLETE)
    work.desk.route_callbacks()
    assert reserved_for(work, callback) == preferred


def test_who_is_with_an_agent_is_left_and_tried_next_time(work: AtWork) -> None:
    """P16."""
    busy = here(work)
    work.lead(1)
    callback = promised(work, 1, 1)
    held = work.taken(busy)
    assert work.desk.route_callbacks() == Routed()
    work.outcome(held, Outcome.MIGHT_COMPLETE)
    assert work.desk.route_callbacks().routed == 1
    assert reserved_for(work, callback) == busy


def test_of_several_calls_to_one_user_the_first_due_goes_first_and_the_other_follows(work: AtWork) -> None:
    agent = here(work)
    work.lead(1)
    later, first = promised(work, 1, 5), promised(work, 1, 4)
    assert work.desk.route_callbacks() == Routed(processed=2, notified=1, routed=1, postponed=1)
    assert raised(work, first) is not None
    assert work.desk.route_callbacks() == Routed()
    work.clock.advance(minutes=4)
    work.outcome(work.taken(agent), Outcome.MIGHT_COMPLETE)
    work.desk.route_callbacks()
    assert raised(work, later) is not None
    assert standing(work, first) == ("completed", "might_complete")


def test_who_owes_nothing_any_more_is_called_back_all_the_same(work: AtWork) -> None:
    """P29, P1: with the conversion that is due, and in time."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.sign(1)
    work.desk.route_callbacks()
    assert raised(work, callback) == (-1000, agent, work.clock.now + 5 * MINUTE, OUTSTANDING)
    assert stay_of(work, 1)[0] == "promised_call"  # type: ignore[index]
    assert work.rows("SELECT conversion_type FROM conversions") == [("signature_obtained",)]
    work.clock.advance(minutes=5)
    work.outcome(work.taken(agent), Outcome.COMPLETED_FORM)
    assert standing(work, callback) == ("completed", "completed_form")
    assert stay_of(work, 1) is None


@pytest.mark.parametrize(
    ("columns", "reason"),
    [({"is_enabled": 0}, "user_disabled"), ({"status": "cancelled"}, "user_cancelled")],
)
def test_who_may_not_be_called_is_not_and_the_callback_says_why(
    work: AtWork, columns: dict[str, object], reason: str
) -> None:
    """P29."""
    here(work)
    work.lead(1)
    callback = promised(work, 1, 5)
    work.change(1, **columns)
    assert work.desk.route_callbacks() == Routed(processed=1, cancelled=1)
    assert standing(work, callback) == ("cancelled", reason)
    assert decisions(work, callback) == [("cancelled", None)]
    assert stay_of(work, 1) is None


def test_a_suppressed_user_s_callback_is_cancelled_with_the_reason(work: AtWork) -> None:
    """P22: whichever way the callback was left open."""
    work.appear(1)
    work.judge(1)
    callback = promised(work, 1, 5)
    work.change(1, is_enabled=0)
    work.judge(1)
    work.execute("UPDATE user_call_scores SET is_active = false, suppressed_reason = 'do_not_contact'")
    work.change(1, is_enabled=1)
    work.desk.route_callbacks()
    assert standing(work, callback) == ("cancelled", "do_not_contact")
    assert stay_of(work, 1) is None


def test_source_down_a_call_is_raised_all_the_same_and_validated_when_taken(work: AtWork) -> None:
    """P21, P29: with a stay, and without one."""
    agent = here(work)
    work.lead(1)
    work.lead(2)
    work.sign(2)
    work.judge(2)
    with_stay, without = promised(work, 1, 5), promised(work, 2, 5)
    work.change(2, is_enabled=0)
    with work.source_down():
        assert work.desk.route_callbacks() == Routed(processed=2, notified=2, routed=2)
    assert raised(work, with_stay) is not None
    assert raised(work, without) == (-1000, agent, work.clock.now + 5 * MINUTE, OUTSTANDING)
    work.clock.advance(minutes=5)
    work.desk.gate._closed_until = 0.0
    assert work.taken(agent).assignment.user_id == 1
    assert isinstance(work.take(here(work)), NoWork)
    work.desk.route_callbacks()
    assert standing(work, without) == ("cancelled", "user_disabled")


def test_one_that_the_source_does_not_show_is_counted_and_does_not_stop_the_others(work: AtWork) -> None:
    """P30: and is tried again after a pause, not each minute."""
    agent = here(work)
    work.lead(1)
    work.lead(2)
    work.sign(1)
    work.judge(1)
    broken, other = promised(work, 1, 4), promised(work, 2, 5)
    work.vanish(1)
    assert work.desk.route_callbacks() == Routed(processed=2, notified=1, routed=1, errors=1)
    assert reserved_for(work, other) == agent
    assert decisions(work, broken) == [("failed", None)]
    assert standing(work, broken) == ("pending", None)
    assert work.desk.route_callbacks() == Routed()
    work.clock.advance(seconds=FAILED_PAUSE.total_seconds())
    assert work.desk.route_callbacks().errors == 1


def test_one_that_breaks_the_statement_is_counted_and_does_not_stop_the_others(work: AtWork) -> None:
    """P30: refused by the database itself, in the middle of a page."""
    for user_id in range(1, 8):
        work.lead(user_id)
    callbacks = [promised(work, user_id, 5) for user_id in range(1, 8)]
    work.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'broken'; END $$"
    )
    work.execute(
        "CREATE TRIGGER broken BEFORE UPDATE ON call_queue FOR EACH ROW"
        f" WHEN (NEW.callback_id = {callbacks[3]}) EXECUTE FUNCTION refuse()"
    )
    assert work.desk.route_callbacks() == Routed(processed=7, routed=6, errors=1)
    assert [raised(work, callback) is not None for callback in callbacks] == [True] * 3 + [False] + [True] * 3
    assert decisions(work, callbacks[3]) == [("failed", None)]


def test_pages_go_by_key_and_reach_the_end(work: AtWork) -> None:
    """P8: whatever does not need routing in between."""
    for user_id in range(1, 8):
        work.lead(user_id)
    callbacks = [promised(work, user_id, 1 + user_id / 10) for user_id in range(1, 8)]
    work.desk.route_callbacks()
    agent = here(work)
    routing = Routing(work.store, work.desk.gate, work.desk.terms, page_rows=2)
    assert routing.route(work.clock.now) == Routed(processed=7, notified=7, routed=7)
    assert {reserved_for(work, callback) for callback in callbacks} == {agent}


def test_after_hours_without_a_look_the_overdue_ones_are_in_front_the_oldest_first(work: AtWork) -> None:
    """P26: the daemon was down."""
    for user_id in (1, 2, 3):
        work.lead(user_id)
    promised(work, 3, 20)
    promised(work, 2, 40)
    work.clock.advance(hours=9)
    agent = here(work)
    work.desk.route_callbacks()
    assert work.taken(agent).assignment.user_id == 3


def test_a_released_call_is_routed_again_and_does_not_come_straight_back(work: AtWork) -> None:
    """P20, P26."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 1)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    back_at = work.desk.release(work.hold_request(work.taken(agent)))
    assert raised(work, callback) == (-1000, None, back_at, UNSIGNED)
    work.desk.route_callbacks()
    assert raised(work, callback) == (-1000, agent, back_at, UNSIGNED)
    assert isinstance(work.take(agent), NoWork)
    work.clock.now = back_at
    assert work.taken(agent).assignment.callback_id == callback


def test_an_unanswered_call_is_tried_again_after_a_quarter_of_an_hour_once(work: AtWork) -> None:
    """P26, P27: then the lead goes back to its place, and the callback says that it was not kept."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 1)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    work.outcome(work.taken(agent), Outcome.NO_ANSWER)
    assert standing(work, callback) == ("pending", None)
    work.clock.advance(minutes=10)
    work.desk.route_callbacks()
    assert isinstance(work.take(agent), NoWork)
    work.clock.advance(minutes=5)
    work.desk.beat(agent)
    work.desk.route_callbacks()
    work.outcome(work.taken(agent), Outcome.NO_ANSWER)
    assert standing(work, callback) == ("cancelled", "not kept: no_answer")
    assert stay_of(work, 1) == ("no_signature", 2, work.clock.now + timedelta(hours=4), None)


def test_an_outcome_of_another_call_does_not_complete_it(work: AtWork) -> None:
    """P27: only an outcome of that callback completes it, and only that one."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 30)
    work.outcome(work.taken(agent), Outcome.MIGHT_COMPLETE)
    assert standing(work, callback) == ("pending", None)


def test_serving_it_changes_its_stay_and_it_is_not_served_twice(work: AtWork) -> None:
    """P27."""
    work.lead(1)
    promised(work, 1, 1)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    work.taken(here(work))
    assert isinstance(work.take(here(work)), NoWork)


def test_who_asked_not_to_be_called_is_promised_nothing(work: AtWork) -> None:
    """P22: not even by the agent who still had them on the line."""
    agent, other = here(work), here(work)
    work.lead(1)
    held = work.taken(agent)
    work.clock.advance(minutes=6)
    work.desk.expire()
    late = work.taken(other)
    with pytest.raises(Exception, match="lease had ended"):
        work.outcome(held, Outcome.DO_NOT_CONTACT)
    told = work.outcome(late, Outcome.CALL_BACK, callback_at=work.clock.now + 30 * MINUTE)
    assert told.callback_id is None
    assert work.rows("SELECT count(*) FROM callbacks") == [(0,)]
