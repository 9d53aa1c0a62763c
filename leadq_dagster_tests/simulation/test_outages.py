"""Days of outages: the scheduler is down, the replica lags, runs are killed; what was missed is run later."""

from contextlib import ExitStack
from datetime import datetime, timedelta
from random import Random

import pytest

from leadq_dagster.domain.errors import TransientError
from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.simulation.troubles import KilledError, Troubles
from leadq_dagster_tests.simulation.worlds import (
    START,
    STARTING,
    World,
    begin_world,
    check_end,
    discover_and_check,
    full_hours,
    missing,
    queues,
)
from leadq_dagster_tests.stages.discovering import Discovery, discovering
from leadq_dagster_tests.stages.stored import broken_promises

DAYS = 6
QUIET_HOURS_AT_THE_END = 6


def run_the_hour_and_what_is_missing(
    world: World, discovery: Discovery, instant: datetime, troubles: Troubles
) -> None:
    """The schedule runs the last hour, knowing of nothing else; then what is missing is asked for."""
    attempt(world, discovery, Window.last_complete_hour(instant), troubles)
    for window in missing(discovery.store, instant):
        troubles.counted["ranges"] += window.end - window.start > HOUR
        attempt(world, discovery, window, troubles)


def attempt(world: World, discovery: Discovery, window: Window, troubles: Troubles) -> None:
    try:
        _, late = discover_and_check(world, discovery, window, troubles.kill_now_and_then)
    except TransientError:
        troubles.counted["refused runs"] += 1
        assert world.shown < window.end
    except KilledError:
        assert broken_promises(discovery.store_url) == []
    else:
        troubles.counted["late users"] += late


def run_as_soon_as_shown(world: World, discovery: Discovery, instant: datetime) -> None:
    """The store of a world in which nothing but the replica ever waits."""
    for window in missing(discovery.store, instant):
        for hour in window.hours():
            if hour.end <= world.shown:
                discover_and_check(world, discovery, hour)


@pytest.mark.parametrize("seed", [22, 24])
def test_days_of_outages_end_as_the_same_days_on_time_do(
    replica_db: ReplicaDatabase, servers: Servers, store_url: str, seed: int
) -> None:
    """P4, P6, P7, P8: two stores watch one firm, one of them through every trouble."""
    end = START + timedelta(days=DAYS)
    troubles = Troubles(Random(seed), end - QUIET_HOURS_AT_THE_END * HOUR)
    postgres = servers.postgres()
    world = begin_world(replica_db, seed)
    with ExitStack() as stack:
        name = stack.enter_context(
            databases.fresh_postgres_database(postgres, databases.store_template(servers))
        )
        on_time, troubled = (
            stack.enter_context(discovering(replica_db, url, world.clock, batch_rows=20))
            for url in (postgres.url(name), store_url)
        )
        for instant in full_hours(DAYS):
            troubles.begin_hour(instant)
            world.live_until(instant + STARTING, troubles.lag)
            run_as_soon_as_shown(world, on_time, instant)
            if not troubles.is_down_at(instant):
                run_the_hour_and_what_is_missing(world, troubled, instant, troubles)
        assert missing(troubled.store, end) == []
        compare(world, queues(on_time.store), queues(troubled.store), end)
        assert broken_promises(store_url) == []
    for trouble in ("outages", "ranges", "refused runs", "killed runs", "late users"):
        assert troubles.counted[trouble] > 0, f"this seed shows nothing: no {trouble}"


def compare(
    world: World, on_time: dict[int, str | None], troubled: dict[int, str | None], end: datetime
) -> None:
    """The same users, in the same queues, and those whom the truth tells.

    Two differences are the source's own and not the outage's: who was enabled only while nobody looked
    is unknown afterwards, and who moved on meanwhile is found where they have moved to.
    """
    check_end(world, on_time, end)
    check_end(world, troubled, end)
    assert troubled.keys() - on_time.keys() == set()
    assert (on_time.keys() - troubled.keys()) & world.application.truth.enabled_users() == set()
    steady = {n for n in troubled if len(world.belonged[n]) == 1}
    assert len(steady) > len(troubled) / 3
    assert {n: troubled[n] for n in steady} == {n: on_time[n] for n in steady}
