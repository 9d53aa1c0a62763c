"""Two at once on one promised call, from two desks: one clean winner, and the other is told."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from leadq_dagster.desk.callback_terms import CallbackState
from leadq_dagster.desk.terms import NoWork, Recorded, Taken
from leadq_dagster.domain.errors import ConflictError, LeadqError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster_tests.desk.at_work import AtWork, at_work
from leadq_dagster_tests.desk.promising import accept, cancel, here, promised, raised, snooze, standing
from leadq_dagster_tests.stages.failing import all_at_once

ROUNDS = 25
BROKEN = """
SELECT count(*) FILTER (WHERE callback.status IN ('completed', 'cancelled') AND stay.status = 'pending'),
    count(*) FILTER (WHERE callback.status IN ('completed', 'cancelled') AND stay.status = 'assigned'),
    count(*) FILTER (WHERE stay.status = 'assigned' AND stay.assigned_to_agent_id IS NULL)
FROM call_queue AS stay JOIN callbacks AS callback ON callback.id = stay.callback_id
WHERE stay.status <> 'left'
"""
# A callback is in one place: with its number of raised stays, and of assignments that hold them.
PLACE = """
SELECT callback.status IN ('completed', 'cancelled'), count(stay.id), count(held.id), min(held.agent_id)
FROM callbacks AS callback
LEFT JOIN call_queue AS stay ON stay.callback_id = callback.id AND stay.status <> 'left'
LEFT JOIN assignments AS held ON held.call_queue_id = stay.id AND held.ended_at IS NULL
WHERE callback.id = %s GROUP BY callback.status
"""
OF_THE_USER = """
SELECT count(*) FROM assignments JOIN call_queue AS stay ON stay.id = call_queue_id
WHERE user_id = %s AND ended_at IS NULL
"""


@pytest.fixture
def other(work: AtWork) -> Iterator[AtWork]:
    """A second desk on the same databases, as another process has it."""
    with at_work(work.store_url, work.source) as other:
        other.requests = iter(range(1_000_000, 2_000_000))
        yield other


def both(work: AtWork, other: AtWork, *acts: Callable[[], object]) -> list[object]:
    """What each gets, answer or refusal, when they begin at once."""
    other.clock.now = work.clock.now
    got: list[object] = [None] * len(acts)

    def run(place: int) -> None:
        try:
            got[place] = acts[place]()
        except LeadqError as error:
            got[place] = error

    assert all_at_once(*(lambda place=place: run(place) for place in range(len(acts)))) == []
    return got


def due(work: AtWork, user_id: int, reserved_for: int) -> int:
    """A call promised to a new user, raised for this agent, whose minute has come."""
    work.lead(user_id)
    callback = promised(work, user_id, 1, reserved_for)
    work.desk.route_callbacks()
    work.clock.advance(minutes=1)
    for agent in (reserved_for, reserved_for + 1):
        work.desk.beat(agent)
    return callback


def test_of_agents_who_accept_at_once_one_wins_and_the_others_are_told(work: AtWork, other: AtWork) -> None:
    """P26: with a line `assignment_race` for each loser, that names the agent, the user and the entry."""
    agents = [here(work) for _ in range(4)]
    won = Counter[int]()
    for user_id in range(1, ROUNDS + 1):
        work.lead(user_id)
        callback = promised(work, user_id, 5)
        desks = (work, other, work, other)
        with capture_logs() as lines:
            got = both(
                work,
                other,
                *(
                    lambda desk=desk, agent=agent, callback=callback: accept(desk, agent, callback)
                    for desk, agent in zip(desks, agents, strict=True)
                ),
            )
        winners = [
            agent for agent, answer in zip(agents, got, strict=True) if isinstance(answer, CallbackState)
        ]
        assert len(winners) == 1, got
        assert all(
            isinstance(answer, ConflictError) for answer in got if not isinstance(answer, CallbackState)
        )
        assert raised(work, callback)[:2] == (-2000, winners[0])  # type: ignore[index]
        [(stay_id,)] = work.rows("SELECT id FROM call_queue WHERE user_id = %s", user_id)
        told = [
            (line["agent_id"], line["user_id"], line["stay_id"], line["callback_id"])
            for line in lines
            if line["event"] == "assignment_race"
        ]
        losers = [agent for agent in agents if agent != winners[0]]
        assert sorted(told) == [(agent, user_id, stay_id, callback) for agent in sorted(losers)]
        won[winners[0]] += 1
    assert len(won) > 1  # there was a race


def test_accepted_while_the_reserved_agent_takes_it_is_in_one_hand(work: AtWork, other: AtWork) -> None:
    """P15, P26: never with one agent and accepted by another."""
    mine, thief = here(work), here(work)
    seen = Counter[str]()
    for user_id in range(1, ROUNDS + 1):
        callback = due(work, user_id, mine)
        accepted, taken = both(
            work, other, lambda callback=callback: accept(other, thief, callback), lambda: work.take(mine)
        )
        if isinstance(taken, Taken):
            assert isinstance(accepted, ConflictError)
            seen["taken"] += 1
        else:
            assert isinstance(accepted, CallbackState)
            seen["accepted"] += 1
            taken = work.taken(thief)
        assert taken.assignment.callback_id == callback
        work.outcome(taken, Outcome.NOT_INTERESTED)
        assert standing(work, callback)[0] == "completed"
    assert seen.total() == ROUNDS


@pytest.mark.parametrize("act", [snooze, cancel])
def test_snoozed_or_cancelled_while_it_is_taken_is_one_or_the_other(
    work: AtWork, other: AtWork, act: Callable[[AtWork, int, int], CallbackState]
) -> None:
    """P26: by the agent for whom it is reserved, in two windows. The second sees what the first did."""
    agent = here(work)
    here(work)
    seen = Counter[str]()
    for user_id in range(1, ROUNDS + 1):
        callback = due(work, user_id, agent)
        told, taken = both(
            work, other, lambda callback=callback: act(other, agent, callback), lambda: work.take(agent)
        )
        assert isinstance(told, CallbackState), told
        assert raised(work, callback) is None
        if isinstance(taken, Taken) and taken.assignment.callback_id == callback:
            seen["taken first"] += 1
            with pytest.raises(ConflictError):
                work.outcome(taken, Outcome.COMPLETED_FORM)
        else:
            seen["taken down first"] += 1
            # Once cancelled, the user is a lead like any other; snoozed, not before that time.
            assert isinstance(taken, NoWork) or (act is cancel and taken.assignment.priority_score == 0)
            if isinstance(taken, Taken):
                work.outcome(taken, Outcome.NOT_INTERESTED)
        assert standing(work, callback)[0] == ("pending" if act is snooze else "cancelled")
        assert work.rows(BROKEN) == [(0, 0, 0)]
        if act is snooze:
            cancel(work, agent, callback)
        work.execute("UPDATE call_queue SET available_from = 'infinity' WHERE status = 'pending'")
    assert len(seen) == 2, seen  # there was a race


@pytest.mark.parametrize("act", [snooze, cancel])
def test_a_supervisor_puts_a_call_off_or_finds_that_its_agent_makes_it(
    work: AtWork, other: AtWork, act: Callable[..., CallbackState]
) -> None:
    """P15, P26: a call in hand is left there, and the supervisor is told; one put off reaches nobody."""
    agent, supervisor = here(work), here(work)
    seen = Counter[str]()
    for user_id in range(1, ROUNDS + 1):
        callback = due(work, user_id, agent)
        # Neither has a head start, or the one, or the other: who first says to be there comes later.
        late = (None, agent, supervisor)[user_id % 3]

        def put_off(callback: int = callback, late: int | None = late) -> CallbackState:
            if late == supervisor:
                other.desk.beat(supervisor)
            return act(other, supervisor, callback, is_supervisor=True)

        def take(late: int | None = late) -> Taken | NoWork:
            if late == agent:
                work.desk.beat(agent)
            return work.take(agent)

        told, taken = both(work, other, put_off, take)
        [place], [(in_hand,)] = work.rows(PLACE, callback), work.rows(OF_THE_USER, user_id)
        if isinstance(taken, Taken) and taken.assignment.callback_id == callback:
            seen["taken first"] += 1
            assert isinstance(told, ConflictError), told
            assert str(told) == "an agent is making the call at this moment"
            assert (place, in_hand) == ((False, 1, 1, agent), 1)
            work.outcome(taken, Outcome.NOT_INTERESTED)
            assert standing(work, callback)[0] == "completed"
        else:
            seen["put off first"] += 1
            assert isinstance(told, CallbackState), told
            assert place == (act is cancel, 0, 0, None)
            # Once cancelled, the user is a lead like any other; snoozed, not before that time.
            if isinstance(taken, Taken):
                assert act is cancel
                assert (taken.assignment.user_id, taken.assignment.priority_score) == (user_id, 0)
                work.outcome(taken, Outcome.NOT_INTERESTED)
            else:
                assert isinstance(taken, NoWork), taken
                assert in_hand == 0
            assert standing(work, callback)[0] == ("pending" if act is snooze else "cancelled")
        if standing(work, callback)[0] == "pending":
            work.clock.advance(minutes=5)
            work.desk.beat(agent)
            work.desk.route_callbacks()
            kept = work.taken(agent)
            assert kept.assignment.callback_id == callback
            work.outcome(kept, Outcome.NOT_INTERESTED)
            assert standing(work, callback)[0] == "completed"
        work.execute("UPDATE call_queue SET available_from = 'infinity' WHERE status = 'pending'")
    assert len(seen) == 2, seen  # there was a race


def test_do_not_contact_while_another_takes_the_user_s_callback_is_final(work: AtWork, other: AtWork) -> None:
    """P22: told late by who called before; the call in hand ends, and nothing of it is promised or kept."""
    first, second = here(work), here(work)
    for user_id in range(1, ROUNDS + 1):
        work.lead(user_id)
        callback = promised(work, user_id, 6, second)
        late = work.taken(first)
        work.clock.advance(minutes=5.5)
        work.desk.expire()
        work.desk.beat(second)
        work.desk.route_callbacks()
        work.clock.advance(minutes=0.5)
        work.desk.beat(second)
        told, taken = both(
            work,
            other,
            lambda late=late: other.outcome(late, Outcome.DO_NOT_CONTACT),
            lambda: work.take(second),
        )
        assert isinstance(told, ConflictError)  # the call is recorded, and what it said holds
        assert standing(work, callback) == ("cancelled", "do_not_contact")
        assert work.rows("SELECT FROM call_queue WHERE user_id = %s AND status <> 'left'", user_id) == []
        if isinstance(taken, Taken):
            agreed_at = work.clock.advance(minutes=1).replace(hour=23)
            answer = work.outcome(taken, Outcome.CALL_BACK, callback_at=agreed_at)
            assert isinstance(answer, Recorded)
            assert answer.callback_id is None
        assert work.rows("SELECT FROM callbacks WHERE status IN ('pending', 'accepted')") == []
        work.clock.advance(minutes=1)


def test_two_daemons_that_route_at_once_do_what_one_does(work: AtWork, other: AtWork) -> None:
    """P26: nobody is told twice."""
    agents = [here(work) for _ in range(5)]
    for number in range(ROUNDS):
        users = range(10 * number + 1, 10 * number + 11)
        for user_id in users:
            work.lead(user_id)
            promised(work, user_id, 5)
        for agent in agents:
            work.desk.beat(agent)
        first, second = both(work, other, work.desk.route_callbacks, other.desk.route_callbacks)
        assert first.routed + second.routed == 10, (first, second)  # type: ignore[attr-defined]
        assert first.errors + second.errors == 0  # type: ignore[attr-defined]
    rows = work.rows("SELECT callback_id FROM callback_notifications GROUP BY 1 HAVING count(*) <> 1")
    assert rows == []
