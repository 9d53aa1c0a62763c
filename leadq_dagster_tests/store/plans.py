"""What the server does for a statement of ours, under the plan that the desk's connections keep."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import ClientCursor, Connection
from psycopg.rows import TupleRow

from leadq_dagster.store.connection import SET_SESSION_LIMITS
from leadq_dagster_tests.test_named_sql import PARAMETER, prepared

# Users from 1,000,000 on wait in unsigned_users, all with one score, available since one instant; agents too.
# Made by the server, past the door, as no number of users that a test can wait for would show a bad plan.
FILL = """
SET session_replication_role = replica;
INSERT INTO user_call_scores (user_id, current_queue_type, discovered_at, next_call_after)
SELECT number, 'unsigned_users', %(available_from)s, %(available_from)s
FROM generate_series(%(first)s, %(last)s) AS number;
INSERT INTO call_queue (user_id, queue_type, queue_reason, priority_score, available_from, entered_at)
SELECT number, 'unsigned_users', 'no_signature', %(score)s, %(available_from)s, %(available_from)s
FROM generate_series(%(first)s, %(last)s) AS number;
SET session_replication_role = origin;
"""


@dataclass(frozen=True)
class Plan:
    """An executed plan: the rows that its scans met, also those thrown away, and the pages it read."""

    root: Mapping[str, Any]

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.get("Plans", []))

    @property
    def rows(self) -> int:
        return sum(
            round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
            for node in self.nodes()
            if node["Node Type"].endswith("Scan") and "Relation Name" in node
        )

    @property
    def pages(self) -> int:
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def scanned_whole(self) -> set[str]:
        """The tables of which it read every row."""
        return {node["Relation Name"] for node in self.nodes() if node["Node Type"] == "Seq Scan"}


def explain(plain: Connection[TupleRow], statement: str, parameters: Mapping[str, Any]) -> Plan:
    """Run the statement as the desk does, take it back, and tell how it was done."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    with plain.transaction(force_rollback=True):
        plain.execute(SET_SESSION_LIMITS, {"limit": "30s"})
        plain.execute(prepared(statement).encode())
        cursor = ClientCursor(plain)
        values = ", ".join(f"%({name})s" for name in names)
        cursor.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE attempt ({values})".encode(), parameters
        )
        row = cursor.fetchone()
        plain.execute("DEALLOCATE attempt")
    assert row is not None
    told = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return Plan(told[0]["Plan"])


def fill(plain: Connection[TupleRow], size: int, **differing: Any) -> None:
    """So many waiting leads behind each other; `first` is the first user's id, else the next free one."""
    row = plain.execute("SELECT coalesce(max(user_id), 999999) + 1 FROM user_call_scores").fetchone()
    assert row is not None
    first = differing.pop("first", row[0])
    ClientCursor(plain).execute(
        FILL.encode(), {"first": first, "last": first + size - 1, "score": 0, **differing}
    )
    plain.execute("VACUUM ANALYZE call_queue")
    plain.execute("VACUUM ANALYZE user_call_scores")
