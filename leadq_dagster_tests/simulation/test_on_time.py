"""Ten days on time: each hour is discovered right after its end, while the firm goes on."""

from datetime import timedelta

import pytest

from leadq_dagster.domain.windows import Window
from leadq_dagster.firm.world import COMMIT_DELAY_MAX
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.mariadb import MariaDb
from leadq_dagster_tests.simulation.worlds import (
    START,
    STARTING,
    World,
    begin_world,
    check_end,
    discover_and_check,
    full_hours,
    queues,
)
from leadq_dagster_tests.stages.discovering import OVERLAP, discovering
from leadq_dagster_tests.stages.stored import broken_promises

DAYS = 10


@pytest.mark.parametrize("seed", [11])
def test_every_enabled_user_is_known_hour_by_hour_for_ten_days(
    mariadb: MariaDb, store_url: str, seed: int
) -> None:
    """P7, P9, P12: late commits by the hundred, odd rows, users enabled days later; true at every hour."""
    assert COMMIT_DELAY_MAX < OVERLAP
    with databases.mariadb_replica(mariadb) as source:
        world = begin_world(source, seed)
        stored, late = live_ten_days(world, source, store_url)
    assert stored > 300
    assert late > 20, "ten days in which hardly anything came late shows nothing"


def live_ten_days(world: World, source: ReplicaDatabase, store_url: str) -> tuple[int, int]:
    stored = late = 0
    with discovering(source, store_url, world.clock, batch_rows=50) as discovery:
        for instant in full_hours(DAYS):
            world.live_until(instant + STARTING)
            counts = discover_and_check(world, discovery, Window.last_complete_hour(instant))
            stored, late = stored + counts[0], late + counts[1]
            if instant.hour == 0:
                check_end(world, queues(discovery.store), instant)
                assert broken_promises(store_url) == []
        assert world.enabled_before(START + timedelta(days=DAYS))
        assert stored == len(queues(discovery.store))
    return stored, late
