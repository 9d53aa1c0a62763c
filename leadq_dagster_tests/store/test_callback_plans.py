"""What the server does for promised calls: a look reads what is due, however much is promised and queued."""

from datetime import timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.store import assignments, callbacks, routing
from leadq_dagster_tests.store.plans import Plan, explain, fill
from leadq_dagster_tests.store.rows import TEN

PROMISED, DUE, AGENTS = 20_000, 5, 40
# Everybody is promised a call in the days to come, five of them now: in front, for the agents 1 to 5.
PROMISES = """
INSERT INTO agents (id, name) SELECT number, 'an agent' FROM generate_series(1, {agents}) AS number;
INSERT INTO callbacks (id, user_id, queue_type, due_at, call_after, preferred_agent_id)
OVERRIDING SYSTEM VALUE
SELECT number, 999999 + number, 'unsigned_users', moment, moment, 1
FROM (
    SELECT number, '{now}'::timestamptz + (number > {due})::integer * number * interval '1 minute' AS moment
    FROM generate_series(1, {promised}) AS number
) AS promised;
UPDATE call_queue AS stay
SET callback_id = callback.id, priority_score = -1000, reserved_for_agent_id = callback.id
FROM callbacks AS callback
WHERE callback.user_id = stay.user_id AND callback.id <= {due};
"""


@pytest.fixture
def promised(plain: Connection[TupleRow]) -> Connection[TupleRow]:
    fill(plain, PROMISED, first=1_000_000, available_from=TEN)
    wanted = PROMISES.format(agents=AGENTS, due=DUE, promised=PROMISED, now=TEN.isoformat())
    plain.execute("SET session_replication_role = replica")
    plain.execute(wanted.encode())
    plain.execute("SET session_replication_role = origin")
    for table in ("callbacks", "call_queue", "agents"):
        plain.execute(f"VACUUM ANALYZE {table}".encode())
    return plain


def check(plan: Plan, rows_max: int, pages_max: int) -> None:
    assert plan.rows <= rows_max, plan.root
    assert plan.pages <= pages_max, plan.root
    assert plan.scanned_whole <= {"agents"}


def test_a_look_reads_the_calls_that_are_due_and_their_users_stays(promised: Connection[TupleRow]) -> None:
    """P29: not the promised ones, and not the queue."""
    first, number = routing.FIRST
    parameters = {"until": TEN, "after": first, "after_id": number, "rows_max": 500}
    plan = explain(promised, routing.SQL["select_due"], parameters)
    check(plan, rows_max=4 * DUE, pages_max=20 * DUE)


def test_routing_reads_the_calls_that_it_routes(promised: Connection[TupleRow]) -> None:
    parameters = {"until": TEN, "callback_ids": list(range(1, DUE + 1))}
    plan = explain(promised, routing.SQL["select_due_of_ids"], parameters)
    check(plan, rows_max=4 * DUE, pages_max=20 * DUE)


def test_an_agent_s_list_reads_what_is_near(promised: Connection[TupleRow]) -> None:
    parameters = {"agent_id": 1, "until": TEN + timedelta(minutes=10), "rows_max": 100}
    plan = explain(promised, callbacks.SQL["select_pending_of_agent"], parameters)
    check(plan, rows_max=20 * DUE, pages_max=60 * DUE)


def test_whether_a_call_waits_for_the_asking_agents_reads_only_what_is_in_front(
    promised: Connection[TupleRow],
) -> None:
    """P15: every claim asks while there is one."""
    asking = list(range(1, AGENTS + 1))
    plan = explain(promised, assignments.SQL["select_raised_for"], {"agent_ids": asking, "now": TEN})
    check(plan, rows_max=2 * AGENTS + DUE, pages_max=5 * AGENTS)


def test_a_promised_call_is_claimed_by_reading_only_what_is_in_front(promised: Connection[TupleRow]) -> None:
    parameters = {
        "agent_id": 1,
        "queue_types": ["unsigned_users", "outstanding_requests"],
        "now": TEN,
        "lease_expires_at": TEN + timedelta(minutes=5),
        "request_id": "a",
    }
    plan = explain(promised, assignments.SQL["claim_raised"], parameters)
    check(plan, rows_max=6 * DUE, pages_max=40 * DUE)
