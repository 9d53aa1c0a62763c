"""Is there anything to expire: one cheap look, before anybody is sent to do it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.named_sql import queries

SQL = queries("leases")


@dataclass(frozen=True)
class Due:
    """At a time of the store's: when the first lease ended that is over, if any; is an agent silent?"""

    at: datetime
    first_lease_end: datetime | None
    is_any_agent_silent: bool


def look(cursor: Cursor[TupleRow], silence: timedelta, now: datetime | None = None) -> Due:
    """What is due now, by the store's clock unless `now` is given; an agent unheard of for `silence` is
    silent."""
    row = cursor.execute(SQL["select_due"], {"silence": silence, "now": now}).fetchone()
    assert row is not None
    return Due(*row)
