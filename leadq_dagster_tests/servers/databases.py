"""Databases that last one test: a clone of the store, an empty one, the firm's on either kind of server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import sqlalchemy as sa
from psycopg import sql

from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster_tests.servers.mariadb import MariaDb
from leadq_dagster_tests.servers.running import Servers

STORE_TEMPLATE = "store_template"


@dataclass(frozen=True)
class ReplicaDatabase:
    """A fresh database with the firm's tables; `engine` writes to it as the firm does, in UTC."""

    name: str
    url: str
    engine: sa.Engine


def administer(postgres: EmbeddedPostgres, statement: sql.Composed | sql.SQL) -> None:
    """Run one statement on the server itself, outside any transaction."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def fresh_postgres_database(postgres: EmbeddedPostgres, template: str = "template1") -> Iterator[str]:
    """The name of a new copy of `template`, dropped afterwards whoever is still connected."""
    name = f"leadq_{uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    administer(postgres, create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield name
    finally:
        administer(postgres, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def store_template(servers: Servers) -> str:
    """The name of a database with all migrations, made by the first of the test processes that asks.

    It gets its final name when it is complete: a connection to a template would fail somebody's clone.
    """
    postgres = servers.postgres()
    with servers.alone("store_template"):
        if not _exists(postgres, STORE_TEMPLATE):
            _make_store_template(postgres)
    return STORE_TEMPLATE


def _exists(postgres: EmbeddedPostgres, name: str) -> bool:
    with psycopg.connect(postgres.url("postgres")) as connection:
        return (
            connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None
        )


def _make_store_template(postgres: EmbeddedPostgres) -> None:
    # Tests that never touch the store do not pay for importing the migrator.
    from leadq_dagster.store.migrations import upgrade

    with fresh_postgres_database(postgres) as name:
        upgrade(postgres.url(name))
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        administer(postgres, rename.format(sql.Identifier(name), sql.Identifier(STORE_TEMPLATE)))


@contextmanager
def mariadb_replica(mariadb: MariaDb) -> Iterator[ReplicaDatabase]:
    """The firm's tables in a fresh MariaDB database."""
    with mariadb.fresh_database() as name:
        engine = sa.create_engine(mariadb.url(name, "mysql+pymysql"))
        with _firm_tables(engine):
            yield ReplicaDatabase(name, mariadb.url(name), engine)


@contextmanager
def postgres_replica(postgres: EmbeddedPostgres) -> Iterator[ReplicaDatabase]:
    """The firm's tables in a fresh PostgreSQL database."""
    with fresh_postgres_database(postgres) as name:
        url = sa.make_url(postgres.url(name)).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, connect_args={"options": "-c timezone=UTC"})
        with _firm_tables(engine):
            yield ReplicaDatabase(name, postgres.url(name), engine)


@contextmanager
def _firm_tables(engine: sa.Engine) -> Iterator[None]:
    from leadq_dagster.firm.schema import create_tables

    try:
        create_tables(engine)
        yield
    finally:
        engine.dispose()
