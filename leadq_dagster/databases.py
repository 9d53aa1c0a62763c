"""Which three databases this process uses: the configured ones, or those of the embedded server."""

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import SecretStr

from leadq_dagster.domain.errors import PermanentError, RefusedError
from leadq_dagster.embedded.postgres import running_postgres
from leadq_dagster.settings import Settings

EMBEDDED_STORE = "leadq"
EMBEDDED_DAGSTER = "leadq_dagster"
EMBEDDED_REPLICA = "firm"

CONNECT_TIMEOUT_SECONDS = 10
POSTGRES_SCHEMES = ("postgresql", "postgres")
FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
HALF_ENCODED = re.compile("%(?![0-9A-Fa-f]{2})")


def replica_url(settings: Settings) -> str:
    """The replica's URL as configured; unset, the simulated firm's database on the embedded server."""
    if settings.replica_database_url is not None:
        return settings.replica_database_url.get_secret_value()
    return _embedded(settings, "REPLICA_DATABASE_URL", EMBEDDED_REPLICA)


def store_url(settings: Settings) -> str:
    """The store's URL, `postgresql://…`. Raises RefusedError when DATABASE_URL is something else."""
    if settings.database_url is not None:
        return url_text(_postgres("DATABASE_URL", settings.database_url))
    return _embedded(settings, "DATABASE_URL", EMBEDDED_STORE)


def dagster_storage_url(settings: Settings) -> str:
    """The URL of Dagster's own storage, with the driver that dagster-postgres needs.

    Unset, it is the database `leadq_dagster` on the store's server. dagster-postgres speaks psycopg2,
    and since SQLAlchemy 2.1 a bare `postgresql://` means psycopg 3: its first NOTIFY would fail.
    """
    if settings.dagster_database_url is not None:
        parts = _postgres("DAGSTER_DATABASE_URL", settings.dagster_database_url)
    elif settings.database_url is not None:
        # Without `options`: they may name a schema, and that is in the store's database.
        parts = _postgres("DATABASE_URL", settings.database_url)
        query = urlencode([item for item in parse_qsl(parts.query) if item[0] != "options"], safe="/")
        parts = parts._replace(path=f"/{EMBEDDED_DAGSTER}", query=query)
    else:
        parts = urlsplit(_embedded(settings, "DAGSTER_DATABASE_URL", EMBEDDED_DAGSTER))
    return url_text(parts._replace(scheme="postgresql+psycopg2"))


def plain_url(url: str) -> str:
    """The URL without SQLAlchemy's driver suffix, as psycopg takes it."""
    return url_text(urlsplit(url)._replace(scheme="postgresql"))


def _postgres(variable: str, secret: SecretStr) -> SplitResult:
    try:
        parts = urlsplit(secret.get_secret_value())
        parts.port  # noqa: B018  a port that is not a number raises here
    except ValueError:
        parts = None
    if parts is None or parts.scheme.split("+")[0] not in POSTGRES_SCHEMES or len(parts.path) < 2:
        raise RefusedError(f"{variable} is not of the form {FORM}")
    # The driver would read a part of the password as the host's name, and quote it in its error.
    if parts.netloc.count("@") > 1 or "@" in parts.path or HALF_ENCODED.search(parts.geturl()):
        raise RefusedError(
            f"{variable} is not of the form {FORM} with special characters percent-encoded (@ as %40)"
        )
    return parts._replace(scheme="postgresql")


def url_text(parts: SplitResult) -> str:
    """The URL again; `geturl` would drop the slashes of one without a host (`postgresql:///db?host=/run`)."""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"


def _embedded(settings: Settings, variable: str, database: str) -> str:
    server = running_postgres(settings.leadq_home)
    if server is None:
        raise PermanentError(
            f"{variable} is not set, and no embedded server runs in {settings.leadq_home}: "
            f"set {variable}, or start one with `leadq demo`"
        )
    return server.url(database)
