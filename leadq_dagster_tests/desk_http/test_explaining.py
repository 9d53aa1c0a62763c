"""Explain over HTTP: the same answer as the command's, for those who may have it."""

from pydantic import TypeAdapter

from leadq_dagster.desk.explain import Explanation
from leadq_dagster.store.agents import Role
from leadq_dagster_tests.desk_http.serving import Served

BIG = 2**53 + 1


def test_an_agent_asks_about_their_own_and_a_supervisor_about_all(served: Served) -> None:
    """P23, P24."""
    served.premises.leads(1, BIG)
    agent = served.agent()
    _, token = served.premises.enrol("somebody", Role.SUPERVISOR)
    supervisor = served.caller(token)
    mine = agent.take().json["assignment"]["user_id"]
    (other,) = {1, BIG} - {mine}

    told = agent.get(f"/api/leads/{mine}/explain")
    assert (told.status, told.kind) == (200, "application/json")
    assert (told.json["user_id"], told.json["user"]["standing"]) == (mine, "assigned")
    assert TypeAdapter(Explanation).validate_json(told.text).user_id == mine
    refused = agent.get(f"/api/leads/{other}/explain")
    assert (refused.status, refused.kind) == (403, "application/problem+json")
    assert supervisor.get(f"/api/leads/{other}/explain").json["user"]["standing"] == "waiting"


def test_unknown_users_ids_that_cannot_be_and_callers_without_a_token(served: Served) -> None:
    """P23."""
    _, token = served.premises.enrol("somebody", Role.SUPERVISOR)
    supervisor = served.caller(token)
    unknown = supervisor.get("/api/leads/7/explain")
    assert unknown.status == 404
    assert unknown.json["detail"] == "user 7 is not known to leadq; the source does not have them either"
    for user_id in ("0", "-1", str(2**63), "seven", "1.5"):
        assert supervisor.get(f"/api/leads/{user_id}/explain").status == 422, user_id
    assert supervisor.get(f"/api/leads/{2**63 - 1}/explain").status == 404
    assert served.caller().get("/api/leads/7/explain").status == 401


def test_the_document_describes_the_answer(served: Served) -> None:
    document = served.caller().get("/openapi.json").json
    operation = document["paths"]["/api/leads/{user_id}/explain"]["get"]
    assert {"200", "401", "403", "404", "422", "500", "503"} == set(operation["responses"])
    assert "KnownUser" in document["components"]["schemas"]
