"""The ledger held against the firm's own truth, while the firm stands still."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from leadq_dagster.domain.windows import Window
from leadq_dagster.firm.truth import Truth
from leadq_dagster.store import conversions, scores
from leadq_dagster.store.connection import Store
from leadq_dagster.store.conversions import LedgerEntry


@dataclass
class Audit:
    """Looks at what is recorded from its beginning on.

    A conversion is `unexpected` if the truth has none of that person, kind and time.
    """

    store: Store
    truth: Truth
    recorded: Counter[str] = field(default_factory=Counter)
    unexpected: int = 0
    _last_id: int = 0

    def __post_init__(self) -> None:
        self._last_id = max((entry.conversion_id for entry in self._new()), default=0)

    def look(self) -> None:
        """Compare what was recorded since the last look with what the firm shows."""
        for entry in self._new():
            self._last_id = entry.conversion_id
            self.recorded[entry.conversion_type] += 1
            self.unexpected += not self._is_true(entry)

    def missing(self, windows: Iterable[Window], but: set[int]) -> int:
        """How many stays have come to a conversion within these windows that the ledger lacks.

        Those `but` of whom something has changed since.
        """
        spans = list(windows)

        def is_within(at: datetime | None) -> bool:
            return any(at in span for span in spans)

        with self.store.transaction() as cursor:
            stays = conversions.unconverted_stays(cursor, list(scores.queues(cursor)))
        return sum(
            is_within(success.told_at)
            for stay in stays
            if stay.user_id not in but and (success := self.truth.success_of(stay.user_id, stay.queue))
        )

    def _is_true(self, entry: LedgerEntry) -> bool:
        success = self.truth.success_of(entry.user_id, entry.queue)
        if success is None or success.type != entry.conversion_type:
            return False
        return entry.converted_at == min(success.told_at or entry.detected_at, entry.detected_at)

    def _new(self) -> list[LedgerEntry]:
        with self.store.transaction() as cursor:
            return conversions.recorded_after(cursor, self._last_id)
