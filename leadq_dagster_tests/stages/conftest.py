"""One discovery on the databases of one test."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.store.connection import Store, open_store
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.mariadb import MariaDb
from leadq_dagster_tests.stages.discovering import NOON, Discovery, beat, discovering


@pytest.fixture
def discovery(replica_db: ReplicaDatabase, store_url: str) -> Iterator[Discovery]:
    """Noon, at the replica too: the hours of the morning can be discovered."""
    beat(replica_db.engine, NOON)
    with discovering(replica_db, store_url) as opened:
        yield opened


@pytest.fixture
def on_mariadb(mariadb: MariaDb, store_url: str) -> Iterator[Discovery]:
    """The same where only MariaDB will do, or where its price is worth paying once."""
    with databases.mariadb_replica(mariadb) as database:
        beat(database.engine, NOON)
        with discovering(database, store_url) as opened:
            yield opened


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, for stages that ask nothing of the source."""
    with open_store(store_url) as store:
        yield store


@pytest.fixture
def plain(store_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection of somebody else to the same store; every statement is committed at once."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        yield connection
