"""How often and when an unanswered callback is tried again is configured: from the variables to the call."""

from collections.abc import Iterator

import pytest

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.opening import desk_terms
from leadq_dagster.settings import load_settings
from leadq_dagster_tests.desk.at_work import AtWork, fresh_work
from leadq_dagster_tests.desk.promising import MINUTE, here, promised, standing
from leadq_dagster_tests.servers.running import Servers

MINUTES, RETRIES = "LEADQ_CALLBACK_RETRY_MINUTES", "LEADQ_CALLBACK_RETRIES_MAX"


@pytest.fixture
def work(
    request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AtWork]:
    """A desk as these variables have it; a busy test machine may take its time."""
    for name, value in {"LEADQ_VALIDATION_TIMEOUT_SECONDS": "20", **request.param}.items():
        monkeypatch.setenv(name, value)
    with fresh_work(servers, desk_terms(load_settings())) as work:
        yield work


def called_unanswered(work: AtWork, callback: int, agent: int) -> None:
    """The promised call is made at its time, and nobody answers."""
    work.desk.beat(agent)
    work.desk.route_callbacks()
    taken = work.taken(agent)
    assert taken.assignment.callback_id == callback
    work.clock.advance(seconds=20)
    work.outcome(taken, Outcome.NO_ANSWER)


@pytest.mark.parametrize(
    ("work", "retries", "minutes"),
    [
        ({RETRIES: "0"}, 0, 15),
        ({RETRIES: "2", MINUTES: "7"}, 2, 7),
        ({MINUTES: "45"}, 1, 45),
    ],
    indirect=["work"],
    ids=["never again", "twice, after 7 minutes", "by default once, here after 45 minutes"],
)
def test_unanswered_it_is_tried_again_as_often_and_as_late_as_configured(
    work: AtWork, retries: int, minutes: int
) -> None:
    """P26, P27: and then closed as not kept, not forgotten."""
    agent = here(work)
    work.lead(1)
    callback = promised(work, 1, 1, agent)
    work.clock.advance(minutes=1)
    for attempt in range(1, retries + 1):
        called_unanswered(work, callback, agent)
        assert standing(work, callback) == ("pending", None)
        [(attempts, call_after)] = work.rows(
            "SELECT attempts, call_after FROM callbacks WHERE id = %s", callback
        )
        assert (attempts, call_after) == (attempt, work.clock.now + minutes * MINUTE)
        assert work.rows("SELECT callback_id FROM call_queue WHERE status <> 'left'") == [(None,)]
        work.clock.now = call_after
    called_unanswered(work, callback, agent)
    assert standing(work, callback) == ("cancelled", "not kept: no_answer")
    work.clock.advance(minutes=minutes)
    work.desk.beat(agent)
    assert work.desk.route_callbacks().processed == 0
