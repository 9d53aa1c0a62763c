"""For whom a promised call is reserved: the order of choice, and laws that hold for every crew."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from leadq_dagster.domain.callback_routing import (
    FAILED_PAUSE,
    Crew,
    Decision,
    DueCallback,
    LiveStay,
    Member,
    decide_routes,
    is_to_be_routed,
)
from leadq_dagster.domain.queue_rule import QueueType

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
UNSIGNED, OUTSTANDING = QueueType.UNSIGNED_USERS, QueueType.OUTSTANDING_REQUESTS
AGENTS = range(1, 6)

instants = st.integers(-60, 6).map(lambda minutes: NOW + timedelta(minutes=minutes))
members = st.builds(
    Member,
    agent_id=st.sampled_from(AGENTS),
    is_on_break=st.booleans(),
    is_heard=st.booleans(),
    is_holding=st.booleans(),
    since=instants,
    queues=st.sampled_from([(UNSIGNED,), (OUTSTANDING,), (UNSIGNED, OUTSTANDING)]),
    reserved=st.integers(0, 2),
)
crews = st.lists(members, unique_by=lambda member: member.agent_id)
somebody = st.none() | st.sampled_from(AGENTS)


@st.composite
def callbacks(draw: st.DrawFn) -> list[DueCallback]:
    """Of different users and of the same; in no queue, in one, with an agent, raised by one of them."""
    made = []
    for number in range(draw(st.integers(0, 8))):
        user_id = draw(st.integers(1, 6))
        stay = draw(
            st.none()
            | st.builds(
                LiveStay,
                id=st.just(user_id),
                queue=st.sampled_from(QueueType),
                is_assigned=st.booleans(),
                callback_id=st.none() | st.just(number) | st.just(99),
                reserved_for_agent_id=somebody,
            )
        )
        made.append(DueCallback(number, user_id, draw(somebody), draw(somebody), draw(instants), None, stay))
    return made


@given(callbacks(), crews)
def test_every_route_is_to_somebody_at_work_who_serves_the_queue_or_to_nobody(
    due: list[DueCallback], crew: list[Member]
) -> None:
    """P26."""
    by_id = {member.agent_id: member for member in crew}
    for route in decide_routes(due, Crew(crew), NOW):
        assert route.callback.stay is not None
        assert not route.callback.stay.is_assigned
        queue = route.callback.stay.queue
        free = [member for member in crew if member.is_free and queue in member.queues]
        if route.agent_id is None:
            assert route.decision is Decision.UNASSIGNED
            assert not free
        else:
            member = by_id[route.agent_id]
            assert member.is_here
            assert queue in member.queues
        preferred = by_id.get(route.callback.preferred_agent_id or 0)
        if route.decision is not Decision.FOR_ACCEPTER and preferred in free:
            assert preferred is not None
            assert route.agent_id == preferred.agent_id


@given(callbacks(), crews)
def test_one_route_for_each_user_and_only_of_what_is_to_be_routed(
    due: list[DueCallback], crew: list[Member]
) -> None:
    """P26: no second entry for a user."""
    routes = decide_routes(due, Crew(crew), NOW)
    users = [route.callback.user_id for route in routes]
    assert len(users) == len(set(users))
    assert all(is_to_be_routed(route.callback, Crew(crew), NOW) for route in routes)


@given(callbacks(), crews)
def test_what_was_routed_is_not_to_be_routed_again(due: list[DueCallback], crew: list[Member]) -> None:
    """P26: two ticks at once, and each minute's look: twice is the same as once."""
    for route in decide_routes(due, Crew(crew), NOW):
        stay = route.callback.stay
        assert stay is not None
        accepter = route.agent_id if route.decision is Decision.FOR_ACCEPTER else None
        raised = LiveStay(stay.id, stay.queue, False, route.callback.id, route.agent_id)
        after = DueCallback(
            route.callback.id,
            route.callback.user_id,
            accepter,
            route.callback.preferred_agent_id,
            route.callback.call_after,
            None,
            raised,
        )
        assert not is_to_be_routed(after, Crew(crew), NOW)


def test_of_two_equally_burdened_the_longer_idle_one_is_chosen() -> None:
    early, late = NOW - timedelta(minutes=9), NOW - timedelta(minutes=8)
    crew = [
        Member(1, False, True, False, late, (UNSIGNED,)),
        Member(2, False, True, False, early, (UNSIGNED,)),
        Member(3, False, True, False, early - timedelta(hours=1), (UNSIGNED,), reserved=1),
        Member(4, False, True, False, early - timedelta(hours=1), (OUTSTANDING,)),
    ]
    due = DueCallback(1, 1, None, None, NOW, None, LiveStay(1, UNSIGNED, False, None, None))
    [route] = decide_routes([due], Crew(crew), NOW)
    assert (route.agent_id, route.priority) == (2, -1000)


def test_one_that_failed_rests_for_a_while() -> None:
    """P30."""
    lately, then = NOW - FAILED_PAUSE + timedelta(seconds=1), NOW - FAILED_PAUSE
    for failed_at, expected in ((lately, False), (then, True), (None, True)):
        assert is_to_be_routed(DueCallback(1, 1, None, None, NOW, failed_at, None), Crew(()), NOW) is expected
