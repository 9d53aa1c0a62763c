"""New-user discovery as the tests call it: a source and a store of their own, and a clock that they set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from leadq_dagster.domain.provenance import Provenance
from leadq_dagster.domain.windows import Window
from leadq_dagster.firm import schema
from leadq_dagster.replica.engine import Replica, open_replica
from leadq_dagster.stages.admission import DiscoveryReport
from leadq_dagster.stages.new_users import discover_new_users
from leadq_dagster.store.connection import Store, open_store
from leadq_dagster_tests.replica.rows import TEN, WINDOW
from leadq_dagster_tests.servers.databases import ReplicaDatabase

ASSET = "new_users"
OVERLAP = timedelta(minutes=180)
NOON = WINDOW.start.replace(hour=12)


@dataclass
class Clock:
    """The present instant, for the replica's judgement of its heartbeat."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Discovery:
    """Everything one discovery needs, opened."""

    source: ReplicaDatabase
    replica: Replica
    store: Store
    store_url: str
    clock: Clock = field(default_factory=Clock)
    run_id: str = "run-1"

    def run(
        self,
        window: Window = WINDOW,
        *,
        overlap: timedelta = OVERLAP,
        replica: Replica | None = None,
        store: Store | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> DiscoveryReport:
        """Discover `window` now."""
        return discover_new_users(
            window,
            replica=replica or self.replica,
            store=store or self.store,
            provenance=Provenance(ASSET, self.run_id),
            now=self.clock.now,
            overlap=overlap,
            progress=progress,
        )


@contextmanager
def discovering(
    source: ReplicaDatabase, store_url: str, clock: Clock | None = None, *, batch_rows: int = 3
) -> Iterator[Discovery]:
    """A discovery over the source into the store; pages of three, so that most tests cross their borders."""
    clock = clock or Clock()
    with (
        open_replica(source.url, now=clock, batch_rows=batch_rows) as replica,
        open_store(store_url, pool_size=2) as store,
    ):
        yield Discovery(source, replica, store, store_url, clock)


def hour(number: int) -> Window:
    """The hour of the tests' day that begins at this number."""
    return Window.hour_of(WINDOW.start.replace(hour=number))


def at(clock_time: str) -> datetime:
    """A time of the tests' day, naive as the source has it."""
    hours, minutes = map(int, clock_time.split(":"))
    return TEN.replace(hour=hours, minute=minutes)


def beat(engine: sa.Engine, now: datetime) -> None:
    """The primary's clock stands at `now` (aware)."""
    with engine.begin() as connection:
        connection.execute(schema.heartbeat.delete())
        connection.execute(schema.heartbeat.insert().values(server_id=1, ts=now.replace(tzinfo=None)))


def change_user(engine: sa.Engine, user_id: int, **columns: Any) -> None:
    """Update one user at the source."""
    with engine.begin() as connection:
        connection.execute(schema.users.update().where(schema.users.c.id == user_id).values(**columns))
