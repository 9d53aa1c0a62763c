"""Which hours of the source an asset has read to their end."""

from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.windows import Window
from leadq_dagster.named_sql import queries

SQL = queries("windows")


def completed_hours(cursor: Cursor[TupleRow], asset: str, within: Window) -> list[Window]:
    """The hours that begin within the window and that the asset has completed, in order."""
    rows = cursor.execute(SQL["select_completed"], {"asset": asset, "start": within.start, "end": within.end})
    return [Window.hour_of(start) for (start,) in rows]


def complete_hours(
    cursor: Cursor[TupleRow], window: Window, observed_until: datetime, provenance: Provenance, now: datetime
) -> None:
    """Record that the actor has read each whole hour of the window; one recorded before keeps its record.

    An hour that the window only touches is not complete: who is found in the rest of it later is not late.
    """
    whole = [hour for hour in window.hours() if window.start <= hour.start and hour.end <= window.end]
    cursor.execute(
        SQL["insert_completed"],
        {
            "asset": provenance.actor,
            "window_starts": [hour.start for hour in whole],
            "observed_until": observed_until,
            "now": now,
            "run_id": provenance.run_id,
        },
    )
