"""Rows that become visible late, by a long transaction or a replica that is behind."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster_tests.replica.rows import TEN, WINDOW, add_users, ids, user, wait_until
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.mariadb import ReplicationPair


def test_a_row_committed_late_is_found_by_its_window_read_again(
    replica_db: ReplicaDatabase, replica: Replica
) -> None:
    """P7: its id and times are lower than those seen long before, so no watermark on them is safe."""
    with replica_db.engine.connect() as slow:
        slow.execute(schema.users.insert(), [user(1, created_at=TEN + timedelta(minutes=59, seconds=58))])
        add_users(replica_db.engine, user(2, created_at=TEN + timedelta(minutes=59, seconds=59)))
        assert ids(replica) == [2]
        slow.commit()
    assert ids(replica) == [1, 2]


def test_each_page_sees_what_is_committed_by_then(replica_db: ReplicaDatabase, replica: Replica) -> None:
    """P7: no snapshot is held from page to page, nor from question to question."""
    add_users(replica_db.engine, *(user(n, created_at=TEN) for n in range(4)))
    pages = replica.changed_users(WINDOW)
    next(pages)
    add_users(replica_db.engine, user(4, created_at=TEN), user(5, updated_at=TEN))
    assert [each.user.user_id for page in pages for each in page] == [3, 4, 5]


def test_a_replica_that_stopped_applying_says_how_far_it_got(
    replication_pair: ReplicationPair, replicated_database: str
) -> None:
    """P4: who asks for a window beyond that must not decide, though the replica answers every question."""
    pair, name = replication_pair, replicated_database
    primary = sa.create_engine(pair.primary.url(name, "mysql+pymysql"))
    schema.create_tables(primary)
    beat(primary, TEN)
    pair.wait_until_caught_up()
    with open_replica(pair.replica.url(name)) as replica:
        assert replica.observed_until().until == TEN.replace(tzinfo=UTC)
        pair.stop_applying()
        beat(primary, TEN + timedelta(hours=2))
        add_users(primary, user(1, created_at=TEN))
        wait_until(lambda: received_all(pair))
        assert replica.observed_until().until == TEN.replace(tzinfo=UTC)
        assert ids(replica) == []
        assert replica.read_users([1]) == []
        pair.start_applying()
        pair.wait_until_caught_up()
        seen = replica.observed_until()
        assert (seen.until, seen.by) == (TEN.replace(tzinfo=UTC) + timedelta(hours=2), "heartbeat")
        assert ids(replica) == [1]
    primary.dispose()


def test_a_delayed_replica_is_behind_by_its_heartbeat(
    replication_pair: ReplicationPair, replicated_database: str
) -> None:
    """P4: the beat and the rows before it arrive together, so the one vouches for the others."""
    pair, name = replication_pair, replicated_database
    primary = sa.create_engine(pair.primary.url(name, "mysql+pymysql"))
    schema.create_tables(primary)
    beat(primary, TEN)
    pair.wait_until_caught_up()
    pair.delay(1)
    with open_replica(pair.replica.url(name)) as replica:
        add_users(primary, user(1, created_at=TEN))
        beat(primary, TEN + timedelta(hours=1))
        assert replica.observed_until().until == TEN.replace(tzinfo=UTC)
        wait_until(lambda: replica.observed_until().until > TEN.replace(tzinfo=UTC))
        assert ids(replica) == [1]
    primary.dispose()


def beat(primary: sa.Engine, at: datetime) -> None:
    with primary.begin() as connection:
        connection.execute(schema.heartbeat.delete())
        connection.execute(schema.heartbeat.insert().values(server_id=1, ts=at))


def received_all(pair: ReplicationPair) -> bool:
    """Whether the replica holds, unapplied, what the primary has committed."""
    status = pair.replica.administer("SHOW SLAVE STATUS")[0]
    return bool(status["Gtid_IO_Pos"] == pair.primary.administer("SELECT @@gtid_binlog_pos AS at")[0]["at"])
