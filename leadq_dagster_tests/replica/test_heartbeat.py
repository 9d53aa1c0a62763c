"""How far the replica has observed, and how that is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import PermanentError, RefusedError, TransientError
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import open_replica
from leadq_dagster.replica.heartbeat import Observation
from leadq_dagster_tests.replica.rows import TEN, add
from leadq_dagster_tests.servers.databases import ReplicaDatabase

NOW = datetime(2026, 3, 4, 10, 0, 2, tzinfo=UTC)


def observe(database: ReplicaDatabase, **options: Any) -> Observation:
    with open_replica(database.url, **{"now": lambda: NOW, **options}) as replica:
        return replica.observed_until()


def beat(database: ReplicaDatabase, *moments: datetime) -> None:
    add(database.engine, schema.heartbeat, *({"server_id": n, "ts": at} for n, at in enumerate(moments)))


def pulse(database: ReplicaDatabase, *texts: str | None) -> str:
    """A heartbeat table with texts for times, in another form of name; the name with its schema."""
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE pulse (ts VARCHAR(40), server_id INT)"))
        for text in texts:
            connection.execute(sa.text("INSERT INTO pulse (ts) VALUES (:ts)"), {"ts": text})
    return f"{database.name}.pulse" if database.engine.dialect.name == "mysql" else "public.pulse"


def test_the_oldest_beat_counts_unless_a_server_is_named(replica_db: ReplicaDatabase) -> None:
    """P4: a server in the middle of a chain goes on beating when it has lost its primary."""
    beat(replica_db, TEN - timedelta(days=9), TEN + timedelta(microseconds=1), TEN - timedelta(seconds=5))
    assert observe(replica_db).until == datetime(2026, 2, 23, 10, tzinfo=UTC)
    named = observe(replica_db, heartbeat_server_id=1)
    assert named == Observation(datetime(2026, 3, 4, 10, 0, 0, 1, tzinfo=UTC), "heartbeat")
    with pytest.raises(TransientError, match="holds no time"):
        observe(replica_db, heartbeat_server_id=99)


def test_beats_written_as_text_in_another_schema_are_understood(replica_db: ReplicaDatabase) -> None:
    name = pulse(replica_db, "2026-03-04T09:59:58.001230", "2026-03-04T09:59:59.001230", None)
    seen = observe(replica_db, heartbeat_table=name)
    assert seen == Observation(datetime(2026, 3, 4, 9, 59, 58, 1230, tzinfo=UTC), "heartbeat")


def test_a_beat_is_in_the_time_zone_of_the_replica(replica_db: ReplicaDatabase) -> None:
    beat(replica_db, datetime(2026, 7, 1, 11))
    seen = observe(replica_db, time_zone="Europe/London", now=lambda: datetime(2026, 7, 1, 10, 5, tzinfo=UTC))
    assert seen.until == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_a_heartbeat_table_without_a_beat_decides_nothing(replica_db: ReplicaDatabase) -> None:
    """P4, P35: the fallback would claim to know what the empty table says is unknown."""
    with pytest.raises(TransientError, match="heartbeat"):
        observe(replica_db)
    with pytest.raises(TransientError, match="pulse"):
        observe(replica_db, heartbeat_table=pulse(replica_db, None))


def test_a_beat_that_is_no_time_decides_nothing(replica_db: ReplicaDatabase) -> None:
    with pytest.raises(TransientError, match="no time"):
        observe(replica_db, heartbeat_table=pulse(replica_db, "0000-00-00 00:00:00"))


def test_without_a_heartbeat_table_the_fallback_says_what_it_is(replica_db: ReplicaDatabase) -> None:
    """P35: who reads the observation sees that lag goes unnoticed."""
    schema.heartbeat.drop(replica_db.engine)
    for options in ({}, {"heartbeat_table": ""}, {"heartbeat_table": pulse(replica_db) + "_not"}):
        before = datetime.now(UTC)
        seen = observe(replica_db, lag_allowance_seconds=90, **options)
        assert abs(before - timedelta(seconds=90) - seen.until) < timedelta(seconds=10)
        assert "clock less 90 s" in seen.by
        assert "unnoticed" in seen.by


def test_a_heartbeat_table_that_cannot_be_read_is_not_taken_for_a_missing_one(
    replica_db: ReplicaDatabase,
) -> None:
    """P35: could not check is not nothing found."""
    with replica_db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE heartbeat RENAME COLUMN ts TO beat_at"))
    with pytest.raises(PermanentError, match="ts"):
        observe(replica_db)


def test_a_heartbeat_table_that_may_not_be_read_or_may_not_be_there_is_not_guessed_at(
    mariadb_db: ReplicaDatabase,
) -> None:
    """P35: MariaDB does not say which to a login without rights on the schema; the text says what to do."""
    with pytest.raises(PermanentError, match=r"may not read .*set LEADQ_HEARTBEAT_TABLE to nothing"):
        observe(mariadb_db, heartbeat_table="elsewhere.heartbeat")


def test_a_clock_that_is_a_little_ahead_does_not_reach_past_the_present(replica_db: ReplicaDatabase) -> None:
    beat(replica_db, NOW.replace(tzinfo=None) + timedelta(seconds=3))
    assert observe(replica_db).until == NOW


def test_a_beat_an_hour_ahead_is_a_wrong_time_zone_and_is_refused(replica_db: ReplicaDatabase) -> None:
    """P4: it would say for an hour that nothing is late, whatever the lag."""
    beat(replica_db, NOW.replace(tzinfo=None) + timedelta(hours=1))
    with pytest.raises(PermanentError, match="60 minutes in the future"):
        observe(replica_db)


@pytest.mark.parametrize("name", ["a.b.c", ".heartbeat", "heartbeat.", "."])
def test_a_table_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=r"schema\.table"):
        open_replica("mysql://u:p@h/firm", heartbeat_table=name)


def test_a_table_name_is_a_name_and_not_a_piece_of_sql(replica_db: ReplicaDatabase) -> None:
    beat(replica_db, TEN)
    seen = observe(replica_db, heartbeat_table="heartbeat WHERE 1=0; --")
    assert seen.by != "heartbeat"
