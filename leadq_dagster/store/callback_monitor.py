"""Reads how well promised calls were kept over a span of time."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.callback_health import (
    CALL_AGAIN_WORDS,
    KEPT_WITHIN,
    ROUTED_WITHIN,
    WRITTEN_WITHIN,
    Measure,
)
from leadq_dagster.named_sql import queries

SQL = queries("callback_monitor")


@dataclass(frozen=True)
class CallbackHealth:
    """The measures of a span, and the open callbacks whose time to call had come at its end.

    `overdue_since`: the longest of those; None where there is none.
    """

    since: datetime
    until: datetime
    measures: tuple[Measure, ...]
    overdue: int
    overdue_since: datetime | None

    @property
    def alerts(self) -> list[Measure]:
        """The measures somebody is to look at."""
        return [measure for measure in self.measures if measure.is_alert]


def measure(cursor: Cursor[TupleRow], since: datetime, until: datetime) -> CallbackHealth:
    """How promised calls were kept in [since, until)."""
    parameters = {
        "since": since,
        "until": until,
        "call_again_words": list(CALL_AGAIN_WORDS),
        "written_within": WRITTEN_WITHIN,
        "routed_within": ROUTED_WITHIN,
        "kept_within": KEPT_WITHIN,
    }
    [row] = cursor.execute(SQL["select_measures"], parameters).fetchall()
    with_outcome, inbound, promised, to_be_promised, told, completed, routed, due, kept, to_be_kept = row[:10]
    measures = (
        Measure("inbound_calls_with_outcome", with_outcome, inbound),
        Measure("callbacks_promised", promised, to_be_promised),
        Measure("completed_calls_with_outcome", told, completed),
        Measure("callbacks_routed_in_time", routed, due),
        Measure("callbacks_kept_in_time", kept, to_be_kept),
    )
    return CallbackHealth(since, until, measures, row[10], row[11])
