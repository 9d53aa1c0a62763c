"""How far the replica has observed its primary: by a heartbeat, or by a fallback that says so.

The replica's own lag figure is no answer. It read 0 while rows of an hour ago were yet to appear, it
is NULL when replication is stopped, and it needs a privilege.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Connection, TableClause, column, func, select, table

from leadq_dagster.domain.errors import PermanentError, RefusedError, TransientError
from leadq_dagster.replica.errors import NoRight, NoSuchTable
from leadq_dagster.replica.session import Session
from leadq_dagster.replica.times import to_utc

# Clocks differ by seconds; a heartbeat that is further ahead than this is in another time zone.
AHEAD_MAX = timedelta(minutes=5)


@dataclass(frozen=True)
class Observation:
    """Up to which instant (aware UTC) the replica shows what its primary committed, and how that is known."""

    until: datetime
    by: str


@dataclass(frozen=True)
class Heartbeat:
    """Where the heartbeat is and how it is read. An empty `table` means that there is none.

    `server_id` is the server whose beat counts; None for the one furthest behind.
    """

    table: str
    server_id: int | None
    zone: tzinfo
    allowance: timedelta
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        parts = self.table.split(".") if self.table else []
        if len(parts) > 2 or "" in parts:
            raise RefusedError("the heartbeat table is written as table or schema.table")

    def observe(self, session: Session) -> Observation:
        """How far the replica has observed.

        A heartbeat table without a beat raises TransientError: replication into it may just have begun.
        Only where there is no such table does the fallback answer. A beat far in the future raises
        PermanentError: it would claim that nothing is late, whatever is.
        """
        if self.table:
            try:
                return self._by_heartbeat(session)
            except NoSuchTable:
                pass
            except NoRight as refused:
                # MySQL says the same of a table that is not there, to a login with rights on single tables.
                raise PermanentError(
                    f"{refused}; if there is none, set LEADQ_HEARTBEAT_TABLE to nothing"
                ) from None
        return self._by_clock(session)

    def _by_heartbeat(self, session: Session) -> Observation:
        source = _named(self.table)
        value = session.read(lambda connection: _furthest_behind(connection, source, self.server_id))
        beat = to_utc(value, self.zone)
        if beat is None:
            raise TransientError(f"the replica's heartbeat table {self.table} holds no time in its column ts")
        now = self.now().astimezone(UTC)
        if beat > now + AHEAD_MAX:
            minutes = (beat - now) // timedelta(minutes=1)
            raise PermanentError(
                f"the replica's heartbeat is {minutes} minutes in the future: "
                "check the time zone set for the replica, and the clocks"
            )
        return Observation(min(beat, now), "heartbeat")

    def _by_clock(self, session: Session) -> Observation:
        clock = to_utc(
            session.read(lambda connection: connection.scalar(select(func.current_timestamp()))), UTC
        )
        if clock is None:
            raise TransientError("the replica does not tell the time")
        wanted = f"a table {self.table}" if self.table else "a heartbeat table"
        seconds = int(self.allowance.total_seconds())
        return Observation(
            clock - self.allowance,
            f"the replica's own clock less {seconds} s, for want of {wanted}: more lag goes unnoticed",
        )


def _furthest_behind(connection: Connection, source: TableClause, server_id: int | None) -> object:
    # The oldest, since each server in a chain may keep a row of its own, and the one in between goes on
    # beating when it has lost its primary. ISO texts sort like times.
    oldest = select(func.min(source.c.ts))
    if server_id is not None:
        oldest = oldest.where(source.c.server_id == server_id)
    return connection.scalar(oldest)


def _named(name: str) -> TableClause:
    schema, _, plain = name.rpartition(".")
    return table(plain, column("ts"), column("server_id"), schema=schema or None)
