"""Whether another try helps, said without a secret and without anybody's row."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.errors import LeadqError, PermanentError, TransientError
from leadq_dagster.embedded.postgres import EmbeddedPostgres
from leadq_dagster.store.connection import Store, open_direct_store, open_store
from leadq_dagster.store.errors import translate
from leadq_dagster_tests.store.rows import TEN, know, rows

KNOW = "INSERT INTO user_call_scores (user_id, discovered_at, next_call_after) VALUES (%s, now(), now())"
PERSON = "Jane Doe"
NUMBER = "+447700900123"


@contextmanager
def unused_port() -> Iterator[int]:
    """A port that nobody listens on: it is bound here, and not opened."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def said(error: LeadqError) -> str:
    """All that a log would show of the error, and of what it was raised from."""
    texts, shown = [], cast(BaseException | None, error)
    while shown is not None:
        texts.append(f"{shown!s} {shown!r}")
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    return "\n".join(texts)


def test_what_a_transaction_writes_is_stored_at_its_end_or_not_at_all(store: Store) -> None:
    """P1: an exception of any kind undoes it."""
    know(store, [1])
    mistake = "DELETE FROM user_call_scores"
    with pytest.raises(ZeroDivisionError), store.transaction() as cursor:
        assert cursor.execute(mistake).rowcount == 1 / 0
    with store.transaction() as cursor:
        assert rows(cursor, "SELECT user_id FROM user_call_scores") == [(1,)]


@pytest.mark.parametrize("opened", [open_store, open_direct_store])
def test_a_transaction_that_failed_is_an_error_also_when_its_block_went_on(
    opened: Callable[..., Store], store_url: str, plain: Connection[TupleRow]
) -> None:
    """P1: nothing of it is stored, and nobody may believe that it was; what comes next works."""
    known = "SELECT user_id FROM user_call_scores"

    def go_on(beside: Store) -> None:
        with beside.transaction() as cursor:
            cursor.execute(KNOW, [3])
            with suppress(psycopg.errors.DivisionByZero):
                cursor.execute("SELECT 1 / 0").fetchone()

    with opened(store_url) as beside:
        with pytest.raises(PermanentError, match="nothing was stored"):
            go_on(beside)
        assert rows(plain, known) == []
        with beside.transaction() as cursor:
            cursor.execute(KNOW, [4])
    assert rows(plain, known) == [(4,)]


def test_rows_are_named(store: Store) -> None:
    with store.transaction() as cursor:
        row: Any = cursor.execute("SELECT 1 AS user_id, 2 AS calls").fetchone()
        assert (row.user_id, row.calls) == (1, 2)


def test_a_wrong_password_is_permanent_and_not_repeated(postgres: EmbeddedPostgres) -> None:
    """P40: neither the wrong one nor the right one is in the text."""
    url = postgres.url("postgres").replace(postgres.password, "not-the-pass%40word")
    with pytest.raises(PermanentError, match="DATABASE_URL") as refusal:
        open_store(url)
    for secret in ("not-the-pass", postgres.password):
        assert secret not in said(refusal.value)


def test_a_missing_database_is_permanent(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(PermanentError, match=r'DATABASE_URL.*"no_such_database" does not exist'):
        open_store(postgres.url("no_such_database"))


def test_an_option_that_the_driver_does_not_know_is_permanent(postgres: EmbeddedPostgres) -> None:
    """P40: the driver's own words for a URL it cannot read may quote it."""
    with pytest.raises(PermanentError) as refusal:
        open_store(postgres.url("postgres") + "?paßword=s3cret")
    assert "s3cret" not in said(refusal.value)


def test_a_closed_port_is_worth_another_try() -> None:
    """P40: and its password is in no text."""
    with unused_port() as port, pytest.raises(TransientError, match="DATABASE_URL") as refusal:
        open_store(f"postgresql://leadq:s3cret@127.0.0.1:{port}/leadq")
    assert "s3cret" not in said(refusal.value)


def test_a_statement_that_takes_too_long_is_cut_off_and_worth_another_try(store_url: str) -> None:
    with open_store(store_url, statement_timeout_seconds=1) as store:
        with pytest.raises(TransientError, match="statement timeout"), store.transaction() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        with store.transaction() as cursor:
            assert rows(cursor, "SELECT 1") == [(1,)]


def test_the_time_limit_ends_with_its_transaction(store_url: str) -> None:
    """A pooler in front of the server would hand it on to somebody else."""
    with open_store(store_url, statement_timeout_seconds=7, pool_size=1) as store:
        with store.transaction() as cursor:
            assert rows(cursor, "SHOW statement_timeout") == [("7s",)]
        with store._pool.connection() as connection:
            assert rows(connection, "SHOW statement_timeout") == [("0",)]


@pytest.mark.parametrize("opened", [open_store, open_direct_store])
def test_who_stops_within_a_transaction_keeps_its_locks_for_no_longer_than_the_limit(
    opened: Callable[..., Store], store: Store, store_url: str, plain: Connection[TupleRow]
) -> None:
    """P19: a process that is suspended, or a machine, after an answer and before its next statement."""
    know(store, [1])
    plain.execute("SET lock_timeout = '30s'")
    locked_next = []

    def stop_within() -> None:
        with opened(store_url, statement_timeout_seconds=1) as stopped, stopped.transaction() as cursor:
            assert rows(cursor, "SELECT user_id FROM user_call_scores FOR UPDATE") == [(1,)]
            locked_next.extend(rows(plain, "SELECT user_id FROM user_call_scores FOR UPDATE"))
            cursor.execute("SELECT 1").fetchone()

    with pytest.raises(TransientError):
        stop_within()
    assert locked_next == [(1,)]


def test_what_the_desk_sends_has_a_limit_as_a_whole(store_url: str, plain: Connection[TupleRow]) -> None:
    """P19: who is suspended before it waits for an answer is cut off too, where the server can."""
    limit = rows(plain, "SELECT setting FROM pg_settings WHERE name = 'transaction_timeout'")
    with open_direct_store(store_url) as store, store.transaction() as cursor:
        assert rows(cursor, "SELECT setting FROM pg_settings WHERE name = 'transaction_timeout'") == (
            [("120000",)] if limit else []
        )


def test_a_store_without_its_tables_says_what_to_run(empty_database: str) -> None:
    """P39: before the first migration, every statement fails the same way until somebody acts."""
    with open_store(empty_database) as store, pytest.raises(PermanentError, match="leadq db upgrade"):
        know(store, [1])


def test_a_killed_backend_is_worth_another_try_and_the_store_works_on(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P19: nothing of the cut transaction is stored, and the next one gets another connection."""
    know(store, [1])

    def be_killed_half_way() -> None:
        with store.transaction() as cursor:
            cursor.execute("DELETE FROM user_call_scores")
            plain.execute("SELECT pg_terminate_backend(%s)", [cursor.connection.info.backend_pid])
            cursor.execute("SELECT 1")

    with pytest.raises(TransientError):
        be_killed_half_way()
    with store.transaction() as cursor:
        assert rows(cursor, "SELECT user_id FROM user_call_scores") == [(1,)]


def test_a_backend_killed_between_two_transactions_is_not_noticed(
    store: Store, plain: Connection[TupleRow]
) -> None:
    with store.transaction() as cursor:
        backend = cursor.connection.info.backend_pid
    plain.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
    for _ in range(3):
        with store.transaction() as cursor:
            assert rows(cursor, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO customers (phone_e164, email) VALUES (%(number)s, %(person)s), (%(number)s, 'x')",
        "INSERT INTO customers (phone_e164, first_name) VALUES (%(person)s, %(number)s)",
        "INSERT INTO agents (name, status) VALUES (%(person)s, %(number)s)",
        "INSERT INTO agents (name, status) VALUES (%(person)s, NULL)",
        "SELECT %(person)s::bigint",
        "SELECT %(person)s::timestamptz",
        "SELECT %(person)s::jsonb",
        "SELECT %(number)s::text::int2",
        "SELECT CAST(%(person)s AS queue_type)",
        "SELECT %(person)s || chr(0)",
    ],
)
def test_an_error_tells_nothing_of_the_row(store: Store, statement: str) -> None:
    """P40: the driver's text and its detail line hold the values; ours holds neither."""
    with pytest.raises(PermanentError) as refusal, store.transaction() as cursor:
        cursor.execute(statement.encode(), {"person": PERSON, "number": NUMBER})
    for datum in (PERSON, "Jane", NUMBER, NUMBER[1:]):
        assert datum not in said(refusal.value)


def test_a_text_that_the_driver_refuses_is_not_repeated(store: Store) -> None:
    """P40: an error that never reached the server has no message of the server's."""
    with pytest.raises(PermanentError) as refusal, store.transaction() as cursor:
        cursor.execute("SELECT %s::text", [PERSON + "\0"])
    assert PERSON not in said(refusal.value)


@pytest.mark.parametrize(
    "kind",
    [
        psycopg.errors.DeadlockDetected,
        psycopg.errors.SerializationFailure,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.TransactionTimeout,
        psycopg.errors.TooManyConnections,
        psycopg.errors.ReadOnlySqlTransaction,
        psycopg.errors.DiskFull,
    ],
)
def test_what_passes_by_itself_is_worth_another_try(kind: type[psycopg.Error]) -> None:
    error = translate(kind())
    assert isinstance(error, TransientError)
    assert "DATABASE_URL" in str(error)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('could not translate host name "db" to address: Name or service not known', PermanentError),
        ('could not translate host name "db": Temporary failure in name resolution', TransientError),
        ("connection timeout expired", TransientError),
        ('FATAL: no pg_hba.conf entry for host "10.0.0.1"', PermanentError),
    ],
)  # fmt: skip
def test_a_refused_connection_is_told_apart_by_the_servers_words(
    words: str, expected: type[LeadqError]
) -> None:
    """No SQLSTATE comes with it."""
    error = translate(psycopg.OperationalError(words))
    assert isinstance(error, expected)
    assert "DATABASE_URL" in str(error)


@pytest.mark.parametrize("statement", ["SELECT 1 FROM unicorns", "SELECT 1 / 0", "SELEC", "SELECT 'x'::int"])
def test_whatever_fails_at_the_store_the_text_names_its_variable(store: Store, statement: str) -> None:
    """P40: of three databases it was this one."""
    with pytest.raises(PermanentError, match=r"^store: .*DATABASE_URL"), store.transaction() as cursor:
        cursor.execute(statement.encode())


def test_a_pool_with_nothing_to_give_is_worth_another_try(store_url: str) -> None:
    """P21: all connections are at work; nobody is told that the work is done."""
    with open_store(store_url, pool_size=1) as store, store.transaction():
        store._pool.timeout = 0.05
        with (
            pytest.raises(TransientError, match=r"all connections are in use.*DATABASE_URL"),
            store.transaction(),
        ):
            pass


def test_the_clock_of_the_store_is_not_ours(store: Store) -> None:
    """P25: instants are given, and come back as the same instant in whatever zone the session has."""
    with store.transaction() as cursor:
        cursor.execute("SET LOCAL timezone = 'Asia/Kathmandu'")
        assert rows(cursor, "SELECT %s::timestamptz", TEN) == [(TEN,)]
