"""Why there is no lead: how all known users stand, counted at most every few seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from threading import Event, Thread
from typing import Any

from leadq_dagster.desk.log import uncounted
from leadq_dagster.desk.terms import NoWork
from leadq_dagster.domain.errors import LeadqError
from leadq_dagster.store import assignments, standings
from leadq_dagster.store.connection import Store
from leadq_dagster.store.standings import Standings

# Counting reads every known user. Agents who wait for work ask again and again, all at once.
COUNTED_EVERY_SECONDS = 5.0
# Nor is more than a twentieth of the time spent on it, however many users are known.
COUNTING_SHARE = 20
# A count that is older is not told: who asks waits for the next one.
TOLD_FOR_SECONDS = 60.0


@dataclass
class StandingsCache:
    """The standings, counted anew once they are a few seconds old.

    By a thread of its own: in the transaction that hands out leads it would hold locks while it counts, and
    time out with it; in the one that serves requests they would all wait.
    """

    store: Store
    not_called_from: int
    seconds: Callable[[], float] = time.monotonic
    _counted: Standings | None = field(default=None, init=False)
    _counted_at: float = field(default=0.0, init=False)
    _due_at: float = field(default=0.0, init=False)
    _is_idle: Event = field(default_factory=Event, init=False, repr=False)

    def __post_init__(self) -> None:
        self._is_idle.set()

    def recent(self, now: datetime | None = None) -> Standings | None:
        """How everybody stood at `counted_at`; None if that is being counted. Begins to count when due."""
        moment = self.seconds()
        if moment >= self._due_at and self._is_idle.is_set():
            self._is_idle.clear()
            Thread(target=self._count, args=(now,), name="leadq-standings", daemon=True).start()
        told_until = max(self._counted_at + TOLD_FOR_SECONDS, self._due_at + COUNTED_EVERY_SECONDS)
        return self._counted if moment < told_until else None

    def wait(self, timeout_seconds: float) -> None:
        """Until it is counted, or so long."""
        self._is_idle.wait(timeout_seconds)

    def _count(self, now: datetime | None) -> None:
        began = self.seconds()
        try:
            with self.store.transaction() as cursor:
                moment, _ = assignments.clock(cursor, now)
                self._counted = standings.count(cursor, moment, self.not_called_from)
                self._counted_at = self.seconds()
        except BaseException as error:  # noqa: BLE001  a thread of its own has nobody to tell
            uncounted(str(error) if isinstance(error, LeadqError) else type(error).__name__)
        finally:
            ended = self.seconds()
            self._due_at = ended + max(COUNTED_EVERY_SECONDS, COUNTING_SHARE * (ended - began))
            self._is_idle.set()


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
