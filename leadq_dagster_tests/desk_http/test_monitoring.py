"""The span over which supervisors look at promised calls is the one they ask for."""

from typing import Any

import psycopg

from leadq_dagster.store.agents import Role
from leadq_dagster_tests.desk_http.serving import Served

# An inbound call that was completed so long ago, and that nobody said anything of.
CALL = """
INSERT INTO call_sessions (id, direction, status, started_at, ended_at, user_id)
VALUES (%(id)s, 'inbound', 'completed', now() - %(ago)s::interval, now() - %(ago)s::interval, 1)
"""
COUNTED = ("inbound_calls_with_outcome", "completed_calls_with_outcome")


def counted(told: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The measures of calls: numerator and denominator."""
    shares = {item["name"]: (item["numerator"], item["denominator"]) for item in told["measures"]}
    return {name: shares[name] for name in COUNTED}


def test_a_call_counts_in_the_hours_that_are_asked_for_and_in_no_fewer(served: Served) -> None:
    """P35, P37: one call of just now, one two hours old, one of two days ago."""
    served.premises.leads(1)
    with psycopg.connect(served.premises.store_url) as connection:
        for name, ago in (("now", "5 minutes"), ("earlier", "2 hours"), ("long ago", "49 hours")):
            connection.execute(CALL, {"id": name, "ago": ago})
    _, token = served.premises.enrol("boss", Role.SUPERVISOR)
    boss = served.caller(token)

    def told(query: str) -> Any:
        answer = boss.get(f"/api/debug/callback-monitoring{query}")
        assert answer.status == 200, answer.text
        return answer.json

    for hours, calls in ((1, 1), (3, 2), (24, 2), (48, 2), (50, 3)):
        answer = told(f"?hours={hours}")
        assert answer["hours"] == hours
        assert counted(answer) == dict.fromkeys(COUNTED, (0, calls)), hours
        assert answer["completed_calls_without_outcome"] == calls
    assert (told("")["hours"], counted(told(""))) == (24, dict.fromkeys(COUNTED, (0, 2)))
