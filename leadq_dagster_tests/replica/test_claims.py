"""Whose claims and requirements changed in a window, on both kinds of server."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.replica.rows import LONG_AGO, TEN, WINDOW, add, claim, requirement
from leadq_dagster_tests.servers.databases import ReplicaDatabase

BIG = 2**53 + 1
MINUTE = timedelta(minutes=1)


def dated(row: dict[str, Any], created: datetime | None, updated: datetime | None) -> dict[str, Any]:
    return row | {"created_at": created, "updated_at": updated}


def met(pages: Iterable[dict[int, datetime]]) -> dict[int, datetime]:
    """Every user of every page, with the first instant told of them."""
    found: dict[int, datetime] = {}
    for page in pages:
        for user_id, instant in page.items():
            found.setdefault(user_id, instant)
    return found


def utc(naive: datetime) -> datetime:
    return naive.replace(tzinfo=UTC)


MOMENTS = {
    1: (TEN, TEN),
    2: (LONG_AGO, TEN + 30 * MINUTE),
    3: (None, TEN + 59 * MINUTE),
    4: (TEN + 5 * MINUTE, None),
    5: (None, None),
    6: (LONG_AGO, LONG_AGO),
    7: (TEN - timedelta.resolution, TEN + 60 * MINUTE),
    BIG: (TEN + 10 * MINUTE, TEN + 600 * MINUTE),
}
FOUND = {
    1: utc(TEN),
    2: utc(TEN) + 30 * MINUTE,
    3: utc(TEN) + 59 * MINUTE,
    4: utc(TEN) + 5 * MINUTE,
    BIG: utc(TEN) + 10 * MINUTE,
}


def test_claims_are_found_by_creation_and_by_update(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P7, P12: dates may be missing, ids go past 2^53, and the window's end is not in it."""
    rows = [dated(claim(2**60 + n, user_id), *when) for n, (user_id, when) in enumerate(MOMENTS.items())]
    add(replica_db.engine, schema.claims, *rows)
    assert met(replica.users_of_changed_claims(WINDOW)) == FOUND


def test_requirements_are_found_by_creation_and_by_update(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P7, P12: through their claim, whose own dates do not matter; one without a claim has no user."""
    add(replica_db.engine, schema.claims, *(claim(2**60 + user_id, user_id) for user_id in MOMENTS))
    rows = [dated(requirement(str(n), 2**60 + n), *when) for n, when in MOMENTS.items()]
    add(replica_db.engine, schema.claim_requirements, *rows, dated(requirement("lost", 404), TEN, TEN))
    assert met(replica.users_of_changed_requirements(WINDOW)) == FOUND
    assert met(replica.users_of_changed_claims(WINDOW)) == {}


def test_pages_by_key_lose_nobody_and_end(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P8: pages of three, many rows of the same second, and as many as fill the last page exactly."""
    add(replica_db.engine, schema.claims, *(dated(claim(n, n), TEN, None) for n in range(12)))
    add(replica_db.engine, schema.claims, dated(claim(99, 99), TEN + MINUTE, None))
    rows = [dated(requirement(f"{n:02}", n), LONG_AGO, TEN + (n // 5) * MINUTE) for n in range(12)]
    add(replica_db.engine, schema.claim_requirements, *rows)
    claims = list(replica.users_of_changed_claims(WINDOW))
    assert max(map(len, claims)) <= 3
    assert sorted(user_id for page in claims for user_id in page) == [*range(12), 99]
    requirements = list(replica.users_of_changed_requirements(WINDOW))
    assert sorted(user_id for page in requirements for user_id in page) == list(range(12))
    assert met(requirements) == {n: utc(TEN) + (n // 5) * MINUTE for n in range(12)}


def test_a_row_that_is_of_the_window_twice_is_one_user(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P7: created and updated within it; that the user comes twice is the caller's to know."""
    add(replica_db.engine, schema.claims, dated(claim(1, 1), TEN, TEN + MINUTE), dated(claim(2, 1), TEN, TEN))
    assert met(replica.users_of_changed_claims(WINDOW)) == {1: utc(TEN)}


def test_the_dates_are_of_the_zone_that_the_replica_keeps(replica_db: ReplicaDatabase) -> None:
    """P12: eleven on a London wall in summer is ten in UTC."""
    summer = datetime(2026, 7, 4, 11, 30)
    add(replica_db.engine, schema.claims, dated(claim(1, 1), summer, None))
    add(replica_db.engine, schema.claim_requirements, dated(requirement("a", 1), None, summer))
    instant = utc(summer) - timedelta(hours=1)
    with open_replica(replica_db.url, time_zone="Europe/London") as replica:
        assert met(replica.users_of_changed_claims(Window.hour_of(instant))) == {1: instant}
        assert met(replica.users_of_changed_requirements(Window.hour_of(instant))) == {1: instant}
        assert met(replica.users_of_changed_claims(Window.hour_of(utc(summer)))) == {}


def test_zero_dates_are_no_dates(mariadb_db: ReplicaDatabase) -> None:
    """P12: PyMySQL hands them out as text."""
    with mariadb_db.engine.begin() as connection:
        connection.execute(sa.text("SET sql_mode = ''"))
        connection.execute(
            sa.text("INSERT INTO claims (id, user_id, created_at, updated_at) VALUES (1, 1, 0, :ten)"),
            {"ten": TEN},
        )
        connection.execute(
            sa.text(
                "INSERT INTO claim_requirements (id, claim_id, created_at, updated_at) VALUES ('a', 1, 0, 0)"
            )
        )
    with open_replica(mariadb_db.url) as replica:
        assert met(replica.users_of_changed_claims(WINDOW)) == {1: utc(TEN)}
        assert met(replica.users_of_changed_requirements(WINDOW)) == {}


PEOPLE = 20_000


@pytest.fixture
def many(replica_db: ReplicaDatabase) -> ReplicaDatabase:
    """A claim and a requirement a minute for two weeks, each updated three days later."""
    mysql = replica_db.engine.dialect.name == "mysql"
    first = datetime(2026, 3, 1)
    if mysql:
        numbers, minute = f"seq_0_to_{PEOPLE - 1}", f"TIMESTAMPADD(MINUTE, seq, '{first}')"
        updated = f"TIMESTAMPADD(DAY, 3, {minute})"
    else:
        numbers = f"generate_series(0, {PEOPLE - 1}) AS numbers (seq)"
        minute = f"TIMESTAMP '{first}' + seq * INTERVAL '1 minute'"
        updated = f"{minute} + INTERVAL '3 days'"
    with replica_db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (
            "INSERT INTO claims (id, user_id, created_at, updated_at)"
            f" SELECT seq, seq, {minute}, {updated} FROM {numbers}",
            "INSERT INTO claim_requirements (id, claim_id, created_at, updated_at)"
            f" SELECT CONCAT('r', seq), seq, {minute}, {updated} FROM {numbers}",
            *(f"ANALYZE {'TABLE' if mysql else ''} {table}" for table in ("claims", "claim_requirements")),
        ):
            connection.execute(sa.text(statement))
    return replica_db


@pytest.fixture
def sent(many: ReplicaDatabase) -> Iterator[tuple[sa.Engine, list[tuple[str, Any]]]]:
    """What an hour of claims and requirements is asked for with, in pages of fifty, and where to."""
    statements: list[tuple[str, Any]] = []
    with open_replica(many.url, batch_rows=50) as replica:
        engine = replica._session._engine

        def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("SELECT claims"):
                statements.append((statement, parameters))

        sa.event.listen(engine, "before_cursor_execute", note)
        assert len(met(replica.users_of_changed_claims(WINDOW))) == 120
        assert len(met(replica.users_of_changed_requirements(WINDOW))) == 120
        yield engine, statements


def test_every_page_is_a_range_of_an_index(sent: tuple[sa.Engine, list[tuple[str, Any]]]) -> None:
    """P8: an hour's cost follows its own rows; the claim of a requirement is met by its key."""
    engine, statements = sent
    assert len(statements) == 8
    with engine.connect() as connection:
        plans = [
            [row._mapping for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
            for statement, parameters in list(statements)
        ]
    if engine.dialect.name == "mysql":
        assert {plan[0]["type"] for plan in plans} == {"range"}
        assert {plan[1]["type"] for plan in plans if len(plan) > 1} == {"eq_ref"}
        return
    text = "\n".join(row["QUERY PLAN"] for plan in plans for row in plan)
    assert "Seq Scan" not in text
    for index in ("claims_created_at", "claims_updated_at", "claim_requirements_created_at"):
        assert index in text
