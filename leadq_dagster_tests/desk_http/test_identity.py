"""Who may do what: tokens, roles, and how soon a revoked one is refused."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
import pytest
from psycopg import Cursor
from psycopg.rows import TupleRow
from starlette.requests import Request

from leadq_dagster.desk.http.hand_over import HandOver
from leadq_dagster.desk.http.identity import REMEMBERED_SECONDS, Tokens
from leadq_dagster.desk.http.problems import ProblemError
from leadq_dagster.store.agents import Role, token_hash
from leadq_dagster.store.connection import Store, open_direct_store
from leadq_dagster_tests.desk_http.serving import Premises, Served
from leadq_dagster_tests.stages.failing import end_backend

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
PATIENCE_SECONDS = 30


def bearing(token: str) -> Request:
    """A request with this token."""
    return Request({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})


class Counted(Store):
    """A store that counts its transactions."""

    def __init__(self, store: Store) -> None:
        self._counted = store
        self.transactions = 0

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[Cursor[TupleRow]]:
        self.transactions += 1
        with self._counted.transaction(keep=keep) as cursor:
            yield cursor


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
    tokens = Tokens(premises.store, HandOver(), seconds=lambda: seconds)

    def whose(token: str) -> int:
        return asyncio.run(tokens.identify(bearing(token))).agent_id

    assert whose(old) == agent_id
    with premises.store.transaction() as cursor:
        cursor.execute("UPDATE agents SET token_hash = %s WHERE id = %s", [token_hash("new"), agent_id])
    seconds = REMEMBERED_SECONDS - 0.01
    assert whose(old) == whose("new") == agent_id
    seconds = REMEMBERED_SECONDS
    with pytest.raises(ProblemError) as refused:
        whose(old)
    assert refused.value.status == 401
    tokens.close()


def test_tokens_asked_about_while_the_store_is_busy_are_looked_up_together(premises: Premises) -> None:
    """P40: each gets its own answer all the same, the one that nobody has too."""
    enrolled = [premises.enrol() for _ in range(20)]
    store = Counted(premises.store)
    tokens = Tokens(store, HandOver())

    async def all_at_once() -> list[int | BaseException]:
        with psycopg.connect(premises.store_url) as busy:
            busy.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
            first = asyncio.ensure_future(tokens.identify(bearing(enrolled[0][1])))
            while not premises.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0)
            asked = [token for _, token in enrolled] + ["nobody's", enrolled[1][1]]
            rest = [asyncio.ensure_future(tokens.identify(bearing(token))) for token in asked]
            await asyncio.sleep(0)  # all of them have asked
        answers = await asyncio.wait_for(
            asyncio.gather(first, *rest, return_exceptions=True), PATIENCE_SECONDS
        )
        return [answer if isinstance(answer, BaseException) else answer.agent_id for answer in answers]

    first, *rest = asyncio.run(all_at_once())
    refused = rest.pop(20)
    assert isinstance(refused, ProblemError)
    assert refused.status == 401
    ids = [agent_id for agent_id, _ in enrolled]
    assert [first, *rest] == [ids[0], *ids, ids[1]]
    assert store.transactions == 2
    tokens.close()


def test_a_revoked_supervisor_acts_on_nobody_from_that_moment(served: Served) -> None:
    """No token of a supervisor is remembered: the desk looks at whom they act on."""
    other, _ = served.premises.enrol()
    above, token = served.premises.enrol("above", Role.SUPERVISOR)
    supervisor, path = served.caller(token), f"/api/agents/{other}/status"
    assert supervisor.send("PUT", path, {"status": "break"}).status == 200
    with served.premises.store.transaction() as cursor:
        cursor.execute("UPDATE agents SET is_active = false WHERE id = %s", [above])
    assert supervisor.send("PUT", path, {"status": "available"}).status == 403
    assert served.premises.rows("SELECT status FROM agents WHERE id = %s", other) == [("break",)]


def test_a_connection_that_was_cut_costs_nobody_a_refusal(premises: Premises) -> None:
    """P19: the look-up is tried again, as everything that the desk does."""
    agent_id, token = premises.enrol()
    with open_direct_store(premises.store_url, pool_size=1) as store:
        tokens = Tokens(store, HandOver(), seconds=count(step=60).__next__)

        def whose() -> int:
            return asyncio.run(tokens.identify(bearing(token))).agent_id

        assert whose() == agent_id
        with store.transaction() as cursor:
            pid = cursor.connection.info.backend_pid
        end_backend(premises.store_url, pid)
        assert whose() == agent_id
        tokens.close()
