"""Before a lead leaves our hands the source is asked: what it says, what it does not, and what it costs."""

import os
import signal
import time
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread, current_thread

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from leadq_dagster.desk.gate import Gate
from leadq_dagster.desk.terms import NoWork, TakeRequest
from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster_tests.desk.at_work import TERMS, AtWork, at_work, fresh_work
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.failing import all_at_once
from leadq_dagster_tests.store.waiting import wait_until

CONVERSIONS = "SELECT user_id, conversion_type, source FROM conversions ORDER BY id"


class Answered(list[SourceLead]):
    """An answer that can be watched."""


class Meeting:
    """A source that answers once so many have met in it."""

    def __init__(self) -> None:
        self.askers: set[Thread] = set()
        self.meet = Barrier(1)
        self.answered: weakref.ref[Answered] | None = None

    def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
        self.askers.add(current_thread())
        self.meet.wait(10)
        answer = Answered()
        self.answered = weakref.ref(answer)
        return answer


def all_end(threads: Iterable[Thread]) -> None:
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_who_signed_in_the_meantime_is_closed_with_the_conversion_and_the_next_is_handed_out(
    work: AtWork,
) -> None:
    """P1, P17: the decision is stored by pre-call validation, in the transaction that closes the stay."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    work.sign(1)
    assert work.taken(agent).assignment.user_id == 2
    assert work.rows(CONVERSIONS) == [(1, "signature_obtained", "pre_call_validation")]
    assert work.rows("SELECT status, left_reason FROM call_queue WHERE user_id = 1") == [
        ("left", "nothing_outstanding")
    ]


def test_a_queue_of_nobody_who_belongs_is_no_work(work: AtWork) -> None:
    """P17, P24: each is closed with its conversion, and the agent is told that there is nobody."""
    agent = work.agent()
    for user_id in range(1, 8):
        work.lead(user_id)
        work.sign(user_id)
    answer = work.take(agent)
    assert isinstance(answer, NoWork)
    assert answer.standings.converted == 7
    assert len(work.rows(CONVERSIONS)) == 7


def test_who_signed_and_owes_now_is_moved_on_and_may_be_handed_out_there(work: AtWork) -> None:
    """P1, P3, P5: the conversion of the first stay, and a place in the other queue by the same rule."""
    agent = work.agent()
    work.lead(1)
    work.appear_owing(1)
    assert work.taken(agent).assignment.queue == "outstanding_requests"
    assert work.rows(CONVERSIONS) == [(1, "signature_obtained", "pre_call_validation")]
    assert work.rows("SELECT queue_type, status FROM call_queue ORDER BY id") == [
        ("unsigned_users", "left"),
        ("outstanding_requests", "assigned"),
    ]


def test_two_detectors_of_one_conversion_record_it_once(work: AtWork) -> None:
    """P3: pre-call validation at two desks and the hourly check, all at once."""
    agents = [work.agent() for _ in range(4)]
    for user_id in range(1, 21):
        work.lead(user_id)
        work.sign(user_id)
    with at_work(work.store_url, work.source) as other:
        other.clock.now = work.clock.now
        raised = all_at_once(
            *(lambda agent=agent: work.take(agent) for agent in agents[:2]),
            *(lambda agent=agent: other.take(agent) for agent in agents[2:]),
            lambda: work.judge(*range(1, 21)),
        )
    assert raised == []
    assert sorted(work.rows("SELECT user_id FROM conversions")) == [(n,) for n in range(1, 21)]
    assert work.rows("SELECT count(*) FROM assignments WHERE ended_at IS NULL") == [(0,)]


def test_a_user_whom_the_source_does_not_show_is_paused_and_never_closed(work: AtWork) -> None:
    """P4, P17: the next one is handed out; once the source shows the user, the lead is handed out too."""
    agent, other = work.agent(), work.agent()
    for user_id in range(1, 201):
        work.lead(user_id)
        if user_id < 200:
            work.vanish(user_id)
    asked = work.replica.queries
    assert work.taken(agent).assignment.user_id == 200
    assert work.replica.queries - asked < 12
    assert work.rows("SELECT count(*) FROM call_queue WHERE status = 'left'") == [(0,)]
    assert isinstance(work.take(other), NoWork)
    work.appear(7)
    work.clock.advance(minutes=5)
    assert work.taken(other).assignment.user_id == 7


def test_a_thousand_leads_that_no_longer_belong_cost_a_few_questions(work: AtWork) -> None:
    """P17: the first one behind them is found by one request, and nobody waits in vain."""
    agent = work.agent()
    work.many_leads(1000)
    with work.source.engine.begin() as connection:
        connection.execute(sa.text("UPDATE users SET is_enabled = 0 WHERE id < 1000"))
    asked = work.replica.queries
    assert work.taken(agent).assignment.user_id == 1000
    assert work.replica.queries - asked <= 2 * (1000 // 64 + 2)
    assert work.rows("SELECT left_reason, count(*) FROM call_queue WHERE status = 'left' GROUP BY 1") == [
        ("user_disabled", 999)
    ]
    assert work.rows("SELECT count(*) FROM conversions") == [(0,)]


def test_while_the_source_is_down_leads_are_handed_out_and_say_so(work: AtWork) -> None:
    """P21: marked, counted, without a contact; asked again only after a while."""
    agents = [work.agent() for _ in range(4)]
    for user_id in range(1, 5):
        work.lead(user_id)
    moment = 1000.0
    work.desk.gate.seconds = lambda: moment
    with work.source_down():
        got = [work.taken(agent) for agent in agents[:3]]
    assert [(each.is_validated, each.contact) for each in got] == [(False, None)] * 3
    assert work.desk.gate.unanswered == 3
    moment = 1004.9
    assert not work.taken(agents[3]).is_validated
    reasons = "SELECT unvalidated_reason, count(*) FROM assignments GROUP BY 1"
    assert work.rows(reasons) == [("the source could not be asked", 4)]
    moment = 1005.0
    assert work.taken(agents[3]).is_validated
    assert work.taken(agents[3]).contact is not None


def test_by_the_other_setting_no_lead_is_handed_out_while_the_source_is_down(servers: Servers) -> None:
    """P21: an error that says to try again, never "no work"; who is calling already keeps the lead."""
    with fresh_work(servers, replace(TERMS, hands_out_unvalidated=False)) as work:
        calling, asking = work.agent(), work.agent()
        work.lead(1)
        work.lead(2)
        held = work.taken(calling)
        with work.source_down():
            for agent in (asking, calling):
                with pytest.raises(TransientError):
                    work.take(agent, "again")
        assert work.rows("SELECT user_id, status FROM call_queue ORDER BY 1") == [
            (1, "assigned"),
            (2, "pending"),
        ]
        work.desk.gate.seconds = lambda: time.monotonic() + 60
        assert work.taken(asking, "again").assignment.user_id == 2
        assert work.taken(calling, "again").assignment.id == held.assignment.id


def test_a_source_that_hangs_holds_nobody_up_for_longer_than_its_patience(servers: Servers) -> None:
    """P21: the server's process is stopped in the middle of everything; no driver's time-out ends that."""
    with fresh_work(servers, replace(TERMS, source_patience=timedelta(seconds=0.3))) as work:
        agents = [work.agent() for _ in range(20)]
        work.many_leads(40)
        first = work.taken(agents[0])
        if not first.is_validated:  # a busy machine: one more look, and the connection is there
            work.desk.gate.seconds = lambda: time.monotonic() + 60
            first = work.taken(agents[0])
        backends = work.rows("SELECT pid FROM pg_stat_activity WHERE datname = %s", work.source.name)
        for (pid,) in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with ThreadPoolExecutor(20) as pool:
                got = list(pool.map(work.taken, agents[1:]))
            lasted = time.monotonic() - began
            # Nobody else asks while that question is out, however long ago it was.
            work.desk.gate.seconds = lambda: time.monotonic() + 60
            again = work.taken(agents[1])
        finally:
            for (pid,) in backends:
                os.kill(pid, signal.SIGCONT)
        assert not any(each.is_validated for each in (*got, again))
        assert lasted < 10
        assert work.desk.gate.unanswered >= 2
        wait_until(lambda: work.taken(agents[1]).is_validated)


def test_who_asks_waits_for_nobody_elses_question_and_no_thread_is_left_of_it() -> None:
    """P21: a question at a time needs one thread, however many there are; two at once need two."""
    source = Meeting()
    gate = Gate(source, timedelta(seconds=20))
    assert [gate.ask([number]) for number in range(5)] == [{}] * 5
    assert len(source.askers) == 1
    source.meet = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(gate.ask, [[1], [2]])) == [{}, {}], "they met there"
    assert len(source.askers) == 2
    gate.close()
    all_end(source.askers)


def test_a_gate_that_is_closed_while_a_question_is_out_leaves_no_thread() -> None:
    """P21: the answer that comes too late is dropped, and so is whoever waited for it."""
    source = Meeting()
    source.meet = Barrier(2)
    gate = Gate(source, timedelta(seconds=0.01))
    assert gate.ask([1]) is None
    gate.close()
    source.meet.wait(10)
    all_end(source.askers)


def test_what_was_answered_is_not_kept_until_the_next_question() -> None:
    """P40: names and numbers stay in memory for no longer than somebody needs them."""
    source = Meeting()
    gate = Gate(source, timedelta(seconds=20))
    gate.ask([1])
    [asker] = source.askers
    wait_until(lambda: source.answered is not None and source.answered() is None)
    assert asker.is_alive(), "it waits for the next question"
    gate.close()


def test_a_source_that_answers_nonsense_is_one_that_did_not_answer(work: AtWork) -> None:
    """P21, P30: whatever breaks in reading it, leads are handed out, and a line says so."""

    class Nonsense:
        def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
            raise ValueError("no such date")

    agent = work.agent()
    work.lead(1)
    work.desk.gate.source = Nonsense()
    with capture_logs() as lines:
        assert not work.taken(agent).is_validated
    assert [(line["event"], line["why"]) for line in lines] == [("source_unanswered", "ValueError")]


def test_standings_that_cannot_be_counted_cost_nobody_a_lead(work: AtWork) -> None:
    """P17, P24: who asks in vain is told to ask again; the others of the same moment get theirs."""
    serving, idle = work.agent(QueueType.UNSIGNED_USERS), work.agent(QueueType.OUTSTANDING_REQUESTS)
    work.lead(1)
    with psycopg.connect(work.store_url) as other:
        # As a count that takes too long: whoever looks at every conversion waits.
        other.execute("LOCK TABLE conversions IN ACCESS EXCLUSIVE MODE")
        in_vain = work.desk.submit_take(TakeRequest(idle, "a"))
        assert work.taken(serving).assignment.user_id == 1
        assert not in_vain.done()
        other.rollback()
        assert isinstance(in_vain.result(30), NoWork)
