"""What a failed read tells: whether to try again, what to change, and nothing private."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import LeadqError, PermanentError, TransientError
from leadq_dagster.firm import schema
from leadq_dagster.replica.address import replica_url
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.replica.session import Session
from leadq_dagster_tests.replica.rows import ids
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers

PRIVATE = "ada.lovelace@example.org"


def failing(url: str | sa.URL) -> LeadqError:
    text = url.render_as_string(hide_password=False) if isinstance(url, sa.URL) else url
    with open_replica(text) as replica, pytest.raises(LeadqError) as failed:
        ids(replica)
    assert failed.value.__context__ is None
    assert failed.value.__cause__ is None
    return failed.value


def test_a_missing_table_is_named(replica_db: ReplicaDatabase) -> None:
    schema.users.drop(replica_db.engine)
    error = failing(replica_db.url)
    assert isinstance(error, PermanentError)
    assert "users" in str(error)
    assert "REPLICA_DATABASE_URL" in str(error)


def test_a_missing_column_is_named(replica_db: ReplicaDatabase) -> None:
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users RENAME COLUMN current_signature_file_id TO signed"))
    error = failing(replica_db.url)
    assert isinstance(error, PermanentError)
    assert "current_signature_file_id" in str(error)


def test_a_missing_database_and_a_wrong_password_are_told_apart(replica_db: ReplicaDatabase) -> None:
    """P40: the password is in neither text."""
    url = sa.make_url(replica_db.url)
    no_database = failing(url.set(database="leadq_nowhere"))
    assert isinstance(no_database, PermanentError)
    assert "no database of that name" in str(no_database)
    no_login = failing(url.set(password="hunter2-wrong"))
    assert isinstance(no_login, PermanentError)
    assert "refuses this login" in str(no_login)
    assert "hunter2" not in str(no_login)
    assert str(url.password) not in str(no_database)


def test_a_server_that_does_not_answer_is_worth_another_try(replica_db: ReplicaDatabase) -> None:
    error = failing(sa.make_url(replica_db.url).set(port=1))
    assert isinstance(error, TransientError)
    assert "does not answer" in str(error)


def test_a_host_without_a_name_is_worth_another_try(replica_db: ReplicaDatabase) -> None:
    assert isinstance(failing(sa.make_url(replica_db.url).set(host="replica.invalid")), TransientError)


def test_a_statement_that_the_server_does_not_take_is_not_repeated_to_the_reader(
    replica_db: ReplicaDatabase,
) -> None:
    """P40: PyMySQL writes values into the statement, and servers quote the statement in their errors."""
    session = Session(replica_url(replica_db.url), statement_timeout_seconds=5, pool_size=1)
    broken = sa.text("SELECT id FROM users WHERE email_address = = :email").bindparams(email=PRIVATE)
    wrong_value = sa.text(f"SELECT ST_GeomFromText('{PRIVATE}'), CAST('{PRIVATE}' AS numeric(5)) + nothing()")
    for statement in (broken, wrong_value):
        with pytest.raises(PermanentError) as failed:
            session.read(lambda connection, statement=statement: connection.execute(statement).all())
        assert "ada" not in str(failed.value)
        assert failed.value.__context__ is None
    session.close()


@contextmanager
def ordinary_login(database: ReplicaDatabase, servers: Servers, *, connections_max: int) -> Iterator[sa.URL]:
    """The URL of a new login that may read `claims` and nothing else."""
    name, password = f"leadq_{uuid4().hex[:12]}", uuid4().hex
    url = replica_url(database.url).set(username=name, password=password)
    if url.get_backend_name() == "mysql":
        root = servers.mariadb.administer
        root(f"CREATE USER {name} IDENTIFIED BY '{password}' WITH MAX_USER_CONNECTIONS {connections_max}")
        root(f"GRANT SELECT ON `{database.name}`.claims TO {name}")
        yield url
        root(f"DROP USER {name}")
        return
    with database.engine.begin() as owner:
        owner.exec_driver_sql(
            f"CREATE ROLE {name} LOGIN CONNECTION LIMIT {connections_max} PASSWORD '{password}'"
        )
        owner.exec_driver_sql(f"GRANT SELECT ON claims TO {name}")
    yield url
    with database.engine.begin() as owner:
        owner.exec_driver_sql(f"DROP OWNED BY {name}")
        owner.exec_driver_sql(f"DROP ROLE {name}")


def test_too_many_connections_are_worth_another_try(replica_db: ReplicaDatabase, servers: Servers) -> None:
    with ordinary_login(replica_db, servers, connections_max=1) as url:
        engine = sa.create_engine(url)
        with engine.connect():
            error = failing(url)
        engine.dispose()
    assert isinstance(error, TransientError)
    assert "no connection to spare" in str(error)


def test_a_login_without_the_right_to_read_names_the_table(
    replica_db: ReplicaDatabase, servers: Servers
) -> None:
    """P40: and not the login."""
    with ordinary_login(replica_db, servers, connections_max=5) as url:
        error = failing(url)
    assert isinstance(error, PermanentError)
    assert "may not read" in str(error)
    assert "users" in str(error)
    assert str(url.username) not in str(error)
