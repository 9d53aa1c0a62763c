"""Dagster's own storage: PostgreSQL at the address that leadq's settings name."""

from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from dagster import Field
from dagster._config import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from psycopg import sql

from leadq_dagster.databases import CONNECT_TIMEOUT_SECONDS, dagster_storage_url, plain_url, url_text
from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.settings import load_settings

MAINTENANCE_DATABASE = "postgres"


class LeadqDagsterStorage(DagsterPostgresStorage):
    """DagsterPostgresStorage whose URL is looked up when an instance is built, not written in dagster.yaml.

    So DAGSTER_DATABASE_URL may be a plain `postgresql://` URL or unset, and the reference that Dagster passes
    to its other processes on their command lines names this class and holds no password. A database that is
    missing is created. Raises PermanentError, RefusedError or TransientError with what to do.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What `storage: custom: config:` in dagster.yaml may say."""
        return {"should_autocreate_tables": Field(bool, is_required=False, default_value=True)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "LeadqDagsterStorage":
        """The storage of this process's settings."""
        url = dagster_storage_url(load_settings())
        ensure_database(url)
        return cls(
            postgres_url=url,
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )


def ensure_database(url: str) -> None:
    """Create the database of this URL where it is missing; harmless when several do it at once.

    Raises PermanentError when it is missing and may not be created here, and TransientError when the server
    does not answer or refuses the login.
    """
    try:
        psycopg.connect(plain_url(url), connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
    except psycopg.OperationalError as error:
        name = unquote(urlsplit(url).path.removeprefix("/"))
        # libpq gives no SQLSTATE for a refused connection, only its text.
        if f'database "{name}" does not exist' not in str(error):
            raise TransientError(f"Dagster's storage cannot be opened: {_first_line(error)}") from None
        _create_database(url, name)


def _create_database(url: str, name: str) -> None:
    server = url_text(urlsplit(plain_url(url))._replace(path=f"/{MAINTENANCE_DATABASE}"))
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
            connection.execute(statement)
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return
    except psycopg.Error as error:
        raise PermanentError(
            f"Dagster's database {name} does not exist and cannot be created here ({_first_line(error)}): "
            f"create it (CREATE DATABASE {name}), or point DAGSTER_DATABASE_URL at one that exists"
        ) from None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
