"""The conversion ledger: what was recorded, once per stay and type, and whose it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.conversion_rule import Conversion
from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.windows import Window
from leadq_dagster.named_sql import queries

SQL = queries("conversions")


@dataclass(frozen=True)
class UnconvertedStay:
    """A user's last stay in a queue, live or closed, that no conversion belongs to."""

    user_id: int
    stay_id: int
    queue: QueueType


@dataclass(frozen=True)
class DueConversion:
    """A conversion that the source shows for a stay, and the partition that noticed it."""

    stay: UnconvertedStay
    conversion: Conversion
    partition_key: str | None


@dataclass(frozen=True)
class RecordedConversion:
    """A conversion that was just written."""

    conversion_id: int
    user_id: int
    stay_id: int
    queue: QueueType
    converted_at: datetime


@dataclass(frozen=True)
class LedgerEntry:
    """What a conversion says of itself."""

    conversion_id: int
    user_id: int
    queue: QueueType
    conversion_type: str
    converted_at: datetime
    detected_at: datetime


def recorded_after(cursor: Cursor[TupleRow], conversion_id: int) -> list[LedgerEntry]:
    """The conversions with a higher id, in the order of ids."""
    rows = cursor.execute(SQL["select_recorded_after"], {"after": conversion_id})
    return [LedgerEntry(row[0], row[1], QueueType(row[2]), *row[3:]) for row in rows]


def unconverted_stays(cursor: Cursor[TupleRow], user_ids: Sequence[int]) -> list[UnconvertedStay]:
    """The last stay of each of these users in each queue, where it has no conversion."""
    rows = cursor.execute(SQL["select_unconverted"], {"user_ids": list(user_ids)})
    return [UnconvertedStay(user_id, stay_id, QueueType(queue)) for user_id, stay_id, queue in rows]


def candidates(cursor: Cursor[TupleRow], queue: QueueType, user_ids: Sequence[int]) -> dict[int, bool]:
    """Those of these users who have been in this queue: whether their last stay in it has its conversion."""
    rows = cursor.execute(SQL["select_candidates"], {"user_ids": list(user_ids), "queue_type": queue})
    return dict(rows.fetchall())


def called_users(cursor: Cursor[TupleRow], within: Window, after: int, rows_max: int) -> list[int]:
    """The users with ids above `after` and a call that began in the window; the first `rows_max` of them."""
    parameters = {"start": within.start, "end": within.end, "after": after, "rows_max": rows_max}
    return [user_id for (user_id,) in cursor.execute(SQL["select_called"], parameters)]


def record(
    cursor: Cursor[TupleRow], due: Sequence[DueConversion], provenance: Provenance, now: datetime
) -> list[RecordedConversion]:
    """Write these conversions and credit them; those that were not recorded before.

    The time of a conversion is the source's, and never later than `now`, its detection.
    """
    if not due:
        return []
    rows = cursor.execute(
        SQL["insert_conversions"],
        {
            "user_ids": [item.stay.user_id for item in due],
            "stay_ids": [item.stay.stay_id for item in due],
            "queue_types": [item.stay.queue for item in due],
            "conversion_types": [item.conversion.type for item in due],
            "reasons": [item.conversion.type.value.replace("_", " ") for item in due],
            "converted_ats": [item.conversion.converted_at for item in due],
            "partition_keys": [item.partition_key for item in due],
            "source": provenance.source,
            "run_id": provenance.run_id,
            "now": now,
        },
    )
    recorded = [RecordedConversion(row[0], row[1], row[2], QueueType(row[3]), row[4]) for row in rows]
    credit(cursor, [item.conversion_id for item in recorded])
    return recorded


def credit(cursor: Cursor[TupleRow], conversion_ids: Sequence[int]) -> int:
    """Give these conversions to the agents whose calls earned them; how many that changed.

    Twice is the same as once, so any period can be replayed.
    """
    rows = cursor.execute(SQL["credit_conversions"], {"conversion_ids": list(conversion_ids)})
    return len(rows.fetchall())


def to_recredit(cursor: Cursor[TupleRow], since: datetime) -> list[int]:
    """The ids of conversions whose user has a call that was recorded or corrected at or after `since`."""
    rows = cursor.execute(SQL["select_to_recredit"], {"since": since})
    return [conversion_id for (conversion_id,) in rows]


def page_of_unconverted(
    cursor: Cursor[TupleRow], since: datetime | None, after: int, rows_max: int
) -> dict[int, int]:
    """The next stays without a conversion, by id above `after`, with their users.

    With `since`, only live ones and those that ended at or after it.
    """
    parameters = {"since": since, "after": after, "rows_max": rows_max}
    return dict(cursor.execute(SQL["select_unconverted_page"], parameters).fetchall())


def count_unconverted(cursor: Cursor[TupleRow], since: datetime | None, after: int) -> int:
    """How many stays `page_of_unconverted` has in all."""
    row = cursor.execute(SQL["count_unconverted"], {"since": since, "after": after}).fetchone()
    assert row is not None
    count: int = row[0]
    return count
