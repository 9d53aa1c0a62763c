"""Errors of the store's driver, told apart by whether another try can heal them."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from leadq_dagster.domain.errors import LeadqError, PermanentError, TransientError

HEALED_BY_ANOTHER_TRY = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.TooManyConnections,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
    errors.ReadOnlySqlTransaction,
    errors.DiskFull,
)
HEALED_BY_AN_OPERATOR = {
    errors.UndefinedTable: "a table is missing: run `leadq db upgrade`",
    errors.UndefinedColumn: "a column is missing: run `leadq db upgrade`",
    errors.UndefinedObject: "an object is missing: run `leadq db upgrade`",
    errors.InsufficientPrivilege: "the role lacks a privilege: see sql/roles.sql",
}
LIMIT_EXCEEDED = "54"  # SQLSTATEs of a value or statement too large; psycopg counts them as operational
WORDS_OF_A_PASSING_FAILURE = "Temporary failure in name resolution"
# A refused connection carries no SQLSTATE in libpq, only the server's words.
WORDS_OF_A_WRONG_URL = (
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "not permitted to log in",
    "could not translate host name",
    "invalid port number",
)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns driver errors of the block into TransientError or PermanentError, without row contents."""
    try:
        yield
    except PoolTimeout:
        raise TransientError(_of_store("unreachable, or all connections are in use")) from None
    except psycopg.Error as error:
        raise translate(error) from None


def translate(error: psycopg.Error) -> LeadqError:
    """The leadq error for a driver error, never with row contents: those stand in the detail line, and of
    a value that cannot be read also in the primary message."""
    for kind, advice in HEALED_BY_AN_OPERATOR.items():
        if isinstance(error, kind):
            return PermanentError(_of_store(f"{advice} ({error.diag.message_primary})"))
    if isinstance(error, HEALED_BY_ANOTHER_TRY):
        return TransientError(_of_store(error.diag.message_primary))
    if error.diag.constraint_name:
        promise = error.diag.constraint_name.replace("_", " ")
        return PermanentError(f"store: refused, because {promise} ({error.diag.table_name or 'no table'})")
    if isinstance(error, psycopg.OperationalError) and not (error.sqlstate or "").startswith(LIMIT_EXCEEDED):
        words = str(error)
        if WORDS_OF_A_PASSING_FAILURE not in words and any(hint in words for hint in WORDS_OF_A_WRONG_URL):
            return PermanentError(f"store: cannot connect, check DATABASE_URL: {words.strip()}")
        return TransientError(_of_store(words.strip()))
    if isinstance(error, psycopg.DataError) or not error.diag.message_primary:
        return PermanentError(_of_store(type(error).__name__))
    return PermanentError(_of_store(error.diag.message_primary))


def _of_store(words: str | None) -> str:
    """The text names the database by its variable; that of a refused promise goes to people who have none."""
    return f"store: {words} (DATABASE_URL)"
