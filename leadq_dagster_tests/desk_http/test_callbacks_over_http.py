"""Promised calls over HTTP: who may do what, and what each answer says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leadq_dagster.store.agents import Role
from leadq_dagster_tests.desk_http.client import Caller
from leadq_dagster_tests.desk_http.serving import Served

NEAR = timedelta(minutes=5)


def at(later: timedelta) -> str:
    return (datetime.now(UTC) + later).isoformat()


def promise(agent: Caller, user_id: int, later: timedelta = NEAR, **more: Any) -> Any:
    answer = agent.post("/api/callbacks", user_id=user_id, due_at=at(later), **more)
    assert answer.status == 200, answer.text
    return answer.json


def test_a_call_is_promised_accepted_served_and_kept(served: Served) -> None:
    """P26, P27."""
    served.premises.leads(1, 2)
    agent_id, token = served.premises.enrol()
    agent = served.caller(token)
    made = promise(agent, 2)
    assert (made["status"], made["is_raised"], made["accepted_by_agent_id"]) == ("pending", False, None)
    accepted = agent.post("/api/callbacks/accept", callback_id=made["callback_id"])
    assert accepted.json == {
        **made, "status": "accepted", "is_raised": True, "accepted_by_agent_id": agent_id
    }  # fmt: skip
    [pending] = agent.get(f"/api/agents/{agent_id}/pending-callbacks").json["callbacks"]
    assert (pending["callback_id"], pending["user_id"], pending["status"]) == (
        made["callback_id"],
        2,
        "accepted",
    )
    lead = agent.take().json["assignment"]
    assert (lead["user_id"], lead["priority_score"]) == (2, -2000)
    assert lead["callback"] == {"id": made["callback_id"], "due_at": made["due_at"]}
    assert agent.report(lead, "might_complete").status == 200
    assert agent.get(f"/api/agents/{agent_id}/pending-callbacks").json == {"callbacks": []}
    assert served.premises.rows("SELECT status FROM callbacks") == [("completed",)]


def test_the_same_request_id_has_the_same_answer(served: Served) -> None:
    """P20."""
    served.premises.leads(1)
    agent = served.agent()
    due_at = at(NEAR)
    answers = [
        agent.post("/api/callbacks", request_id="once", user_id=1, due_at=due_at).text for _ in range(3)
    ]
    assert len(set(answers)) == 1
    assert agent.post("/api/callbacks", request_id="once", user_id=1, due_at=at(2 * NEAR)).status == 409
    assert len(served.premises.rows("SELECT FROM callbacks")) == 1


def test_it_is_snoozed_and_cancelled_by_its_agent_or_a_supervisor(served: Served) -> None:
    """P23."""
    served.premises.leads(1)
    mine, other = served.agent(), served.agent()
    _, token = served.premises.enrol("boss", Role.SUPERVISOR)
    supervisor = served.caller(token)
    callback_id = promise(mine, 1)["callback_id"]
    assert mine.post("/api/callbacks/accept", callback_id=callback_id).status == 200
    assert other.post("/api/callbacks/accept", callback_id=callback_id).status == 409
    assert other.post("/api/callbacks/snooze", callback_id=callback_id).status == 403
    assert other.post(f"/api/callbacks/{callback_id}/cancel", reason="not_wanted").status == 403
    snoozed = mine.post("/api/callbacks/snooze", callback_id=callback_id)
    later = datetime.fromisoformat(snoozed.json["call_after"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < later <= timedelta(minutes=5)
    assert (snoozed.json["status"], snoozed.json["is_raised"]) == ("pending", False)
    cancelled = supervisor.post(f"/api/callbacks/{callback_id}/cancel", reason="agreed_otherwise")
    assert cancelled.json["status"] == "cancelled"
    assert supervisor.post(f"/api/callbacks/{callback_id}/cancel", reason="not_wanted").status == 409


def test_what_cannot_be_meant_is_refused_and_changes_nothing(served: Served) -> None:
    """P23."""
    served.premises.leads(1)
    agent_id, token = served.premises.enrol()
    agent, other = served.caller(token), served.agent()
    callback_id = promise(agent, 1)["callback_id"]
    assert agent.post("/api/callbacks", user_id=99, due_at=at(NEAR)).status == 404
    assert agent.post("/api/callbacks", user_id=1, due_at=at(-NEAR)).status == 422
    assert agent.post("/api/callbacks", user_id=1, due_at=at(NEAR), preferred_agent_id=99).status == 404
    assert agent.post("/api/callbacks", user_id=1, due_at="tomorrow").status == 422
    for minutes in (0, 61, "5", None):
        assert agent.post("/api/callbacks/snooze", callback_id=callback_id, minutes=minutes).status == 422
    assert agent.post(f"/api/callbacks/{callback_id}/cancel", reason="bored").status == 422
    for path in ("accept", "snooze"):
        assert agent.post(f"/api/callbacks/{path}", callback_id=99).status == 404
    assert other.get(f"/api/agents/{agent_id}/pending-callbacks").status == 403
    assert served.caller().get(f"/api/agents/{agent_id}/pending-callbacks").status == 401
    assert served.premises.rows("SELECT status, count(*) FROM callbacks GROUP BY 1") == [("pending", 1)]


def test_supervisors_see_how_promised_calls_are_kept(served: Served) -> None:
    """P35, P37: the example's numbers are the store's tests'; here are the shape and who may ask."""
    served.premises.leads(1)
    agent = served.agent()
    agent.report(agent.take().json["assignment"], "might_complete")
    _, token = served.premises.enrol("boss", Role.SUPERVISOR)
    told = served.caller(token).get("/api/debug/callback-monitoring?hours=24").json
    shares = {
        item["name"]: (item["numerator"], item["denominator"], item["level"]) for item in told["measures"]
    }
    assert shares["completed_calls_with_outcome"] == (1, 1, "ok")
    assert shares["inbound_calls_with_outcome"] == (0, 0, "no_data")
    assert (told["hours"], told["health_score"], told["alerts"], told["overdue"]) == (24, None, [], 0)
    assert told["completed_calls_without_outcome"] == 0
    assert agent.get("/api/debug/callback-monitoring").status == 403
    assert served.caller(token).get("/api/debug/callback-monitoring?hours=0").status == 422


@pytest.mark.parametrize("offset", ["+16:00", "-16:00", "+23:59", "-23:59", "+05:45"])
def test_a_time_is_the_same_instant_by_whatever_clock_it_is_told(served: Served, offset: str) -> None:
    """P23, P28: RFC 3339 has clocks a day away from UTC; PostgreSQL takes none of sixteen hours."""
    served.premises.leads(1)
    agent = served.agent()
    lead = agent.take().json["assignment"]
    zone = datetime.fromisoformat(f"2026-01-01T00:00:00{offset}").tzinfo
    due_at = (datetime.now(UTC) + timedelta(hours=30)).replace(microsecond=0)
    there = due_at.astimezone(zone).isoformat()
    assert there.endswith(offset)
    promised = agent.post("/api/callbacks", user_id=1, due_at=there)
    assert promised.status == 200
    assert datetime.fromisoformat(promised.json["due_at"]) == due_at
    began = (due_at - timedelta(hours=31)).astimezone(zone).isoformat()
    told = agent.report(lead, "call_back", callback_at=there, started_at=began)
    assert told.status == 200, told.text
    assert told.json["callback_id"] == promised.json["callback_id"]
    assert datetime.fromisoformat(told.json["next_call_after"]) == due_at
