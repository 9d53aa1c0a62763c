"""The tallies of a reconciliation: what became of every live stay, and of every user of the source."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from leadq_dagster.domain.errors import PermanentError


@dataclass(frozen=True)
class StayTally:
    """The counts of one look at the live stays.

    Each is in one class: `right`; `moved` (had to be, by the reason why); `adopted` (was there for a promised
    call only and is a lead from now on); `early` (changed at the source so lately that the hourly jobs come
    to it themselves); `spared` (with an agent); `overtaken` (moved by somebody else meanwhile); `undecided`
    (not found at the source). `converted` are conversions recorded on the way. Raises PermanentError when
    they do not balance.
    """

    seen: int = 0
    right: int = 0
    moved: Mapping[str, int] = field(default_factory=dict)
    adopted: int = 0
    early: int = 0
    spared: int = 0
    overtaken: int = 0
    undecided: int = 0
    converted: int = 0

    def __post_init__(self) -> None:
        others = self.adopted + self.early + self.spared + self.overtaken + self.undecided
        _balance(self.seen, self.right + sum(self.moved.values()) + others, repr(self))

    def __add__(self, other: "StayTally") -> "StayTally":
        return StayTally(
            seen=self.seen + other.seen,
            right=self.right + other.right,
            moved=Counter(self.moved) + Counter(other.moved),
            adopted=self.adopted + other.adopted,
            early=self.early + other.early,
            spared=self.spared + other.spared,
            overtaken=self.overtaken + other.overtaken,
            undecided=self.undecided + other.undecided,
            converted=self.converted + other.converted,
        )


@dataclass(frozen=True)
class UserTally:
    """The counts of one look at every user of the source.

    Each is in one class: `settled` (in a queue already, or suppressed for good); `right` (known, and rightly
    in no queue); `refused` (disabled); `stored` (newly known); `entered` (known, and wrongly in no queue);
    `early` and `overtaken` as above. `queued` of the stored and entered ones are in a queue now. `converted`
    are conversions recorded on the way. Raises PermanentError when they do not balance.
    """

    seen: int = 0
    settled: int = 0
    right: int = 0
    refused: int = 0
    stored: int = 0
    entered: int = 0
    early: int = 0
    overtaken: int = 0
    queued: int = 0
    converted: int = 0

    def __post_init__(self) -> None:
        looked_at = self.right + self.refused + self.stored + self.entered + self.early + self.overtaken
        _balance(self.seen, self.settled + looked_at, repr(self))

    def __add__(self, other: "UserTally") -> "UserTally":
        return UserTally(
            seen=self.seen + other.seen,
            settled=self.settled + other.settled,
            right=self.right + other.right,
            refused=self.refused + other.refused,
            stored=self.stored + other.stored,
            entered=self.entered + other.entered,
            early=self.early + other.early,
            overtaken=self.overtaken + other.overtaken,
            queued=self.queued + other.queued,
            converted=self.converted + other.converted,
        )


def _balance(seen: int, accounted: int, tally: str) -> None:
    if seen != accounted:
        raise PermanentError(
            f"the tally does not balance: seen {seen}, but {accounted} accounted for: {tally}"
        )
