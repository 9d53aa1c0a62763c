"""The desk's doings over HTTP: what each answer says, and that asking again changes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster_tests.desk_http.serving import Premises, Served, fresh_premises
from leadq_dagster_tests.servers.running import Servers

BIG = 2**53 + 1


@pytest.fixture
def on_mariadb(servers: Servers) -> Iterator[Premises]:
    with fresh_premises(servers, on_mariadb=True) as premises:
        yield premises


def instant(text: str) -> datetime:
    told = datetime.fromisoformat(text)
    assert told.tzinfo is not None
    return told


def test_an_agent_takes_a_lead_and_reports_the_call(on_mariadb: Premises, tmp_path: Path) -> None:
    """P12: an id beyond 2^53 and names in any letters come through whole, from the firm's kind of server."""
    on_mariadb.leads(BIG, first_name="Zoë", last_name="Ünal 📞", phone_number="+44 20 7946 0000")
    with on_mariadb.serving(tmp_path / "log") as served:
        agent = served.agent()
        answer = agent.take().json
        assert answer["is_validated"] is True
        assert answer["no_work"] is None
        assert answer["contact"] == {
            "first_name": "Zoë",
            "last_name": "Ünal 📞",
            "phone_number": "+44 20 7946 0000",
            "email_address": f"user{BIG}@example.org",
        }
        lead = answer["assignment"]
        assert (lead["user_id"], lead["queue_type"], lead["queue_reason"]) == (
            BIG, "unsigned_users", "no_signature",
        )  # fmt: skip
        assert (lead["priority_score"], lead["attempts"], lead["last_outcome"], lead["last_call_at"]) == (
            0, 0, None, None,
        )  # fmt: skip
        assert lead["callback"] is None
        assert instant(lead["lease_expires_at"]) - instant(lead["assigned_at"]) == timedelta(minutes=5)
        recorded = agent.report(lead, "might_complete", talk_time_seconds=61, notes="ruft zurück 📞")
    assert recorded.status == 200
    assert recorded.json["lead"] == "waiting"
    assert recorded.json["callback_id"] is None
    assert instant(recorded.json["next_call_after"]) > datetime.now(UTC) + timedelta(hours=23)
    assert on_mariadb.rows("SELECT outcome, notes FROM call_outcomes") == [
        ("might_complete", "ruft zurück 📞")
    ]


def test_a_repeated_take_brings_the_same_lead_and_another_agent_the_next(served: Served) -> None:
    """P20, P15."""
    served.premises.leads(1, 2)
    first, second = served.agent(), served.agent()
    took = first.take(request_id="mine").json["assignment"]
    assert first.take(request_id="mine").json["assignment"] == took
    assert second.take(request_id="mine").json["assignment"]["user_id"] != took["user_id"]
    again = first.send("POST", "/api/queue/next", headers={"Idempotency-Key": "mine"}).json
    assert again["assignment"] == took
    assert first.take().json["assignment"]["id"] == took["id"]
    assert served.premises.rows("SELECT count(*) FROM assignments") == [(2,)]


def test_a_repeated_outcome_is_answered_the_same_and_recorded_once(served: Served) -> None:
    """P20: a client that lost the answer asks again with its request id, in the body or in the header."""
    served.premises.leads(1)
    agent = served.agent()
    lead = agent.take().json["assignment"]
    at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    told = agent.report(lead, "call_back", request_id="r", callback_at=at)
    assert told.status == 200
    assert told.json["callback_id"]
    body = {"lease_token": lead["lease_token"], "outcome": "call_back", "callback_at": at}
    path = f"/api/assignments/{lead['id']}/outcome"
    assert agent.send("POST", path, body, headers={"Idempotency-Key": "r"}).json == told.json
    assert served.premises.rows("SELECT count(*) FROM call_outcomes") == [(1,)]
    other = agent.report(lead, "no_answer", request_id="r")
    assert other.status == 409
    assert "choose a new one" in other.json["detail"]


def test_a_lead_given_back_is_not_brought_again_at_once(served: Served) -> None:
    """P20."""
    served.premises.leads(1, 2)
    agent = served.agent()
    lead = agent.take().json["assignment"]
    path, token = f"/api/assignments/{lead['id']}/release", lead["lease_token"]
    given = agent.post(path, lease_token=token, request_id="back")
    assert given.status == 200
    assert instant(given.json["available_from"]) > datetime.now(UTC) + timedelta(minutes=4)
    assert agent.post(path, lease_token=token, request_id="back").json == given.json
    assert agent.take().json["assignment"]["user_id"] != lead["user_id"]


def test_a_lease_is_extended_within_bounds(served: Served) -> None:
    served.premises.leads(1)
    agent = served.agent()
    lead = agent.take().json["assignment"]
    path, token = f"/api/assignments/{lead['id']}/extend", lead["lease_token"]
    longer = agent.post(path, lease_token=token, lease_seconds=1800)
    assert instant(longer.json["lease_expires_at"]) > instant(lead["lease_expires_at"]) + timedelta(
        minutes=20
    )
    assert agent.post(path, lease_token=token).json["lease_expires_at"] == longer.json["lease_expires_at"]
    too_long = agent.post(path, lease_token=token, lease_seconds=7200)
    assert too_long.status == 422
    assert "1 to 3600 seconds" in too_long.json["detail"]


def test_a_late_outcome_is_told_so_and_recorded(served: Served) -> None:
    """P19: the late holder is refused, the call that was made is kept."""
    served.premises.leads(1)
    agent, other = served.agent(), served.agent()
    lead = agent.take().json["assignment"]
    agent.post(f"/api/assignments/{lead['id']}/release", lease_token=lead["lease_token"])
    late = agent.report(lead, "not_interested")
    assert late.status == 409
    assert "the call is recorded" in late.json["detail"]
    assert served.premises.rows("SELECT outcome, is_late FROM call_outcomes") == [("not_interested", True)]
    assert other.report(lead, "no_answer").status == 403
    assert agent.report(lead | {"lease_token": lead["lease_token"] + 1}, "no_answer").status == 409


def test_an_outcome_without_the_time_it_needs_changes_nothing(served: Served) -> None:
    served.premises.leads(1)
    agent = served.agent()
    lead = agent.take().json["assignment"]
    assert agent.report(lead, "call_back").status == 422
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert agent.report(lead, "call_back", callback_at=past).status == 422
    assert agent.take().json["assignment"]["id"] == lead["id"]
    assert served.premises.rows("SELECT count(*) FROM call_outcomes") == [(0,)]


def test_no_work_says_how_everybody_stands(served: Served) -> None:
    """P24."""
    served.premises.leads(1)
    agent = served.agent()
    agent.report(agent.take().json["assignment"], "no_answer")
    answer = agent.take(request_id="none").json
    assert (answer["assignment"], answer["contact"]) == (None, None)
    assert answer["no_work"]["reason"] == "no_lead_is_waiting"
    standings = answer["no_work"]["standings"]
    assert standings["cooling"] == standings["known"] == 1
    assert instant(standings["cooling_until"]) > datetime.now(UTC)
    assert agent.take(request_id="none").json == answer


def test_an_agent_is_served_only_their_queues(served: Served) -> None:
    served.premises.leads(1, owing=True)
    agent = served.agent(QueueType.UNSIGNED_USERS)
    assert agent.take().json["assignment"] is None
    assert agent.take(queue="outstanding_requests").status == 403


def test_levels_are_of_one_instant_and_sum_up(served: Served) -> None:
    """P24."""
    served.premises.leads(1, 2, 3)
    served.premises.leads(11, 12, owing=True)
    agent = served.agent(QueueType.UNSIGNED_USERS)
    agent.report(agent.take().json["assignment"], "no_answer")
    agent.take()
    levels = agent.get("/api/health/queues").json
    unsigned, outstanding = levels["queues"]["unsigned_users"], levels["queues"]["outstanding_requests"]
    assert (unsigned["waiting"], unsigned["cooling"], unsigned["assigned"]) == (1, 1, 1)
    assert (outstanding["waiting"], outstanding["cooling"], outstanding["assigned"]) == (2, 0, 0)
    standings = dict(levels["standings"])
    known = standings.pop("known")
    counts = [count for count in standings.values() if isinstance(count, int)]
    assert sum(counts) == known == 5


def test_statuses_are_said_and_heartbeats_do_not_change_them(served: Served) -> None:
    agent_id, token = served.premises.enrol()
    agent = served.caller(token)
    path = f"/api/agents/{agent_id}"
    assert agent.send("POST", f"{path}/heartbeat").json == {"agent_id": agent_id, "status": "offline"}
    assert served.premises.rows("SELECT count(*) FROM agent_sessions") == [(0,)]
    for _ in range(2):
        assert agent.send("PUT", f"{path}/status", {"status": "break"}).json["status"] == "break"
    assert agent.send("POST", f"{path}/heartbeat").json["status"] == "break"
    assert served.premises.rows("SELECT count(*) FROM agent_sessions WHERE ended_at IS NULL") == [(1,)]
    assert agent.send("PUT", f"{path}/status", {"status": "offline"}).status == 200
    assert served.premises.rows("SELECT count(*) FROM agent_sessions WHERE ended_at IS NULL") == [(0,)]
    assert agent.send("PUT", f"{path}/status", {"status": "asleep"}).status == 422


def test_metrics_count_and_name_nobody(served: Served) -> None:
    """P40: no label has an id in it."""
    served.premises.leads(777_001)
    agent = served.agent()
    lead = agent.take().json["assignment"]
    agent.report(lead, "no_answer")
    agent.take()
    agent.report(lead, "no_answer")
    agent.get("/nowhere/777001")
    text = served.caller().get("/metrics").text
    for line in (
        'leadq_desk_takes_total{answer="lead"} 1.0',
        'leadq_desk_takes_total{answer="no_work"} 1.0',
        'leadq_desk_outcomes_total{outcome="no_answer"} 1.0',
        'leadq_desk_refusals_total{status="409"} 1.0',
        'leadq_desk_refusals_total{status="404"} 1.0',
        'leadq_desk_request_seconds_count{route="/api/assignments/{assignment_id}/outcome"} 2.0',
        'leadq_desk_request_seconds_count{route="none"} 1.0',
    ):
        assert line in text, line
    # Labels alone: a sum of seconds has any digits.
    labels = [sample.labels for family in text_string_to_metric_families(text) for sample in family.samples]
    assert labels
    assert "777001" not in str(labels)
