"""A replica that has not reached the window's end is asked again later; nothing is decided until then."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from leadq_dagster.domain.errors import PermanentError, TransientError
from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import open_replica
from leadq_dagster_tests.replica.rows import TEN, add_users, user
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.mariadb import ReplicationPair
from leadq_dagster_tests.stages.discovering import NOON, Clock, Discovery, beat, discovering, hour
from leadq_dagster_tests.stages.stored import completed, nothing_changes, queues

TICK = timedelta(microseconds=1)
UNSIGNED = "unsigned_users"


def refused(discovery: Discovery, window: Window, match: str) -> None:
    def discover() -> None:
        with pytest.raises(TransientError, match=match):
            discovery.run(window)

    nothing_changes(discovery.store_url, discover)


def test_nothing_is_written_while_the_replica_is_behind(discovery: Discovery) -> None:
    """P4, P7: a microsecond is behind; at the window's very end it is not. Not one statement reads users."""
    add_users(discovery.source.engine, user(1, created_at=TEN))
    beat(discovery.source.engine, hour(10).end - TICK)
    before = discovery.replica.queries
    refused(discovery, hour(10), "observed 2026-03-04 10:59:59 UTC .by heartbeat.*ends at 2026-03-04 11:00")
    assert discovery.replica.queries == before + 1
    beat(discovery.source.engine, hour(10).end)
    report = discovery.run(hour(10))
    assert queues(discovery.store_url) == {1: UNSIGNED}
    assert (report.observed.until, report.observed.by) == (hour(10).end, "heartbeat")


def test_of_a_range_the_observed_hours_are_discovered_and_the_rest_is_reported(discovery: Discovery) -> None:
    """P8: what was not read is said, and is not taken for completed."""
    add_users(discovery.source.engine, user(1, created_at=TEN), user(2, created_at=TEN + HOUR))
    beat(discovery.source.engine, hour(11).end - TICK)
    report = discovery.run(Window(hour(10).start, hour(11).end))
    assert report.not_observed == hour(11)
    assert list(report.by_hour) == [hour(10)]
    assert queues(discovery.store_url) == {1: UNSIGNED}
    assert completed(discovery.store_url) == [10]


def test_a_replica_that_is_always_two_hours_behind_lets_every_hour_through(discovery: Discovery) -> None:
    """P6: whatever is missing is asked for as one range each hour, as catch-up does."""
    midnight = TEN.replace(hour=0)
    add_users(discovery.source.engine, *(user(n + 1, created_at=midnight + n * HOUR) for n in range(10)))
    for ended in range(2, 10):
        beat(discovery.source.engine, hour(ended).end - 2 * HOUR)
        first_missing = len(completed(discovery.store_url))
        discovery.run(Window(hour(first_missing).start, hour(ended).end))
    assert completed(discovery.store_url) == list(range(8))
    assert queues(discovery.store_url) == dict.fromkeys(range(1, 9), UNSIGNED)


def test_an_hour_that_is_not_over_is_refused(discovery: Discovery) -> None:
    """P7: however fresh the replica is."""
    refused(discovery, hour(12), "ends at 2026-03-04 13:00")
    discovery.clock.now += timedelta(minutes=2)
    beat(discovery.source.engine, NOON + timedelta(minutes=6))
    refused(discovery, Window(NOON, NOON + timedelta(minutes=5)), "observed 2026-03-04 12:02:00")


def test_a_heart_that_never_beat_decides_nothing(discovery: Discovery) -> None:
    """P4: the table is there, so the fallback is not for us."""
    with discovery.source.engine.begin() as connection:
        connection.execute(schema.heartbeat.delete())
    refused(discovery, hour(10), "holds no time")


def test_without_a_heartbeat_table_the_stated_fallback_answers(discovery: Discovery) -> None:
    """P4: the report says by what; the present hour is refused by it all the same."""
    schema.heartbeat.drop(discovery.source.engine)
    present = Window.hour_of(datetime.now(UTC))
    two_hours_ago = Window.hour_of(present.start - 2 * HOUR)
    created = two_hours_ago.start.replace(tzinfo=None)
    add_users(discovery.source.engine, user(1, created_at=created))
    refused(discovery, Window(present.start, present.end + HOUR), "by the replica's own clock less 30 s")
    report = discovery.run(two_hours_ago)
    assert queues(discovery.store_url) == {1: UNSIGNED}
    assert "for want of a table heartbeat: more lag goes unnoticed" in report.observed.by


def test_a_source_that_is_not_the_firms_is_said_to_be_so(discovery: Discovery) -> None:
    """P4, P35: a missing table is not an hour without users."""
    schema.users.drop(discovery.source.engine)

    def discover() -> None:
        with pytest.raises(PermanentError, match=r"no table .*users"):
            discovery.run()

    nothing_changes(discovery.store_url, discover)


@pytest.fixture
def pair_database(replication_pair: ReplicationPair, replicated_database: str) -> Iterator[ReplicaDatabase]:
    """The firm writes to the primary; leadq is given the replica."""
    engine = sa.create_engine(replication_pair.primary.url(replicated_database, "mysql+pymysql"))
    schema.create_tables(engine)
    replication_pair.wait_until_caught_up()
    yield ReplicaDatabase(replicated_database, replication_pair.replica.url(replicated_database), engine)
    engine.dispose()


@pytest.mark.parametrize("how", ["stopped", "delayed"])
def test_a_real_replica_that_lags_is_waited_for(
    pair_database: ReplicaDatabase, replication_pair: ReplicationPair, store_url: str, how: str
) -> None:
    """P4, P7: its rows of the hour are not there yet, and its heartbeat is not either; then both are."""
    beat(pair_database.engine, hour(10).end - timedelta(minutes=5))
    replication_pair.wait_until_caught_up()
    if how == "stopped":
        replication_pair.stop_applying()
    else:
        replication_pair.delay(3600)
    add_users(pair_database.engine, user(1, created_at=TEN))
    beat(pair_database.engine, NOON)
    with discovering(pair_database, store_url, Clock()) as discovery:
        refused(discovery, hour(10), "observed 2026-03-04 10:55:00")
        discovery.run(hour(9))
        if how == "stopped":
            replication_pair.start_applying()
            replication_pair.wait_until_caught_up()
        else:
            replication_pair.reset()
        discovery.run(hour(10))
    assert queues(store_url) == {1: UNSIGNED}
    assert completed(store_url) == [9, 10]


def test_a_real_replica_is_read_without_being_written(
    pair_database: ReplicaDatabase, replication_pair: ReplicationPair, store_url: str
) -> None:
    """The replica's own position in the primary's log is what it was: no statement of ours got into it."""
    add_users(pair_database.engine, user(1, created_at=TEN))
    beat(pair_database.engine, NOON)
    replication_pair.wait_until_caught_up()
    position = "SELECT @@gtid_current_pos AS position, @@read_only AS read_only"
    before = replication_pair.replica.administer(position)
    with discovering(pair_database, store_url) as discovery:
        discovery.run(hour(10))
    assert replication_pair.replica.administer(position) == before
    assert before[0]["read_only"] == 1


def test_a_replica_in_another_time_zone_is_read_by_its_own_clock(
    replica_db: ReplicaDatabase, store_url: str
) -> None:
    """P7: naive dates of a summer day in London are an hour ahead of UTC, the heartbeat's as well."""
    summer = TEN.replace(month=7)
    window = Window.hour_of(summer.replace(tzinfo=UTC))
    add_users(replica_db.engine, user(1, created_at=summer), user(2, created_at=summer + HOUR))
    beat(replica_db.engine, (summer + 3 * HOUR).replace(tzinfo=UTC))
    clock = Clock(window.end + HOUR)
    with (
        discovering(replica_db, store_url, clock) as discovery,
        open_replica(replica_db.url, now=clock, time_zone="Europe/London") as london,
    ):
        discovery.run(window, replica=london)
    assert queues(store_url) == {2: UNSIGNED}
