"""A running server as its users see it: where it is, whether it answers, its databases."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.embedded.cluster import SUPERUSER
from leadq_dagster.embedded.home import Home, State
from leadq_dagster.embedded.keeper import Keeper
from leadq_dagster.embedded.leftovers import cluster_name, postmaster_of
from leadq_dagster.embedded.locks import Locks
from leadq_dagster.embedded.ports import LOOPBACK

CONNECT_SECONDS = 5


class Keeping:
    """What the starter of a server holds: the keeper of the process and the home's lock."""

    def __init__(self, home: Home, locks: Locks, keeper: Keeper) -> None:
        self._home = home
        self._locks = locks
        self._is_over = False
        self._keeper = keeper
        # A forked child has a copy of this object; the server is not the child's to end.
        self._owner_pid = os.getpid()

    @property
    def failure(self) -> str | None:
        """Why the server was given up; None as long as it was not."""
        return self._keeper.failure

    def end(self, port: int) -> None:
        """Stop the server and let the home go, once, and only in the process that started it."""
        if self._is_over or self._owner_pid != os.getpid():
            return
        self._keeper.stop()
        self._home.record(State(port, None))
        self._locks.release()
        self._is_over = True


class EmbeddedPostgres:
    """A running server. Whoever started it ends it by `close`; for who attached, `close` does nothing.

    It ends with the process that started it, however that ends, and is started again on the same port
    and data when it is killed itself.
    """

    user = SUPERUSER

    def __init__(self, home: Home, port: int, password: str, keeping: Keeping | None = None) -> None:
        self.port = port
        self.password = password
        self.home: Path = home.folder
        self._data = home.data.resolve()
        self._keeping = keeping

    def __repr__(self) -> str:
        return f"EmbeddedPostgres(home={str(self.home)!r}, port={self.port})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The server's process number now; None while it is not running."""
        stamp = postmaster_of(self._data)
        return stamp.pid if stamp else None

    def url(self, database: str) -> str:
        """The connection URL of a database, with the real password: not for logs."""
        return f"postgresql://{self.user}:{self.password}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def answers(self) -> bool:
        """Whether this very server answers now; a stranger on its port does not count."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=CONNECT_SECONDS) as link:
                found = link.execute("SELECT current_setting('cluster_name')").fetchone()
        except psycopg.OperationalError:
            return False
        return found == (cluster_name(self._data),)

    def check(self) -> None:
        """Ask the server a question.

        Raises PermanentError when its starter has given it up, TransientError when it does not answer.
        """
        if self._keeping and self._keeping.failure:
            raise PermanentError(self._keeping.failure)
        if not self.answers():
            raise TransientError(f"the embedded PostgreSQL on port {self.port} does not answer")

    def ensure_database(self, name: str) -> None:
        """Create the database unless it is there; several may ask for the same one at once.

        Raises what `check` raises.
        """
        try:
            with psycopg.connect(
                self.url("postgres"), autocommit=True, connect_timeout=CONNECT_SECONDS
            ) as link:
                if link.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount == 0:
                    # template0 has no visitors who would be in the way.
                    link.execute(
                        sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
                    )
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return
        except psycopg.OperationalError as error:
            self.check()
            raise TransientError(f"the database {name} could not be created: {error}") from error

    def close(self) -> None:
        """Shut the server down in good order if this process started it; harmless when repeated."""
        if self._keeping is not None:
            self._keeping.end(self.port)
