"""The source is asked outside of the store's transactions: a slow one would hold up everybody's leads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import psycopg
import pytest

from leadq_dagster.desk.desk import AssignmentDesk
from leadq_dagster.desk.explain import explain
from leadq_dagster.desk.gate import Source
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_rules import CURRENT_RULES
from leadq_dagster_tests.desk.at_work import TERMS, AtWork
from leadq_dagster_tests.desk.promising import accept, here, promised

# A pipeline that has not been synchronised is in its transaction and "active", whatever it waits for.
IN_A_TRANSACTION = """
SELECT pid, state, query FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'leadq' AND pid <> pg_backend_pid()
    AND (state LIKE 'idle in transaction%' OR (state = 'active' AND xact_start IS NOT NULL))
"""


@dataclass
class WatchfulSource:
    """The source; while it is asked it looks who has a transaction open. What it finds it keeps: an error of
    a source is one that a desk goes on after."""

    source: Source
    store_url: str
    questions: list[list[int]] = field(default_factory=list)
    found: list[tuple[int, str, str]] = field(default_factory=list)

    def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
        with psycopg.connect(self.store_url, autocommit=True) as connection:
            self.found += connection.execute(IN_A_TRANSACTION).fetchall()
        self.questions.append(sorted(user_ids))
        return self.source.read_leads(user_ids)


@pytest.fixture
def source(work: AtWork) -> WatchfulSource:
    return WatchfulSource(work.replica, work.store_url)


@pytest.fixture
def watched(work: AtWork, source: WatchfulSource) -> Iterator[AtWork]:
    """A desk that asks this source."""
    with AssignmentDesk(work.store, source, TERMS, now=work.clock.tell) as desk:
        yield replace(work, desk=desk)


def take_what_is_valid(work: AtWork) -> Callable[[], None]:
    agent = work.agent()
    work.lead(1)

    def take() -> None:
        taken = work.taken(agent)
        assert (taken.assignment.user_id, taken.is_validated) == (1, True)

    return take


def take_behind_three_who_signed(work: AtWork) -> Callable[[], None]:
    """The first is found before the call, the others by looking ahead."""
    agent = work.agent()
    for user_id in (1, 2, 3, 4):
        work.lead(user_id)
    for user_id in (1, 2, 3):
        work.sign(user_id)

    def take() -> None:
        taken = work.taken(agent)
        assert (taken.assignment.user_id, taken.is_validated) == (4, True)

    return take


def outcome_that_leaves(work: AtWork) -> Callable[[], None]:
    work.lead(1)
    taken = work.taken(work.agent())
    work.sign(1)

    def report() -> None:
        assert work.outcome(taken, Outcome.DO_NOT_CONTACT).lead == "left"
        assert work.rows("SELECT count(*) FROM conversions") == [(1,)]

    return report


def accept_a_callback(work: AtWork) -> Callable[[], None]:
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 5)

    def accepts() -> None:
        assert accept(work, agent, callback).is_raised

    return accepts


def route_callbacks(work: AtWork) -> Callable[[], None]:
    here(work)
    for user_id in (1, 2):
        work.lead(user_id)
        promised(work, user_id, 5)

    def route() -> None:
        assert work.desk.route_callbacks().routed == 2

    return route


def explain_a_lead(work: AtWork) -> Callable[[], None]:
    work.lead(1)

    def explains() -> None:
        found = explain(1, store=work.store, gate=work.desk.gate, rules=CURRENT_RULES, now=work.clock.now)
        assert found.source.answer == "answered"

    return explains


# With the questions that each asks.
SCENARIOS: dict[Callable[[AtWork], Callable[[], None]], list[list[int]]] = {
    take_what_is_valid: [[1]],
    take_behind_three_who_signed: [[1], [2, 3, 4], [4]],
    outcome_that_leaves: [[1]],
    accept_a_callback: [[1]],
    route_callbacks: [[1, 2]],
    explain_a_lead: [[1]],
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_while_the_source_is_asked_no_transaction_of_the_store_is_open(
    scenario: Callable[[AtWork], Callable[[], None]], watched: AtWork, source: WatchfulSource
) -> None:
    """P21: however slow the source is, it keeps nobody's rows locked."""
    ask = scenario(watched)
    source.questions.clear()
    ask()
    assert source.questions == SCENARIOS[scenario]
    assert source.found == []


def test_an_open_transaction_is_seen(work: AtWork, source: WatchfulSource) -> None:
    """Else the others would see nothing whatever there is."""
    work.lead(1)
    with work.store.transaction() as cursor:
        cursor.execute("SELECT FROM call_queue FOR UPDATE").fetchall()
        source.read_leads([1])
    assert len(source.found) == 1
