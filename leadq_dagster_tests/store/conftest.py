"""Ways into a store that a test may use: as leadq has it, plain, and on the oldest server we carry."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.embedded.postgres import EmbeddedPostgres, start_postgres
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster_tests.servers.databases import fresh_postgres_database
from leadq_dagster_tests.servers.homes import throwaway_home


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, as leadq opens it."""
    with open_store(store_url) as store:
        yield store


@pytest.fixture
def plain(store_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection of somebody else to the same empty store; every statement is committed at once."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres_16() -> Iterator[EmbeddedPostgres]:
    """A server of the older version that the wheel carries."""
    with throwaway_home() as home, start_postgres(home / "postgres", major=16, durable=False) as server:
        yield server


@pytest.fixture(params=[18, 16])
def either_postgres(request: pytest.FixtureRequest) -> EmbeddedPostgres:
    """Each server version in turn."""
    server = request.getfixturevalue("postgres" if request.param == 18 else "postgres_16")
    assert isinstance(server, EmbeddedPostgres)
    return server


@pytest.fixture
def database_on_either(either_postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, on each server version in turn."""
    with fresh_postgres_database(either_postgres) as name:
        yield either_postgres.url(name)
