"""Why there is no lead: how all known users stand, counted at most every few seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.desk.terms import NoWork
from leadq_dagster.store import standings
from leadq_dagster.store.standings import Standings

# Counting reads every known user. Agents who wait for work ask again and again, all at once.
COUNTED_EVERY_SECONDS = 5.0


@dataclass
class StandingsCache:
    """The standings, counted anew once they are a few seconds old."""

    not_called_from: int
    seconds: Callable[[], float] = time.monotonic
    _counted: Standings | None = field(default=None, init=False)
    _expires: float = field(default=0.0, init=False)

    def current(self, cursor: Cursor[TupleRow], now: datetime) -> Standings:
        """How everybody stands, as of `counted_at`."""
        if self._counted is None or self.seconds() >= self._expires:
            self._counted = standings.count(cursor, now, self.not_called_from)
            self._expires = self.seconds() + COUNTED_EVERY_SECONDS
        return self._counted


def no_work_content(answer: NoWork) -> dict[str, Any]:
    """The answer as JSON keeps it."""
    counted = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(answer.standings).items()
    }
    return {"reason": answer.reason, "standings": counted}


def no_work_from(content: Mapping[str, Any]) -> NoWork:
    """The answer that was kept."""
    counted = dict(content["standings"])
    for name in ("counted_at", "cooling_until"):
        counted[name] = datetime.fromisoformat(counted[name]) if counted[name] else None
    return NoWork(content["reason"], Standings(**counted))
