"""Real servers for the tests: started once for a run, a database of its own for each test.

With xdist the controlling process starts them before its workers; without it they start when a test first
asks, so that a single file of pure tests starts nothing.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.mariadb import MariaDb, ReplicationPair
from leadq_dagster_tests.servers.running import HANDED_OVER, Servers, start_servers


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers for the workers, and stop them however the run ends."""
    is_worker = hasattr(config, "workerinput")
    has_workers = bool(config.getoption("tx", None)) and not config.option.collectonly
    if has_workers and not is_worker:
        running = ExitStack()
        config.add_cleanup(running.close)
        running.callback(os.environ.pop, HANDED_OVER, None)
        os.environ[HANDED_OVER] = running.enter_context(start_servers()).to_json()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The running servers: the controlling process's, or our own where there is none."""
    handed = os.environ.get(HANDED_OVER)
    if handed is not None:
        yield Servers.from_json(handed)
        return
    with start_servers() as started:
        yield started


@pytest.fixture(scope="session")
def postgres(servers: Servers) -> EmbeddedPostgres:
    """The PostgreSQL server of this run."""
    return servers.postgres()


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing in it, dropped after the test."""
    with databases.fresh_postgres_database(postgres) as name:
        yield postgres.url(name)


@pytest.fixture
def store_url(postgres: EmbeddedPostgres, servers: Servers) -> Iterator[str]:
    """The URL of an empty store with all migrations, dropped after the test."""
    template = databases.store_template(servers)
    with databases.fresh_postgres_database(postgres, template) as name:
        yield postgres.url(name)


@pytest.fixture(scope="session")
def mariadb(servers: Servers) -> MariaDb:
    """A MariaDB server; tests make databases of their own on it."""
    return servers.mariadb


@pytest.fixture
def replication_pair(servers: Servers) -> Iterator[ReplicationPair]:
    """A primary and its replica for this test alone, applying changes at once when it begins.

    The lag is the pair's, so tests of other workers wait: a lock holds whatever way xdist deals tests out.
    """
    with servers.alone("replication"):
        servers.pair.reset()
        yield servers.pair
        servers.pair.reset()


@pytest.fixture
def replicated_database(replication_pair: ReplicationPair) -> Iterator[str]:
    """The name of an empty database on both servers of the pair, dropped after the test."""
    with replication_pair.fresh_database() as name:
        yield name


@pytest.fixture(params=["mariadb", "postgresql"])
def replica_db(request: pytest.FixtureRequest, servers: Servers) -> Iterator[ReplicaDatabase]:
    """The firm's tables, empty, on each kind of server that the replica may be."""
    made = (
        databases.mariadb_replica(servers.mariadb)
        if request.param == "mariadb"
        else databases.postgres_replica(servers.postgres())
    )
    with made as database:
        yield database
