"""The reader under test, on the database of one test."""

from collections.abc import Iterator

import pytest

from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.mariadb import MariaDb


@pytest.fixture
def replica(replica_db: ReplicaDatabase) -> Iterator[Replica]:
    """Pages of three, so that every test of more rows crosses their borders."""
    with open_replica(replica_db.url, batch_rows=3) as opened:
        yield opened


@pytest.fixture
def mariadb_db(mariadb: MariaDb) -> Iterator[ReplicaDatabase]:
    """The firm's tables on MariaDB, for data that only it can hold."""
    with databases.mariadb_replica(mariadb) as database:
        yield database


@pytest.fixture
def postgres_db(postgres: EmbeddedPostgres) -> Iterator[ReplicaDatabase]:
    """The firm's tables on PostgreSQL, for data that only it can hold."""
    with databases.postgres_replica(postgres) as database:
        yield database
