"""The firm's replica as leadq uses it: opened once, asked from any thread, never written."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.domain.facts import SourceUser, UserFacts
from leadq_dagster.domain.lead import SourceLead
from leadq_dagster.domain.windows import Window
from leadq_dagster.replica import facts, indexes, leads
from leadq_dagster.replica.address import replica_url
from leadq_dagster.replica.claims import ClaimReader
from leadq_dagster.replica.heartbeat import Heartbeat, Observation
from leadq_dagster.replica.session import CONNECT_TIMEOUT_SECONDS, Session
from leadq_dagster.replica.users import ChangedUser, UserReader


def utc_now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


def open_replica(
    url: str,
    *,
    statement_timeout_seconds: int = 30,
    connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
    pool_size: int = 5,
    time_zone: str = "UTC",
    heartbeat_table: str = "heartbeat",
    heartbeat_server_id: int | None = None,
    lag_allowance_seconds: int = 30,
    batch_rows: int = 5000,
    now: Callable[[], datetime] = utc_now,
) -> "Replica":
    """A replica at a mysql://, mariadb:// or postgresql:// URL; nothing connects until it is asked something.

    A server that stopped answering is given up after `connect_timeout_seconds` while connecting, and after
    both time-outs together while reading. PostgreSQL's driver waits 2 seconds at least, for each address of
    the host, and notices a silent host only, not a stopped server on one that is alive.
    `time_zone` is that of its naive dates. `heartbeat_table` may be `schema.table`, or empty for none.
    Point it at the server itself: the session's settings would leak to others through a transaction pooler.
    Raises RefusedError for a URL, zone, table name or bound that cannot be meant.
    """
    bounds = (statement_timeout_seconds, connect_timeout_seconds, pool_size, batch_rows)
    if min(bounds) < 1 or lag_allowance_seconds < 0:
        raise RefusedError(
            "the replica's time-outs, pool, batch and lag allowance are not to be negative or none"
        )
    zone = _zone(time_zone)
    heartbeat = Heartbeat(
        heartbeat_table, heartbeat_server_id, zone, timedelta(seconds=lag_allowance_seconds), now
    )
    session = Session(
        replica_url(url),
        statement_timeout_seconds=statement_timeout_seconds,
        connect_timeout_seconds=connect_timeout_seconds,
        pool_size=pool_size,
    )
    users, claims = UserReader(session, zone, batch_rows), ClaimReader(session, zone, batch_rows)
    return Replica(session, heartbeat, users, claims)


class Replica:
    """What the source says. Every method raises TransientError or PermanentError when it cannot be asked."""

    def __init__(
        self, session: Session, heartbeat: Heartbeat, users: UserReader, claims: ClaimReader
    ) -> None:
        self._session = session
        self._heartbeat = heartbeat
        self._users = users
        self._claims = claims

    @property
    def queries(self) -> int:
        """Statements sent since opening, by all threads; connecting, pings and rollbacks are not counted."""
        return self._session.queries

    def observed_until(self) -> Observation:
        """How far the replica shows what its primary committed, and how that is known."""
        return self._heartbeat.observe(self._session)

    def changed_users(self, window: Window) -> Iterator[list[ChangedUser]]:
        """Everyone created or updated in `window`, each once, in lists of at most `batch_rows`; lazily."""
        return self._users.changed(window)

    def read_users(self, user_ids: Sequence[int]) -> list[SourceUser]:
        """The users with these ids, in the order asked for; those the replica does not show are absent."""
        return self._users.by_id(user_ids)

    def users_after(self, user_id: int | None) -> list[SourceUser]:
        """The next users by id above this one (None: the first), at most `batch_rows`; empty: the end."""
        return self._users.after(user_id)

    def read_facts(self, users: Sequence[SourceUser]) -> list[UserFacts]:
        """What the queue rule needs to know of these users, in their order.

        Requirements are read for users with a signature only; the rule decides the others without.
        """
        return facts.read_facts(self._session, users, self._users.batch_rows, self._users.zone)

    def read_leads(self, user_ids: Sequence[int]) -> list[SourceLead]:
        """What `read_users` and `read_facts` tell of these ids, each once, and their contacts; one statement.

        In the order asked for; those the replica does not show are absent.
        """
        return leads.read_leads(self._session, user_ids, self._users.batch_rows, self._users.zone)

    def users_of_changed_claims(self, window: Window) -> Iterator[dict[int, datetime]]:
        """The users of claims created or updated in `window`, with that instant; a user may come twice."""
        return self._claims.users_of_changed_claims(window)

    def users_of_changed_requirements(self, window: Window) -> Iterator[dict[int, datetime]]:
        """The users of requirements created or updated in it, with that instant; a user may come twice."""
        return self._claims.users_of_changed_requirements(window)

    def missing_indexes(self) -> list[str]:
        """`table.column` for each column that leadq's reads need an index on and that leads none."""
        return indexes.missing_indexes(self._session)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RefusedError(
            f"LEADQ_REPLICA_TIMEZONE is not an IANA time zone such as Europe/London: {name}"
        ) from None
