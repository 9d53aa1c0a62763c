"""What a replica's URL may look like, and what SQLAlchemy is given for it."""

import inspect

from pymysql.connections import Connection as PyMySQLConnection
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from leadq_dagster.domain.errors import RefusedError

VARIABLE = "REPLICA_DATABASE_URL"
MYSQL_DRIVER = "mysql+pymysql"
POSTGRES_DRIVER = "postgresql+psycopg"

DRIVER_OF_SCHEME = {
    "mysql": MYSQL_DRIVER,
    "mysql+pymysql": MYSQL_DRIVER,
    "mariadb": MYSQL_DRIVER,
    "mariadb+pymysql": MYSQL_DRIVER,
    "postgres": POSTGRES_DRIVER,
    "postgresql": POSTGRES_DRIVER,
    "postgresql+psycopg": POSTGRES_DRIVER,
}

# Names by which a URL's query could replace what the rest of the URL says, or switch on local files.
_NEVER_IN_A_QUERY = {"self", "user", "password", "passwd", "database", "db", "local_infile"}


def replica_url(text: str) -> URL:
    """The URL that SQLAlchemy connects with, with the driver leadq uses for its scheme.

    Raises RefusedError, naming REPLICA_DATABASE_URL and never quoting it, for a text that is no URL,
    for another scheme, without a database, or with an option that the driver does not know.
    """
    url = _parsed(text)
    driver = DRIVER_OF_SCHEME.get(url.drivername.lower())
    if driver is None:
        known = ", ".join(f"{scheme}://" for scheme in ("mysql", "mariadb", "postgresql"))
        raise RefusedError(f"{VARIABLE} has a scheme that leadq cannot read; it reads {known}")
    if not url.database:
        raise RefusedError(f"{VARIABLE} names no database: {_FORM}")
    if driver == MYSQL_DRIVER:
        _refuse_unknown_options(url)
    return url.set(drivername=driver)


_FORM = "its form is mysql://USER:PASSWORD@HOST:PORT/DATABASE"


def _parsed(text: str) -> URL:
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        url = None
    # Raised out here: inside the except block, the parser's error would travel along, with the text in it.
    if url is None:
        raise RefusedError(
            f"{VARIABLE} is not a database URL: {_FORM}, "
            "with special characters in the password percent-encoded"
        )
    return url


def _refuse_unknown_options(url: URL) -> None:
    """A URL written for another language's driver carries options that would be a TypeError at connecting."""
    _, arguments = url.set(drivername=MYSQL_DRIVER).get_dialect()().create_connect_args(url)
    known = set(inspect.signature(PyMySQLConnection.__init__).parameters)
    refused = (arguments.keys() - known) | (url.query.keys() & _NEVER_IN_A_QUERY)
    if refused:
        raise RefusedError(
            f"{VARIABLE} has options that leadq's driver refuses: {', '.join(sorted(refused))}"
        )
