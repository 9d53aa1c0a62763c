"""The demo's colleagues at a real service: what people at a desk do, they do too."""

from collections import Counter
from pathlib import Path
from random import Random

from pydantic import SecretStr

from leadq_dagster.demo.colleagues import Colleague, promise_calls
from leadq_dagster.opening import Databases
from leadq_dagster.settings import Settings
from leadq_dagster.store.agents import Role
from leadq_dagster_tests.desk_http.serving import fresh_premises
from leadq_dagster_tests.servers.running import Servers

OVERDUE = """
    INSERT INTO callbacks (user_id, queue_type, due_at, call_after)
    SELECT user_id, 'unsigned_users', now() - interval '1 minute', now() - interval '1 minute'
    FROM unnest(%s::bigint[]) AS user_id
    RETURNING id
"""


def test_colleagues_promise_keep_snooze_vanish_and_work_on(servers: Servers, tmp_path: Path) -> None:
    """P23, P26: through the service alone, and whatever is refused stops nobody."""
    with fresh_premises(servers) as premises, premises.serving(tmp_path / "service.log") as served:
        premises.leads(*range(1, 200))
        agents = [premises.enrol(f"colleague {number}") for number in range(3)]
        _, supervisor = premises.enrol("supervisor", Role.SUPERVISOR)
        colleagues = [Colleague(number, token, served.address, Random(number)) for number, token in agents]
        promise_calls(served.address, supervisor, [7, 8, 9], agents[0][0])
        premises.rows(OVERDUE, list(range(10, 20)))
        settings = Settings(
            database_url=SecretStr(premises.store_url), replica_database_url=SecretStr(premises.source.url)
        )
        with Databases(settings).open_desk() as desk:
            for _ in range(60):
                desk.route_callbacks()
                for colleague in colleagues:
                    colleague.act()
        did = sum((colleague.did for colleague in colleagues), Counter[str]())
        promised = premises.rows("SELECT count(*) FROM callbacks WHERE agreed_in_assignment_id IS NOT NULL")
        [(kept,)] = premises.rows("SELECT count(*) FROM callbacks WHERE status = 'completed'")
        reported = premises.rows("SELECT count(*) FROM call_outcomes")
        preferred = premises.rows("SELECT preferred_agent_id FROM callbacks WHERE user_id IN (7, 8, 9)")
    assert did.keys() >= {"took", "promised", "reported", "vanished", "break", "snoozed", "kept"}, did
    assert 0 < kept <= did["kept"]
    assert promised == [(did["promised"],)]
    assert reported == [(did["promised"] + did["reported"],)]
    assert set(preferred) == {(agents[0][0],)}
