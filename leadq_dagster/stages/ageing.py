"""S10: scores grow with the time in the queue: a function of the date, whoever ran when and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.score_rules import CURRENT_RULES, ScoreChange, ScoreRules, change_of_age
from leadq_dagster.store import score_events
from leadq_dagster.store.connection import Store
from leadq_dagster.store.score_events import BEFORE_ALL, AgeingStay

# So many stays at most are locked at once: a desk that takes meanwhile passes over them, one by one.
BATCH_ROWS = 1_000


@dataclass(frozen=True)
class AgeingTally:
    """What became of every live stay that ageing looked at: aged, unchanged, or left the queue meanwhile.

    Raises PermanentError when these do not add up to `seen`. `aged_by` is what the scores grew by together.
    """

    seen: int = 0
    aged: int = 0
    unchanged: int = 0
    left: int = 0
    aged_by: int = 0

    def __post_init__(self) -> None:
        accounted = self.aged + self.unchanged + self.left
        if self.seen != accounted:
            raise PermanentError(
                f"the tally does not balance: {self.seen} stays seen, but {accounted} accounted for "
                f"({self.aged} aged, {self.unchanged} unchanged, {self.left} left meanwhile)"
            )

    def __add__(self, other: "AgeingTally") -> "AgeingTally":
        return AgeingTally(
            seen=self.seen + other.seen,
            aged=self.aged + other.aged,
            unchanged=self.unchanged + other.unchanged,
            left=self.left + other.left,
            aged_by=self.aged_by + other.aged_by,
        )


def age_scores(
    as_of: datetime,
    *,
    store: Store,
    now: datetime,
    rules: ScoreRules = CURRENT_RULES,
    batch_rows: int = BATCH_ROWS,
) -> AgeingTally:
    """Bring the score of every live stay to the age that it has at `as_of`.

    What a stay is due depends on when it began and on `as_of` alone: twice is the same as once, a day left
    out is made up for by the next one, and an earlier day after a later one changes nothing. In pages by
    user, each a transaction of its own: cut off midway, it is finished by another run.
    """
    tally, after = AgeingTally(), BEFORE_ALL
    while True:
        aged, last = _age_page(store, after, batch_rows, as_of, rules, now)
        if last is None:
            return tally
        tally, after = tally + aged, last


def _age_page(
    store: Store, after: int, batch_rows: int, as_of: datetime, rules: ScoreRules, now: datetime
) -> tuple[AgeingTally, int | None]:
    """Age the stays of the next users; the last of them, None if there was none."""
    with store.transaction() as cursor:
        page = score_events.live_page(cursor, after, batch_rows)
        last = page[-1].user_id if page else None
        expected = _due(page, as_of, rules)
        if not expected:
            return AgeingTally(seen=len(page), unchanged=len(page)), last
        # Others moved on until we had the locks: what is due is decided again by what is there now.
        locked = score_events.lock(cursor, [stay.user_id for stay, _ in expected])
        due = _due(locked, as_of, rules)
        aged = score_events.record_ageing(cursor, due, as_of, rules.version, now) if due else 0
    tally = AgeingTally(
        seen=len(page),
        aged=aged,
        unchanged=len(page) - len(expected) + len(locked) - len(due),
        left=len(expected) - len(locked),
        aged_by=sum(change.age for _, change in due),
    )
    return tally, last


def _due(
    stays: Sequence[AgeingStay], as_of: datetime, rules: ScoreRules
) -> list[tuple[AgeingStay, ScoreChange]]:
    changes = ((stay, change_of_age(rules, stay.entered_at, as_of, stay.aged)) for stay in stays)
    return [(stay, change) for stay, change in changes if change.total]
