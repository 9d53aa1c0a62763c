"""Who changed in a window: everyone, once, in pages whose borders show nowhere."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.replica.rows import LONG_AGO, TEN, WINDOW, add_users, ids, user
from leadq_dagster_tests.servers.databases import ReplicaDatabase

TICK = timedelta(microseconds=1)
ELEVEN = TEN + timedelta(hours=1)
PAST_DOUBLES = 2**53 + 1


def changed_at(replica: Replica, window: Window = WINDOW) -> dict[int, datetime]:
    return {each.user.user_id: each.changed_at for page in replica.changed_users(window) for each in page}


def test_created_or_updated_in_the_half_open_hour_and_nobody_else(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P7: a user enabled long after creation is among them, and one without a time of creation."""
    add_users(
        replica_db.engine,
        user(1, created_at=TEN, updated_at=TEN),
        user(2, created_at=ELEVEN - TICK, updated_at=ELEVEN),
        user(3, created_at=ELEVEN, updated_at=ELEVEN),
        user(4, created_at=TEN - TICK, updated_at=TEN - TICK),
        user(5, updated_at=TEN),
        user(6, updated_at=ELEVEN - TICK),
        user(7, created_at=None, updated_at=TEN + TICK),
        user(8, created_at=TEN + TICK, updated_at=None),
        user(9, created_at=None, updated_at=None),
    )
    assert sorted(ids(replica)) == [1, 2, 5, 6, 7, 8]


def test_the_time_by_which_a_user_matched_is_told(replica_db: ReplicaDatabase, replica: Replica) -> None:
    add_users(
        replica_db.engine,
        user(1, created_at=TEN, updated_at=TEN + TICK),
        user(2, created_at=TEN - TICK, updated_at=TEN + TICK),
    )
    assert changed_at(replica) == {1: TEN.replace(tzinfo=UTC), 2: (TEN + TICK).replace(tzinfo=UTC)}


@pytest.mark.parametrize("batch_rows", [1, 3, 7, 1000])
def test_every_page_size_gives_the_same_users_once(replica_db: ReplicaDatabase, batch_rows: int) -> None:
    """P8: two hundred users on nine moments, so most pages end amid equal times; judged by a plain loop."""
    seeded = random.Random(2)
    moments = [TEN + timedelta(minutes=10 * n) for n in range(-1, 7)] + [None]
    rows = [
        user(n, created_at=seeded.choice(moments), updated_at=seeded.choice(moments))
        for n in seeded.sample(range(10**6), 200)
    ]
    add_users(replica_db.engine, *rows)
    expected = [
        row["id"]
        for row in rows
        if any(at and TEN <= at < ELEVEN for at in (row["created_at"], row["updated_at"]))
    ]
    with open_replica(replica_db.url, batch_rows=batch_rows) as replica:
        pages = list(replica.changed_users(WINDOW))
    assert sorted(each.user.user_id for page in pages for each in page) == sorted(expected)
    assert all(0 < len(page) <= batch_rows for page in pages)


def test_many_users_of_one_moment_cross_the_pages(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P8: as after an import; a key without the id would stop or repeat here."""
    add_users(replica_db.engine, *(user(n, created_at=TEN) for n in range(10)))
    add_users(replica_db.engine, *(user(n, updated_at=TEN) for n in range(10, 20)))
    assert ids(replica) == list(range(20))


def test_hours_tile_into_the_day(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P6: hour by hour finds whom the day finds, users created and updated in different hours in both."""
    seeded = random.Random(3)
    day = Window(WINDOW.start, WINDOW.start + timedelta(days=1))
    moments = [TEN + timedelta(minutes=seeded.randrange(24 * 60)) for _ in range(60)]
    add_users(
        replica_db.engine,
        *(user(n, created_at=at, updated_at=seeded.choice(moments)) for n, at in enumerate(moments)),
    )
    by_hour = [user_id for hour in day.hours() for user_id in ids(replica, hour)]
    assert set(by_hour) == set(ids(replica, day)) == set(range(60))


def test_pages_are_read_when_they_are_asked_for(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """Memory and the replica's open transactions are bounded by a page, not by the window."""
    add_users(replica_db.engine, *(user(n, created_at=TEN) for n in range(9)))
    pages = replica.changed_users(WINDOW)
    assert replica.queries == 0
    next(pages)
    assert replica.queries == 1


def test_users_updated_while_pages_are_read_are_in_this_window_or_a_later_one(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P8: users behind the page and before it leave the window; an OFFSET would skip two who stay."""
    add_users(replica_db.engine, *(user(n, updated_at=TEN + timedelta(minutes=n)) for n in range(9)))
    pages = replica.changed_users(WINDOW)
    found = [each.user.user_id for each in next(pages)]
    with replica_db.engine.begin() as connection:
        moved = schema.users.update().where(schema.users.c.id.in_([0, 1, 7]))
        connection.execute(moved.values(updated_at=ELEVEN + timedelta(minutes=5)))
    found += [each.user.user_id for page in pages for each in page]
    assert found == [0, 1, 2, 3, 4, 5, 6, 8]
    assert ids(replica, Window.hour_of(WINDOW.end)) == [0, 1, 7]


def test_a_user_who_was_created_in_the_window_is_not_lost_by_an_update_meanwhile(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    add_users(replica_db.engine, *(user(n, created_at=TEN, updated_at=TEN) for n in range(7)))
    pages = replica.changed_users(WINDOW)
    next(pages)
    with replica_db.engine.begin() as connection:
        connection.execute(schema.users.update().values(updated_at=ELEVEN))
    assert [each.user.user_id for page in pages for each in page] == [3, 4, 5, 6]


def test_odd_rows_are_understood(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P12: ids no double can hold, any spelling, blank signatures, NULLs, 4-byte characters."""
    add_users(
        replica_db.engine,
        user(PAST_DOUBLES, updated_at=TEN, status=" CanCelled ", current_signature_file_id=""),
        user(PAST_DOUBLES + 1, updated_at=TEN, status=None, current_signature_file_id="  ", is_enabled=2),
        user(2**63 - 1, updated_at=TEN, status="Ünknown 🦊", current_signature_file_id="f-1", is_enabled=0),
    )
    found = [each.user for page in replica.changed_users(WINDOW) for each in page]
    told = [(each.user_id, each.status, each.has_signature, each.is_enabled) for each in found]
    assert told == [
        (PAST_DOUBLES, "cancelled", False, True),
        (PAST_DOUBLES + 1, "", False, True),
        (2**63 - 1, "ünknown 🦊", True, False),
    ]
    assert found[0].created_at == LONG_AGO.replace(tzinfo=UTC)
    assert replica.read_users([each.user_id for each in found]) == found


def test_an_is_enabled_that_is_null_enables_nobody(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P12."""
    with replica_db.engine.begin() as connection:
        mariadb = replica_db.engine.dialect.name == "mysql"
        loosen = "MODIFY is_enabled TINYINT(1) NULL" if mariadb else "ALTER COLUMN is_enabled DROP NOT NULL"
        connection.execute(sa.text(f"ALTER TABLE users {loosen}"))
    add_users(replica_db.engine, user(1, is_enabled=None))
    assert not replica.read_users([1])[0].is_enabled


@pytest.mark.parametrize("kind", ["BIT(1)", "BOOLEAN"])
def test_flags_of_other_types_are_flags(replica_db: ReplicaDatabase, replica: Replica, kind: str) -> None:
    """P12: MariaDB's BIT arrives as bytes, PostgreSQL's boolean as bool."""
    postgres = replica_db.engine.dialect.name == "postgresql"
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users DROP COLUMN is_enabled"))
        connection.execute(
            sa.text(f"ALTER TABLE users ADD COLUMN is_enabled {'BOOLEAN' if postgres else kind}")
        )
        connection.execute(
            sa.text("INSERT INTO users (id, is_enabled) VALUES (1, :true), (2, :false)"),
            {"true": True, "false": False},
        )
    assert [each.is_enabled for each in replica.read_users([1, 2])] == [True, False]


def test_zero_dates_are_no_dates(mariadb_db: ReplicaDatabase) -> None:
    """P12: such a user is found by the update, and a page that ends on half a date goes on after it."""
    with mariadb_db.engine.begin() as connection:
        connection.execute(sa.text("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'"))
        insert = sa.text("INSERT INTO users (id, created_at, updated_at) VALUES (:id, :created, :updated)")
        rows: list[dict[str, Any]] = [
            {"id": 1, "created": "0000-00-00 00:00:00", "updated": TEN},
            {"id": 2, "created": TEN, "updated": "0000-00-00 00:00:00"},
            {"id": 3, "created": "0000-00-00 00:00:00", "updated": "0000-00-00 00:00:00"},
            {"id": 4, "created": "2026-03-00 10:00:00", "updated": LONG_AGO},
            {"id": 5, "created": "2026-03-00 10:00:00", "updated": TEN},
            {"id": 6, "created": datetime(2026, 3, 1), "updated": LONG_AGO},
        ]
        connection.execute(insert, rows)
    year = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    for batch_rows in (1, 2, 100):
        with open_replica(mariadb_db.url, batch_rows=batch_rows) as replica:
            assert sorted(ids(replica)) == [1, 2, 5]
            assert sorted(ids(replica, year)) == [1, 2, 5, 6]
            first, second = replica.read_users([1, 2])
    assert first.created_at is None
    assert second.updated_at is None


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
def test_infinite_dates_are_no_dates(postgres_db: ReplicaDatabase, kind: str) -> None:
    """P12: one such user must not fail the hour of everybody."""
    with postgres_db.engine.begin() as connection:
        for column in ("created_at", "updated_at"):
            connection.execute(sa.text(f"ALTER TABLE users ALTER {column} TYPE {kind}"))
        insert = sa.text("INSERT INTO users (id, created_at, updated_at) VALUES (:id, :created, :updated)")
        odd = ["infinity", "-infinity", "0044-03-15 12:00:00 BC"]
        rows = [{"id": n, "created": text, "updated": TEN} for n, text in enumerate(odd)]
        connection.execute(insert, [*rows, {"id": 3, "created": TEN, "updated": "infinity"}])
    with open_replica(postgres_db.url) as replica:
        assert sorted(ids(replica)) == [0, 1, 2, 3]
        assert [each.created_at for each in replica.read_users([0, 1, 2])] == [None, None, None]


def test_local_dates_are_read_in_both_hours_of_the_repeated_one(replica_db: ReplicaDatabase) -> None:
    """P6, P7: around the autumn change nobody is lost, and each time told lies in the hour asked for."""
    add_users(
        replica_db.engine,
        user(1, created_at=datetime(2026, 10, 25, 0, 59)),
        user(2, created_at=datetime(2026, 10, 25, 1, 30)),
        user(3, updated_at=datetime(2026, 10, 25, 2, 0)),
        user(4, created_at=datetime(2026, 10, 24, 23, 59), updated_at=datetime(2026, 10, 25, 2, 30)),
        user(5, created_at=datetime(2026, 7, 1, 10, 30)),
    )
    found = {}
    with open_replica(replica_db.url, time_zone="Europe/London", batch_rows=2) as replica:
        for hour in (datetime(2026, 10, 24, 22, tzinfo=UTC) + timedelta(hours=n) for n in range(6)):
            found[hour.day, hour.hour] = changed_at(replica, Window.hour_of(hour))
        summer = changed_at(replica, Window.hour_of(datetime(2026, 7, 1, 9, tzinfo=UTC)))
    told = {key: {n: f"{at:%H:%M}" for n, at in users.items()} for key, users in found.items() if users}
    assert told == {
        (24, 22): {4: "22:59"},
        (24, 23): {1: "23:59"},
        (25, 0): {2: "00:30"},
        (25, 1): {2: "01:30"},
        (25, 2): {3: "02:00", 4: "02:30"},
    }
    assert summer == {5: datetime(2026, 7, 1, 9, 30, tzinfo=UTC)}


def test_dates_with_their_own_zone_are_read_in_utc_and_refused_in_another(
    replica_db: ReplicaDatabase,
) -> None:
    """P35: PostgreSQL would compare local bounds as UTC and silently answer for another hour."""
    if replica_db.engine.dialect.name == "mysql":
        with replica_db.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE users MODIFY created_at TIMESTAMP NULL"))
        add_users(replica_db.engine, user(1, created_at=TEN))
        with open_replica(replica_db.url) as replica:
            assert ids(replica) == [1]
        return
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users ALTER created_at TYPE timestamptz"))
    add_users(replica_db.engine, *(user(n, created_at=TEN) for n in range(7)))
    with open_replica(replica_db.url, batch_rows=3) as replica:
        assert changed_at(replica) == dict.fromkeys(range(7), WINDOW.start)
    with (
        open_replica(replica_db.url, time_zone="Europe/London") as replica,
        pytest.raises(PermanentError, match="time zone"),
    ):
        ids(replica)


def test_users_are_found_by_id_in_the_order_asked_for(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P4: one whom the replica does not show is absent, not invented."""
    add_users(replica_db.engine, *(user(n) for n in range(1, 9)))
    assert [each.user_id for each in replica.read_users([8, 3, 99, 1, 3, 5])] == [8, 3, 1, 5]
    assert replica.queries == 2
    assert replica.read_users([]) == []
    assert replica.queries == 2


@pytest.mark.parametrize("batch_rows", [1, 3, 7, 1000])
def test_everybody_is_met_once_by_key_dated_or_not(replica_db: ReplicaDatabase, batch_rows: int) -> None:
    """P8, P12: with neither date, disabled, below zero and past what a double can count."""
    numbers = [-4, 0, 1, 2, 5, 8, 13, PAST_DOUBLES, PAST_DOUBLES + 1]
    add_users(
        replica_db.engine,
        *(user(n, created_at=None, updated_at=None, is_enabled=n % 2) for n in reversed(numbers)),
    )
    with open_replica(replica_db.url, batch_rows=batch_rows) as replica:
        met, after = [], None
        while page := replica.users_after(after):
            assert len(page) <= batch_rows
            met += page
            after = page[-1].user_id
    assert [each.user_id for each in met] == numbers
    assert [each.is_enabled for each in met] == [n % 2 == 1 for n in numbers]


def test_a_user_who_goes_or_comes_between_pages_moves_nobody_else_s_place(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P8: an offset would pass over one for each that has gone."""
    add_users(replica_db.engine, *(user(n) for n in range(2, 10)))
    first = replica.users_after(None)
    with replica_db.engine.begin() as connection:
        connection.execute(schema.users.delete().where(schema.users.c.id == 3))
    add_users(replica_db.engine, user(1))
    second = replica.users_after(first[-1].user_id)
    assert [each.user_id for each in (*first, *second)] == [2, 3, 4, 5, 6, 7]
