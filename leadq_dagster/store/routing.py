"""Routing: which promised calls are due, who is at work, and raising a user's stay to the front."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg import Cursor
from psycopg.rows import TupleRow

from leadq_dagster.domain.callback_routing import Crew, Decision, DueCallback, LiveStay, Member, Route
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.named_sql import queries

SQL = queries("routing")

Place = tuple[datetime, int]
FIRST: Place = (datetime.min.replace(tzinfo=UTC), 0)


@dataclass(frozen=True)
class LockedUser:
    """A known user, locked; `suppressed_reason` says why they are never called, if they are not."""

    user_id: int
    suppressed_reason: str | None


@dataclass(frozen=True)
class LockedStay:
    """A user's live stay, locked, and with whom it is: `assignment_id` while it is with an agent."""

    id: int
    user_id: int
    queue: QueueType
    is_assigned: bool
    assigned_to_agent_id: int | None
    callback_id: int | None
    reserved_for_agent_id: int | None
    queue_reason: str
    assignment_id: int | None


def due(cursor: Cursor[TupleRow], until: datetime, after: Place, rows_max: int) -> list[DueCallback]:
    """Open callbacks to be called by then, the first due first, behind a place (time, id)."""
    parameters = {"until": until, "after": after[0], "after_id": after[1], "rows_max": rows_max}
    return [_due(row) for row in cursor.execute(SQL["select_due"], parameters)]


def due_of(cursor: Cursor[TupleRow], callback_ids: Iterable[int], until: datetime) -> list[DueCallback]:
    """Of these callbacks, those still open and to be called by then."""
    parameters = {"callback_ids": list(callback_ids), "until": until}
    return [_due(row) for row in cursor.execute(SQL["select_due_of_ids"], parameters)]


def crew(cursor: Cursor[TupleRow], heard_since: datetime) -> Crew:
    """Who is at work, as of now; whoever was not heard of since is silent."""
    rows = cursor.execute(SQL["select_crew"], {"heard_since": heard_since})
    return Crew(
        Member(number, is_on_break, is_heard, is_holding, since, tuple(map(QueueType, allowed)), reserved)
        for number, is_on_break, is_heard, is_holding, since, allowed, reserved in rows
    )


def lock_users(cursor: Cursor[TupleRow], user_ids: Iterable[int]) -> dict[int, LockedUser]:
    """These users, locked until the transaction ends; unknown ones are absent."""
    rows = cursor.execute(SQL["lock_users"], {"user_ids": list(user_ids)})
    return {row[0]: LockedUser(row[0], row[2]) for row in rows}


def lock_free_users(cursor: Cursor[TupleRow], user_ids: Iterable[int]) -> set[int]:
    """Of these users those at whom nobody else is at work, locked with their live stays; waits for nobody."""

    def users(statement: LiteralString, among: Iterable[int]) -> set[int]:
        return {user_id for (user_id,) in cursor.execute(statement, {"user_ids": list(among)})}

    free = users(SQL["lock_users_free"], user_ids)
    locked = users(SQL["lock_stays_free"], free)
    return free - (users(SQL["select_users_with_stay"], free) - locked)


def lock_stays(cursor: Cursor[TupleRow], user_ids: Iterable[int]) -> dict[int, LockedStay]:
    """The live stays of these users by user, locked after the users are."""
    rows = cursor.execute(SQL["lock_stays"], {"user_ids": list(user_ids)})
    return {row[1]: LockedStay(row[0], row[1], QueueType(row[2]), *row[3:]) for row in rows}


def raise_stays(cursor: Cursor[TupleRow], routes: Sequence[Route], now: datetime) -> None:
    """Put these users' waiting stays in front, callable from the promised time, and notify."""
    stays = [route.callback.stay for route in routes if route.callback.stay]
    columns: dict[str, Any] = {
        "stay_ids": [stay.id for stay in stays],
        "callback_ids": [route.callback.id for route in routes],
        "priorities": [route.priority for route in routes],
        "agent_ids": [route.agent_id for route in routes],
        "available_froms": [route.callback.call_after for route in routes],
        "queue_types": [stay.queue for stay in stays],
        "are_for_accepters": [route.decision is Decision.FOR_ACCEPTER for route in routes],
        "now": now,
    }
    cursor.execute(SQL["raise_stays"], columns)
    cursor.execute(SQL["follow_stays"], columns)
    notify(cursor, [(route.callback.id, route.agent_id, route.decision) for route in routes], now)


def latest(cursor: Cursor[TupleRow], user_id: int) -> datetime:
    """The store's own time, or that of what last moved this locked user, if its clock was ahead then."""
    row = cursor.execute(SQL["select_latest"], {"user_id": user_id}).fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def lower_stays(cursor: Cursor[TupleRow], not_before: Mapping[int, datetime | None], now: datetime) -> None:
    """Give the raised stays of these users back their own place, callable not before that time if one is
    given."""
    columns = {"user_ids": list(not_before), "not_befores": list(not_before.values()), "now": now}
    cursor.execute(SQL["lower_stays"], columns)


def notify(
    cursor: Cursor[TupleRow], decisions: Sequence[tuple[int, int | None, Decision]], now: datetime
) -> None:
    """Write down what was decided about these callbacks, and who was told."""
    columns = {
        "callback_ids": [callback_id for callback_id, _, _ in decisions],
        "agent_ids": [agent_id for _, agent_id, _ in decisions],
        "decisions": [decision for _, _, decision in decisions],
        "now": now,
    }
    cursor.execute(SQL["insert_notifications"], columns)


def _due(row: Sequence[Any]) -> DueCallback:
    *callback, stay_id, queue, is_assigned, callback_id, reserved = row
    stay = LiveStay(stay_id, QueueType(queue), is_assigned, callback_id, reserved) if stay_id else None
    number, user_id, accepter, preferred, call_after, failed_at = callback
    return DueCallback(number, user_id, accepter, preferred, call_after, failed_at, stay)
