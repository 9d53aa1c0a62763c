"""The tally of a conversion check: what became of every candidate."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from leadq_dagster.domain.errors import PermanentError


@dataclass(frozen=True)
class ConversionTally:
    """The counts of one check over one window, in users with a stay in the checked queue.

    Raises PermanentError when they do not balance: every candidate is detected, already recorded, departed
    (left without a conversion, by reason), departed earlier, still waiting in the queue, or undecided (not
    found at the source). `late` of the detected converted before the window. `also_detected` are conversions
    of the other queue that the check recorded of the same people: no candidates, but in the ledger.
    """

    candidates: int = 0
    detected: int = 0
    already_recorded: int = 0
    departed: Mapping[str, int] = field(default_factory=dict)
    departed_earlier: int = 0
    waiting: int = 0
    undecided: int = 0
    late: int = 0
    also_detected: int = 0

    def __post_init__(self) -> None:
        accounted = (
            self.detected
            + self.already_recorded
            + sum(self.departed.values())
            + self.departed_earlier
            + self.waiting
            + self.undecided
        )
        if self.candidates != accounted:
            raise PermanentError(
                f"the tally does not balance: {self.candidates} candidates, but {accounted} accounted for "
                f"({self.detected} detected, {self.already_recorded} already recorded, "
                f"{dict(self.departed)} departed, {self.departed_earlier} departed earlier, "
                f"{self.waiting} waiting, {self.undecided} undecided)"
            )

    @property
    def recorded(self) -> int:
        """Every conversion that the check wrote."""
        return self.detected + self.also_detected

    def __add__(self, other: "ConversionTally") -> "ConversionTally":
        return ConversionTally(
            candidates=self.candidates + other.candidates,
            detected=self.detected + other.detected,
            already_recorded=self.already_recorded + other.already_recorded,
            departed=Counter(self.departed) + Counter(other.departed),
            departed_earlier=self.departed_earlier + other.departed_earlier,
            waiting=self.waiting + other.waiting,
            undecided=self.undecided + other.undecided,
            late=self.late + other.late,
            also_detected=self.also_detected + other.also_detected,
        )
