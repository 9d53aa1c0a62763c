"""Who may do what: tokens, roles, and how soon a revoked one is refused."""

import asyncio

import pytest
from starlette.requests import Request

from leadq_dagster.desk.http.identity import REMEMBERED_SECONDS, Tokens
from leadq_dagster.desk.http.problems import ProblemError
from leadq_dagster.store.agents import Role, token_hash
from leadq_dagster_tests.desk_http.serving import Premises, Served

PATHS = (
    ("POST", "/api/queue/next"),
    ("POST", "/api/assignments/1/outcome"),
    ("POST", "/api/assignments/1/release"),
    ("POST", "/api/assignments/1/extend"),
    ("PUT", "/api/agents/1/status"),
    ("POST", "/api/agents/1/heartbeat"),
    ("GET", "/api/agents/me"),
    ("GET", "/api/health/queues"),
)


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer nobodys", "Basic YTpi", "leadq_x", "Bearer \xe9"])
def test_without_a_known_token_nothing_is_said_of_the_request(
    shared: Served, method: str, path: str, header: str
) -> None:
    """The body is not even read: it may be anything."""
    answer = shared.caller().send(method, path, raw=b"{", headers={"Authorization": header})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="leadq"')
    assert answer.kind.startswith("application/problem+json")


def test_the_scheme_may_be_written_in_any_case(shared: Served) -> None:
    agent = shared.agent()
    answer = shared.caller().send("GET", "/api/agents/me", headers={"Authorization": f"bearer {agent.token}"})
    assert answer.json["role"] == "agent"


def test_an_agent_acts_only_as_itself_and_a_supervisor_on_everybodys_status(shared: Served) -> None:
    (one, token), (other, _) = shared.premises.enrol(), shared.premises.enrol()
    _, above = shared.premises.enrol("above", Role.SUPERVISOR)
    agent, supervisor = shared.caller(token), shared.caller(above)
    for path, method, body in (("status", "PUT", {"status": "break"}), ("heartbeat", "POST", None)):
        assert agent.send(method, f"/api/agents/{one}/{path}", body).status == 200
        assert agent.send(method, f"/api/agents/{other}/{path}", body).status == 403
        assert agent.send(method, f"/api/agents/{2**62}/{path}", body).status == 403
        assert supervisor.send(method, f"/api/agents/{other}/{path}", body).status == 200
        assert supervisor.send(method, f"/api/agents/{2**62}/{path}", body).status == 404
    assert agent.get("/api/health/queues").status == supervisor.get("/api/health/queues").status == 200


def test_life_readiness_metrics_and_the_page_need_no_token(shared: Served) -> None:
    for path in (
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/desk",
        "/desk/static/desk.js",
    ):
        assert shared.caller().get(path).status == 200, path


def test_a_revoked_agent_is_refused_from_that_moment(served: Served) -> None:
    """The desk itself looks at the agent: a remembered token does not help."""
    served.premises.leads(1, 2)
    agent_id, token = served.premises.enrol()
    agent = served.caller(token)
    lead = agent.take().json["assignment"]
    with served.premises.store.transaction() as cursor:
        cursor.execute("UPDATE agents SET is_active = false WHERE id = %s", [agent_id])
    assert agent.take().status == 403
    assert agent.report(lead, "no_answer").status == 403
    for doing in ("release", "extend"):
        path = f"/api/assignments/{lead['id']}/{doing}"
        assert agent.post(path, lease_token=lead["lease_token"]).status == 403
    assert agent.send("POST", f"/api/agents/{agent_id}/heartbeat").status == 403


def test_a_replaced_token_is_good_for_seconds_and_no_longer(premises: Premises) -> None:
    """As the documents say: looked up once in a few seconds, by the clock and not by luck."""
    agent_id, old = premises.enrol()
    seconds = 0.0
    tokens = Tokens(premises.store, seconds=lambda: seconds)

    def whose(token: str) -> int:
        asked = Request({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})
        return asyncio.run(tokens.identify(asked)).agent_id

    assert whose(old) == agent_id
    with premises.store.transaction() as cursor:
        cursor.execute("UPDATE agents SET token_hash = %s WHERE id = %s", [token_hash("new"), agent_id])
    seconds = REMEMBERED_SECONDS - 0.01
    assert whose(old) == whose("new") == agent_id
    seconds = REMEMBERED_SECONDS
    with pytest.raises(ProblemError) as refused:
        whose(old)
    assert refused.value.status == 401
