"""The firm as a world of its own: seeded, driven by a clock that others move, the same every time."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from leadq_dagster.firm import life
from leadq_dagster.firm.transaction import Change, Person, Step, Transaction

SIGN_UPS_PER_DAY = 420
COMMIT_DELAY_MAX = timedelta(minutes=150)
LATE_SHARE = 0.02
ODD_SHARE = 0.06
MIGRATED_SHARE = 0.08
ENABLED_AS_TWO = 0.02
FIRST_ID = 1_001
FIRST_MIGRATED_ID = 2**53 + 1

# Sign-ups of each UTC hour, as weights: hardly any at night, most in the late morning and the afternoon.
DAY_CURVE = (
    *(0.15, 0.10, 0.08, 0.08, 0.10, 0.20, 0.50, 1.00, 1.60, 2.00, 2.00, 1.90),
    *(1.70, 1.70, 1.80, 1.80, 1.70, 1.60, 1.40, 1.20, 0.90, 0.60, 0.35, 0.20),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a firm depends on: two firms of one recipe live the same life.

    `late_share` of all transactions are committed minutes to `COMMIT_DELAY_MAX` after they wrote;
    `undated_share` of all users have neither date.
    """

    seed: int
    start: datetime
    sign_ups_per_day: float = SIGN_UPS_PER_DAY
    late_share: float = LATE_SHARE
    undated_share: float = 0.0


class Firm:
    """A claims firm whose clock is moved by `advance`; it begins empty at `start` (aware, in whole seconds).

    How the clock is moved changes nothing: one step and a thousand give the same changes in the same order.
    Raises ValueError for a naive start and for a firm that nobody signs up with.
    """

    def __init__(
        self,
        seed: int,
        start: datetime,
        sign_ups_per_day: float = SIGN_UPS_PER_DAY,
        *,
        late_share: float = LATE_SHARE,
        undated_share: float = 0.0,
    ) -> None:
        if start.tzinfo is None:
            raise ValueError("a firm's start carries a time zone")
        if sign_ups_per_day <= 0:
            raise ValueError("a firm has more than 0 sign-ups a day")
        start = start.astimezone(UTC).replace(microsecond=0)
        self.recipe = Recipe(seed, start, sign_ups_per_day, late_share, undated_share)
        self._rng = Random(seed)
        self._order = count()
        self._events: list[tuple[datetime, int, Person, Step]] = []
        self._commits: list[tuple[datetime, int, Change]] = []
        self._native = (count(FIRST_ID), count(FIRST_ID))
        self._migrated = (count(FIRST_MIGRATED_ID), count(FIRST_MIGRATED_ID))
        self._arrived_at = start
        self._expect_sign_up()

    def advance(self, until: datetime) -> list[Change]:
        """What has become visible since the last call, up to and including `until` (aware), oldest first.

        An instant that has been passed already yields nothing.
        """
        while self._events[0][0] <= until:
            at, _, person, step = heapq.heappop(self._events)
            if step is life.sign_up:
                self._expect_sign_up()
            self._live(at, person, step)
        return list(self._committed(until))

    def _committed(self, until: datetime) -> Iterator[Change]:
        while self._commits and self._commits[0][0] <= until:
            yield heapq.heappop(self._commits)[2]

    def _live(self, at: datetime, person: Person, step: Step) -> None:
        transaction = Transaction(self._rng, at, person, ODD_SHARE)
        step(transaction)
        for delay, follow_up in transaction.follow_ups:
            heapq.heappush(self._events, (at + delay, next(self._order), person, follow_up))
        self._commit(transaction)

    def _commit(self, transaction: Transaction) -> None:
        """Make it visible, late at times; who writes to the same person meanwhile waits for the lock."""
        person, delay = transaction.person, timedelta()
        if transaction.chance(self.recipe.late_share):
            delay = transaction.between(timedelta(minutes=2), COMMIT_DELAY_MAX - timedelta(seconds=1))
        visible_at = person.locked_until = max(transaction.at + delay, person.locked_until)
        for draft in transaction.drafts:
            change = Change(
                draft.table,
                draft.key,
                draft.is_insert,
                draft.row,
                draft.state,
                transaction.at,
                visible_at,
            )
            heapq.heappush(self._commits, (visible_at, next(self._order), change))

    def _expect_sign_up(self) -> None:
        at = self._next_sign_up()
        user_ids, claim_ids = self._migrated if self._rng.random() < MIGRATED_SHARE else self._native
        person = Person(
            user_id=next(user_ids),
            claim_ids=claim_ids,
            is_undated=self._rng.random() < self.recipe.undated_share,
            signature_file_id=f"signature-{self._rng.getrandbits(64):016x}",
            enabled_flag=2 if self._rng.random() < ENABLED_AS_TWO else 1,
            locked_until=at,
        )
        heapq.heappush(self._events, (at, next(self._order), person, life.sign_up))

    def _next_sign_up(self) -> datetime:
        """Thinning: try at the pace of the busiest hour, keep a try with the weight of its own hour.

        Arrivals are kept exactly: from whole seconds on, a large firm would fall behind its pace.
        """
        busiest = max(DAY_CURVE)
        seconds_between = 86_400 * (sum(DAY_CURVE) / 24) / (self.recipe.sign_ups_per_day * busiest)
        while True:
            self._arrived_at += timedelta(seconds=self._rng.expovariate(1 / seconds_between))
            if self._rng.random() * busiest < DAY_CURVE[self._arrived_at.hour]:
                return self._arrived_at.replace(microsecond=0) + timedelta(seconds=1)
