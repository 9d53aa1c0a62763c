"""Explain: where a user is and why, by the store and by the source."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from leadq_dagster.desk.explain import Answer, Explanation, explain, plain
from leadq_dagster.desk.explain_text import text_of
from leadq_dagster.domain.errors import ForbiddenError, NotFoundError
from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_rules import CURRENT_RULES
from leadq_dagster.shipped import shipped
from leadq_dagster.stages.ageing import age_scores
from leadq_dagster.store.agents import Identity, Role
from leadq_dagster_tests.desk.at_work import TEN, AtWork
from leadq_dagster_tests.desk.promising import here, promised

SECRETS = {
    "first_name": "Zenobia",
    "last_name": "Quux",
    "phone_number": "+447700900123",
    "email_address": "zq@example.org",
}
NOTES = "asked for a call after the holidays"


def explained(work: AtWork, user_id: int, asker: Identity | None = None) -> Explanation:
    return explain(
        user_id,
        store=work.store,
        gate=work.desk.gate,
        rules=CURRENT_RULES,
        asker=asker,
        now=work.clock.now,
    )


def says(work: AtWork, user_id: int) -> tuple[str, str]:
    found = explained(work, user_id)
    return found.user.standing, found.says


def test_a_waiting_lead(work: AtWork) -> None:
    """P24: as the rule says, with score 0 and nothing that made it."""
    work.lead(1)
    found = explained(work, 1)
    assert (found.user.standing, found.says) == (
        "waiting",
        "waiting in unsigned_users (no_signature), callable since 2026-03-04 10:00:00 UTC",
    )
    assert (found.source.answer, found.source.queue, found.source.reason, found.source.differs) == (
        Answer.ANSWERED, "unsigned_users", "no_signature", False,
    )  # fmt: skip
    assert found.score is not None
    assert (found.score.score, found.score.lines, found.score.problems) == (0, (), ())
    assert [(move.actor, move.run_id, move.reason) for move in found.history.transitions] == [
        ("a_test", "run-1", "no_signature")
    ]


def test_an_assigned_lead_and_a_cooling_one(work: AtWork) -> None:
    """P24: with whom and until when; then until when it cools."""
    work.lead(1)
    agent = work.agent()
    taken = work.taken(agent)
    assert says(work, 1) == (
        "assigned", f"assigned to agent {agent} until 2026-03-04 10:05:01 UTC, from unsigned_users"
    )  # fmt: skip
    work.outcome(taken, Outcome.NO_ANSWER, talk_time_seconds=0, notes=NOTES)
    assert says(work, 1) == (
        "cooling", "in unsigned_users (no_signature), cooling until 2026-03-04 14:00:01 UTC"
    )  # fmt: skip
    (call,) = explained(work, 1).history.calls
    assert (call.agent_id, call.outcome, call.talk_time_seconds, call.is_late) == (
        agent,
        "no_answer",
        0,
        False,
    )


def test_a_lead_in_front_for_a_promised_call(work: AtWork) -> None:
    """P24, P26: for whom, and when it is to be made."""
    work.lead(1)
    preferred = here(work)
    callback = promised(work, 1, 5, preferred)
    due = work.clock.now + timedelta(minutes=5)
    work.desk.route_callbacks()
    assert says(work, 1) == (
        "promised",
        f"in front of unsigned_users for promised call {callback} at {due:%Y-%m-%d %H:%M:%S} UTC, "
        f"reserved for agent {preferred}",
    )
    (line,) = explained(work, 1).history.callbacks
    assert (line.id, line.status, line.preferred_agent_id, line.reserved_for_agent_id) == (
        callback, "pending", preferred, preferred,
    )  # fmt: skip


def test_a_score_that_is_not_called(work: AtWork) -> None:
    """P24: and the derivation, line by line."""
    work.lead(1)
    agent = work.agent()
    for _ in range(2):
        work.outcome(work.taken(agent), Outcome.NOT_INTERESTED)
        work.clock.advance(hours=672)
    age_scores(work.clock.now, store=work.store, now=work.clock.now)
    standing, sentence = says(work, 1)
    assert standing == "too_high"
    assert sentence == "in unsigned_users, not called: score 240, and nobody is called from 200 on"
    found = explained(work, 1)
    assert found.score is not None
    assert [(line.what, line.outcome_change, line.age_change, line.score) for line in found.score.lines] == [
        ("call 1: not_interested", 100, 0, 100),
        ("call 2: not_interested", 100, 0, 200),
        ("aged to 2026-04-29 10:00:01 UTC", 0, 40, 240),
    ]
    assert [line.by_the_rules for line in found.score.lines] == [100, 100, 40]
    assert found.score.score == 240


def test_a_suppressed_user_is_where_they_belong_whatever_the_rule_says(work: AtWork) -> None:
    """P22, P24."""
    work.lead(1)
    work.outcome(work.taken(work.agent()), Outcome.DO_NOT_CONTACT)
    found = explained(work, 1)
    assert (found.user.standing, found.says) == (
        "suppressed",
        "suppressed because of do_not_contact: never queued again",
    )
    assert (found.source.queue, found.source.differs) == ("unsigned_users", False)
    assert found.history.transitions[0].actor == "call_outcome"


def test_a_converted_user_and_whose_it_is(work: AtWork) -> None:
    """P13, P24."""
    work.lead(1)
    agent = work.agent()
    work.outcome(work.taken(agent), Outcome.GOING_TO_COMPLETE, talk_time_seconds=95)
    work.clock.advance(hours=1)
    work.sign(1)
    assert explained(work, 1).source.differs is True
    work.judge(1)
    found = explained(work, 1)
    assert (found.user.standing, found.says) == (
        "converted",
        f"converted at 2026-03-04 11:00:01 UTC (signature_obtained), credited to agent {agent}",
    )
    (conversion,) = found.history.conversions
    assert (conversion.primary_agent_id, conversion.contributing_agents) == (agent, [])
    assert found.source.differs is False


def test_a_conversion_that_nobody_earned(work: AtWork) -> None:
    """P13: nobody is nobody, not agent 0."""
    work.lead(1)
    work.sign(1)
    work.judge(1)
    assert says(work, 1)[1].endswith("credited to nobody")


def test_a_user_who_is_not_needed_and_by_whom(work: AtWork) -> None:
    """P24: left, or never came in."""
    work.lead(1)
    work.change(1, is_enabled=0)
    work.judge(1)
    assert says(work, 1) == (
        "not_needed",
        "not needed: user_disabled since 2026-03-04 10:00:01 UTC, by a_test",
    )
    work.appear(2, current_signature_file_id="file")
    work.judge(2)
    assert says(work, 2) == ("not_needed", "not needed: the queue rule never found a reason to call")
    assert explained(work, 2).score is None


@pytest.mark.parametrize("user_id", [1, 2])
def test_a_user_who_is_elsewhere_than_the_rule_says_differs(work: AtWork, user_id: int) -> None:
    """P24, P5: still queued though disabled; in no queue though unsigned again."""
    work.lead(1)
    work.appear(2, current_signature_file_id="file")
    work.judge(2)
    assert explained(work, user_id).source.differs is False
    work.change(1, is_enabled=0)
    work.change(2, current_signature_file_id=None)
    assert explained(work, user_id).source.differs is True


def test_a_promise_to_who_owes_nothing_is_no_difference(work: AtWork) -> None:
    """P29: they wait in outstanding_requests for the call alone; once disabled they should not."""
    work.appear(1, current_signature_file_id="file")
    work.judge(1)
    here(work)
    promised(work, 1, 5)
    work.desk.route_callbacks()
    found = explained(work, 1)
    assert (found.user.standing, found.source.queue, found.source.differs) == ("promised", None, False)
    work.change(1, is_enabled=0)
    assert explained(work, 1).source.differs is True


def test_a_source_that_does_not_answer_or_does_not_have_the_user_is_told_as_such(work: AtWork) -> None:
    """P4, P21, P35: the store's part is told all the same, and nothing is claimed to agree."""
    work.lead(1)
    with work.source_down():
        found = explained(work, 1)
        assert (found.user.standing, found.source.answer, found.source.differs) == (
            "waiting", Answer.NOT_ASKED, None,
        )  # fmt: skip
        assert "source: could not be asked just now" in text_of(found)
    work.desk.gate.seconds = lambda: float("inf")
    work.vanish(1)
    found = explained(work, 1)
    assert (found.source.answer, found.source.differs) == (Answer.DOES_NOT_HAVE, None)
    assert "does not have this user" in text_of(found)


def test_an_unknown_user_is_told_with_what_the_source_has_of_them(work: AtWork) -> None:
    """P23, P24."""
    work.appear(2)
    work.appear(3, is_enabled=0)
    with pytest.raises(
        NotFoundError, match="user 1 is not known to leadq; the source does not have them either"
    ):
        explained(work, 1)
    with pytest.raises(NotFoundError, match=r"the source has them \(no_signature\): the discovery"):
        explained(work, 2)
    with pytest.raises(NotFoundError, match="the source has them, disabled"):
        explained(work, 3)
    with work.source_down(), pytest.raises(NotFoundError, match="could not be asked"):
        explained(work, 2)


def test_an_agent_may_ask_about_who_is_or_was_theirs_and_a_supervisor_about_all(work: AtWork) -> None:
    """P23: not about anybody else, known or not."""
    work.lead(1)
    work.lead(2)
    mine, other = work.agent(), work.agent()
    taken = work.taken(mine)
    me = Identity(mine, "somebody", Role.AGENT, True)
    assert explained(work, 1, me).user.standing == "assigned"
    work.desk.release(work.hold_request(taken))
    assert explained(work, 1, me).user.standing == "cooling"
    for user_id in (2, 9):
        with pytest.raises(ForbiddenError, match="yours to call"):
            explained(work, user_id, me)
    with pytest.raises(ForbiddenError):
        explained(work, 1, Identity(other, "somebody", Role.AGENT, True))
    supervisor = Identity(other, "somebody", Role.SUPERVISOR, True)
    assert explained(work, 2, supervisor).user.standing == "waiting"


def test_a_wrong_score_shows_in_the_derivation(work: AtWork) -> None:
    """P25, P35."""
    work.lead(1)
    work.outcome(work.taken(work.agent()), Outcome.HUNG_UP)
    work.execute("UPDATE user_call_scores SET outcome_penalty_score = 9")
    found = explained(work, 1)
    assert found.score is not None
    assert len(found.score.problems) == 2
    assert "WRONG: the score is 9" in text_of(found)


def test_the_text_and_the_json_have_no_personal_datum(work: AtWork) -> None:
    """P40: ids and times; not even what the agent noted. The JSON is what the OpenAPI document says."""
    work.appear(1, **SECRETS)
    work.judge(1)
    agent = work.agent()
    work.outcome(work.taken(agent), Outcome.NO_ANSWER, notes=NOTES)
    found = explained(work, 1)
    told = json.dumps(plain(found)) + text_of(found)
    for secret in (*SECRETS.values(), NOTES, "somebody"):
        assert secret not in told
    assert TypeAdapter(Explanation).validate_json(json.dumps(plain(found))) == found


def test_the_text_tells_every_part_in_order(work: AtWork) -> None:
    work.lead(2**53 + 1)
    agent = work.agent()
    work.outcome(
        work.taken(agent), Outcome.CALL_BACK, callback_at=TEN + timedelta(days=1), talk_time_seconds=40
    )
    work.clock.advance(minutes=1)
    work.sign(2**53 + 1)
    work.judge(2**53 + 1)
    lines = text_of(explained(work, 2**53 + 1)).splitlines()
    heads = [line.partition(":")[0] for line in lines if not line.startswith(" ")]
    stay = explained(work, 2**53 + 1).history.stays[0].id
    assert heads == [
        "user 9007199254740993 at 2026-03-04 10",
        f"score of stay {stay}",
        "stays", "promised calls", "calls", "transitions", "conversions",
    ]  # fmt: skip
    assert "  2026-03-04 10:00:01 UTC  call 1: call_back: +0 = 0  (rules 1)" in lines
    assert any(
        "unsigned_users -> no queue: nothing_outstanding, by a_test, run run-1" in line for line in lines
    )
    assert any(f"credited to agent {agent}; score 0 after 1 calls" in line for line in lines)


def test_a_long_history_is_cut_and_says_so(work: AtWork) -> None:
    work.lead(1)
    for number in range(60):
        work.change(1, is_enabled=number % 2)
        work.judge(1)
    found = explained(work, 1)
    assert len(found.history.transitions) == 50
    assert found.history.transitions[0].happened_at >= found.history.transitions[-1].happened_at
    assert "transitions (the latest 50):" in text_of(found)


def leadq(work: AtWork, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEADQ_")}
    urls = {"DATABASE_URL": work.store_url, "REPLICA_DATABASE_URL": work.source.url}
    return subprocess.run(
        [sys.executable, "-m", "leadq_dagster.cli", "explain", *arguments],
        env={**inherited, "PYTHONPATH": str(shipped("sql").parent), **urls, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_explains_in_text_and_in_json(work: AtWork) -> None:
    """P24."""
    work.lead(2**53 + 1)
    done = leadq(work, str(2**53 + 1))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("user 9007199254740993 at ")
    assert "waiting in unsigned_users (no_signature)" in done.stdout
    assert "the rule says unsigned_users (no_signature); no move is due" in done.stdout
    told: dict[str, Any] = json.loads(leadq(work, str(2**53 + 1), "--json").stdout)
    assert (told["user_id"], told["user"]["standing"]) == (2**53 + 1, "waiting")


def test_the_command_fails_for_an_unknown_user_with_a_sentence_and_nothing_secret(work: AtWork) -> None:
    """P23, P40."""
    work.appear(2)
    unknown = leadq(work, "2")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("leadq: user 2 is not known to leadq; the source has them")
    down = leadq(work, "2", REPLICA_DATABASE_URL="mysql://reader:hush@127.0.0.1:1/firm")
    assert down.returncode == 1
    assert "could not be asked" in down.stderr
    assert "hush" not in down.stderr
    assert leadq(work, "0").returncode == 2
