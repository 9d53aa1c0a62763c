"""Score events: what changed a stay's score; written by ageing, read by whoever recomputes a score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.outcomes import Outcome
from leadq_dagster.domain.score_history import ScoredStay, ScoreEvent
from leadq_dagster.domain.score_rules import ScoreChange
from leadq_dagster.named_sql import queries

SQL = queries("score_events")
# Before every user, for the first page.
BEFORE_ALL = -(2**63)


@dataclass(frozen=True)
class AgeingStay:
    """A live stay: since when, and how much of its user's score is for age already."""

    user_id: int
    stay_id: int
    entered_at: datetime
    aged: int


def live_page(cursor: Cursor[TupleRow], after: int, rows_max: int) -> list[AgeingStay]:
    """The live stays of the next users with ids above `after`, in the order of users."""
    rows = cursor.execute(SQL["select_live_page"], {"after": after, "rows_max": rows_max})
    return [AgeingStay(*row) for row in rows]


def lock(cursor: Cursor[TupleRow], user_ids: Sequence[int]) -> list[AgeingStay]:
    """The live stays of these users, locked with their users until the transaction ends; as they are then."""
    parameters = {"user_ids": list(user_ids)}
    cursor.execute(SQL["lock_scores"], parameters)
    return [AgeingStay(*row) for row in cursor.execute(SQL["lock_stays"], parameters)]


def record_ageing(
    cursor: Cursor[TupleRow],
    due: Sequence[tuple[AgeingStay, ScoreChange]],
    aged_to: datetime,
    rules_version: int,
    now: datetime,
) -> int:
    """Add these changes to the scores of locked stays and keep an event of each; how many events."""
    parameters = {
        "user_ids": [stay.user_id for stay, _ in due],
        "stay_ids": [stay.stay_id for stay, _ in due],
        "age_changes": [change.age for _, change in due],
        "aged_to": aged_to,
        "rules_version": rules_version,
        "now": now,
    }
    row = cursor.execute(SQL["record_ageing"], parameters).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def scored_page(cursor: Cursor[TupleRow], after: int, rows_max: int) -> list[ScoredStay]:
    """The live stays of the next users with ids above `after`, with their scores and events of one moment."""
    rows = cursor.execute(SQL["select_scored_page"], {"after": after, "rows_max": rows_max})
    return _scored(rows)


def scored_stay(cursor: Cursor[TupleRow], user_id: int) -> ScoredStay | None:
    """The user's last stay, live or left, with their score and its events; None before the first stay."""
    scored = _scored(cursor.execute(SQL["select_scored_stay"], {"user_id": user_id}))
    return scored[0] if scored else None


def _scored(rows: Iterable[TupleRow]) -> list[ScoredStay]:
    """One stay for each run of rows with the same first columns, which are the stay's."""
    scored = []
    for stay, of_stay in groupby(rows, key=lambda row: row[:10]):
        user_id, stay_id, entered_at, is_live, is_raised, priority_score, base, *stored = stay
        events = tuple(_event(row[10:]) for row in of_stay if row[13] is not None)
        scored.append(
            ScoredStay(
                user_id, stay_id, entered_at, is_live, is_raised, priority_score, base,
                ScoreChange(*stored), events,
            )
        )  # fmt: skip
    return scored


def _event(columns: Sequence[Any]) -> ScoreEvent:
    *changes, version, happened_at, outcome, attempt, aged_to = columns
    return ScoreEvent(
        ScoreChange(*changes), version, happened_at, Outcome(outcome) if outcome else None, attempt, aged_to
    )
