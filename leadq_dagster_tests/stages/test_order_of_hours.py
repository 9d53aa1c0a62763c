"""However the hours of a source are cut, ordered and repeated, the store ends in the same state."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st

from leadq_dagster.domain.windows import HOUR, Window
from leadq_dagster.firm.application import Application, open_application
from leadq_dagster.firm.schema import create_tables, drop_tables
from leadq_dagster.firm.world import Recipe
from leadq_dagster_tests.servers import databases
from leadq_dagster_tests.servers.databases import ReplicaDatabase
from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.stages.discovering import Clock, Discovery, discovering
from leadq_dagster_tests.stages.stored import Dump, apart_from_windows, end_state, queues

START = datetime(2026, 3, 2, tzinfo=UTC)
THREE_DAYS = Window(START, START + timedelta(days=3))
SIGN_UPS_PER_DAY = 70
HALVES = 3 * 48

# Shrinking is worth its time only when somebody looks at a failure; the seeds are printed either way.
BOUNDED = settings(
    max_examples=5,
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def cut_and_shuffled(draw: st.DrawFn) -> list[Window]:
    """Windows that tile the three days, cut at half hours or hours, in any order, some of them repeated."""
    cuts = sorted(draw(st.sets(st.integers(1, HALVES - 1), min_size=4, max_size=20)))
    bounds = [START + number * HOUR / 2 for number in (0, *cuts, HALVES)]
    windows = [Window(*pair) for pair in pairwise(bounds)]
    repeated = draw(st.lists(st.sampled_from(windows), max_size=4))
    return draw(st.permutations(windows + repeated))


def lived(source: ReplicaDatabase, seed: int, until: datetime) -> Application:
    """A firm of this seed that has lived up to an instant, in a source that held another one before."""
    drop_tables(source.engine)
    create_tables(source.engine)
    application = open_application(source.engine, Recipe(seed, START, SIGN_UPS_PER_DAY, late_share=0.1))
    application.advance(until)
    application.beat(until)
    return application


@contextmanager
def fresh_discovery(source: ReplicaDatabase, servers: Servers, now: datetime) -> Iterator[Discovery]:
    postgres = servers.postgres()
    with (
        databases.fresh_postgres_database(postgres, databases.store_template(servers)) as name,
        discovering(source, postgres.url(name), Clock(now), batch_rows=50) as discovery,
    ):
        yield discovery


def end_state_of(source: ReplicaDatabase, servers: Servers, now: datetime, windows: Sequence[Window]) -> Dump:
    with fresh_discovery(source, servers, now) as discovery:
        for window in windows:
            report = discovery.run(window)
            assert report.total.seen >= report.total.stored
        return end_state(discovery.store_url)


@BOUNDED
@given(seed=st.integers(0, 2**32 - 1), windows=cut_and_shuffled())
def test_any_cut_order_and_repetition_ends_as_one_range_does(
    replica_db: ReplicaDatabase, servers: Servers, seed: int, windows: list[Window]
) -> None:
    """P6: halves, hours and ranges of a seeded firm; and that one range holds what the firm knows itself."""
    note(f"firm seed {seed}; windows {[str(window) for window in windows]}")
    event(f"{len(windows) // 5 * 5} windows or more")
    now = THREE_DAYS.end + timedelta(hours=3)
    application = lived(replica_db, seed, now)
    with fresh_discovery(replica_db, servers, now) as discovery:
        report = discovery.run(THREE_DAYS)
        expected, known = end_state(discovery.store_url), queues(discovery.store_url)
    truth = application.truth
    dated = truth.dated_within(THREE_DAYS.start, THREE_DAYS.end)
    assert known == {n: truth.queue_of(n) for n in dated & truth.enabled_users()}
    assert report.total.seen == len(dated) > 100
    assert len(expected["completed_windows"]) == 72
    found = end_state_of(replica_db, servers, now, windows)
    assert apart_from_windows(found) == apart_from_windows(expected)


def test_seven_hundred_and_twenty_hours_shuffled_end_as_one_range_does(
    on_mariadb: Discovery, servers: Servers
) -> None:
    """P6: a month hour by hour in no order and a month in one run: the same rows, the record of hours too."""
    seed, month = 720, Window(START, START + 720 * HOUR)
    now = month.end + timedelta(hours=3)
    source = on_mariadb.source
    drop_tables(source.engine)
    create_tables(source.engine)
    application = open_application(source.engine, Recipe(seed, START, 30, late_share=0.1))
    application.advance(now)
    application.beat(now)
    hours = list(month.hours())
    Random(seed).shuffle(hours)
    expected = end_state_of(source, servers, now, [month])
    assert len(expected["completed_windows"]) == 720
    assert len(expected["user_call_scores"]) > 600
    assert end_state_of(source, servers, now, hours) == expected


def test_the_same_seed_is_the_same_firm(replica_db: ReplicaDatabase) -> None:
    """What makes the printed seeds of a failure worth printing."""

    def rows() -> list[tuple[object, ...]]:
        with replica_db.engine.connect() as connection:
            statement = sa.text("SELECT * FROM users ORDER BY id")
            return [tuple(row) for row in connection.execute(statement)]

    lived(replica_db, 5, THREE_DAYS.end)
    first = rows()
    lived(replica_db, 5, THREE_DAYS.end)
    assert rows() == first
