"""What goes wrong in a simulated world, hour by hour, all of it from one seed."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from leadq_dagster.domain.windows import HOUR

DOWN_EACH_HOUR = 0.08
DOWN_HOURS_MAX = 30
LAG_CHANGES_EACH_HOUR = 0.3
LAGS_IN_MINUTES = (0, 0, 1, 90, 300)
KILLED_OF_ALL_RUNS = 0.15


class KilledError(Exception):
    """The run ends here."""


@dataclass
class Troubles:
    """The scheduler is down for hours, the replica lags, runs are killed; from `quiet_from` on nothing is."""

    rng: Random
    quiet_from: datetime
    lag: timedelta = timedelta()
    counted: Counter[str] = field(default_factory=Counter)
    _down_until: datetime | None = None
    _is_quiet: bool = False

    def begin_hour(self, instant: datetime) -> None:
        """Throw the dice for the hour that begins."""
        self._is_quiet = instant >= self.quiet_from
        if self._is_quiet:
            self._down_until, self.lag = None, timedelta()
            return
        if self.is_down_at(instant):
            return
        if self.rng.random() < DOWN_EACH_HOUR:
            self._down_until = instant + self.rng.randint(1, DOWN_HOURS_MAX) * HOUR
            self.counted["outages"] += 1
        if self.rng.random() < LAG_CHANGES_EACH_HOUR:
            self.lag = timedelta(minutes=self.rng.choice(LAGS_IN_MINUTES))

    def is_down_at(self, instant: datetime) -> bool:
        """Whether nobody runs anything."""
        return self._down_until is not None and instant < self._down_until

    def kill_now_and_then(self, seen: int) -> None:
        """The progress of a run, which is killed after one of its pages."""
        if not self._is_quiet and self.rng.random() < KILLED_OF_ALL_RUNS:
            self.counted["killed runs"] += 1
            raise KilledError
