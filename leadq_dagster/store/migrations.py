"""The store's schema: bring it up to date, and compare it with what the migrations give."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.named_sql import queries
from leadq_dagster.shipped import shipped
from leadq_dagster.store.connection import CONNECT_TIMEOUT_SECONDS
from leadq_dagster.store.errors import store_errors, translate

Catalog: TypeAlias = dict[tuple[str, str], str]
"""A schema by (kind, name), such as ('column', 'call_queue.id'), with each thing's definition."""


def upgrade(url: str) -> list[str]:
    """Run the migrations that the store lacks; the numbers of those that this call ran, oldest first.

    Does nothing when there are none. Several at once are safe: one runs them, the others wait and find
    nothing to do. Raises PermanentError or TransientError; nothing is half-done then.
    """
    applied(url)  # refuses a store that is ahead of this version
    ran: list[str] = []
    with _connection(url) as connection:
        config = _alembic_config()
        config.attributes.update(connection=connection, ran=ran)
        command.upgrade(config, "head")
    return ran


def applied(url: str) -> list[str]:
    """The numbers of the migrations that the store has, oldest first.

    Raises PermanentError when a newer version of leadq has migrated it.
    """
    with store_errors(), psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        table = connection.execute("SELECT to_regclass('leadq_migration')::text").fetchone()
        if table is None or table[0] is None:
            return []
        row = connection.execute("SELECT version_num FROM leadq_migration").fetchone()
    if row is None:
        return []
    if row[0] not in known_migrations():
        raise PermanentError(f"store: migration {row[0]} is from a newer version of leadq: run that version")
    return [script.revision for script in _scripts().iterate_revisions(row[0], "base")][::-1]


def known_migrations() -> list[str]:
    """The numbers of the migrations that this version of leadq brings, oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


def check(url: str) -> list[str]:
    """Each difference between the store's schema and the migrations, as a sentence; empty when equal."""
    present = applied(url)
    missing = [number for number in known_migrations() if number not in present]
    if missing:
        return [f"migration {number} has not run: run `leadq db upgrade`" for number in missing]
    return differences(live=read_catalog(url), expected=parse_catalog(snapshot_path().read_text("utf-8")))


def differences(live: Mapping[tuple[str, str], str], expected: Mapping[tuple[str, str], str]) -> list[str]:
    """Each thing that one catalog has and the other has not, or has otherwise."""
    sentences = []
    for kind, name in sorted({*live, *expected}):
        is_now, should_be = live.get((kind, name)), expected.get((kind, name))
        if is_now is None:
            sentences.append(f"{kind} {name} is missing, should be: {should_be}")
        elif should_be is None:
            sentences.append(f"{kind} {name} is not from a migration: {is_now}")
        elif is_now != should_be:
            sentences.append(f"{kind} {name} is: {is_now}, should be: {should_be}")
    return sentences


def read_catalog(url: str) -> Catalog:
    """The live schema as the server's catalog tells it."""
    with store_errors(), psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        rows = connection.execute(queries("catalog")["describe_schema"]).fetchall()
    return {(kind, name): definition for kind, name, definition in rows}


def snapshot_path() -> Path:
    """The file that says what the migrations give: `sql/schema.tsv`, written by `make schema`."""
    return shipped("sql") / "schema.tsv"


def parse_catalog(text: str) -> Catalog:
    """A catalog from the lines of a snapshot: kind, name, definition, with tabs between."""
    rows = (line.split("\t") for line in text.splitlines())
    return {(kind, name): definition for kind, name, definition in rows}


def format_catalog(catalog: Catalog) -> str:
    """The lines of a snapshot, in order, ready to be written."""
    return "".join(f"{kind}\t{name}\t{text}\n" for (kind, name), text in sorted(catalog.items()))


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    try:
        with store_errors(), engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from None
        raise


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(shipped("sql") / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_alembic_config())
