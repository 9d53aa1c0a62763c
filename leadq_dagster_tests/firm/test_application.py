"""The firm's application on real servers: the database shows what the firm knows, each thing once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from leadq_dagster.firm.application import Application, OtherHistoryError, open_application
from leadq_dagster.firm.schema import heartbeat
from leadq_dagster.firm.transaction import Change, Key, Row, TableName
from leadq_dagster.firm.truth import Truth
from leadq_dagster.firm.world import Firm, Recipe
from leadq_dagster.firm.writing import TABLES, ZERO_DATE
from leadq_dagster_tests.servers.databases import ReplicaDatabase

START = datetime(2025, 3, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RECIPE = Recipe(seed=5, start=START, sign_ups_per_day=70, late_share=0.1, undated_share=0.02)


def content(engine: sa.Engine) -> dict[TableName, dict[Key, Row]]:
    """The firm's tables as any reader finds them; a zero date is no date."""
    with engine.connect() as connection:
        return {
            name: {
                row["id"]: {key: None if value == ZERO_DATE else value for key, value in row.items()}
                for row in connection.execute(table.select()).mappings()
            }
            for name, table in TABLES.items()
        }


def lived(until: datetime, recipe: Recipe = RECIPE) -> list[Change]:
    """What a firm that no database ever heard of has shown until then."""
    firm = Firm(
        recipe.seed,
        recipe.start,
        recipe.sign_ups_per_day,
        late_share=recipe.late_share,
        undated_share=recipe.undated_share,
    )
    return firm.advance(until)


def expected(until: datetime, recipe: Recipe = RECIPE) -> dict[TableName, dict[Key, Row]]:
    truth = Truth()
    truth.see(lived(until, recipe))
    return truth.rows


@contextmanager
def connection_cut_at(engine: sa.Engine, number: int) -> Iterator[None]:
    """The server ends the connection just before the `number`-th statement from now on, once."""
    sent = 0

    def count(connection: sa.Connection, *_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            end_connection(engine, connection)

    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)


def end_connection(engine: sa.Engine, connection: sa.Connection) -> None:
    """Kill it from another one, as an administrator or a failing network would."""
    driver = connection.connection.driver_connection
    assert driver is not None
    is_postgres = engine.dialect.name == "postgresql"
    own_id = driver.info.backend_pid if is_postgres else driver.thread_id()
    kill = f"SELECT pg_terminate_backend({own_id}, 5000)" if is_postgres else f"KILL CONNECTION {own_id}"
    outside = sa.create_engine(engine.url, poolclass=sa.NullPool)
    with outside.connect() as other:
        other.execute(sa.text(kill))


def test_a_history_written_at_once_is_what_the_firm_knows(replica_db: ReplicaDatabase) -> None:
    """P12: every oddity survives the way through the real drivers."""
    recipe = Recipe(seed=1, start=START, sign_ups_per_day=400, undated_share=0.02)
    application = open_application(replica_db.engine, recipe)
    until = START + 5 * DAY
    written = application.advance(until)
    assert written == len(lived(until, recipe)) > 10_000
    assert content(replica_db.engine) == application.truth.rows == expected(until, recipe)


def test_the_migrated_brand_has_zero_dates_where_the_server_can_hold_them(
    replica_db: ReplicaDatabase,
) -> None:
    """P12: a zero date reaches the reader on MariaDB, NULL on PostgreSQL."""
    recipe = Recipe(seed=1, start=START, sign_ups_per_day=400, undated_share=0.1)
    open_application(replica_db.engine, recipe).advance(START + DAY)
    statement = sa.text("SELECT created_at FROM users WHERE id > 9007199254740992")
    with replica_db.engine.connect() as connection:
        found = set(connection.execute(statement).scalars())
    is_mariadb = replica_db.engine.dialect.name != "postgresql"
    assert (ZERO_DATE in found, None in found) == (is_mariadb, not is_mariadb)


def test_hour_by_hour_the_database_shows_what_the_firm_shows(replica_db: ReplicaDatabase) -> None:
    """P6: written in small steps, with updates of older rows, it is what it is when written at once."""
    application = open_application(replica_db.engine, RECIPE)
    for hour in range(1, 31):
        application.advance(START + hour * HOUR)
        assert content(replica_db.engine) == application.truth.rows
    assert application.truth.rows == expected(START + 30 * HOUR)


def test_a_late_user_is_absent_until_the_commit_and_then_has_the_old_date(
    replica_db: ReplicaDatabase,
) -> None:
    """P7: the row that no watermark sees."""
    late = next(
        change
        for change in lived(START + 2 * DAY)
        if change.table == "users"
        and change.is_insert
        and change.row["created_at"]
        and change.visible_at - change.at > HOUR
    )
    application = open_application(replica_db.engine, RECIPE)
    application.advance(late.visible_at - timedelta(seconds=1))
    assert late.key not in content(replica_db.engine)["users"]
    application.advance(late.visible_at)
    shown = content(replica_db.engine)["users"][late.key]
    assert shown["created_at"] == late.at.replace(tzinfo=None)


def test_a_restart_continues_where_the_database_is(replica_db: ReplicaDatabase) -> None:
    """P6: nothing twice and nothing missing, although the second start asks for another beginning."""
    open_application(replica_db.engine, RECIPE).advance(START + DAY)
    later = Recipe(RECIPE.seed, START + 9 * DAY, RECIPE.sign_ups_per_day, 0.1, 0.02)
    application = open_application(replica_db.engine, later)
    assert application.firm.recipe == RECIPE
    assert application.truth.rows == expected(START + DAY)
    application.advance(START + 2 * DAY)
    assert content(replica_db.engine) == expected(START + 2 * DAY)


def test_two_applications_of_one_firm_write_each_change_once(replica_db: ReplicaDatabase) -> None:
    """P6: whoever comes second finds it done; the one behind does not set the clock back."""
    one, two = (open_application(replica_db.engine, RECIPE) for _ in range(2))
    written = one.advance(START + DAY)
    written += two.advance(START + DAY / 2)
    written += two.advance(START + 2 * DAY)
    written += one.advance(START + 2 * DAY)
    assert written == len(lived(START + 2 * DAY))
    assert content(replica_db.engine) == expected(START + 2 * DAY) == one.truth.rows == two.truth.rows


def test_another_firms_database_is_refused_and_left_alone(replica_db: ReplicaDatabase) -> None:
    """A seed or a row that does not fit is named."""
    open_application(replica_db.engine, RECIPE).advance(START + DAY)
    before = content(replica_db.engine)
    with pytest.raises(OtherHistoryError, match="seed=5"):
        open_application(replica_db.engine, Recipe(6, START, 70, 0.1, 0.02))
    assert content(replica_db.engine) == before
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM users WHERE id = 1001"))
    with pytest.raises(OtherHistoryError, match="rows"):
        open_application(replica_db.engine, RECIPE)


@pytest.mark.parametrize("number", range(1, 9))
def test_a_connection_cut_under_any_statement_loses_and_doubles_nothing(
    replica_db: ReplicaDatabase, number: int
) -> None:
    """P6: all of an advance is there or nothing; the next one catches up."""
    application = open_application(replica_db.engine, RECIPE)
    application.advance(START + DAY)
    with (
        connection_cut_at(replica_db.engine, number),
        pytest.raises((sa.exc.OperationalError, sa.exc.InterfaceError)),
    ):
        application.advance(START + 6 * DAY)
    assert content(replica_db.engine) == expected(START + DAY) == application.truth.rows
    application.advance(START + 6 * DAY + HOUR)
    assert content(replica_db.engine) == expected(START + 6 * DAY + HOUR) == application.truth.rows


class Clock:
    """Each look is an hour later; at the last one it stops the firm."""

    def __init__(self, looks: int) -> None:
        self.now, self.looks, self.stop = START, looks, threading.Event()

    def __call__(self) -> datetime:
        self.now += HOUR
        self.looks -= 1
        if self.looks == 0:
            self.stop.set()
        return self.now


def beaten_at(engine: sa.Engine) -> datetime:
    with engine.connect() as connection:
        moment: datetime = connection.execute(sa.select(heartbeat.c.ts)).scalar_one()
    return moment.replace(tzinfo=UTC)


def test_a_live_firm_follows_the_clock_and_beats(replica_db: ReplicaDatabase) -> None:
    """The heartbeat is the primary's clock at the last tick."""
    application, clock = open_application(replica_db.engine, RECIPE), Clock(looks=20)
    application.run_live(clock.stop, clock, tick_seconds=0)
    assert beaten_at(replica_db.engine) == START + 20 * HOUR
    assert content(replica_db.engine) == expected(START + 20 * HOUR)


def test_a_live_firm_outlives_its_database(
    replica_db: ReplicaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """P40: a cut connection is tried again, and the log has no name, number or address in it."""
    application, clock = open_application(replica_db.engine, RECIPE), Clock(looks=20)
    with connection_cut_at(replica_db.engine, 20):
        application.run_live(clock.stop, clock, tick_seconds=0)
    assert beaten_at(replica_db.engine) == START + 20 * HOUR
    assert content(replica_db.engine) == expected(START + 20 * HOUR)
    assert caplog.text.count("does not answer") == 1
    assert "example.com" not in caplog.text


def test_a_stopped_firm_writes_nothing(replica_db: ReplicaDatabase) -> None:
    """Ctrl-C before the first tick."""
    application: Application = open_application(replica_db.engine, RECIPE)
    stop = threading.Event()
    stop.set()
    application.run_live(stop, lambda: START + DAY)
    assert content(replica_db.engine)["users"] == {}
