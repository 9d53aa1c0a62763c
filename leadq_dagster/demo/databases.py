"""The demo's three databases on the embedded server: the store, Dagster's storage, the firm's application."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from leadq_dagster.databases import EMBEDDED_DAGSTER, EMBEDDED_REPLICA, EMBEDDED_STORE
from leadq_dagster.demo.address import forget, noted
from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.embedded.home import AlreadyRunning
from leadq_dagster.embedded.postgres import EmbeddedPostgres, start_postgres
from leadq_dagster.settings import Settings


@contextmanager
def demo_databases(home: Path) -> Iterator[EmbeddedPostgres]:
    """The running server with its three databases, for this process and those it starts.

    The firm of the demo writes into its application's database, so the demo never uses a configured one,
    and it lives by the defaults: leadq's variables are taken out of the environment. Raises RefusedError
    when a demo runs in this home already.
    """
    for variable in Settings.model_fields:
        os.environ.pop(variable.upper(), None)
    os.environ["LEADQ_HOME"] = str(home)
    try:
        running = start_postgres(home)
    except AlreadyRunning as error:
        address = noted(home)
        where = f"its UI is at {address}" if address else "it has no UI yet"
        raise RefusedError(f"a demo runs here already, {where}: {error}") from None
    with running as server:
        forget(home)
        for database in (EMBEDDED_STORE, EMBEDDED_DAGSTER, EMBEDDED_REPLICA):
            server.ensure_database(database)
        yield server


def application_engine(server: EmbeddedPostgres) -> sa.Engine:
    """The application's own way into its database: it writes, where leadq only reads."""
    url = sa.make_url(server.url(EMBEDDED_REPLICA)).set(drivername="postgresql+psycopg")
    return sa.create_engine(url, hide_parameters=True)
