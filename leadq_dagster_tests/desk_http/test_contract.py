"""schemathesis over the whole OpenAPI document: no 5xx, and no answer that the document does not know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leadq_dagster.store.agents import Role
from leadq_dagster_tests.desk_http import contract_hooks
from leadq_dagster_tests.desk_http.contract_hooks import Place, answers_in
from leadq_dagster_tests.desk_http.serving import Served

# A call back without its time is well-formed and refused all the same: whether requests are accepted is
# tested one by one. Everything else is checked.
NOT_CHECKED = "positive_data_acceptance"
EXAMPLES = 25
PROJECT = Path(__file__).resolve().parents[2]
# Each is to succeed, so that its answer is held against the document as well as its refusals.
SUCCEEDING = {
    "POST /api/queue/next",
    "POST /api/assignments/{assignment_id}/outcome",
    "POST /api/assignments/{assignment_id}/release",
    "POST /api/assignments/{assignment_id}/extend",
    "POST /api/callbacks",
    "POST /api/callbacks/accept",
    "POST /api/callbacks/snooze",
    "POST /api/callbacks/{callback_id}/cancel",
}


def schemathesis(served: Served, folder: Path, token: str | None, assignment_id: int, agent_id: int) -> str:
    """What it reports; the test fails with that when it finds anything."""
    lines = ["[parameters]", f"assignment_id = {assignment_id}", f"agent_id = {agent_id}"]
    (folder / "schemathesis.toml").write_text("\n".join(lines))
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.address}/openapi.json"]
    command += ["--checks", "all", "--exclude-checks", NOT_CHECKED, "--mode", "all", "--seed", "8911"]
    command += ["--max-examples", str(EXAMPLES), "--suppress-health-check", "all", "--no-color"]
    if token is not None:
        command += ["--header", f"Authorization: Bearer {token}"]
    hooks = {"SCHEMATHESIS_HOOKS": contract_hooks.__name__, "PYTHONPATH": str(PROJECT)}
    environment = {**os.environ, **hooks, "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("role", [Role.AGENT, Role.SUPERVISOR])
def test_nothing_undocumented_happens_to_who_may_ask(served: Served, tmp_path: Path, role: Role) -> None:
    """P23: whatever is sent, it is answered as the document says, and nothing crashes; successes, too."""
    served.premises.leads(*range(1, 101))
    served.premises.leads(*range(101, 201), owing=True)
    agent_id, token = served.premises.enrol("somebody", role)
    taken = served.caller(token).take().json["assignment"]
    Place(served.address, token, list(range(1, 201))).write(tmp_path)
    report = schemathesis(served, tmp_path, token, taken["id"], agent_id)
    answers = answers_in(tmp_path)
    assert {operation for operation in SUCCEEDING if not answers[operation, 200]} == set(), answers
    assert "POST /api/queue/next" not in report  # operations are named where something is wrong with them
    assert '"event": "defect"' not in served.log.read_text()


@pytest.mark.parametrize("token", [None, "leadq_nobodys"])
def test_nothing_undocumented_happens_to_who_may_not(
    served: Served, tmp_path: Path, token: str | None
) -> None:
    served.premises.leads(1)
    agent_id, _ = served.premises.enrol()
    schemathesis(served, tmp_path, token, 1, agent_id)
    assert served.premises.rows("SELECT count(*) FROM assignments") == [(0,)]


def test_the_document_names_every_route_and_how_to_sign_in(shared: Served) -> None:
    document = shared.caller().get("/openapi.json").json
    paths = document["paths"]
    for path, method in (
        ("/api/queue/next", "post"),
        ("/api/assignments/{assignment_id}/outcome", "post"),
        ("/api/assignments/{assignment_id}/release", "post"),
        ("/api/assignments/{assignment_id}/extend", "post"),
        ("/api/agents/{agent_id}/status", "put"),
        ("/api/agents/{agent_id}/heartbeat", "post"),
        ("/api/health/queues", "get"),
        ("/metrics", "get"),
    ):
        assert method in paths[path], path
    for path, operations in paths.items():
        for method, operation in operations.items():
            if path.startswith("/api/"):
                assert operation["security"] == [{"token": []}], path
                assert {"401", "403", "500", "503"} <= operation["responses"].keys(), path
                assert operation["summary"], (method, path)
                assert operation["description"], (method, path)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
