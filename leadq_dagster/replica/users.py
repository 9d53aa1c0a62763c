"""Users of the replica: those who changed in a window, page by page, and those asked for by id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, bindparam, or_, select

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.facts import SourceUser, normalise
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica.in_lists import chunks
from leadq_dagster.replica.pages import AnyRow, AnySelect, pages_of
from leadq_dagster.replica.session import Session
from leadq_dagster.replica.tables import users
from leadq_dagster.replica.times import instant_in, naive_bounds, to_utc


@dataclass(frozen=True)
class ChangedUser:
    """A user and the instant, inside the window asked for, by which they are of that window.

    It is the time of creation if that is in the window, else the time of the last update.
    """

    user: SourceUser
    changed_at: datetime


@dataclass(frozen=True)
class UserReader:
    """Reads users, at most `batch_rows` at a time; naive dates are wall-clock time in `zone`."""

    session: Session
    zone: tzinfo
    batch_rows: int

    def changed(self, window: Window) -> Iterator[list[ChangedUser]]:
        """Everyone created or updated in `window`, each once, in pages.

        Each page is a transaction of its own: one that spans them all would hold back the replica's
        clean-up and be cut on a long window. So rows may change between pages, and nothing is lost by
        it. An update moves a user's `updated_at` past the end of a closed window, which makes them part
        of the later window that it falls in; with a window that is still open, the user moves ahead of
        the page and may be met twice. A row that becomes visible behind the page, committed late, is
        left to the overlap with which the caller reads again.
        """
        lower, upper = naive_bounds(window, self.zone)
        created, updated = users.c.created_at, users.c.updated_at
        # A plain NOT would lose those without a time of creation: NOT NULL is NULL.
        not_created_in_it = or_(created.is_(None), created < lower, created >= upper)
        yield from self._pages(window, select(*users.c).where(created >= lower, created < upper), created)
        updated_in_it = select(*users.c).where(updated >= lower, updated < upper, not_created_in_it)
        yield from self._pages(window, updated_in_it, updated)

    def by_id(self, user_ids: Sequence[int]) -> list[SourceUser]:
        """The users with these ids, in the order asked for; those the replica does not show are absent."""
        found: dict[int, SourceUser] = {}
        asked = list(dict.fromkeys(user_ids))
        statement = select(*users.c).where(users.c.id.in_(bindparam("user_ids", expanding=True)))
        for chunk in chunks(asked, self.batch_rows):
            for row in self._rows(statement, {"user_ids": chunk}):
                found[row.id] = source_user(row, self.zone)
        return [found[user_id] for user_id in asked if user_id in found]

    def after(self, user_id: int | None) -> list[SourceUser]:
        """The first users there are with an id above this one, in the order of ids; None: from the start.

        At most a batch; an empty list is the end. Everybody is met so, with dates or without.
        """
        statement = select(*users.c).order_by(users.c.id).limit(self.batch_rows)
        if user_id is not None:
            statement = statement.where(users.c.id > user_id)
        return [source_user(row, self.zone) for row in self._rows(statement)]

    def _pages(
        self, window: Window, matching: AnySelect, moment: ColumnElement[datetime]
    ) -> Iterator[list[ChangedUser]]:
        for rows in pages_of(self.session, matching, moment, users.c.id, self.batch_rows):
            self._check_zone(rows)
            if page := [changed for row in rows if (changed := _changed(row, window, self.zone))]:
                yield page

    def _rows(self, statement: AnySelect, parameters: dict[str, Any] | None = None) -> Sequence[AnyRow]:
        return self.session.read(lambda connection: connection.execute(statement, parameters).all())

    def _check_zone(self, rows: Sequence[AnyRow]) -> None:
        """Bounds are naive, and the server takes them for UTC where the column has a zone of its own."""
        moments = (moment for row in rows for moment in (row.created_at, row.updated_at))
        aware = any(isinstance(moment, datetime) and moment.tzinfo for moment in moments)
        if aware and str(self.zone) not in ("UTC", "Etc/UTC"):
            raise PermanentError(
                "the replica's dates carry a time zone of their own: set the replica's time zone to UTC"
            )


def _changed(row: AnyRow, window: Window, zone: tzinfo) -> ChangedUser | None:
    """None for a row that only the bounds of a day with a clock change let in."""
    changed_at = instant_in(window, row.created_at, zone) or instant_in(window, row.updated_at, zone)
    return ChangedUser(source_user(row, zone), changed_at) if changed_at else None


def source_user(columns: Sequence[Any], zone: tzinfo) -> SourceUser:
    """The user of a row with the columns of `tables.users`, in their order."""
    user_id, is_enabled, status, signature, created_at, updated_at = columns
    return SourceUser(
        user_id=user_id,
        is_enabled=_is_true(is_enabled),
        status=normalise(status),
        has_signature=bool(str(signature or "").strip()),
        created_at=to_utc(created_at, zone),
        updated_at=to_utc(updated_at, zone),
    )


def _is_true(flag: object) -> bool:
    """A TINYINT(1) may hold 2, a BIT(1) comes as bytes, and NULL enables nobody."""
    return any(flag) if isinstance(flag, bytes) else bool(flag)
