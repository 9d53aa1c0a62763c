"""Why there is no lead: how all known users stand, counted at most every few seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.errors import TransientError
from leadq_dagster.store import assignments, standings
from leadq_dagster.store.connection import Store
from leadq_dagster.store.standings import Standings

# Counting reads every known user. Agents who wait for work ask again and again, all at once.
COUNTED_EVERY_SECONDS = 5.0
# Nor is more than a twentieth of the time spent on it, however many users are known.
COUNTING_SHARE = 20


@dataclass
class StandingsCache:
    """The standings, counted anew once they are a few seconds old.

    Not in the transaction that hands out leads: it would hold its locks while it counts, and fail with it.
    """

    store: Store
    not_called_from: int
    seconds: Callable[[], float] = time.monotonic
    _counted: Standings | None = field(default=None, init=False)
    _expires: float = field(default=0.0, init=False)

    def recent(self) -> Standings | None:
        """How everybody stands, as of `counted_at`; None if it is to be counted first."""
        return self._counted if self.seconds() < self._expires else None

    def count(self, now: datetime | None) -> None:
        """Count. If the store does not manage in time, the last count, if there is one, stands for longer."""
        began = self.seconds()
        try:
            with self.store.transaction() as cursor:
                moment, _ = assignments.clock(cursor, now)
                self._counted = standings.count(cursor, moment, self.not_called_from)
        except TransientError:
            if self._counted is None:
                return
        ended = self.seconds()
        self._expires = ended + max(COUNTED_EVERY_SECONDS, COUNTING_SHARE * (ended - began))


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
