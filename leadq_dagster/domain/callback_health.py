"""How well promised calls are kept: shares with a numerator and a denominator each, and when they alert.

What each counts, with an example computed by hand, stands in docs/measures.md.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

WARNING_BELOW, CRITICAL_BELOW = 0.8, 0.5
# A callback agreed in a call is written down by so long after its end.
WRITTEN_WITHIN = timedelta(hours=1)
# Reserved for an agent by so long after the promised time: looks are a minute apart.
ROUTED_WITHIN = timedelta(minutes=1)
# Kept: the call began no earlier or later than that.
KEPT_WITHIN = timedelta(minutes=15)
# What call records say when the user is to be called again, in lower case.
CALL_AGAIN_WORDS = ("call_back", "callback", "callback_requested", "callback_scheduled")


class Level(StrEnum):
    """Whether a share is as it should be. No data is neither good nor bad."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    NO_DATA = "no_data"


@dataclass(frozen=True)
class Measure:
    """One share: `numerator` of `denominator`. More is better."""

    name: str
    numerator: int
    denominator: int

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None where there is nothing to be a share of."""
        return self.numerator / self.denominator if self.denominator else None

    @property
    def level(self) -> Level:
        """Below 80 % a warning, below 50 % critical."""
        if self.share is None:
            return Level.NO_DATA
        if self.share < CRITICAL_BELOW:
            return Level.CRITICAL
        return Level.WARNING if self.share < WARNING_BELOW else Level.OK

    @property
    def is_alert(self) -> bool:
        """Whether somebody is to look at it."""
        return self.level in (Level.WARNING, Level.CRITICAL)

    def __str__(self) -> str:
        told = "no data" if self.share is None else f"{self.share:.1%}"
        return f"{self.name}: {told} ({self.numerator} of {self.denominator})"
