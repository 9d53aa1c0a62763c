"""How full the queues are, together with how all known users stand."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries
from leadq_dagster.store import standings
from leadq_dagster.store.standings import Standings

SQL = queries("levels")


@dataclass(frozen=True)
class Levels:
    """How all known users stand, and those in a queue by queue, of one instant."""

    of_all: Standings
    by_queue: Mapping[QueueType, Standings]


def count(cursor: Cursor[TupleRow], now: datetime, not_called_from: int) -> Levels:
    """The levels as of this instant; a queue with nobody in it has all counts 0.

    Takes seconds where a million are known.
    """
    standings.plan_for_everybody(cursor)
    parameters = {"now": now, "not_called_from": not_called_from}
    rows = cursor.execute(SQL["count_by_queue"], parameters).fetchall()
    (of_all,) = (Standings(now, *counts) for _, is_of_all, *counts in rows if is_of_all)
    found = {queue: Standings(now, *counts) for queue, is_of_all, *counts in rows if queue and not is_of_all}
    empty = Standings(now, 0, 0, 0, 0, 0, 0, 0, 0, 0, None)
    return Levels(of_all, {queue: found.get(queue, empty) for queue in QueueType})
