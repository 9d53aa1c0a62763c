"""What a store holds, as its own database tells it."""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Row = dict[str, Any]
Dump = dict[str, list[Row]]

# What differs between two runs that did the same work: numbers given out, when by the store's own clock, and
# which run and hour noticed.
OF_THE_RUN = {
    "id",
    "left_stay_id",
    "entered_stay_id",
    "call_queue_id",
    "dagster_run_id",
    "partition_key",
    "last_queue_check",
}

BROKEN_PROMISES = """
SELECT 'in a queue without a live stay there, or the reverse' AS promise, user_id
FROM user_call_scores AS score
FULL JOIN (SELECT user_id, queue_type FROM call_queue WHERE status <> 'left') AS stay USING (user_id)
WHERE score.current_queue_type IS DISTINCT FROM stay.queue_type
UNION ALL
SELECT 'a stay without exactly one line that tells of entering it', stay.user_id
FROM call_queue AS stay
LEFT JOIN queue_transitions AS line
    ON line.entered_stay_id = stay.id AND line.user_id = stay.user_id AND line.to_queue_type = stay.queue_type
    AND line.happened_at = stay.entered_at AND line.reason = stay.queue_reason
GROUP BY stay.id, stay.user_id
HAVING count(line.id) <> 1
UNION ALL
SELECT 'a line that tells of no stay', line.user_id
FROM queue_transitions AS line
LEFT JOIN call_queue AS stay ON stay.id = coalesce(line.entered_stay_id, line.left_stay_id)
WHERE stay.user_id IS DISTINCT FROM line.user_id
"""


def dump(store_url: str) -> Dump:
    """Every row of every table, every column."""
    with psycopg.connect(store_url, row_factory=dict_row) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            name: sorted(connection.execute(_select(name)).fetchall(), key=repr)
            for name in sorted(row["tablename"] for row in tables)
        }


def end_state(store_url: str) -> Dump:
    """The dump without what tells two equally good runs apart; checks on the way that promises are kept."""
    assert broken_promises(store_url) == []
    return {
        table: sorted(
            ({name: value for name, value in row.items() if name not in OF_THE_RUN} for row in rows), key=repr
        )
        for table, rows in dump(store_url).items()
    }


def apart_from_windows(state: Dump) -> Dump:
    """The state of the users alone, without the record of which hours were read."""
    return {table: rows for table, rows in state.items() if table != "completed_windows"}


def broken_promises(store_url: str) -> list[tuple[str, int]]:
    """Queue, stays and transitions as they contradict each other; the schema does not compare them."""
    with psycopg.connect(store_url) as connection:
        return connection.execute(BROKEN_PROMISES).fetchall()


def queues(store_url: str) -> dict[int, str | None]:
    """Every known user with their queue."""
    with psycopg.connect(store_url) as connection:
        return dict(connection.execute("SELECT user_id, current_queue_type FROM user_call_scores").fetchall())


def reasons(store_url: str) -> dict[int, str]:
    """Every user in a live stay with the reason for it."""
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT user_id, queue_reason FROM call_queue WHERE status <> 'left'")
        return dict(rows.fetchall())


def completed(store_url: str) -> list[int]:
    """The hours of the day that are recorded as read, in order."""
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT window_start FROM completed_windows ORDER BY 1").fetchall()
        return [start.astimezone(UTC).hour for (start,) in rows]


def change(store_url: str, statement: str) -> None:
    """Do to the store what another part of leadq will do."""
    with psycopg.connect(store_url) as connection:
        connection.execute(statement)


def nothing_changes(store_url: str, work: Callable[[], object]) -> None:
    """Assert that every row is the same after `work` as before."""
    before = dump(store_url)
    work()
    assert dump(store_url) == before


def _select(table: str) -> sql.Composed:
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
