"""A lead in an agent's hand: who asks again is told of it again, and nobody takes it back from them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest
from structlog.testing import capture_logs

from leadq_dagster.desk.callback_terms import CallbackRequest, CancelReason, PromiseRequest
from leadq_dagster.desk.terms import NoWork, Taken, TakeRequest
from leadq_dagster.domain.errors import ConflictError, TransientError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster_tests.desk.at_work import TERMS, AtWork, at_work, fresh_work
from leadq_dagster_tests.desk.promising import accept, here, promised
from leadq_dagster_tests.servers.running import Servers

Slowly = tuple[AtWork, Callable[[], Taken | NoWork]]
ENDS = "SELECT end_reason FROM assignments ORDER BY id"


@pytest.mark.parametrize("request_id", ["first", "another"])
@pytest.mark.parametrize("what", ["signed and owes", "settled", "not shown"])
def test_asked_again_during_the_call_the_lead_stays_in_hand_whatever_the_source_says(
    work: AtWork, what: str, request_id: str
) -> None:
    """P15, P19, P20: a page that is loaded again takes nobody away from who is talking to them."""
    agent, other = work.agent(), work.agent()
    work.lead(1)
    taken = work.taken(agent, "first")
    work.clock.advance(minutes=2)
    if what == "not shown":
        work.vanish(1)
    else:
        work.appear_owing(1)
        if what == "settled":
            work.settle(1)
    again = work.taken(agent, request_id)
    assert again.assignment == taken.assignment
    assert (again.is_validated, again.contact is None) == (False, what == "not shown")
    assert isinstance(work.take(other), NoWork)
    assert work.outcome(taken, Outcome.NO_ANSWER).lead == "waiting"
    assert work.rows(ENDS) == [("outcome",)]


def test_whose_lead_was_taken_back_when_they_may_have_heard_of_it_keeps_the_user_until_the_lease_ends(
    work: AtWork,
) -> None:
    """P15, P17: asked again at once, the lead is judged as a new one is; a second agent does not call."""
    agent, other = work.agent(), work.agent()
    work.lead(1)
    work.lead(2)
    taken = work.taken(agent, "a")
    work.clock.advance(seconds=9)
    work.appear_owing(1)
    assert work.taken(agent, "a").assignment.user_id == 2
    assert work.rows(ENDS) == [("invalid",), (None,)]
    assert isinstance(work.take(other), NoWork)
    assert work.outcome(taken, Outcome.NO_ANSWER).lead == "left"
    work.clock.advance(minutes=5)
    assert work.taken(other).assignment.user_id == 1


class Slow:
    """A source that answers, or fails, when the test lets it; by the gate's clock that took long."""

    def __init__(self, work: AtWork, answer: Iterable[SourceLead] | None) -> None:
        self.answer, self.asked, self.go_on = answer, Event(), Event()
        work.desk.gate.source = self
        work.desk.gate.seconds = lambda: float(self.go_on.is_set())

    def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
        self.asked.set()
        assert self.go_on.wait(30)
        if self.answer is None:
            raise TransientError("no answer")
        return list(self.answer)


@pytest.mark.parametrize("request_id", ["a", "b"])
@pytest.mark.parametrize("answer", ["owes", "not shown", "none"])
def test_a_slow_desk_takes_back_nothing_that_another_has_told_of(
    servers: Servers, answer: str, request_id: str
) -> None:
    """P15, P20: the first still asks the source when its client, tired of waiting, asks a second one."""
    with fresh_work(servers, replace(TERMS, hands_out_unvalidated=False)) as work:
        agent, other = work.agent(), work.agent()
        work.lead(1)
        work.appear_owing(1)
        owing = work.replica.read_leads([1])
        work.change(1, current_signature_file_id=None)
        slow = Slow(work, {"owes": owing, "not shown": [], "none": None}[answer])
        first = work.desk.submit_take(TakeRequest(agent, "a"))
        assert slow.asked.wait(30)
        with at_work(work.store_url, work.source) as second:
            second.clock.now = work.clock.now
            told = second.taken(agent, request_id)
            assert told.is_validated
            slow.go_on.set()
            late = first.exception(30) or first.result().assignment  # type: ignore[union-attr]
            assert isinstance(late, TransientError) if answer == "none" else late == told.assignment
            assert isinstance(second.take(other), NoWork)
            assert second.outcome(told, Outcome.NO_ANSWER).lead == "waiting"
        assert work.rows(ENDS) == [("outcome",)]


def test_what_a_request_was_told_while_a_lead_was_in_hand_it_is_told_for_ever(work: AtWork) -> None:
    """P20: a duplicate that comes after the outcome hands out no second lead."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    taken = work.taken(agent, "a")
    assert work.taken(agent, "b").assignment == taken.assignment
    work.outcome(taken, Outcome.NO_ANSWER)
    for request_id in ("a", "b"):
        again = work.taken(agent, request_id).assignment
        assert (again.id, again.lease_token) == (taken.assignment.id, taken.assignment.lease_token)
    assert work.taken(agent, "c").assignment.user_id == 2
    assert work.rows("SELECT count(*) FROM assignments") == [(2,)]


def test_a_lead_judged_by_a_clock_that_is_ahead_is_not_handed_out_and_holds_nobody_up(work: AtWork) -> None:
    """P17: the store's clock went back, as after a failover; the next lead is handed out at once."""
    agent, other = work.agent(), work.agent()
    work.lead(1)
    work.lead(2)
    work.sign(1)
    work.execute("UPDATE user_call_scores SET last_queue_check = clock_timestamp() + interval '1 hour'")
    with capture_logs() as lines:
        assert work.taken(agent).assignment.user_id == 2
    assert [line["event"] for line in lines] == ["assignment_race"]
    assert isinstance(work.take(other), NoWork)
    work.execute("UPDATE user_call_scores SET last_queue_check = NULL")
    work.clock.advance(minutes=5)
    assert isinstance(work.take(other), NoWork)
    assert work.rows("SELECT user_id, conversion_type FROM conversions") == [(1, "signature_obtained")]


def test_the_id_of_a_request_for_work_is_no_other_requests(work: AtWork) -> None:
    """P20: nor of one that was told of a lead in hand; what it was told for work it is told still."""
    agent = work.agent()
    work.lead(1)
    taken = work.taken(agent, "a")
    work.taken(agent, "b")
    for request_id in ("a", "b"):
        with pytest.raises(ConflictError):
            work.desk.release(work.hold_request(taken, request_id=request_id))
        with pytest.raises(ConflictError):
            work.desk.promise_callback(
                PromiseRequest(agent, request_id, 1, work.clock.now + timedelta(hours=1), None)
            )
        assert work.taken(agent, request_id).assignment == taken.assignment
    assert work.rows("SELECT count(*) FROM callbacks") == [(0,)]


def test_a_request_that_was_told_of_a_lead_taken_back_is_served_as_a_new_one(work: AtWork) -> None:
    """P17, P20: and keeps the answer that it gets then."""
    agent = work.agent()
    work.lead(1)
    work.taken(agent, "a")
    assert work.taken(agent, "b").assignment.user_id == 1
    work.sign(1)
    assert isinstance(work.take(agent, "a"), NoWork)
    work.lead(2)
    assert work.taken(agent, "b").assignment.user_id == 2
    assert isinstance(work.take(agent, "a"), NoWork)


@contextmanager
def asked_at_a_slow_desk(work: AtWork, agent: int, answer: Iterable[SourceLead]) -> Iterator[Slowly]:
    """The agent's request "a" has its lead, and the first desk is asking the source; a second is there."""
    slow = Slow(work, answer)
    first = work.desk.submit_take(TakeRequest(agent, "a"))
    assert slow.asked.wait(30)
    with at_work(work.store_url, work.source) as second:
        second.clock.now = work.clock.now

        def told() -> Taken | NoWork:
            slow.go_on.set()
            return first.result(30)

        yield second, told


def accepted(work: AtWork, agent: int) -> CallbackRequest:
    """The user's promised call is due, and the agent's."""
    callback = promised(work, 1, 1)
    work.clock.advance(minutes=1)
    accept(work, agent, callback)
    return CallbackRequest(agent, "take down", callback)


def test_a_desk_that_slept_over_a_lease_closes_nobody_elses_stay(work: AtWork) -> None:
    """P15, P19: another agent has the lead by now, and calls; nobody else gets the user."""
    one, two, three = work.agent(), work.agent(), work.agent()
    work.lead(1)
    work.appear_owing(1)
    owing = work.replica.read_leads([1])
    work.change(1, current_signature_file_id=None)
    with asked_at_a_slow_desk(work, one, owing) as (second, told):
        second.clock.advance(minutes=5)
        assert second.desk.expire().leads_returned == 1
        held = second.taken(two, "x")
        late = told()
        assert isinstance(late, Taken)
        assert late.assignment.lease_expires_at <= second.clock.now
        assert isinstance(second.take(three), NoWork)
        assert second.taken(two, "x").assignment == held.assignment
    assert work.rows(ENDS) == [("expired",), (None,)]


@pytest.mark.parametrize("is_valid", [True, False])
@pytest.mark.parametrize("act", ["snooze", "cancel"])
def test_a_promised_call_taken_down_while_a_desk_asks_is_told_to_nobody(
    work: AtWork, act: str, is_valid: bool
) -> None:
    """P15, P27: one clean winner; whoever has the lead by then keeps it."""
    one, two, three = here(work), here(work), here(work)
    work.lead(1)
    request = accepted(work, one)
    work.appear_owing(1)
    owing = work.replica.read_leads([1])
    work.change(1, current_signature_file_id=None)
    answer = work.replica.read_leads([1]) if is_valid else owing
    with asked_at_a_slow_desk(work, one, answer) as (second, told):
        if act == "snooze":
            second.desk.snooze_callback(request, 5)
            second.clock.advance(minutes=5)
        else:
            second.desk.cancel_callback(request, CancelReason.NOT_WANTED)
        held = second.taken(two, "x")
        late = told()
        assert isinstance(late, NoWork) or late.assignment.lease_expires_at <= second.clock.now
        assert isinstance(second.take(three), NoWork)
        assert second.taken(two, "x").assignment == held.assignment


@pytest.mark.parametrize("first_finds", ["valid", "owes"])
def test_two_desks_that_serve_one_request_tell_of_one_lead(work: AtWork, first_finds: str) -> None:
    """P20: the second one found that the lead does not belong, and took it back."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    before = work.replica.read_leads([1])
    work.appear_owing(1)
    owing = work.replica.read_leads([1])
    with asked_at_a_slow_desk(work, agent, before if first_finds == "valid" else owing) as (second, told):
        work.desk.gate.source.answer = []  # type: ignore[attr-defined]
        assert second.taken(agent, "a").assignment.user_id == 2
        late = told()
    assert isinstance(late, Taken)
    assert late.assignment.user_id == 2


def test_a_clock_that_steps_back_takes_nobody_from_a_hand(work: AtWork) -> None:
    """P15: a lead from the future is not a new one."""
    agent = work.agent()
    work.lead(1)
    taken = work.taken(agent)
    work.clock.advance(minutes=2)
    work.clock.advance(hours=-1)
    work.appear_owing(1)
    assert work.taken(agent).assignment.id == taken.assignment.id


@pytest.mark.parametrize("reason", ["not shown", "refused"])
def test_a_promised_call_that_its_agent_was_never_told_of_stays_the_agents(
    servers: Servers, reason: str
) -> None:
    """P26: the source did not answer, or not show the user; nobody else is served meanwhile."""
    with fresh_work(servers, replace(TERMS, hands_out_unvalidated=False)) as work:
        one, two = here(work), here(work)
        work.lead(1)
        callback = accepted(work, one).callback_id
        if reason == "refused":
            with work.source_down(), pytest.raises(TransientError):
                work.take(one)
            work.desk.gate._closed_until = 0.0
        else:
            work.vanish(1)
            assert isinstance(work.take(one), NoWork)
            work.appear(1)
            work.clock.advance(minutes=5)
        assert isinstance(work.take(two), NoWork)
        assert work.taken(one).assignment.callback_id == callback
        assert work.rows("SELECT status, accepted_by_agent_id FROM callbacks") == [("accepted", one)]


def test_leads_that_were_refused_keep_their_order(servers: Servers) -> None:
    """P17: whoever waited longest comes first when the source is there again."""
    with fresh_work(servers, replace(TERMS, hands_out_unvalidated=False)) as work:
        agents = [work.agent(), work.agent()]
        work.lead(1)
        work.lead(2)
        with work.source_down():
            for agent in (agents[0], agents[0], agents[1]):
                work.clock.advance(seconds=1)
                with pytest.raises(TransientError):
                    work.take(agent)
        work.desk.gate._closed_until = 0.0
        assert [work.taken(agent).assignment.user_id for agent in agents] == [1, 2]


def test_what_another_desk_told_of_and_the_agent_gave_back_is_told_as_ended(work: AtWork) -> None:
    """P15, P20: the first desk finds that the lead does not belong, and that it is in nobody's hand."""
    agent = work.agent()
    work.lead(1)
    work.appear_owing(1)
    owing = work.replica.read_leads([1])
    work.change(1, current_signature_file_id=None)
    with asked_at_a_slow_desk(work, agent, owing) as (second, told):
        work.desk.gate.seconds = lambda: 0.0  # it took no time to speak of: nobody looks once more
        second.desk.release(second.hold_request(second.taken(agent, "a")))
        late = told()
        assert isinstance(late, Taken)
        assert late.assignment.lease_expires_at <= work.clock.now
    assert work.rows(ENDS) == [("released",)]
