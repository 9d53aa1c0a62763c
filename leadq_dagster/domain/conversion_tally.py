"""The tally of a conversion check: what became of every candidate."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from leadq_dagster.domain.errors import PermanentError


@dataclass(frozen=True)
class ConversionTally:
    """The counts of one check over one window, in users with a stay in the checked queue.

    Raises PermanentError when they do not balance: every candidate is detected, already recorded, departed
    (left without a conversion, by reason), still waiting, or undecided (not found at the source). `late`
    of the detected converted before the window.
    """

    candidates: int = 0
    detected: int = 0
    already_recorded: int = 0
    departed: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    undecided: int = 0
    late: int = 0

    def __post_init__(self) -> None:
        accounted = (
            self.detected
            + self.already_recorded
            + sum(self.departed.values())
            + self.waiting
            + self.undecided
        )
        if self.candidates != accounted:
            raise PermanentError(
                f"the tally does not balance: {self.candidates} candidates, but {accounted} accounted for "
                f"({self.detected} detected, {self.already_recorded} already recorded, "
                f"{dict(self.departed)} departed, {self.waiting} waiting, {self.undecided} undecided)"
            )

    def __add__(self, other: "ConversionTally") -> "ConversionTally":
        return ConversionTally(
            candidates=self.candidates + other.candidates,
            detected=self.detected + other.detected,
            already_recorded=self.already_recorded + other.already_recorded,
            departed=Counter(self.departed) + Counter(other.departed),
            waiting=self.waiting + other.waiting,
            undecided=self.undecided + other.undecided,
            late=self.late + other.late,
        )
