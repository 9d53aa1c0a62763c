"""`leadq agents`: a token is shown once, and the store has its hash only."""

import subprocess
import sys

from leadq_dagster.store.agents import token_hash
from leadq_dagster_tests.desk_http.serving import Premises, Served


def agents(premises: Premises, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "leadq_dagster.cli", "agents", *words],
        env=premises.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_agent_is_added_listed_revoked_and_let_in_again(served: Served) -> None:
    premises = served.premises
    added = agents(premises, "add", "Zoë", "--queue", "outstanding_requests", "--queue", "unsigned_users")
    first = added.stdout.strip()
    assert added.returncode == 0, added.stderr
    stored = "SELECT id, name, role, token_hash, allowed_queues::text FROM agents"
    [(agent_id, name, role, hashed, queues)] = premises.rows(stored)
    assert (name, role, queues) == ("Zoë", "agent", "{outstanding_requests,unsigned_users}")
    assert bytes(hashed) == token_hash(first)
    assert first not in added.stderr
    assert served.caller(first).get("/api/agents/me").json["agent_id"] == agent_id

    listed = agents(premises, "list").stdout
    assert listed.split("\t")[:4] == [str(agent_id), "Zoë", "agent", "offline"]
    assert first not in listed

    assert agents(premises, "revoke", str(agent_id)).returncode == 0
    assert served.caller(first).take().status == 403
    assert "\trevoked\t" in agents(premises, "list").stdout

    second = agents(premises, "new-token", str(agent_id)).stdout.strip()
    assert served.caller(second).take().status == 200
    assert bytes(premises.rows(stored)[0][3]) == token_hash(second)


def test_a_supervisor_is_added_with_all_queues(premises: Premises) -> None:
    added = agents(premises, "add", "above", "--supervisor")
    assert added.returncode == 0
    assert premises.rows("SELECT role, cardinality(allowed_queues) FROM agents") == [("supervisor", 2)]


def test_unknown_agents_and_queues_are_plain_sentences(premises: Premises) -> None:
    """P23."""
    for words in (("revoke", "7"), ("new-token", "7")):
        done = agents(premises, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no agent 7" in done.stderr
        assert "Traceback" not in done.stderr
    nameless = agents(premises, "add", " ")
    assert (nameless.returncode, nameless.stdout) == (1, "")
    assert "give the agent a name" in nameless.stderr
    assert agents(premises, "add", "x", "--queue", "vip").returncode == 2
    assert agents(premises, "revoke", str(2**63)).returncode == 2
    assert premises.rows("SELECT count(*) FROM agents") == [(0,)]
