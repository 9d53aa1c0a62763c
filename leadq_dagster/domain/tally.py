"""The tally of a stage: every row it saw is accounted for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from leadq_dagster.domain.errors import PermanentError


@dataclass(frozen=True)
class Tally:
    """The counts of one stage over one window, in users.

    Raises PermanentError when they do not balance: seen = stored + already known + refused.
    `late` of the stored ones belong to an earlier, already completed hour; `queued` of the stored
    and known ones entered a queue. `converted` are conversions recorded on the way, of earlier stays.
    """

    seen: int = 0
    stored: int = 0
    already_known: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    queued: int = 0
    late: int = 0
    converted: int = 0

    def __post_init__(self) -> None:
        accounted = self.stored + self.already_known + sum(self.refused.values())
        if self.seen != accounted:
            raise PermanentError(
                f"the tally does not balance: seen {self.seen}, but stored {self.stored} "
                f"+ already known {self.already_known} + refused {dict(self.refused)} = {accounted}"
            )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            seen=self.seen + other.seen,
            stored=self.stored + other.stored,
            already_known=self.already_known + other.already_known,
            refused=Counter(self.refused) + Counter(other.refused),
            queued=self.queued + other.queued,
            late=self.late + other.late,
            converted=self.converted + other.converted,
        )
